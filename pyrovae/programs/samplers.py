"""Many draws for many rows from one call of a Pyro program."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from torch import Tensor

from pyrovae.programs.leaving import leave_after
from pyrovae.programs.modules import Program
from pyrovae.programs.scales import SiteScales
from pyrovae.programs.site_checks import Site, counted_numbers, is_masked, without_masks
from pyrovae.programs.structure import PairStructure
from pyrovae.programs.traces import compute_log_probs, sample_sites
from pyrovae.programs.unconditioned import unconditioned

Latents = dict[str, Tensor]
"""Values of the latent sites by name, each with a leading dimension of draws."""


class Sampler(ABC):
    """Draws from the guide, and log-densities ``(draws, rows)`` of the draws.

    Attributes:
        blocks_per_draw: blocks of draws that the guide gives at once, for their share of its encoder.
    """

    blocks_per_draw = 1

    def __init__(self, model: Program, guide: Program, structure: PairStructure) -> None:
        self.model, self.guide, self.structure = model, guide, structure

    def draw(self, rows: Tensor, num_draws: int) -> tuple[Latents, Tensor]:
        """Latents and log q(z|x)."""
        trace = self.trace_guide(rows, num_draws)
        return self.latents_of(trace, num_draws), self.log_guide_of(trace, num_draws, len(rows))

    def trace_guide(self, rows: Tensor, num_draws: int) -> poutine.Trace:
        """A run of the guide."""
        return self._trace(self.guide, rows, num_draws)

    def trace_model(self, rows: Tensor, latents: Latents) -> poutine.Trace:
        """A run of the model at these latents."""
        return self._conditioned(self.model, rows, latents)[0]

    def trace_prior(self, rows: Tensor, latents: Latents) -> poutine.Trace:
        """A run of the model at these latents that ends after the last of them, before it observes."""
        tracer = poutine.trace()
        with tracer, leave_after(self.structure.model_latents[-1]):
            self._conditioned(self.model, rows, latents)
        self.structure.check_run(tracer.trace)
        compute_log_probs(tracer.trace)
        return tracer.trace

    def log_likelihood_of(self, trace: poutine.Trace, num_draws: int, num_rows: int) -> Tensor:
        """log p(x|z) of a run of the model."""
        return self.log_terms_of(trace, num_draws, num_rows)[1]

    def log_terms_of(self, trace: poutine.Trace, num_draws: int, num_rows: int) -> tuple[Tensor, Tensor]:
        """Log p(z) and log p(x|z) of a run of the model."""
        sites = sample_sites(trace)
        latent = [site for name, site in sites.items() if name in self.structure.latent_event_dims]
        observed = [site for name, site in sites.items() if name not in self.structure.latent_event_dims]
        return self._row_sums(latent, num_draws, num_rows), self._row_sums(observed, num_draws, num_rows)

    def log_left_out_of(self, trace: poutine.Trace, num_draws: int, num_rows: int) -> Tensor | float:
        """Log density, in a run of the model, of the numbers of the latents that masks leave out of log p(z)."""
        masked = self._masked_latents(trace).values()
        if not masked:
            return 0.0
        left_out = [without_masks(site["fn"]).log_prob(site["value"]) - site["log_prob"] for site in masked]
        pairs = zip(masked, left_out, strict=True)
        return self._row_sums([{**site, "log_prob": log_prob} for site, log_prob in pairs], num_draws, num_rows)

    def by_row(self, value: Tensor, num_draws: int, event_dim: int) -> Tensor:
        """Numbers in the dimensions of a site, the last ``event_dim`` its event, as ``(draws, rows, numbers)``."""
        value = self._unfold(value, num_draws, event_dim)
        value = value.movedim(value.dim() - 1 - event_dim, 1)
        return value.reshape(*value.shape[:2], -1)

    def log_guide_of(self, trace: poutine.Trace, num_draws: int, num_rows: int) -> Tensor:
        """log q(z|x) of a run of the guide."""
        return self._row_sums(list(sample_sites(trace).values()), num_draws, num_rows)

    def log_guide_at(self, trace: poutine.Trace, rows: Tensor, latents: Latents) -> Tensor:
        """log q(z|x) of latents other than those that a run of the guide drew.

        The distribution of a single latent is known from that run. Those of several depend on one another's values, so
        the guide runs again.
        """
        sites = sample_sites(trace)
        if len(sites) > 1:
            return self.log_guide(rows, latents)
        name, site = next(iter(sites.items()))
        value = self._fold(latents[name], self.structure.latent_event_dims[name])
        log_prob = scale_and_mask(site["fn"].log_prob(value), mask=site["mask"])
        return self._row_sums([{**site, "log_prob": log_prob}], len(latents[name]), len(rows))

    def log_joint(self, rows: Tensor, latents: Latents) -> Tensor:
        """log p(x, z)."""
        return self._score(self.model, rows, latents)

    def log_guide(self, rows: Tensor, latents: Latents) -> Tensor:
        """log q(z|x)."""
        return self._score(self.guide, rows, latents)

    def draw_prior(self, rows: Tensor, num_draws: int) -> tuple[Latents, Tensor, Tensor]:
        """Latents from the prior, log p(z) and log p(x|z)."""
        trace = self._trace(self.model, rows, num_draws)
        return self.latents_of(trace, num_draws), *self.log_terms_of(trace, num_draws, len(rows))

    def draw_left_out(self, rows: Tensor, latents: Latents) -> Latents:
        """The latents, with the numbers that masks leave out drawn from the prior given those before them."""
        for name in self._masked_latents(self.trace_prior(rows, latents)):
            site = sample_sites(self.trace_prior(rows, latents))[name]
            value = torch.where(counted_numbers(site), site["value"], site["fn"].sample())
            unfolded = self._unfold(value, len(latents[name]), self.structure.latent_event_dims[name])
            latents = {**latents, name: unfolded}
        return latents

    def log_terms(self, rows: Tensor, latents: Latents) -> tuple[Tensor, Tensor]:
        """Log p(z) and log p(x|z), whose sum is ``log_joint``."""
        trace, num_draws = self._conditioned(self.model, rows, latents)
        return self.log_terms_of(trace, num_draws, len(rows))

    def draw_observed(self, rows: Tensor, latents: Latents, site: str) -> Tensor:
        """Draws of an observed site given the latents, with a leading dimension of draws."""
        trace, num_draws = self._conditioned(unconditioned(self.model), rows, latents)
        drawn = sample_sites(trace)[site]
        return self._unfold(drawn["value"], num_draws, drawn["fn"].event_dim)

    def dream(self, rows: Tensor, site: str) -> tuple[Latents, Tensor]:
        """A draw of the latents from the prior, and of an observed site given them; no density is taken of either."""
        trace = self._run(unconditioned(self.model), rows, 1)
        self.structure.check_run(trace)
        drawn = sample_sites(trace)[site]
        return self.latents_of(trace, 1), self._unfold(drawn["value"], 1, drawn["fn"].event_dim)

    def observed_terms(
        self, rows: Tensor, latents: Latents, site: str, terms: Callable[[Any, Tensor], list[Tensor]]
    ) -> list[Tensor]:
        """What a function of an observed site's distribution and value gives, each with a leading dimension of draws.

        The function's results have the batch shape of the distribution, and any dimensions after it.
        """
        trace, num_draws = self._conditioned(self.model, rows, latents)
        found = sample_sites(trace)[site]
        batch_dim = len(found["fn"].batch_shape)
        return [self._unfold(value, num_draws, value.dim() - batch_dim) for value in terms(found["fn"], found["value"])]

    def _score(self, program: Program, rows: Tensor, latents: Latents) -> Tensor:
        trace, num_draws = self._conditioned(program, rows, latents)
        return self._row_sums(list(sample_sites(trace).values()), num_draws, len(rows))

    def _conditioned(self, program: Program, rows: Tensor, latents: Latents) -> tuple[poutine.Trace, int]:
        num_draws = len(next(iter(latents.values())))
        data = {name: self._fold(latents[name], dim) for name, dim in self.structure.latent_event_dims.items()}
        return self._trace(poutine.condition(program, data=data), rows, num_draws), num_draws

    def latents_of(self, trace: poutine.Trace, num_draws: int) -> Latents:
        """The latents of a run of either program."""
        sites = sample_sites(trace)
        return {
            name: self._unfold(sites[name]["value"], num_draws, event_dim)
            for name, event_dim in self.structure.latent_event_dims.items()
        }

    def _masked_latents(self, trace: poutine.Trace) -> dict[str, Site]:
        sites = sample_sites(trace)
        return {name: sites[name] for name in self.structure.model_latents if is_masked(sites[name])}

    def _trace(self, program: Program, rows: Tensor, num_draws: int) -> poutine.Trace:
        trace = self._run(program, rows, num_draws)
        self.structure.check_run(trace)
        compute_log_probs(trace)
        return trace

    @abstractmethod
    def _run(self, program: Program, rows: Tensor, num_draws: int) -> poutine.Trace: ...

    @abstractmethod
    def _fold(self, latent: Tensor, event_dim: int) -> Tensor: ...

    @abstractmethod
    def _unfold(self, value: Tensor, num_draws: int, event_dim: int) -> Tensor: ...

    @abstractmethod
    def _row_sums(self, sites: list[Site], num_draws: int, num_rows: int) -> Tensor: ...


class VectorizedSampler(Sampler):
    """Draws along a plate of their own, left of all others: the encoder runs once for each row."""

    blocks_per_draw = 4

    def _run(self, program: Program, rows: Tensor, num_draws: int) -> poutine.Trace:
        with SiteScales(), pyro.plate("_draws", num_draws, dim=-1 - self.structure.max_plate_nesting):
            return poutine.trace(program).get_trace(rows)

    def _fold(self, latent: Tensor, event_dim: int) -> Tensor:
        return latent

    def _unfold(self, value: Tensor, num_draws: int, event_dim: int) -> Tensor:
        return value

    def _row_sums(self, sites: list[Site], num_draws: int, num_rows: int) -> Tensor:
        return torch.stack([lp.reshape(num_draws, -1, num_rows).sum(1) for lp in _log_probs(sites)]).sum(0)


class RepeatedSampler(Sampler):
    """Draws as copies of the rows along the data plate: right for every program, the encoder runs for each copy."""

    def _run(self, program: Program, rows: Tensor, num_draws: int) -> poutine.Trace:
        with SiteScales():
            return poutine.trace(program).get_trace(rows.repeat(num_draws, *(1 for _ in rows.shape[1:])))

    def _fold(self, latent: Tensor, event_dim: int) -> Tensor:
        row_dim = latent.dim() - 1 - event_dim
        return latent.movedim(0, row_dim - 1).flatten(row_dim - 1, row_dim)

    def _unfold(self, value: Tensor, num_draws: int, event_dim: int) -> Tensor:
        row_dim = value.dim() - 1 - event_dim
        return value.unflatten(row_dim, (num_draws, -1)).movedim(row_dim, 0)

    def _row_sums(self, sites: list[Site], num_draws: int, num_rows: int) -> Tensor:
        return torch.stack([lp.reshape(-1, num_draws, num_rows).sum(0) for lp in _log_probs(sites)]).sum(0)


def _log_probs(sites: list[Site]) -> list[Tensor]:
    return [site["log_prob"] for site in sites]
