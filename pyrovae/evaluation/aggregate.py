"""The aggregated posterior of the given rows, and its density at any draw."""

import math
from collections.abc import Callable
from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import Normal

from pyrovae.distributions.layers import before_to_event
from pyrovae.programs import Latents, Sampler, check_any_density, isolated_rng, probe_rows, sample_sites

_ROWS_PER_BLOCK = 256
# Draws are compared with rows in blocks of about so many numbers, whatever their count.
_NUMBERS_PER_BLOCK = 2**20
_PROBE_ROWS = 16
# The largest error of a log-density, in nats, that a sum of products may have.
_TOLERANCE = 1e-6

Score = Callable[[Latents], Tensor]
"""Draws ``(draws, *plates, *event)`` to their log q(z|x) ``(draws, rows)`` at the rows of a block."""


class AggregatedPosterior:
    r"""The mixture :math:`q(z) = \frac1N \sum_j q(z \mid x_j)` of all N rows.

    A guide with one latent site is run once, and Gaussians with independent dimensions are compared by matrix
    products. With several sites those of a draw have to be scored in turn, and the guide runs for each block of
    draws and rows.

    Raises:
        ValueError: the prior depends on the row, so that there is no p(z) to compare the mixture with; or the guide
            cannot give the density of what it has not drawn itself.
    """

    def __init__(self, sampler: Sampler, x: Tensor) -> None:
        # The prior may be another one for every second row, or for the last ones.
        _check_prior(sampler, x[:_PROBE_ROWS])
        with isolated_rng(0, x.device):
            _check_prior(sampler, probe_rows(x, _PROBE_ROWS))
        check_any_density(
            sampler,
            x[:_PROBE_ROWS],
            "there is no aggregated posterior: use a posterior with a density everywhere, or aggregate=False",
        )
        self.event_dims = sampler.structure.latent_event_dims
        self.num_rows = len(x)
        # Numbers for each pair of a draw and a row.
        self.numbers = 1
        self.scores = [self._score(sampler, rows) for rows in x.split(_ROWS_PER_BLOCK)]

    def log_density(self, latents: Latents) -> Tensor:
        """Log q(z) ``(draws,)`` of draws, values as a plain trace of the guide has them, rows along dim -1."""
        draws = {name: _rows_first(latents[name], dim) for name, dim in self.event_dims.items()}
        count = len(next(iter(draws.values())))
        step = max(1, _NUMBERS_PER_BLOCK // (self.numbers * min(_ROWS_PER_BLOCK, self.num_rows)))
        parts = [
            self._log_density({name: value[start : start + step] for name, value in draws.items()})
            for start in range(0, count, step)
        ]
        return torch.cat(parts)

    def _log_density(self, draws: Latents) -> Tensor:
        total = torch.tensor(-math.inf, dtype=torch.float64)
        for score in self.scores:
            total = torch.logaddexp(total, torch.logsumexp(_double(score(draws)), 1).cpu())
        return total - math.log(self.num_rows)

    def _score(self, sampler: Sampler, rows: Tensor) -> Score:
        structure = sampler.structure
        # Without validation: it would take longer than the densities.
        with pyro.validation_enabled(False):
            trace = poutine.trace(sampler.guide).get_trace(rows)
        structure.check_run(trace)
        sites = sample_sites(trace)
        first, *others = [sites[name] for name in structure.latents]
        if not others and first["mask"] is None:
            score = _normal_score(structure.latents[0], first)
            if score is None:
                score = _site_score(structure.latents[0], first)
                self.numbers = max(self.numbers, first["value"].numel() // len(rows))
            return score
        self.numbers = max(self.numbers, rows[0].numel(), sum(site["value"].numel() // len(rows) for site in others))
        return _program_score(sampler, rows)


def _normal_score(name: str, site: Any) -> Score | None:
    r"""The log-density of a Gaussian with independent dimensions, by matrix products; None where they round too much.

    .. math:: -\tfrac12 \sum_d z_d^2 / \sigma_d^2 + \sum_d z_d \mu_d / \sigma_d^2 + c
    """
    distribution, event_dim = before_to_event(site["fn"]), site["fn"].event_dim
    if not isinstance(distribution, Normal):
        return None
    loc, scale = (_rows_first(v.expand(site["value"].shape), event_dim) for v in (distribution.loc, distribution.scale))
    loc, scale = (v.flatten(1) if v.dim() > 1 else v[:, None] for v in (_double(loc), _double(scale)))
    if not loc.abs().max() / scale.min() < math.sqrt(_TOLERANCE / torch.finfo(loc.dtype).eps / loc.shape[1]):
        return None
    precision = scale.pow(-2)
    constant = (
        -0.5 * (loc.square() * precision).sum(1) - scale.log().sum(1) - 0.5 * loc.shape[1] * math.log(2 * math.pi)
    )

    def score(draws: Latents) -> Tensor:
        z = _double(draws[name]).reshape(len(draws[name]), -1)
        return constant + z @ (loc * precision).T - 0.5 * z.square() @ precision.T

    return score


def _site_score(name: str, site: Any) -> Score:
    distribution = site["fn"]
    rows = distribution.batch_shape[-1]

    def score(draws: Latents) -> Tensor:
        value = _beside_rows(draws[name], distribution.event_dim, rows)
        return distribution.log_prob(value).reshape(len(value), -1, rows).sum(1)

    return score


def _program_score(sampler: Sampler, rows: Tensor) -> Score:
    structure = sampler.structure

    def score(draws: Latents) -> Tensor:
        latents = {}
        for name, event_dim in structure.latent_event_dims.items():
            value = draws[name]
            # As a sampler takes them, with all plates.
            for _ in range(structure.max_plate_nesting - value.dim() + event_dim):
                value = value.unsqueeze(1)
            latents[name] = _beside_rows(value, event_dim, len(rows))
        return sampler.log_guide(rows, latents)

    return score


def _beside_rows(value: Tensor, event_dim: int, num_rows: int) -> Tensor:
    """Draws ``(draws, *plates, *event)`` as ``(draws, *plates, rows, *event)``."""
    row_dim = value.dim() - event_dim
    value = value.unsqueeze(row_dim)
    return value.expand(*value.shape[:row_dim], num_rows, *value.shape[row_dim + 1 :])


def _double(value: Tensor) -> Tensor:
    # Apple's GPUs have no float64.
    return (value.cpu() if value.device.type == "mps" else value).double()


def _rows_first(value: Tensor, event_dim: int) -> Tensor:
    return value.movedim(value.dim() - 1 - event_dim, 0)


def _check_prior(sampler: Sampler, rows: Tensor) -> None:
    """Refuse a prior that is another one for other rows."""
    latents, _ = sampler.draw(rows, 2)
    own, _ = sampler.log_terms(rows, latents)
    other, _ = sampler.log_terms(rows.roll(1, 0), latents)
    if not torch.allclose(own, other, rtol=1e-4, atol=1e-3, equal_nan=True):
        raise ValueError(
            "the prior depends on the rows, so there is no one p(z) that the aggregated posterior could be compared "
            "with: use aggregate=False for KL per row and active units"
        )
