"""Loading a data set by name or path."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Literal, get_args, overload

import torch
from torch import Tensor

from pyrovae.data.binarize import CHOICES, Binarize, binarize_splits, binarized_variant, draw_bits
from pyrovae.data.conversion import way_to_tensor
from pyrovae.data.facts import Support, support_of
from pyrovae.data.files import read_npy, read_npz, stream_npy
from pyrovae.data.images import read_image_folder
from pyrovae.data.named import NAMES, data_root, read_digits, read_torchvision
from pyrovae.data.source import Source
from pyrovae.data.splits import DataSplits, split_rows
from pyrovae.data.streaming import AnyRows
from pyrovae.data.tables import read_csv
from pyrovae.data.typed import ColumnsAsked, KnownColumns, Missing

_ARRAYS = {".npy": read_npy, ".npz": read_npz}
_ENDINGS = (*_ARRAYS, ".csv")


@overload
def load_data(
    name_or_path: str | Path,
    *,
    root: str | Path | None = ...,
    binarize: Binarize = ...,
    missing: Missing = ...,
    columns: ColumnsAsked | None = ...,
    known_columns: KnownColumns | None = ...,
    divided: bool | None = ...,
    seed: int = ...,
    validation_fraction: float = ...,
    test_fraction: float = ...,
    download: bool = ...,
    stream: Literal[False] = ...,
) -> DataSplits[Tensor]: ...


@overload
def load_data(
    name_or_path: str | Path,
    *,
    root: str | Path | None = ...,
    binarize: Binarize = ...,
    missing: Missing = ...,
    columns: ColumnsAsked | None = ...,
    known_columns: KnownColumns | None = ...,
    divided: bool | None = ...,
    seed: int = ...,
    validation_fraction: float = ...,
    test_fraction: float = ...,
    download: bool = ...,
    stream: bool,
) -> DataSplits[AnyRows]: ...


def load_data(
    name_or_path: str | Path,
    *,
    root: str | Path | None = None,
    binarize: Binarize = "none",
    missing: Missing = "refuse",
    columns: ColumnsAsked | None = None,
    known_columns: KnownColumns | None = None,
    divided: bool | None = None,
    seed: int = 0,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
    download: bool = True,
    stream: bool = False,
) -> DataSplits[Any]:
    """Load a data set and split it into training, validation and test rows.

    The same arguments give the same splits; the global random state stays as it is.

    Args:
        name_or_path: "digits", "mnist", "fashion-mnist" or "cifar10"; or the path of a .npy, .npz or .csv file or of a
            folder of images. A name goes before a path; write "./digits" for a folder of that name.
            Tables have shape (N, D); images (N, H, W) or (N, C, H, W) with 1 or 3 channels, and are divided
            by 255 if they are uint8 and hold more than 0 and 1. A .npz file holds one array; or "data" or
            "x" with "labels" or "y"; or "train" and "test" with "validation" and "train_labels" and so on.
            A .csv file may have a header and a column "label". Folders inside an image folder are classes,
            whose names come back as `label_names`; photos are turned as their camera noted.
        root: Folder that holds `MNIST/raw`, `FashionMNIST/raw` and `cifar-10-batches-py`; by default the environment
            variable PYROVAE_DATA_ROOT, else `~/.cache/pyrovae`.
        binarize: What to do with values in [0, 1]: "none"; "threshold", 1 where a value is above 0.5;
            "static", one Bernoulli draw of every value; "dynamic", training values stay and are drawn anew
            by `train_transform`, validation and test values are drawn once, the same as with "static".
        missing: What to do with empty, blank and NA cells of a .csv file and NaN in arrays: "refuse" them; or "keep"
            them as NaN, which marks a missing entry for the parts that take them, `likelihoods.PartlyObserved` and
            `posteriors.PartlyObserved`.
        columns: Kinds of the columns of a table, by name, in their order or one word for all: "real", "count", "binary"
            (0 or 1, or two words), "categorical" (any values, also words, which are numbered from 0 in their order)
            or "categorical(k)" (0 to k - 1). Columns that a mapping does not name are real. Without a header the
            names are "1", "2" and so on. They come back as `column_kinds`, with numbers of categories counted
            over all rows, for `likelihoods.Columns`; what the numbers stand for as `categories`. None takes the kinds
            of `known_columns`, if there are any.
        known_columns: The columns of a table that a model was fitted to, of which these are new rows: numbers mean the
            levels that they meant there, and columns come in the order that they had there. A stored run has them
            as `load(folder).known_columns`. None for a table of its own, whose levels are numbered anew.
        divided: Whether uint8 images of a .npy or .npz file are divided by 255; None divides those that hold more than
            0 and 1. For new rows of a model give `divided` of the rows that it was fitted to: of these a dark image
            may hold 0 and 1 alone.
        seed: Seed of the split and of the binarisation, a whole number from 0.
        validation_fraction: Part of the rows for validation, in (0, 1). Where a test set is given, it is a
            part of the other rows; where a validation set is given too, it does not apply.
        test_fraction: Part of the rows for test, in (0, 1). It does not apply where a test set is given:
            for "mnist", "fashion-mnist", "cifar10" and .npz files with "test". 1 is for new rows of a model that is
            fitted: all are test rows, in their order, and none are for training and validation.
        download: Fetch the files of "mnist", "fashion-mnist" or "cifar10" if they are not there.
        stream: Read the rows of a .npy file when they are needed, for data larger than memory. The splits are then
            `StreamedRows`, of the same rows as in memory. Once all rows are gone over in the order of the file, to
            check them. Only values as they are stored can be streamed, without `binarize` and `columns`.

    Returns:
        The splits, at least one row in each unless all are test rows.

    Raises:
        ValueError: If there is no such data, it cannot be used, or an argument is out of range.

    Example:
        >>> from pyrovae.data import load_data
        >>> digits = load_data("digits", binarize="threshold")
        >>> digits.train.shape
        torch.Size([1437, 1, 8, 8])
        >>> digits.support
        'binary'
    """
    if not isinstance(name_or_path, str | Path):
        repair = (
            "save the table by its to_csv(path, index=False)"
            if hasattr(name_or_path, "to_csv")
            else f"save the rows by numpy.save, or give them to fit_svi, as {way_to_tensor('rows', name_or_path)}"
        )
        raise ValueError(f"load_data takes a name or the path of a file, not {type(name_or_path).__name__}: {repair}")
    _check_choices(binarize, missing, seed)
    _check_name(str(name_or_path))
    _check_fraction("validation_fraction", validation_fraction)
    if test_fraction is True or test_fraction != 1:
        _check_fraction("test_fraction", test_fraction)
    if columns is None and known_columns is not None:
        columns = known_columns.kinds
    if stream:
        source = _stream(name_or_path, binarize, missing, columns, divided)
    else:
        source = _read(name_or_path, root, download, missing, columns, known_columns, divided)
    if source.test is None and test_fraction != 1 and validation_fraction + test_fraction >= 1:
        raise ValueError(
            f"validation_fraction={validation_fraction} and test_fraction={test_fraction} leave no rows for "
            "training; their sum must be below 1, for example 0.1 and 0.1."
        )
    generator = torch.Generator().manual_seed(seed)
    train, validation, test = split_rows(source, validation_fraction, test_fraction, generator)
    values = binarize_splits(source.name, train.values, validation.values, test.values, binarize, generator)
    return DataSplits(
        *values,
        train_labels=train.labels,
        validation_labels=validation.labels,
        test_labels=test.labels,
        # Values are those of the source then, which is read fastest in its own order.
        support=_support(source) if binarize == "none" else "binary",
        name=source.name,
        variant=source.variant if binarize == "none" else binarized_variant(binarize, seed),
        seed=seed,
        train_transform=draw_bits if binarize == "dynamic" else None,
        column_kinds=source.column_kinds,
        column_names=source.column_names,
        categories=source.categories,
        label_names=source.label_names,
        left_out=source.left_out,
        divided=source.divided,
    )


def _check_choices(binarize: str, missing: str, seed: int) -> None:
    if binarize not in CHOICES:
        raise ValueError(f"binarize={binarize!r} is unknown; use one of {', '.join(map(repr, CHOICES))}.")
    if missing not in get_args(Missing):
        raise ValueError(f"missing={missing!r} is unknown; use one of {', '.join(map(repr, get_args(Missing)))}.")
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed={seed} is out of range; use a whole number from 0 to 2**63 - 1.")


def _check_name(name: str) -> None:
    """Refuse paths that cannot be one, or that no text can name."""
    try:
        name.encode()
        Path(name).expanduser()
    except UnicodeEncodeError as error:
        raise ValueError(f"the name {name!r} is not UTF-8, so that no report can give it; rename the file.") from error
    except RuntimeError as error:
        raise ValueError(f"{name}: there is no such home folder; write out the path.") from error


def _check_fraction(argument: str, fraction: float) -> None:
    if not 0 < fraction < 1:
        raise ValueError(f"{argument}={fraction} is out of range; use a number between 0 and 1, such as 0.1.")


def _read(
    name_or_path: str | Path,
    root: str | Path | None,
    download: bool,
    missing: Missing,
    columns: ColumnsAsked | None,
    known: KnownColumns | None,
    divided: bool | None,
) -> Source:
    path = Path(name_or_path).expanduser()
    if columns is not None and (name_or_path in NAMES or path.is_dir()):
        raise ValueError(f"columns is for tables, and {name_or_path} holds images; leave it out.")
    if name_or_path == "digits":
        return read_digits()
    if isinstance(name_or_path, str) and name_or_path in NAMES:
        return read_torchvision(name_or_path, data_root(root), download)
    ending = path.suffix.lower()
    # An empty name is no path, though `Path` takes it for the current folder.
    if name_or_path and path.is_dir():
        return read_image_folder(path)
    if not path.is_file():
        raise _not_found(str(name_or_path))
    if ending not in _ENDINGS:
        raise ValueError(
            f"{path} ends in {path.suffix or 'nothing'!r}, which is not supported; "
            "expected a file ending in .npy, .npz or .csv, or a folder of images. Convert it to one of these."
        )
    if ending == ".csv":
        return read_csv(path, missing, columns, known)
    return _ARRAYS[ending](path, missing, columns, known, divided)


def _stream(
    name_or_path: str | Path, binarize: str, missing: Missing, columns: ColumnsAsked | None, divided: bool | None
) -> Source:
    path = Path(name_or_path).expanduser()
    if name_or_path in NAMES or path.is_dir() or (path.is_file() and path.suffix.lower() != ".npy"):
        raise ValueError(
            f"stream=True (--stream) reads rows of a .npy file when they are needed, and {name_or_path} is none: leave "
            "it out, or save the rows as one array with numpy.save."
        )
    if not path.is_file():
        raise _not_found(str(name_or_path))
    if binarize != "none":
        raise ValueError(
            f"stream=True (--stream) takes values as they are stored, and binarize={binarize!r} (--binarize "
            f"{binarize}) changes them: leave one of the two out, or write the bits to the file."
        )
    if columns is not None:
        raise ValueError(
            "stream=True (--stream) takes values as they are stored, and columns (--columns) numbers the categories of "
            "all rows: leave one of the two out."
        )
    return stream_npy(path, missing, divided)


def _support(source: Source) -> Support:
    return support_of(*(part.values for part in (source.train, source.validation, source.test) if part is not None))


def _not_found(given: str) -> ValueError:
    accepted = (
        f"Give one of the names {', '.join(NAMES)}, or the path of a .npy, .npz or .csv file or of a folder of images."
    )
    path = Path(given)
    if path.suffix.lower() in _ENDINGS or len(path.parts) > 1:
        if path.expanduser().is_absolute():
            return ValueError(f"There is no file or folder {given!r}; check the path. {accepted}")
        return ValueError(
            f"There is no file or folder {given!r} in {Path.cwd()}, the current folder; check the path, which for a "
            f"run counts from the folder in which it was fitted. {accepted}"
        )
    near = difflib.get_close_matches(given.lower(), NAMES, n=1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    return ValueError(f"There is no data named {given!r}. {hint}{accepted}")
