"""What expectation-maximisation of linear Gaussian models shares: its history and its regression of x on z."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

# Of the noise, beside the columns that vary least. From much noise weak latents begin at nothing, from which they grow
# so slowly that the climb seems to have ended.
_FIRST_NOISE = 0.01


@dataclass(frozen=True)
class EMStep:
    """One half of an iteration of expectation-maximisation, in nats per row.

    Both numbers are exact from ``fit_em``, and estimates of a few rows from ``fit_alternating``, whose half steps end
    where training does.

    Attributes:
        step: ``"E"``, after which q is the posterior of the present parameters and the bound touches log p(x), or
            ``"M"``, after which the parameters are the best ones for that q; with ``fit_alternating`` as far as it
            got.
        bound: the evidence lower bound of q and the parameters.
        log_px: log p(x) of the parameters.
    """

    step: Literal["E", "M"]
    bound: float
    log_px: float


class EMHistory(list[EMStep]):
    """Every half step of expectation-maximisation.

    Attributes:
        converged: whether the parameters stopped changing; False where ``max_steps`` ended the climb.
    """

    converged = False


def first_noise(variances: Tensor, latent_dim: int) -> Tensor:
    """Standard deviation of the noise to start from, by the variances of the columns ``(data_dim,)``.

    Latents may take any columns for themselves, so those that vary least say what may be left.
    """
    return _FIRST_NOISE * variances.sort().values[:-latent_dim].mean().sqrt()


def regression(rows: Tensor, z: Tensor, posterior_covariance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r"""The M step: a regression of x on z, with the covariance R of z free.

    R is moved into the weights: with :math:`A A^T = R` the latents :math:`A^{-1} z` are N(0, I) and have weights W A
    (Liu, Rubin and Wu, 1998).

    Args:
        rows: centred rows ``(rows, data_dim)``, each times the root of its share of all rows.
        z: their posterior means ``(rows, latent_dim)``, centred and multiplied likewise.
        posterior_covariance: of z given its row ``(latent_dim, latent_dim)``.

    Returns:
        W A, with orthogonal columns ``(data_dim, latent_dim)``; the variance of the noise; A.
    """
    second_moment = posterior_covariance + z.T @ z
    weight = torch.linalg.solve(second_moment, z.T @ rows).T
    # A sum of squares, as a difference of variances would lose small noise in rounding.
    error = (rows - z @ weight.T).square().sum() + (weight @ posterior_covariance @ weight.T).trace()
    root = torch.linalg.cholesky(second_moment)
    # Turned so that no column mixes a large direction with a small one, which would lose its digits.
    left, sizes, right = torch.linalg.svd(weight @ root, full_matrices=False)
    return left * sizes, error / rows.shape[1], root @ right.T


def whitened(posterior_covariance: Tensor, root: Tensor) -> Tensor:
    """The covariance of A^-1 z, by that of z and A."""
    return torch.linalg.solve(root, torch.linalg.solve(root, posterior_covariance).T)
