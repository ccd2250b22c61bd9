"""The closed form of a KL divergence, where there is one."""

from typing import Any

from torch import Tensor
from torch.distributions import Distribution, kl_divergence

# Registers closed forms that PyTorch lacks.
import pyrovae.distributions.kl  # noqa: F401
from pyrovae.distributions.layers import before_to_event


def closed_form_kl(q: Any, p: Any) -> Tensor | None:
    """KL(q || p) over the batch, in nats; None where no closed form is known."""
    try:
        return kl_divergence(q, p)
    except NotImplementedError:
        return None


def elementwise(distribution: Any) -> Distribution | None:
    """The distribution of the single numbers, where these are independent."""
    distribution = before_to_event(distribution)
    return None if distribution.event_shape else distribution
