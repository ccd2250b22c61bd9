"""The aggregated posterior of the given rows, and its density at any draw."""

import math
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from pyrovae.evaluation.samplers import Latents, Sampler
from pyrovae.programs import sample_sites

_ROWS_PER_BLOCK = 256
# Draws are compared with rows in blocks of about so many numbers, whatever their count.
_NUMBERS_PER_BLOCK = 2**20
_PROBE_ROWS = 16


class AggregatedPosterior:
    r"""The mixture :math:`q(z) = \frac1N \sum_j q(z \mid x_j)` of all N rows.

    A guide with one latent site is run once; with several, the sites of a draw have to be scored in turn, and the
    guide runs for each block of draws and rows.

    Raises:
        ValueError: the prior depends on the row, so that there is no p(z) to compare the mixture with.
    """

    def __init__(self, sampler: Sampler, x: Tensor) -> None:
        self.sampler, self.blocks = sampler, x.split(_ROWS_PER_BLOCK)
        self.num_rows = len(x)
        _check_prior(sampler, x[:_PROBE_ROWS])
        self.sites = [] if len(sampler.structure.latents) > 1 else [self._only_site(rows) for rows in self.blocks]
        if any(site["mask"] is not None for site in self.sites):
            self.sites = []

    def log_density(self, latents: Latents) -> Tensor:
        """Log q(z) ``(draws,)`` of draws, values as a plain trace of the guide has them, rows along dim -1.

        Raises:
            ValueError: the guide cannot give the density of what it has not drawn itself.
        """
        event_dims = self.sampler.structure.latent_event_dims
        draws = {name: _draws_first(latents[name], dim) for name, dim in event_dims.items()}
        numbers = sum(value[0].numel() for value in draws.values())
        if not self.sites:
            numbers = max(numbers, self.blocks[0][0].numel())
        step = max(1, _NUMBERS_PER_BLOCK // (numbers * len(self.blocks[0])))
        count = len(next(iter(draws.values())))
        try:
            parts = [
                self._log_density({name: value[start : start + step] for name, value in draws.items()})
                for start in range(0, count, step)
            ]
        except (KeyError, NotImplementedError) as error:
            raise ValueError(
                "the guide cannot give the density of a draw made for another row (a flow without an inverse?), so "
                "there is no aggregated posterior: use a posterior with a density everywhere, or aggregate=False"
            ) from error
        return torch.cat(parts)

    def _log_density(self, draws: Latents) -> Tensor:
        # Row by row of the mixture, so that memory does not grow with their number.
        total = None
        for number, rows in enumerate(self.blocks):
            at_rows = {
                name: self._beside_rows(value, self.sampler.structure.latent_event_dims[name], len(rows))
                for name, value in draws.items()
            }
            if self.sites:
                (value,) = at_rows.values()
                log_q = self.sites[number]["fn"].log_prob(value).reshape(len(value), -1, len(rows)).sum(1)
            else:
                log_q = self.sampler.log_guide(rows, at_rows)
            log_q = torch.logsumexp(log_q.double(), 1)
            total = log_q if total is None else torch.logaddexp(total, log_q)
        assert total is not None
        return total - math.log(self.num_rows)

    def _beside_rows(self, value: Tensor, event_dim: int, num_rows: int) -> Tensor:
        """Draws ``(draws, *plates, *event)`` as a sampler takes them: ``(draws, *all plates, rows, *event)``."""
        plates = value.dim() - 1 - event_dim
        for _ in range(self.sampler.structure.max_plate_nesting - 1 - plates):
            value = value.unsqueeze(1)
        row_dim = value.dim() - event_dim
        value = value.unsqueeze(row_dim)
        return value.expand(*value.shape[:row_dim], num_rows, *value.shape[row_dim + 1 :])

    def _only_site(self, rows: Tensor) -> Any:
        sites = sample_sites(poutine.trace(self.sampler.guide).get_trace(rows))
        return sites[self.sampler.structure.latents[0]]


def _draws_first(value: Tensor, event_dim: int) -> Tensor:
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
