"""Reading rows of an array that is mapped from a file, without mapping what is read."""

from __future__ import annotations

import mmap
import os
import time
import weakref
from io import FileIO

import numpy as np
from numpy.typing import NDArray

from pyrovae.data.arrays import Array

# So many rows are compared, to find out whether a file is still the one that was mapped.
_COMPARED = 16

# Rows and bytes a second that only memory gives.
_ROWS_A_SECOND, _BYTES_A_SECOND = 2.5e5, 4e9


class MappedFile:
    """The file of a mapped array, read row by row.

    Touching rows of the array would map each with what is around it, so that the process seems to grow to the size of
    the file; to give that back again and again takes longer than to read the rows.

    Args:
        title: how an error names it.
        array: rows, each in one piece.
        mapping: where they are.
        file: closed with this object.
    """

    def __init__(self, title: str, array: np.memmap, mapping: mmap.mmap, file: FileIO) -> None:
        weakref.finalize(self, file.close)
        self.title, self._file, self._mapping = title, file, mapping
        self._row_shape, self._dtype, self._row_bytes = array.shape[1:], array.dtype, array[0].nbytes
        self._stride = array.strides[0]
        first_byte = np.frombuffer(mapping, np.uint8).__array_interface__["data"][0]
        self._start = array.__array_interface__["data"][0] - first_byte
        self._mapped_from = array.offset - array.offset % mmap.ALLOCATIONGRANULARITY
        self._in_memory = False

    def read(self, index: NDArray[np.int64]) -> Array:
        """The rows at these positions, in this order.

        Raises:
            OSError: If the file has become shorter.
        """
        rows = np.empty((len(index), *self._row_shape), self._dtype)
        if not rows.size:
            return rows
        # Rows that follow each other are read at once.
        together = np.diff(index) == 1 if self._stride == self._row_bytes else np.zeros(len(index) - 1, bool)
        first_rows = np.flatnonzero(np.concatenate([[True], ~together]))
        sizes = np.diff(first_rows, append=len(index)) * self._row_bytes
        pieces = list(zip((self._start + index[first_rows] * self._stride).tolist(), sizes.tolist(), strict=True))
        # To announce rows takes longer than to copy those that the system has in memory, as it had those before.
        if not self._in_memory:
            self._announce(pieces)
        start, place, values = time.perf_counter(), 0, rows.reshape(-1).view(np.uint8).data
        descriptor = self._file.fileno()
        for first_byte, size in pieces:
            piece, place = values[place : place + size], place + size
            position = self._mapped_from + first_byte
            # Threads and forked processes share the position in the file, which this leaves alone.
            if (read := os.preadv(descriptor, [piece], position)) < size:
                self._read_rest(piece[read:], position + read)
        seconds = time.perf_counter() - start
        self._in_memory = seconds < len(index) / _ROWS_A_SECOND + rows.nbytes / _BYTES_A_SECOND
        return rows

    def _announce(self, pieces: list[tuple[int, int]]) -> None:
        """Have the system fetch rows side by side: one after the other as they are read takes longer."""
        for first_byte, size in pieces:
            page = first_byte - first_byte % mmap.PAGESIZE
            self._mapping.madvise(mmap.MADV_WILLNEED, page, min(first_byte + size, len(self._mapping)) - page)

    def _read_rest(self, values: memoryview, position: int) -> None:
        """Of much at once the system gives a part."""
        while values:
            read = os.preadv(self._file.fileno(), [values], position)
            if not read:
                raise became_shorter(self.title, self._mapping)
            values, position = values[read:], position + read


def file_of(title: str, array: np.memmap) -> MappedFile | None:
    """The file of a mapped array; None where the rows have to be taken from the array itself.

    Args:
        title: how an error names it.
        array: shape (rows, *row), at least one row.
    """
    mapping = mapping_of(array)
    # A private mapping may hold changes that are in no file.
    if mapping is None or array.mode == "c" or array.strides[0] <= 0 or not array[0].flags.c_contiguous:
        return None
    try:
        file = MappedFile(title, array, mapping, FileIO(str(array.filename)))
        some = np.linspace(0, len(array) - 1, _COMPARED).astype(np.int64)
        # Another file may have been put in its place.
        same = file.read(some).tobytes() == array[some].tobytes()
    except OSError:
        return None
    return file if same else None


def mapping_of(array: Array) -> mmap.mmap | None:
    """What an array lies in, if it is mapped from a file."""
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, mmap.mmap) else None


def became_shorter(title: str, mapping: mmap.mmap) -> OSError:
    """The error about a file that ends before what was mapped of it."""
    return OSError(
        f"{title} has become shorter, {mapping.size():,} bytes after {len(mapping):,} at the start: leave the file as "
        "it is while it is read."
    )
