"""Expectations of Gaussian vectors of any covariance, in closed form."""

import math

import torch
from torch import Tensor


def gaussian_entropy(covariance: Tensor) -> Tensor:
    r"""Entropy of a Gaussian vector, in nats.

    .. math:: H = \frac{1}{2} \log \det (2 \pi e \, \Sigma)

    Args:
        covariance: positive definite ``(*batch, D, D)``.

    Returns:
        ``(*batch,)``.

    Example:
        >>> gaussian_entropy(torch.eye(2)).item()
        2.8378...
    """
    return 0.5 * (covariance.shape[-1] * math.log(2 * math.pi * math.e) + _log_determinant(covariance))


def expected_log_density(loc: Tensor, covariance: Tensor, under_loc: Tensor, under_covariance: Tensor) -> Tensor:
    r"""Mean of one Gaussian's log density under draws of another, in nats.

    .. math::

        E_{N(z; m, S)}[\log N(z; \mu, \Sigma)]
        = \log N(m; \mu, \Sigma) - \frac{1}{2} \mathrm{tr}(\Sigma^{-1} S)

    Args:
        loc: mean m of the draws ``(*batch, D)``.
        covariance: their covariance S ``(*batch, D, D)``.
        under_loc: mean of the density ``(*batch, D)``.
        under_covariance: its covariance, positive definite ``(*batch, D, D)``.

    Returns:
        ``(*batch,)``.

    Example:
        >>> zero, one = torch.zeros(1), torch.eye(1)
        >>> (expected_log_density(zero, one, zero, one) + gaussian_entropy(one)).item()
        0.0
    """
    difference = (loc - under_loc).unsqueeze(-1)
    factor = torch.linalg.cholesky(under_covariance)
    # The mean of (z - mu)(z - mu)^T under the draws.
    second_moment = covariance + difference @ difference.mT
    distance = torch.cholesky_solve(second_moment, factor).diagonal(dim1=-2, dim2=-1).sum(-1)
    log_determinant = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return -0.5 * (loc.shape[-1] * math.log(2 * math.pi) + log_determinant + distance)


def gaussian_kl(loc: Tensor, covariance: Tensor, under_loc: Tensor, under_covariance: Tensor) -> Tensor:
    r"""KL divergence between two Gaussian vectors of any covariance, in nats.

    .. math::

        KL(N(m, S) \,\|\, N(\mu, \Sigma)) = \frac{1}{2} \left[ \mathrm{tr}(\Sigma^{-1} S)
        + (\mu - m)^T \Sigma^{-1} (\mu - m) - D + \log \frac{\det \Sigma}{\det S} \right]

    It is minus the entropy and minus the expected log density, which is how it is computed.

    Args:
        loc: mean m ``(*batch, D)``.
        covariance: S, positive definite ``(*batch, D, D)``.
        under_loc: mean of the second ``(*batch, D)``.
        under_covariance: its covariance, positive definite ``(*batch, D, D)``.

    Returns:
        ``(*batch,)``.

    Example:
        >>> gaussian_kl(torch.ones(1), torch.eye(1), torch.zeros(1), torch.eye(1)).item()
        0.5
    """
    return -gaussian_entropy(covariance) - expected_log_density(loc, covariance, under_loc, under_covariance)


def _log_determinant(covariance: Tensor) -> Tensor:
    factor = torch.linalg.cholesky(covariance)
    return 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
