"""The closed form of a KL divergence, where there is one."""

from typing import Any

from torch import Tensor
from torch.distributions import (
    ContinuousBernoulli,
    Distribution,
    HalfCauchy,
    HalfNormal,
    Uniform,
    Wishart,
    kl_divergence,
)

# Registers closed forms that PyTorch lacks.
import pyrovae.distributions.kl  # noqa: F401
from pyrovae.distributions.layers import before_to_event, layers, without_reshaping


def closed_form_kl(q: Any, p: Any) -> Tensor | None:
    """KL(q || p) over the batch, in nats; None where no closed form is known."""
    if not has_right_rule(q, p):
        return None
    try:
        return kl_divergence(q, p)
    except NotImplementedError:
        return None


def has_right_rule(q: Any, p: Any) -> bool:
    """Whether what PyTorch has for two families, if anything, is their KL and has its gradient."""
    families = [without_reshaping(fn) for fn in (q, p)]
    # Values of the base that fall together add up, and the KL of the bases knows nothing of that. Of these it is even.
    even = any(all(isinstance(family, kind) for family in families) for kind in (HalfNormal, HalfCauchy))
    if not even and any(_folds(layer) for fn in (q, p) for layer in layers(fn)):
        return False
    # Infinite between these two, as if their bounds, which are the same, were outside one another.
    bounds = all(any(isinstance(family, kind) for family in families) for kind in (ContinuousBernoulli, Uniform))
    # Of a Wishart distribution the KL is right, and has no gradient of its parameters.
    return not bounds and not isinstance(families[0], Wishart)


def _folds(layer: Any) -> bool:
    return any(not transform.bijective for transform in getattr(layer, "transforms", ()))


def elementwise(distribution: Any) -> Distribution | None:
    """The distribution of the single numbers, where these are independent."""
    distribution = before_to_event(distribution)
    return None if distribution.event_shape else distribution
