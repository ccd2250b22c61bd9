"""Log p(x) and the halves of the gap from the draws of two guides at once."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pyrovae.evaluation.arviz_interface import pareto_k
from pyrovae.evaluation.chunks import LogJoint
from pyrovae.evaluation.importance import scored_draws
from pyrovae.evaluation.log_mean import log_mean, standard_error
from pyrovae.programs import Sampler

# Halvings of an interval of length 1: what is left is below the rounding of float64.
_HALVINGS = 53


@dataclass(frozen=True)
class ScoredTwice:
    """Draws of one of two guides for a block of rows; each tensor is float64 ``(draws, rows)``, on the CPU.

    Attributes:
        log_w: log weights by the guide that drew them.
        log_ratio: log density by that guide less log density by the other.
        resolution: relative spacing of the numbers that the densities were computed in.
    """

    log_w: Tensor
    log_ratio: Tensor
    resolution: float


def scored_twice(log_joint: LogJoint, other: Sampler, rows: Tensor, num_samples: int) -> ScoredTwice:
    """Draws from the guide of ``log_joint``, scored by it and by the guide of ``other``."""
    log_w, log_ratio = [], []
    for latents, log_p, log_q in scored_draws(log_joint, rows, num_samples):
        log_w.append(log_p - log_q)
        log_ratio.append(log_q - other.log_guide(rows, latents))
    weights = torch.cat(log_w)
    return ScoredTwice(weights.cpu().double(), torch.cat(log_ratio).cpu().double(), torch.finfo(weights.dtype).eps)


def halves(guide: ScoredTwice, best: ScoredTwice) -> dict[str, Tensor]:
    r"""The tensors of ``InferenceGap`` by name, from as many draws of the guide q as of its best member q*.

    .. math::
        \log p(x) \approx \log \frac{1}{2K} \sum_k \frac{p(x, z_k)}{m(z_k)}, \qquad
        m = (\tfrac12 + \lambda) q + (\tfrac12 - \lambda) q^*

    over all 2K draws. With equal shares, :math:`\lambda = 0`, this is the balance heuristic (Veach and Guibas, 1995),
    whose weights are at most twice those by q alone or by q* alone. The :math:`\lambda` of largest likelihood (Tan,
    2004), near 0, uses that both densities integrate to one: the error is then, for many draws, never above that of K
    draws of the better one, and zero where either is the posterior.
    """
    # The density of q less that of q*, in units of that of their equal mixture.
    contrast = 2 * torch.tanh(0.5 * torch.cat([guide.log_ratio, -best.log_ratio]))
    log_mixture = torch.cat([_log_mixture(guide), _log_mixture(best)])
    log_w = torch.cat([guide.log_w, best.log_w]) - log_mixture - torch.log1p(tilt_of(contrast) * contrast)
    log_px = log_mean(log_w).value
    # To first order in the errors log p(x) is the mean of these.
    relative = torch.exp(log_w - log_px)
    slope = (relative * contrast).mean(0) / contrast.square().mean(0).clamp_min(torch.finfo(torch.float64).tiny)
    share, best_share = (0.5 * (relative - slope * contrast)).chunk(2)
    elbo, best_elbo = guide.log_w.mean(0), best.log_w.mean(0)
    k_hat = pareto_k(np.ascontiguousarray(log_w.T.numpy()), guide.resolution)
    return {
        "log_px": log_px,
        "elbo": elbo,
        "best_elbo": best_elbo,
        "total": log_px - elbo,
        "approximation": log_px - best_elbo,
        "amortisation": best_elbo - elbo,
        "total_standard_error": torch.hypot(standard_error(share - guide.log_w), standard_error(best_share)),
        "approximation_standard_error": torch.hypot(standard_error(share), standard_error(best_share - best.log_w)),
        "amortisation_standard_error": torch.hypot(standard_error(guide.log_w), standard_error(best.log_w)),
        # Approximation - amortisation is log p(x) - 2 ELBO[q*] + ELBO[q].
        "difference_standard_error": torch.hypot(
            standard_error(share + guide.log_w), standard_error(best_share - 2 * best.log_w)
        ),
        "k_hat": torch.from_numpy(k_hat),
    }


def _log_mixture(draws: ScoredTwice) -> Tensor:
    """The log density of the equal mixture less that of the guide that drew."""
    return torch.logaddexp(torch.zeros(()), -draws.log_ratio) - math.log(2)


def tilt_of(contrast: Tensor) -> Tensor:
    r"""The :math:`\lambda` in [-1/2, 1/2] at which the mean of c / (1 + lambda c) is zero, for each row."""
    low = torch.full_like(contrast[0], -0.5)
    width = 1.0
    for _ in range(_HALVINGS):
        width /= 2
        middle = low + width
        # It falls with lambda.
        low = torch.where((contrast / (1 + middle * contrast)).mean(0) > 0, middle, low)
    return low
