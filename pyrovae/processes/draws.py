"""Random draws that do not depend on how the rows are shared out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from pyrovae.processes.group import Processes, with_own_rows


@contextmanager
def draws_of_all_rows(processes: Processes, share: range, rows: int) -> Iterator[None]:
    """Within this context a draw for this process's rows is made for all rows of the batch, and cut.

    So each process has the draws that one process would have for its rows, no two have the same, and their generators
    stay in step. The dimension of the rows is that of the plate at a sample statement, and elsewhere, for dropout, the
    first that is as long as the share; or the very first where it has all draws of the statement before, one copy of
    the rows after the other, as ``z.reshape(-1, latent_dim)`` has them. Where this is another by chance, where rows are
    flattened with dimensions on their right, and for distributions whose samplers draw until they are content, Gamma
    and Poisson among them, draws are as good, but no longer those of one process.

    Args:
        processes: that work together.
        share: which rows are here.
        rows: of the whole batch.
    """
    if not processes.several:
        yield
        return
    draws = _DrawsOfAllRows(share, rows)
    with with_own_rows(), draws, _SampleStatements(draws):
        yield


class _DrawsOfAllRows(TorchDispatchMode):
    def __init__(self, share: range, rows: int) -> None:
        super().__init__()
        self.share, self.rows = share, rows
        # At a sample statement the dimension of its innermost plate, from the left: what a distribution draws besides
        # its value, the components of a mixture for example, has more dimensions on the right.
        self.plate_dim = 0
        # How many times the last sample statement had the rows: for so many draws of the latents.
        self.copies = 1

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in function.tags:
            return function(*args, **kwargs)
        shape, here = _shape_of_draw(args), len(self.share)
        if shape[self.plate_dim : self.plate_dim + 1] == (here,):
            return self._drawn(function, args, kwargs, list(shape), self.plate_dim, 1)
        if shape[:1] == (self.copies * here,):
            return self._drawn(function, args, kwargs, list(shape), 0, self.copies)
        if here in shape:
            return self._drawn(function, args, kwargs, list(shape), shape.index(here), 1)
        return function(*args, **kwargs)

    def _drawn(self, function: Any, args: Any, kwargs: Any, shape: list[int], dim: int, copies: int) -> Any:
        """A draw whose dimension ``dim`` has the rows so many times, one copy of the share after the other."""

        def widened(value: Any) -> Any:
            if isinstance(value, Tensor):
                return self._widened(value, dim - len(shape), copies)
            # A size of a draw, as torch.randn has it.
            if _is_size(value) and list(value) == shape:
                return [*value[:dim], copies * self.rows, *value[dim + 1 :]]
            return value

        result = function(*tree_map(widened, args, is_leaf=_is_size), **tree_map(widened, kwargs, is_leaf=_is_size))
        mine = tree_map(lambda drawn: self._cut(drawn, dim, copies), result)
        if function._schema.is_mutable:
            # It wrote into a wide copy of its first argument.
            return args[0].copy_(mine)
        return mine

    def _widened(self, value: Tensor, dim: int, copies: int) -> Tensor:
        # Arguments stand for one another from the right, and may have fewer dimensions.
        if value.dim() < -dim or value.shape[dim] != copies * len(self.share):
            return value
        # Each row of the share stays in its place; what stands in the others has no effect on it.
        places = (torch.arange(self.rows, device=value.device) - self.share.start) % len(self.share)
        starts = len(self.share) * torch.arange(copies, device=value.device)
        return value.index_select(value.dim() + dim, (starts[:, None] + places).flatten())

    def _cut(self, drawn: Any, dim: int, copies: int) -> Any:
        if isinstance(drawn, Tensor) and drawn.dim() > dim and drawn.shape[dim] == copies * self.rows:
            of_rows = drawn.unflatten(dim, (copies, self.rows)).narrow(dim + 1, self.share.start, len(self.share))
            return of_rows.flatten(dim, dim + 1).contiguous()
        return drawn


class _SampleStatements(Messenger):
    """Says which statement draws."""

    def __init__(self, draws: _DrawsOfAllRows) -> None:
        super().__init__()
        self.draws = draws

    def _pyro_sample(self, message: Any) -> None:
        # The rows of a plate itself are a sample statement, too, without a shape.
        batch_shape = getattr(message["fn"], "batch_shape", ())
        self.draws.plate_dim = max(len(batch_shape) - 1, 0)
        if batch_shape:
            self.draws.copies = max(math.prod(batch_shape) // len(self.draws.share), 1)

    def _pyro_post_sample(self, _: Any) -> None:
        self.draws.plate_dim = 0


def _is_size(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(item, int) for item in value)


def _shape_of_draw(args: Any) -> tuple[int, ...]:
    """The shape of a draw: of the largest tensor among the arguments, or else the size that is asked for."""
    tensors = [value for value in args if isinstance(value, Tensor)]
    if tensors:
        return tuple(max(tensors, key=Tensor.numel).shape)
    return next((tuple(value) for value in args if _is_size(value)), ())
