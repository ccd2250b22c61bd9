"""Closed forms of the KL divergence that neither PyTorch nor Pyro has, registered where both look for them."""

import math

from torch import Tensor
from torch.distributions import (
    Independent,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
    kl_divergence,
    register_kl,
)


def kl_normal_independent(q: MultivariateNormal | LowRankMultivariateNormal, p: Independent) -> Tensor:
    r"""KL of a Gaussian with any covariance from a distribution with independent dimensions.

    log p(z) is a sum over dimensions, so its mean under q is that under the marginals :math:`q_d` of q, and

    .. math:: KL(q\ \|\ p) = \sum_d \left[KL(q_d\ \|\ p_d) + H(q_d)\right] - H(q)

    Raises:
        NotImplementedError: there is no closed form for the marginals.
    """
    if p.reinterpreted_batch_ndims != 1:
        raise NotImplementedError
    marginals = Normal(q.loc, q.variance.sqrt(), validate_args=False)
    # The entropy of a Gaussian is a constant and the log of its scale; the constants are equal.
    constant = 0.5 * q.event_shape[0] * (1 + math.log(2 * math.pi))
    return (kl_divergence(marginals, p.base_dist) + marginals.scale.log()).sum(-1) + constant - q.entropy()


register_kl(MultivariateNormal, Independent)(kl_normal_independent)
register_kl(LowRankMultivariateNormal, Independent)(kl_normal_independent)
