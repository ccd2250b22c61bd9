"""Rows of data that stay where they are until they are needed."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from pyrovae.data.arrays import Array, are_byte_images
from pyrovae.data.row_readers import RowReader, SubsetReader, make_reader

# Numbers that are read at once where all rows are gone over: 4 MiB.
_BLOCK_NUMBERS = 2**20

# What parts start from where the data are too large for memory: so many rows, and numbers (256 MiB), at most.
_START_ROWS = 10_000
_START_NUMBERS = 2**26

Chosen = Tensor | Array | Sequence[int] | slice


class StreamedRows:
    """Rows that are read when they are needed, for data larger than memory.

    ``fit_svi``, ``VAE.initialize``, ``log_weights`` and ``compare_bounds`` take them where they take a tensor of rows,
    and give the same numbers. ``fit_svi`` reads the next batches in a thread while it computes, and holds a few.
    Before the first step all rows are gone over, to check them. Then they are read in random order, which suits
    solid-state disks and files that the system's cache holds; on a spinning disk each row costs a seek, about 10
    milliseconds.

    Values and layouts are those of ``load_data``: float32, uint8 images that hold more than 0 and 1 divided by 255,
    images ``(N, H, W)`` with a channel added.

    Args:
        source: The path of a .npy file, in C order; an array, ``numpy.load(path, mmap_mode="r")`` for example; or a
            map-style ``torch.utils.data.Dataset`` whose items are tensors of one shape, or tuples that begin with one,
            such as (tensor, label). Items are read by one thread, and have to be the same at every reading: random
            changes belong into ``train_transform``. The first ones are read twice, to see it.
        divided: Whether uint8 images are divided by 255; None for those that hold more than 0 and 1.

    Attributes:
        device: Where batches of the rows are.
        dtype: Type of their values.

    Raises:
        ValueError: If the source cannot be read row by row, or has values or a layout that ``load_data`` refuses.

    Example:
        >>> import numpy, tempfile
        >>> import torch
        >>> path = tempfile.mkdtemp() + "/large.npy"
        >>> numpy.save(path, numpy.arange(12.0).reshape(6, 2))
        >>> rows = StreamedRows(path)
        >>> len(rows), rows.data_shape
        (6, (2,))
        >>> rows[torch.tensor([4, 1])]
        tensor([[8., 9.],
                [2., 3.]])
        >>> test, train = rows.subset(torch.arange(2)), rows.subset(torch.arange(2, 6))
    """

    device = torch.device("cpu")
    dtype = torch.float32

    def __init__(self, source: str | Path | Array | Dataset, divided: bool | None = None) -> None:
        self._reader: RowReader = make_reader(source)
        self._divisor = 1.0
        if are_byte_images(self._reader.dtype, len(self._reader.shape)):
            # Images of 0 and 1 are often stored as uint8; dividing those would leave nothing to see.
            found = any(b.max() > 1 for b in blocks_of(self)) if divided is None else divided
            self._divisor = 255.0 if found else 1.0

    def __len__(self) -> int:
        return self._reader.shape[0]

    def __repr__(self) -> str:
        return f"StreamedRows({len(self):,} rows of shape {self.data_shape} from {self._reader.title})"

    @property
    def stored_dtype(self) -> np.dtype:
        """Type of the values in the source."""
        return self._reader.dtype

    @property
    def stored_dims(self) -> int:
        """Dimensions of one row in the source."""
        return len(self._reader.shape) - 1

    @property
    def divided(self) -> bool:
        """Whether values are those of the source divided by 255."""
        return self._divisor != 1

    @property
    def data_shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        stored = self._reader.shape[1:]
        return (1, *stored) if len(stored) == 2 else stored

    @property
    def shape(self) -> torch.Size:
        """Shape of all rows, ``(rows, *data_shape)``."""
        return torch.Size((len(self), *self.data_shape))

    def is_floating_point(self) -> bool:
        """Whether batches are of floats, as they are."""
        return True

    def __getitem__(self, index: Chosen | int) -> Tensor:
        """Read rows.

        Args:
            index: Their numbers, shape (batch,), in any order, a tensor, an array or a list; a truth value for each
                row; a slice; or one number.

        Returns:
            Values, shape ``(batch, *data_shape)``, or ``data_shape`` of one row.

        Raises:
            IndexError: If there is no such row.
            OSError: If the file or the data set cannot be read.
            ValueError: If an item of a data set is not like the others.
        """
        if not isinstance(index, slice):
            index = torch.as_tensor(index)
            if index.dim() == 0:
                return self[index[None]][0]
        values = self._reader.read(self._numbers(index))
        if self.divided:
            values /= self._divisor
        return values.reshape(-1, *self.data_shape).to(self.device, self.dtype)

    def _numbers(self, index: Chosen) -> NDArray[np.int64]:
        """The numbers of rows, from 0."""
        if isinstance(index, slice):
            return np.arange(*index.indices(len(self)))
        chosen = torch.as_tensor(index).cpu()
        if chosen.dtype == torch.bool:
            if chosen.shape != (len(self),):
                raise IndexError(
                    f"{tuple(chosen.shape)} truth values choose from {len(self):,} rows; give one for each"
                )
            return chosen.nonzero().flatten().numpy()
        numbers = chosen.numpy()
        wrong = (numbers < -len(self)) | (numbers >= len(self))
        if wrong.any():
            raise IndexError(f"there is no row {numbers[wrong][0]} in {len(self):,} rows of {self._reader.title}")
        return np.where(numbers < 0, numbers + len(self), numbers)

    def split(self, size: int) -> Iterator[Tensor]:
        """All rows in order, a block of so many rows at a time."""
        return (self[start : start + size] for start in range(0, len(self), size))

    def to(self, target: torch.device | torch.dtype) -> StreamedRows:
        """The same rows, whose batches come to another device or as another type of floats."""
        moved = copy.copy(self)
        if isinstance(target, torch.dtype):
            moved.dtype = target
        else:
            moved.device = torch.device(target)
        return moved

    def subset(self, index: Chosen) -> StreamedRows:
        """Some of the rows, for splits; nothing is read.

        Args:
            index: Which, as ``rows[index]`` takes them.

        Raises:
            IndexError: If there is no such row.
        """
        chosen, numbers = copy.copy(self), self._numbers(index)
        if "non_finite" in self.__dict__:
            chosen.__dict__["non_finite"] = torch.isin(torch.from_numpy(numbers), self.non_finite).nonzero().flatten()
        chosen._reader = SubsetReader(self._reader, numbers)
        return chosen

    def some(self) -> Tensor:
        """Rows at equal distances, for statistics: 10,000, or as many as fit in 256 MiB if these are fewer, at most."""
        count = min(len(self), _START_ROWS, max(1, _START_NUMBERS // self.shape[1:].numel()))
        return self[torch.linspace(0, len(self) - 1, count, dtype=torch.float64).round().long()]

    @cached_property
    def non_finite(self) -> Tensor:
        """Numbers of the rows with an entry that is NaN or infinite; found by reading all rows once."""
        if self._reader.dtype.kind != "f":
            return torch.empty(0, dtype=torch.long)
        finite, start = torch.ones(len(self), dtype=torch.bool), 0
        for block in blocks_of(self):
            finite[start : start + len(block)] = block.isfinite().flatten(1).all(1)
            start += len(block)
        return (~finite).nonzero().flatten()


AnyRows = Tensor | StreamedRows
"""Rows ``(rows, *data_shape)``, in memory or read when they are needed."""


def rows_in_memory(rows: AnyRows) -> Tensor:
    """All rows where they are in memory, else some of them, for statistics."""
    return rows if isinstance(rows, Tensor) else rows.some()


def all_in_memory(rows: AnyRows, argument: str) -> Tensor:
    """The rows, where they are in memory.

    Args:
        rows: Rows ``(rows, *data_shape)``.
        argument: How an error names them.

    Raises:
        ValueError: If they are streamed.
    """
    if isinstance(rows, StreamedRows):
        raise ValueError(
            f"{argument} are streamed rows, and here all of them are needed in memory: give some of them as a tensor, "
            f"such as {argument}[:1000]"
        )
    return rows


def rows_at_once(rows: AnyRows) -> int:
    """How many rows to take at a time where all are gone over."""
    return max(1, _BLOCK_NUMBERS // rows.shape[1:].numel())


def taken(rows: AnyRows, index: Tensor) -> AnyRows:
    """Some of the rows, by their numbers from 0; streamed rows stay so."""
    return rows[index] if isinstance(rows, Tensor) else rows.subset(index)


def blocks_of(rows: AnyRows) -> Iterable[Tensor]:
    """All rows in order: in one block where they are in memory, else in blocks of about 4 MiB."""
    return (rows,) if isinstance(rows, Tensor) else rows.split(rows_at_once(rows))
