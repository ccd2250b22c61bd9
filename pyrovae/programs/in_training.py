"""A pair of programs as training runs it."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from pyrovae.programs.contract import inspect_pair
from pyrovae.programs.modules import Program, owned_modules, training_mode
from pyrovae.programs.structure import PairStructure


def modules_of_pair(model: Program, guide: Program, structure: PairStructure) -> list[nn.Module]:
    """The modules that two programs own or call."""
    return [*owned_modules(model, guide), *structure.modules]


@contextmanager
def tried_in_training(model: Program, guide: Program, structure: PairStructure, rows: Tensor) -> Iterator[None]:
    """Put the modules in training mode, and back afterwards; the pair is inspected in it once more.

    Args:
        model: Pyro program of the rows.
        guide: Pyro program of the latents.
        structure: what ``inspect_pair`` found in evaluation mode.
        rows: some rows ``(rows, *data_shape)``.

    Raises:
        ValueError: a pair that breaks the contract of ``check_pair`` in training alone.
    """
    with training_mode(modules_of_pair(model, guide, structure)):
        # A program may differ in training, by a scale of its own for example.
        inspect_pair(model, guide, rows)
        yield
