"""Reading chosen rows of an array that is mapped from a file, or of a data set of items."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from pyrovae.data.arrays import Array, check_array, unreadable
from pyrovae.data.mapped_file import became_shorter, file_of, mapping_of

# So many rows show whether a data set changes them at random; a toss of a coin for each escapes once in 65,536.
_READ_TWICE = 16


class RowReader(Protocol):
    """Rows that can be read.

    Attributes:
        title: how an error names them.
        shape: ``(rows, *shape of a stored row)``.
        dtype: type of the stored values.
    """

    title: str
    shape: tuple[int, ...]
    dtype: np.dtype

    def read(self, index: NDArray[np.int64]) -> Tensor:
        """The rows at these positions, float32, in this order."""
        ...


class ArrayReader:
    """Rows of an array. Of one that is mapped from a file only these rows are read, and no memory is held.

    Args:
        title: how an error names it.
        array: shape (rows, *row), real numbers or booleans, row after row in memory.

    Raises:
        ValueError: If the array cannot be used.
    """

    def __init__(self, title: str, array: Array) -> None:
        self.title, self.shape, self.dtype = title, array.shape, array.dtype
        check_array(title, array.dtype, array.shape)
        if array.flags.f_contiguous and not array.flags.c_contiguous:
            raise ValueError(
                f"{title} lies in memory column by column (Fortran order), so that reading one row reads all of it; "
                "write it row by row, with numpy.save(path, numpy.ascontiguousarray(x)), or in blocks of rows into "
                "numpy.lib.format.open_memmap."
            )
        self._array = np.asarray(array)
        self._mapping = mapping_of(array)
        self._file = file_of(title, array) if isinstance(array, np.memmap) else None

    def read(self, index: NDArray[np.int64]) -> Tensor:
        """The rows at these positions, float32, in this order.

        Raises:
            OSError: If the file has become shorter.
        """
        # Touching a page beyond the end of its file would end the process.
        if self._mapping is not None and self._mapping.size() < len(self._mapping):
            raise became_shorter(self.title, self._mapping)
        stored = self._array[index] if self._file is None else self._file.read(index)
        # A value too large for float32 becomes infinite, which whoever checks the rows reports.
        with np.errstate(over="ignore"):
            return torch.from_numpy(stored.astype(np.float32, order="C", copy=False))


class DatasetReader:
    """Rows that are the items of a map-style data set.

    Args:
        dataset: its items are tensors of one shape and dtype, or tuples that begin with such a tensor.

    Raises:
        ValueError: If it cannot be used, or gives other rows at each reading.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.title = f"the {type(dataset).__name__}"
        if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
            raise ValueError(
                f"{self.title} has no length or no items by number; expected a map-style Dataset, with __len__ and "
                "__getitem__, as rows are read in random order."
            )
        if not len(dataset):
            raise ValueError(f"{self.title} has no items; expected rows in it.")
        self._dataset = dataset
        first = self._values(0)
        self._shape, self._dtype = first.shape, first.dtype
        self.shape = (len(dataset), *first.shape)
        # NumPy has no bfloat16.
        self.dtype = (first.float() if first.dtype == torch.bfloat16 else first).numpy().dtype
        check_array(self.title, self.dtype, self.shape)
        for row in range(min(len(dataset), _READ_TWICE)):
            if not torch.equal(self._item(row).nan_to_num(), self._item(row).nan_to_num()):
                raise ValueError(
                    f"row {row} of {self.title} is another one at each reading; expected rows that stay as they are: "
                    "give random changes to fit_svi, as train_transform, which takes a batch."
                )

    def read(self, index: NDArray[np.int64]) -> Tensor:
        """The rows at these positions, float32, in this order.

        Raises:
            OSError: If the data set fails with one.
            ValueError: If it fails otherwise, or an item is no tensor like the first.
        """
        items = [self._item(row) for row in index.tolist()]
        return torch.stack(items).float() if items else torch.empty(0, *self._shape)

    def _item(self, row: int) -> Tensor:
        values = self._values(row)
        if values.shape != self._shape or values.dtype != self._dtype:
            raise ValueError(
                f"row {row} of {self.title} has shape {tuple(values.shape)} and {values.dtype}, row 0 has "
                f"{tuple(self._shape)} and {self._dtype}; all items need one shape and one dtype."
            )
        return values

    def _values(self, row: int) -> Tensor:
        try:
            item = self._dataset[row]
        except OSError as error:
            raise OSError(f"row {row} of {self.title} could not be read: {error}") from error
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise ValueError(f"row {row} of {self.title} could not be read ({reason})") from error
        values = item[0] if isinstance(item, (tuple, list)) and item else item
        if not isinstance(values, Tensor):
            raise ValueError(
                f"row {row} of {self.title} is a {type(values).__name__}; expected a tensor, or a tuple that begins "
                "with one: give the data set a transform, such as torchvision.transforms.ToTensor() for images."
            )
        return values.detach()


class SubsetReader:
    """Some of the rows of another reader.

    Args:
        reader: of all rows.
        positions: which of its rows, in order.
    """

    def __init__(self, reader: RowReader, positions: NDArray[np.int64]) -> None:
        self.title, self.dtype = reader.title, reader.dtype
        self.shape = (len(positions), *reader.shape[1:])
        self._reader, self._positions = reader, positions

    def read(self, index: NDArray[np.int64]) -> Tensor:
        """The rows at these positions of the subset."""
        return self._reader.read(self._positions[index])


def make_reader(source: str | Path | Array | Dataset) -> RowReader:
    """The reader of a .npy file, an array or a data set.

    Raises:
        ValueError: If it is none of these, or cannot be used.
    """
    if np.ma.is_masked(source):
        raise ValueError(
            "rows are to be streamed from a masked array, and what is under its mask would count: give "
            "rows.astype(float).filled(numpy.nan), in which NaN is a missing entry."
        )
    if isinstance(source, np.ndarray):
        return ArrayReader("the array", source)
    if isinstance(source, (str, Path)):
        return ArrayReader(str(source), open_array(Path(source).expanduser()))
    if isinstance(source, Tensor) or not hasattr(source, "__getitem__"):
        raise ValueError(
            f"rows are to be streamed from a {type(source).__name__}; expected the path of a .npy file, a numpy array "
            "or a map-style Dataset. A tensor is in memory already, and taken as it is."
        )
    return DatasetReader(source)


def open_array(path: Path) -> Array:
    """The array of a .npy file, mapped and not read.

    Raises:
        ValueError: If there is no such file, or no array in it.
    """
    if not path.is_file():
        raise ValueError(f"There is no file {str(path)!r}; check the path.")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a damaged file fails in any way
        raise unreadable(path, error) from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise ValueError(
            f"{path} holds an archive of arrays, which cannot be read row by row; save one array with numpy.save."
        )
    return array
