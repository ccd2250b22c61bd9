"""Blocks of rows whose missing entries are drawn, one after the other, so that memory does not grow with the rows."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Categorical

from pyrovae.distributions import Columns, PartlyObserved
from pyrovae.evaluation.arviz_interface import pareto_k
from pyrovae.evaluation.blocks import ROWS_PER_BLOCK, draws_at_once
from pyrovae.evaluation.chunks import LogJoint
from pyrovae.evaluation.log_mean import log_mean
from pyrovae.evaluation.opening import open_sampler
from pyrovae.programs import (
    Latents,
    Program,
    Sampler,
    generator_states,
    isolated_rng,
    observing_site,
    sample_sites,
    set_generator_states,
    trace_pair,
)
from pyrovae.progress import Progress


def impute_in_blocks(
    model: Program,
    guide: Program,
    x: Tensor,
    numbers: Tensor,
    take: "Callable[[ImputedBlock], None]",
    *,
    num_samples: int,
    num_proposals: int,
    chunk_size: int | None,
    seed: int,
    progress: bool,
) -> None:
    """Draw the missing entries of some rows as ``impute`` does, and give each block to ``take``, which draws nothing.

    Args:
        model: Pyro program of the rows.
        guide: Pyro program of the latents.
        x: all rows.
        numbers: of the rows that are drawn ``(numbers,)``.
        take: called with each block.
        num_samples: as of ``impute``, as all that follow.
        num_proposals: draws from the guide.
        chunk_size: proposals scored at once.
        seed: of the draws.
        progress: show a progress bar.
    """
    with (
        open_sampler(model, guide, x, seed=seed) as sampler,
        Progress("imputing", len(numbers), "row", shown=progress) as bar,
    ):
        sampler.structure.check_reach()
        site = _observing_site(sampler, x)
        log_joint = LogJoint(sampler, num_proposals * math.ceil(len(numbers) / ROWS_PER_BLOCK), chunk_size)
        for start in range(0, len(numbers), ROWS_PER_BLOCK):
            of_block = numbers[start : start + ROWS_PER_BLOCK]
            rows = x[of_block.to(x.device)]
            # As compare_bounds does, so that its numbers are those of these proposals.
            with isolated_rng(seed + start, x.device):
                block = ImputedBlock(sampler, log_joint, rows, of_block, site, num_samples, num_proposals, chunk_size)
            take(block)
            bar.advance(len(rows))


def _observing_site(sampler: Sampler, x: Tensor) -> str:
    rows = x[:3]
    # Draws of its own: the proposals are then those of compare_bounds with the same seed.
    with isolated_rng(0, x.device):
        site = observing_site(sampler.model, sampler.guide, rows)
        found = sample_sites(trace_pair(sampler.model, sampler.guide, rows)[0])[site]["fn"]
    if not isinstance(found, PartlyObserved):
        raise ValueError(
            f"site {site!r} observes the rows by {type(found).__name__}; missing entries can be drawn where it is a "
            "PartlyObserved distribution: wrap the likelihood in likelihoods.PartlyObserved"
        )
    return site


def _check_finite(log_weights: Tensor, numbers: Tensor) -> None:
    """Raise where no proposal ``(proposals, rows)`` of a row can be weighed."""
    impossible = (~log_weights.logsumexp(0).isfinite()).nonzero().flatten()
    if len(impossible):
        raise ValueError(
            f"the weights of the proposals of {len(impossible):,} rows are all zero, infinite or NaN, the first is row "
            f"{numbers[impossible[0]].item()}: look for values far from those that the model was fitted to, and "
            "leave these rows out or rescale them"
        )


class ImputedBlock:
    """Draws and means for a block of rows.

    Attributes:
        numbers: of the rows among all.
        rows: the rows, with NaN where an entry is missing.
        draws: ``(num_samples, rows, *data_shape)``, as those that follow as of ``Imputation``.
        mean: ``(rows, *data_shape)``.
        ess: ``(rows,)``.
        k_hat: ``(rows,)``.
    """

    def __init__(
        self,
        sampler: Sampler,
        log_joint: LogJoint,
        rows: Tensor,
        numbers: Tensor,
        site: str,
        num_samples: int,
        num_proposals: int,
        chunk_size: int | None,
    ) -> None:
        self.sampler, self.rows, self.numbers, self.site = sampler, rows, numbers, site
        # What is drawn at once depends on nothing that the caller chooses to save memory.
        step = draws_at_once(rows)
        parts = torch.arange(num_proposals).split(step * sampler.blocks_per_draw)
        proposals, log_q = zip(*(sampler.draw(rows, len(part)) for part in parts), strict=True)
        latents = {name: torch.cat([part[name] for part in proposals]) for name in proposals[0]}
        chunks = [
            self._part(latents, slice(start, start + (chunk_size or step)))
            for start in range(0, num_proposals, chunk_size or step)
        ]
        # A plate that subsamples draws at each run of the model, and what is drawn next must not depend on the chunks.
        states = generator_states(rows.device)
        log_weights = log_joint(rows, latents) - torch.cat(log_q)
        resolution = torch.finfo(log_weights.dtype).eps
        log_weights = log_weights.cpu().double()
        _check_finite(log_weights, numbers)
        self.ess = log_mean(log_weights).ess
        self.k_hat = torch.from_numpy(pareto_k(np.ascontiguousarray(log_weights.T.numpy()), resolution))
        weights = log_weights.softmax(0).to(rows.device, rows.dtype)
        self.mean = self._mean(chunks, weights)
        set_generator_states(states, rows.device)
        chosen = torch.multinomial(weights.T, num_samples, replacement=True).T
        taken = {
            name: _take(latents[name], chosen, event_dim)
            for name, event_dim in sampler.structure.latent_event_dims.items()
        }
        self.draws = torch.cat(
            [
                self._terms(self._part(taken, slice(start, start + step)), _sample_missing)[0]
                for start in range(0, num_samples, step)
            ]
        ).reshape(num_samples, *rows.shape)

    @staticmethod
    def _part(latents: Latents, part: slice) -> Latents:
        return {name: value[part] for name, value in latents.items()}

    def _terms(self, latents: Latents, terms: Any) -> list[Tensor]:
        """Terms ``(draws, rows, *)``; other plates than that of the data hold nothing of an observed row."""
        found = self.sampler.observed_terms(self.rows, latents, self.site, terms)
        return [value.reshape(len(value), len(self.rows), -1) for value in found]

    def _mean(self, chunks: list[Latents], weights: Tensor) -> Tensor:
        start, totals = 0, None
        for chunk in chunks:
            terms = self._terms(chunk, _expectations)
            weight = weights[start : start + len(terms[0])]
            start += len(terms[0])
            sums = [torch.einsum("kr,krn->rn", weight.to(term), term) for term in terms]
            totals = sums if totals is None else [total + new for total, new in zip(totals, sums, strict=True)]
        assert totals is not None
        mean, *probs = totals
        for positions, prob in zip(self._categories(chunks[0]), probs, strict=True):
            mean[:, positions] = prob.unflatten(1, (len(positions), -1)).argmax(-1).to(mean)
        mean = mean.reshape(self.rows.shape).to(self.rows)
        # Weights sum to 1 up to rounding: observed entries are as they were.
        return torch.where(self.rows.isnan(), mean, self.rows)

    def _categories(self, latents: Latents) -> list[list[int]]:
        """Positions of categorical entries, those of one number of categories together."""
        found: list[list[int]] = []

        def note(fn: PartlyObserved, value: Tensor) -> list[Tensor]:
            found.extend(positions for positions, _ in _category_probs(fn))
            return []

        self.sampler.observed_terms(self.rows, self._part(latents, slice(0, 1)), self.site, note)
        return found


def _sample_missing(fn: PartlyObserved, value: Tensor) -> list[Tensor]:
    return [fn.sample_missing(value)]


def _expectations(fn: PartlyObserved, value: Tensor) -> list[Tensor]:
    """The means of missing entries, and the probabilities of the categories of those that have any."""
    categories = _category_probs(fn)
    probs = [prob for _, prob in categories]
    if sum(len(positions) for positions, _ in categories) == fn.event_shape.numel():
        return [probs[0].new_zeros(fn.shape()), *probs]
    try:
        return [fn.mean_missing(value), *probs]
    except NotImplementedError as error:
        raise ValueError(
            f"{type(fn.entries).__name__} has no mean, so that of missing entries is not known: give it a property mean"
        ) from error


def _category_probs(fn: PartlyObserved) -> list[tuple[list[int], Tensor]]:
    """Positions of categorical entries, by their number of categories, and the probabilities of these."""
    if isinstance(fn.entries, Columns):
        return fn.entries.category_probs()
    # PyTorch's categories have no mean; those that have one are levels of a quantity.
    if isinstance(fn.entries, Categorical) and type(fn.entries).mean is Categorical.mean:
        return [(list(range(fn.event_shape.numel())), fn.entries.probs)]
    return []


def _take(value: Tensor, chosen: Tensor, event_dim: int) -> Tensor:
    """Draws ``(draws, *plates, rows, *event)`` at the chosen ones ``(samples, rows)`` of each row."""
    row_dim = value.dim() - 1 - event_dim
    rows_second = value.movedim(row_dim, 1)
    return rows_second[chosen, torch.arange(chosen.shape[1], device=chosen.device)].movedim(1, row_dim)
