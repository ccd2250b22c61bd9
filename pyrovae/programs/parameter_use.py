"""Which of the parameters the guide uses, and which the model."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from pyrovae.programs.parameters import Weights
from pyrovae.programs.samplers import Sampler
from pyrovae.programs.traces import sample_sites


def named_parameters(weights: Weights) -> dict[str, Tensor]:
    """The trainable parameters, each under its first name.

    Raises:
        ValueError: there are none, or one that is not finite.
    """
    weights.check_trainable()
    named: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in weights.tensors.items():
        if tensor.requires_grad:
            named.setdefault(id(tensor), (name, tensor))
    for name, tensor in named.values():
        if not bool(tensor.isfinite().all()):
            raise ValueError(f"the parameter {name!r} is NaN or infinite: fit the pair again, or load other weights")
    return dict(named.values())


def check_known(sampler: Sampler, x: Tensor, weights: Weights) -> None:
    """Refuse a parameter that the programs use and that an optimiser would not move.

    Args:
        sampler: of the pair.
        x: rows of data ``(rows, *data_shape)``; a few.
        weights: what is known of the pair.

    Raises:
        ValueError: it belongs to no module and to no param statement of the programs.
    """
    of_guide, of_model = _outputs(sampler, x)
    check_leaves([*of_guide, *of_model], [*weights.tensors.values(), x], or_else="or pyro.param it in the program; ")


def check_leaves(outputs: Iterable[Tensor], known: Iterable[Tensor], or_else: str = "") -> None:
    """Refuse a parameter that outputs were computed from and that an optimiser would not move.

    Args:
        outputs: with the graph of their computation.
        known: what is moved, and what may have a gradient besides.
        or_else: another repair, where there is one.

    Raises:
        ValueError: a leaf of the graph is none of these.
    """
    seen = {id(tensor) for tensor in known}
    for leaf in _leaves(outputs):
        if id(leaf) not in seen:
            raise ValueError(
                f"the programs use a parameter of shape {tuple(leaf.shape)} that is in none of their modules, and "
                "would not be trained: make it an attribute of the nn.Module whose methods they are, a list or dict "
                f"as nn.ModuleList, nn.ModuleDict or nn.ParameterList; {or_else}or detach it, to leave it as it is; a "
                "network of train_transform belongs under torch.no_grad()"
            )


def used_by_programs(sampler: Sampler, x: Tensor, parameters: dict[str, Tensor]) -> tuple[set[str], set[str]]:
    """Names of the parameters behind the guide's densities and draws, and behind the model's densities."""
    of_guide, of_model = _outputs(sampler, x)
    return _behind(of_guide, parameters), _behind(of_model, parameters)


def _outputs(sampler: Sampler, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Densities and draws of the guide, and densities of the model at such draws."""
    trace = sampler.trace_guide(x, 1)
    guide_sites = sample_sites(trace).values()
    fixed = {name: value.detach() for name, value in sampler.latents_of(trace, 1).items()}
    model_sites = sample_sites(sampler.trace_model(x, fixed)).values()
    of_guide = [site[kind] for site in guide_sites for kind in ("log_prob", "value")]
    return of_guide, [site["log_prob"] for site in model_sites]


def _leaves(outputs: Iterable[Tensor]) -> list[Tensor]:
    """The tensors that gradients of the outputs end at."""
    waiting: list[Any] = [output.grad_fn for output in outputs if output.grad_fn is not None]
    seen, leaves = set(waiting), list[Tensor]()
    while waiting:
        function = waiting.pop()
        if hasattr(function, "variable"):
            leaves.append(function.variable)
        new = {following for following, _ in function.next_functions if following is not None} - seen
        seen |= new
        waiting += new
    return leaves


def _behind(outputs: list[Tensor], parameters: dict[str, Tensor]) -> set[str]:
    differentiable = [output.sum() for output in outputs if output.requires_grad]
    if not differentiable:
        return set()
    gradients = torch.autograd.grad(differentiable, list(parameters.values()), allow_unused=True)
    return {name for name, gradient in zip(parameters, gradients, strict=True) if gradient is not None}
