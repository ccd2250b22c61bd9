"""Random draws that do not depend on how the rows are shared out."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from pyrovae.processes.group import Processes


def draws_of_all_rows(processes: Processes, share: range, rows: int) -> AbstractContextManager[Any]:
    """Within this context a draw for this process's rows is made for all rows of the batch, and cut.

    So each process has the draws that one process would have for its rows, no two have the same, and their generators
    stay in step. What is drawn is recognised by its first dimension as long as the share; where another dimension comes
    first that has this length, by chance, draws are as good, but no longer those of one process.

    Args:
        processes: that work together.
        share: which rows are here.
        rows: of the whole batch.
    """
    return _DrawsOfAllRows(share, rows) if processes.several else nullcontext()


class _DrawsOfAllRows(TorchDispatchMode):
    def __init__(self, share: range, rows: int) -> None:
        super().__init__()
        self.share, self.rows = share, rows

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in function.tags:
            return function(*args, **kwargs)
        shape = _shape_of_draw(args)
        if len(self.share) not in shape:
            return function(*args, **kwargs)
        dim = shape.index(len(self.share))
        return self._drawn(function, args, kwargs, list(shape), dim)

    def _drawn(self, function: Any, args: Any, kwargs: Any, shape: list[int], dim: int) -> Any:
        def widened(value: Any) -> Any:
            if isinstance(value, Tensor):
                return self._widened(value, dim - len(shape), len(shape))
            # A size of a draw, as torch.randn has it.
            return [*value[:dim], self.rows, *value[dim + 1 :]] if _is_size(value) and list(value) == shape else value

        result = function(*tree_map(widened, args, is_leaf=_is_size), **tree_map(widened, kwargs, is_leaf=_is_size))
        mine = tree_map(lambda drawn: self._cut(drawn, dim), result)
        if function._schema.is_mutable:
            # It wrote into a wide copy of its first argument.
            return args[0].copy_(mine)
        return mine

    def _widened(self, value: Tensor, dim: int, dims: int) -> Tensor:
        if value.dim() < -dim or value.shape[dim] != len(self.share):
            return value
        # Each row of the share stays in its place; what stands in the others has no effect on it.
        places = (torch.arange(self.rows, device=value.device) - self.share.start) % len(self.share)
        return value.index_select(value.dim() + dim, places)

    def _cut(self, drawn: Any, dim: int) -> Any:
        if isinstance(drawn, Tensor) and drawn.dim() > dim and drawn.shape[dim] == self.rows:
            return drawn.narrow(dim, self.share.start, len(self.share)).contiguous()
        return drawn


def _is_size(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(item, int) for item in value)


def _shape_of_draw(args: Any) -> tuple[int, ...]:
    """The shape of a draw: of the largest tensor among the arguments, or else the size that is asked for."""
    tensors = [value for value in args if isinstance(value, Tensor)]
    if tensors:
        return tuple(max(tensors, key=Tensor.numel).shape)
    return next((tuple(value) for value in args if _is_size(value)), ())
