"""The lines of a table of shapes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn

from pyrovae.distributions.layers import before_to_event


class PartShape(NamedTuple):
    """What a part of a model returned.

    Attributes:
        part: its name; that of a network inside another part starts with a dot.
        call: how it was called.
        module: its class.
        returns: the family of distributions that it returned, the class of anything else, or the mean of a log-density.
        batch_shape: None for what has none.
        event_shape: None for what has none.
        dtype: of a value drawn.
        device: of a value drawn.
        parameters: how many numbers there are to train in it; None for what has no parameters of its own.
    """

    part: str
    call: str
    module: str
    returns: str
    batch_shape: tuple[int, ...] | None = None
    event_shape: tuple[int, ...] | None = None
    dtype: torch.dtype | None = None
    device: torch.device | None = None
    parameters: int | None = None


_HEADINGS = ("part", "call", "module", "returns", "batch", "event", "dtype", "device", "parameters")


def shape_table(parts: Sequence[PartShape]) -> str:
    """The lines under their headings, in columns."""
    cells = [_HEADINGS, *(_cells(part) for part in parts)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEADINGS))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if heading == "parameters" else cell.ljust(width)
            for cell, width, heading in zip(line, widths, _HEADINGS, strict=True)
        ).rstrip()
        for line in cells
    )


def _cells(part: PartShape) -> tuple[str, ...]:
    return (
        f"  {part.part}" if part.part.startswith(".") else part.part,
        part.call,
        part.module,
        part.returns,
        "" if part.batch_shape is None else str(tuple(part.batch_shape)),
        "" if part.event_shape is None else str(tuple(part.event_shape)),
        str(part.dtype or "").removeprefix("torch."),
        str(part.device or ""),
        "" if part.parameters is None else f"{part.parameters:,}",
    )


def count_parameters(module: nn.Module) -> int:
    """How many numbers there are to train in a module, each once."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def of_tensor(part: str, call: str, module: nn.Module | None, value: Tensor, batch_dim: int) -> PartShape:
    """The line of a tensor whose first ``batch_dim`` dimensions are a batch."""
    return PartShape(
        part,
        call,
        "" if module is None else type(module).__name__,
        "" if module is None else "Tensor",
        tuple(value.shape[:batch_dim]),
        tuple(value.shape[batch_dim:]),
        value.dtype,
        value.device,
        None if module is None else count_parameters(module),
    )


def of_distribution(
    part: str, call: str, module: nn.Module, distribution: TorchDistributionMixin, draw: Tensor | None
) -> PartShape:
    """The line of a part that returned a distribution."""
    return PartShape(
        part,
        call,
        type(module).__name__,
        family(distribution),
        tuple(distribution.batch_shape),
        tuple(distribution.event_shape),
        None if draw is None else draw.dtype,
        None if draw is None else draw.device,
        count_parameters(module),
    )


def family(distribution: Any) -> str:
    """The class of a distribution without the ``Independent`` that ``to_event`` puts around it."""
    return type(before_to_event(distribution)).__name__
