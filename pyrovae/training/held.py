"""Parameters that a fit does not move."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import get_args

from torch import Tensor

from pyrovae.programs import Sampler, Weights, named_parameters, used_by_programs
from pyrovae.training.plan import Trained


def held_parameters(trained: Trained, sampler: Sampler, weights: Weights, x: Tensor) -> list[Tensor]:
    """The parameters that ``trained`` leaves out.

    Args:
        trained: as ``fit_svi`` has it.
        sampler: of the pair.
        weights: of the pair.
        x: some rows.

    Raises:
        ValueError: ``trained`` is none of its choices, or leaves nothing to move.
    """
    if trained not in get_args(Trained):
        raise ValueError(f"trained is {trained!r}; expected one of {', '.join(get_args(Trained))}")
    if trained == "all":
        return []
    parameters = named_parameters(weights)
    of_guide, _ = used_by_programs(sampler, x, parameters)
    held = [parameter for name, parameter in parameters.items() if (name in of_guide) != (trained == "guide")]
    if len(held) == len(parameters):
        raise ValueError(f"trained is {trained!r}, and the {trained} has no parameters of its own to move")
    return held


@contextmanager
def without_gradients(parameters: Sequence[Tensor]) -> Iterator[None]:
    """Within this context the parameters require no gradient."""
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_()
