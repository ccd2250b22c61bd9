"""What a pair of Pyro programs says the data look like: reconstructions and new rows."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyro import poutine
from torch import Tensor

from pyrovae.programs import (
    Program,
    borrowed,
    check_missing,
    check_rows,
    inspect_pair,
    observing_site,
    sample_sites,
    trace_pair,
    unconditioned,
)


def reconstruct_rows(model: Program, guide: Program, x: Tensor, *, seed: int = 0) -> Tensor:
    """The mean of p(x|z) for each row, at one draw of z from the guide.

    Args:
        model: Pyro program of the rows, observing them inside a plate ``len(x)`` at dim -1.
        guide: Pyro program of the rows, drawing the model's latents inside the same plate.
        x: rows ``(rows, *data_shape)``.
        seed: of the draws.

    Returns:
        ``(rows, *data_shape)``, of the site that observes the rows.

    Raises:
        ValueError: a pair that breaks the contract, no site that observes the rows, or a likelihood without a mean.
    """
    with _evaluating(model, guide, x, seed) as observed:
        return _mean(sample_sites(trace_pair(model, guide, x)[0])[observed], observed, x)


def reconstruct_and_draw(model: Program, guide: Program, x: Tensor, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """The mean of p(x|z) for each row and a draw from it, at one draw of z; ``reconstruct_rows`` says of the rest."""
    with _evaluating(model, guide, x, seed) as observed:
        site = sample_sites(trace_pair(model, guide, x)[0])[observed]
        return _mean(site, observed, x), site["fn"].sample().reshape(x.shape)


def sample_rows(model: Program, guide: Program, x: Tensor, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """New rows: z from the prior, then the mean of p(x|z), and a draw from it.

    Args:
        model: Pyro program of the rows, observing them inside a plate ``len(x)`` at dim -1.
        guide: its guide, for the check of the pair.
        x: rows ``(rows, *data_shape)``; as many new ones are made, of the same shape.
        seed: of the draws.

    Returns:
        Means and draws, each ``(rows, *data_shape)``, of the site that observes the rows.

    Raises:
        ValueError: a pair that breaks the contract, no site that observes the rows, or a likelihood without a mean.
    """
    with _evaluating(model, guide, x, seed) as observed:
        site = sample_sites(poutine.trace(unconditioned(model)).get_trace(x))[observed]
        return _mean(site, observed, x), site["value"].reshape(x.shape)


@contextmanager
def _evaluating(model: Program, guide: Program, x: Tensor, seed: int) -> Iterator[str]:
    check_rows(x, "x")
    check_missing(model, guide, x, "x")
    with borrowed(model, guide, x.device, seed):
        inspect_pair(model, guide, x)
        yield observing_site(model, guide, x)


def _mean(site: Any, name: str, x: Tensor) -> Tensor:
    try:
        # Some means are computed once and kept, with a gradient even where none is asked for.
        return site["fn"].mean.detach().reshape(x.shape)
    except NotImplementedError as error:
        raise ValueError(f"the distribution at site {name!r} has no mean, so there is no picture of it") from error
