"""Which values a latent has in the model, and which of them draws of the guide reach."""

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from pyrovae.distributions.layers import innermost, without_reshaping


def check_values(name: str, model: Any, guide: Any) -> None:
    """Refuse a latent with probabilities in one program and densities in the other, or beyond the guide's draws.

    Args:
        name: of the latent.
        model: its distribution in the model.
        guide: its distribution in the guide.

    Raises:
        ValueError: what its values are in both, with the repair.
    """
    if _is_discrete(model) != _is_discrete(guide) and not isinstance(innermost(model), dist.Delta):
        ours, theirs = (
            f"{'discrete' if _is_discrete(fn) else 'continuous'} in the {program} ({_family(fn)})"
            for program, fn in (("model", model), ("guide", guide))
        )
        repair = (
            f"let the guide draw from a {_family(model)} too, and fit with objective='ScoreFunction', 'Trace_ELBO' or "
            "'ReweightedWakeSleep'; or relax it in both, by RelaxedBernoulli or RelaxedOneHotCategorical"
            if _is_discrete(model)
            else f"let the guide draw from a distribution with a density, such as {_family(model)}"
        )
        raise ValueError(
            f"latent {name!r} is {ours} and {theirs}, and a probability over a density is no weight of a draw: {repair}"
        )
    bounds = [bounds_of(fn) for fn in (model, guide)]
    if all(bounds) and not _reaches(*bounds):
        ours, theirs = (" to ".join(f"{end.flatten()[0].item():g}" for end in ends) for ends in bounds)
        raise ValueError(
            f"latent {name!r} has values from {ours} in the model and from {theirs} in the guide, and draws have to "
            "reach all values of the model: give both the same support"
        )


def _is_discrete(fn: Any) -> bool:
    """Whether a distribution has probabilities, not densities; what transforms give is said to be real."""
    return getattr(innermost(fn).support, "is_discrete", False)


def _family(fn: Any) -> str:
    return type(without_reshaping(fn)).__name__


def _reaches(model: tuple[Tensor, ...], guide: tuple[Tensor, ...]) -> bool:
    """Whether draws of the guide go on as far as values of the model do.

    Bounds that parameters move may lie inside those of the model, and what is said to be real may be an angle.
    """
    return not any(bool((theirs.isfinite() & ours.isinf()).any()) for ours, theirs in zip(model, guide, strict=True))


def bounds_of(fn: Any) -> tuple[Tensor, ...]:
    """Between which numbers the values of a distribution are, each on its own; empty where that is not known."""
    while isinstance(fn, torch.distributions.Independent | dist.MaskedDistribution):
        fn = fn.base_dist
    # What is said of a transformed distribution is what its last transform can reach. Others know it themselves.
    if type(fn) in (torch.distributions.TransformedDistribution, dist.TransformedDistribution):
        ends = bounds_of(fn.base_dist)
        if ends and all(_is_of_numbers(transform) for transform in fn.transforms):
            for transform in fn.transforms:
                # What is infinite does not move with the parameters.
                ends = tuple(_still(transform(end)) for end in ends)
            return torch.minimum(*ends), torch.maximum(*ends)
    return _bounds(fn.support)


def _still(end: Tensor) -> Tensor:
    return end.detach() if bool(end.isinf().all()) else end


def _is_of_numbers(transform: Any) -> bool:
    return transform.bijective and transform.domain.event_dim == transform.codomain.event_dim == 0


def _bounds(support: Any) -> tuple[Tensor, ...]:
    """Between which numbers the values of a support are; empty where it is of another kind."""
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    if getattr(support, "is_discrete", False):
        return ()
    if support is constraints.real:
        return torch.tensor(-torch.inf), torch.tensor(torch.inf)
    if not hasattr(support, "lower_bound") and not hasattr(support, "upper_bound"):
        return ()
    ends = getattr(support, "lower_bound", -torch.inf), getattr(support, "upper_bound", torch.inf)
    return tuple(torch.as_tensor(end) for end in ends)
