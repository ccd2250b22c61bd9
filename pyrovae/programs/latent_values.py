"""Which values a latent has in the model, and which of them draws of the guide reach."""

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from pyrovae.distributions.layers import entry_support, innermost, without_reshaping

# Of the width between bounds.
_ROUNDING = 1e-5
# A posterior has such values only where a row is as improbable under all others.
_NEXT_TO_NONE = 1e-9
_COUNTS_BEYOND = 1000


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
    bounds = _bounds_of_both(model, guide)
    short = _short_of(*bounds)
    if not _is_discrete(model):
        # Bounds that parameters move may lie inside those of the model, and what is said to be real may be an angle.
        short &= (bounds[0].isinf() & bounds[1].isfinite()).any(0)
    if bool(short.any()) and not (_is_discrete(model) and _is_hardly_ever_beyond(model, *bounds)):
        raise ValueError(_of_bounds(name, *bounds, short))


def values_left_out(name: str, model: Any, guide: Any) -> str:
    """What to say where bounds of the guide lie inside those of the model; else empty.

    Draws then say nothing of the values between: an ELBO is right, and any estimate of log p(x) from them too low.
    """
    bounds = _bounds_of_both(model, guide)
    short = torch.tensor(False) if _is_discrete(model) else _short_of(*bounds)
    return f"{_of_bounds(name, *bounds, short)}; a fit and an ELBO take such a guide" if bool(short.any()) else ""


def _of_bounds(name: str, model: Tensor, guide: Tensor, short: Tensor) -> str:
    first = tuple(short.nonzero()[0])
    ours, theirs = (" to ".join(f"{end[first].item():g}" for end in ends) for ends in (model, guide))
    return (
        f"latent {name!r} has values from {ours} in the model and from {theirs} in the guide, and draws have to "
        "reach all values of the model: give both the same support"
    )


def _bounds_of_both(model: Any, guide: Any) -> tuple[Tensor, Tensor]:
    """Lowest and highest values in the model and in the guide, each ``(2, *shape)``; alike where they are not known."""
    bounds = [bounds_of(fn) for fn in (model, guide)]
    if not all(bounds):
        return torch.zeros(2), torch.zeros(2)
    ends = torch.broadcast_tensors(*(end.detach().cpu().double() for ends in bounds for end in ends))
    return torch.stack(ends[:2]), torch.stack(ends[2:])


def _short_of(model: Tensor, guide: Tensor) -> Tensor:
    """Where bounds of the guide lie inside those of the model by more than rounding."""
    width = model[1] - model[0]
    # Between a number and infinity the number is what is rounded; beside 0 a guide may keep off by a little.
    numbers = model.nan_to_num(posinf=0.0, neginf=0.0).abs().amax(0).clamp(min=1.0)
    rounding = _ROUNDING * torch.where(width.isfinite(), width, numbers)
    return (guide[0] > model[0] + rounding) | (guide[1] < model[1] - rounding)


def _is_hardly_ever_beyond(fn: Any, model: Tensor, guide: Tensor) -> bool:
    """Whether counts of the model beyond the guide's, a last class for example, have next to no probability."""
    while isinstance(fn, torch.distributions.Independent | dist.MaskedDistribution):
        fn = fn.base_dist
    ends = guide.reshape(2, -1)
    first, last = ends[:, 0]
    if fn.event_shape or not bool((ends == ends[:, :1]).all()) or not last.isfinite():
        return False
    below, above = torch.arange(model[0].min().item(), first.item()), torch.arange(1, _COUNTS_BEYOND) + last.item()
    counts = torch.cat([below, above]).reshape(-1, *[1] * len(fn.batch_shape))
    lowest, highest = model
    present = (counts >= lowest) & (counts <= highest)
    # Counts that are none of the model's are passed over by their place, and their probability is not asked for.
    of_fn = next((value for value in vars(fn).values() if isinstance(value, Tensor)), torch.zeros(()))
    probability = fn.log_prob(torch.where(present, counts, lowest).to(of_fn)).detach().exp()
    beyond = torch.where(present, probability.cpu().double(), 0.0)
    return bool((beyond.sum(0) < _NEXT_TO_NONE).all() and (beyond[-1] < _NEXT_TO_NONE / _COUNTS_BEYOND).all())


def _is_discrete(fn: Any) -> bool:
    """Whether a distribution has probabilities, not densities; what transforms give is said to be real."""
    return getattr(innermost(fn).support, "is_discrete", False)


def _family(fn: Any) -> str:
    return type(without_reshaping(fn)).__name__


def bounds_of(fn: Any) -> tuple[Tensor, ...]:
    """Between which numbers the values of a distribution are, each on its own; empty where that is not known."""
    if isinstance(innermost(fn), dist.Delta):
        return ()
    while isinstance(fn, torch.distributions.Independent | dist.MaskedDistribution):
        fn = fn.base_dist
    # What is said of a transformed distribution is what its last transform can reach. Others know it themselves.
    if type(fn) in (torch.distributions.TransformedDistribution, dist.TransformedDistribution):
        if _is_discrete(fn):
            # Counts that are moved may begin where the likelihood of their row does.
            return ()
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
    support = entry_support(support)
    if support is constraints.boolean:
        return torch.tensor(0), torch.tensor(1)
    if support is constraints.real:
        return torch.tensor(-torch.inf), torch.tensor(torch.inf)
    if not hasattr(support, "lower_bound") and not hasattr(support, "upper_bound"):
        return ()
    ends = getattr(support, "lower_bound", -torch.inf), getattr(support, "upper_bound", torch.inf)
    return tuple(torch.as_tensor(end) for end in ends)
