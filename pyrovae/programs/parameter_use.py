"""Which of the parameters the guide uses, and which the model."""

import torch
from torch import Tensor

from pyrovae.programs.contract import sample_sites
from pyrovae.programs.parameters import Weights
from pyrovae.programs.samplers import Sampler


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


def used_by_programs(sampler: Sampler, x: Tensor, parameters: dict[str, Tensor]) -> tuple[set[str], set[str]]:
    """Names of the parameters behind the guide's densities and draws, and behind the model's densities."""
    trace = sampler.trace_guide(x, 1)
    guide_sites = sample_sites(trace).values()
    fixed = {name: value.detach() for name, value in sampler.latents_of(trace, 1).items()}
    model_sites = sample_sites(sampler.trace_model(x, fixed)).values()
    of_guide = [site[kind] for site in guide_sites for kind in ("log_prob", "value")]
    return _behind(of_guide, parameters), _behind([site["log_prob"] for site in model_sites], parameters)


def _behind(outputs: list[Tensor], parameters: dict[str, Tensor]) -> set[str]:
    differentiable = [output.sum() for output in outputs if output.requires_grad]
    if not differentiable:
        return set()
    gradients = torch.autograd.grad(differentiable, list(parameters.values()), allow_unused=True)
    return {name for name, gradient in zip(parameters, gradients, strict=True) if gradient is not None}
