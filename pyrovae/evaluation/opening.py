"""A sampler for a pair of programs, with everything borrowed that it needs."""

from collections.abc import Iterator
from contextlib import contextmanager

from pyrovae.data import AnyRows
from pyrovae.programs import (
    PROBE_ROWS,
    Program,
    Sampler,
    borrowed,
    check_any_rows,
    check_missing,
    check_support,
    inspect_pair,
    make_sampler,
    probe_rows,
    warn_of_first_values,
)


@contextmanager
def open_sampler(model: Program, guide: Program, x: AnyRows, *, seed: int) -> Iterator[Sampler]:
    """A sampler for a pair, with everything borrowed that it needs and put back afterwards.

    Inside, the programs run in evaluation mode, without gradients, in a param store of their own, and on seeded
    random generators; what they change in buffers is put back.
    """
    check_any_rows(x, "x")
    check_missing(model, guide, x, "x")
    with borrowed(model, guide, x.device, seed) as outside:
        rows = probe_rows(x, max(PROBE_ROWS))
        structure = inspect_pair(model, guide, rows, len(x))
        check_support(model, guide, x)
        warn_of_first_values(model, guide, structure, outside)
        yield make_sampler(model, guide, rows, structure)
