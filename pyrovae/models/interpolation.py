"""Straight lines between codes."""

import torch
from torch import Tensor

from pyrovae.distributions.arguments import is_whole_number


def line(start: Tensor, end: Tensor, num_steps: int) -> Tensor:
    """Equal steps from ``start`` to ``end``, both included, ``(num_steps, *shape)``.

    Raises:
        ValueError: fewer than two steps, ends of different shapes.
    """
    if not is_whole_number(num_steps) or num_steps < 2:
        raise ValueError(f"num_steps is {num_steps!r}; expected a whole number from 2, the two ends among them")
    if start.shape != end.shape:
        raise ValueError(f"start and end have shapes {tuple(start.shape)} and {tuple(end.shape)}; expected equal ones")
    way = torch.linspace(0, 1, num_steps).to(start).view(-1, *(1,) * start.dim())
    return torch.lerp(start.expand(num_steps, *start.shape), end.expand(num_steps, *end.shape), way)
