"""A sampler for a pair of programs, with everything borrowed that it needs."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pyrovae.data import AnyRows
from pyrovae.programs import (
    Program,
    Sampler,
    buffers_put_back,
    check_any_rows,
    check_missing,
    check_support,
    evaluation_mode,
    inspect_pair,
    isolated_rng,
    make_sampler,
    owned_modules,
    private_param_store,
)


@contextmanager
def open_sampler(model: Program, guide: Program, x: AnyRows, *, seed: int) -> Iterator[Sampler]:
    """A sampler for a pair, with everything borrowed that it needs and put back afterwards.

    Inside, the programs run in evaluation mode, without gradients, in a param store of their own, and on seeded
    random generators; what they change in buffers is put back.
    """
    check_any_rows(x, "x")
    check_missing(model, guide, x, "x")
    with (
        private_param_store(model, guide),
        isolated_rng(seed, x.device),
        evaluation_mode(model, guide),
        torch.no_grad(),
        buffers_put_back(owned_modules(model, guide)),
    ):
        structure = inspect_pair(model, guide, x[:5])
        with buffers_put_back(structure.modules):
            check_support(model, guide, x)
            yield make_sampler(model, guide, x[:5], structure)
