"""Running a pair of programs without a trace of it left."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from pyro.params.param_store import StateDict

from pyrovae.programs.modules import Program, buffers_put_back, evaluation_mode
from pyrovae.programs.parameters import private_param_store
from pyrovae.programs.random_state import isolated_rng


@contextmanager
def borrowed(model: Program, guide: Program, device: torch.device, seed: int = 0) -> Iterator[StateDict]:
    """Run a pair in evaluation mode and without gradients, and leave it, and the caller, as they were.

    Param store, random generators, modes and buffers are put back. The context gives the caller's store.

    Args:
        model: Pyro program of the rows.
        guide: Pyro program of the latents.
        device: where the rows are.
        seed: of the draws inside.
    """
    with (
        private_param_store(model, guide) as outside,
        isolated_rng(seed, device),
        evaluation_mode(model, guide),
        buffers_put_back(model, guide),
        torch.no_grad(),
    ):
        yield outside
