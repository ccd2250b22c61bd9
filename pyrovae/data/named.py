"""Data sets known by name."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyrovae.data.source import Rows, Source


@dataclass(frozen=True)
class _Known:
    """A data set of torchvision: its class there, and its files below the root."""

    class_name: str
    folder: str
    files: tuple[str, ...]


RAW_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
CIFAR_FILES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta")
_KNOWN = {
    "mnist": _Known("MNIST", "MNIST/raw", RAW_FILES),
    "fashion-mnist": _Known("FashionMNIST", "FashionMNIST/raw", RAW_FILES),
    "cifar10": _Known("CIFAR10", "cifar-10-batches-py", CIFAR_FILES),
}
NAMES = ("digits", *_KNOWN)
"""Data sets that ``load_data`` knows by name."""

BINARIZED = ("digits", "mnist", "fashion-mnist")
"""Sets of grey images that the field makes bits of."""


def read_digits() -> Source:
    """Read the 1,797 handwritten digits that come with scikit-learn."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    values = torch.from_numpy(digits.images).float().unsqueeze(1) / 16
    return Source("digits", "intensities / 16 in [0, 1]", Rows(values, torch.from_numpy(digits.target).long()))


def data_root(root: str | Path | None) -> Path:
    """Return the folder that holds the named data sets."""
    if root is None:
        root = os.environ.get("PYROVAE_DATA_ROOT") or "~/.cache/pyrovae"
    return Path(root).expanduser()


def read_torchvision(name: str, root: Path, download: bool) -> Source:
    """Read MNIST, Fashion-MNIST or CIFAR-10 with their official test set.

    Args:
        name: One of `NAMES` but "digits".
        root: Folder that holds `MNIST/raw`, `FashionMNIST/raw` or `cifar-10-batches-py`.
        download: Fetch the files if one of them is missing.

    Raises:
        ValueError: If the files are missing and cannot be fetched, or cannot be read.
    """
    import torchvision.datasets

    known = _KNOWN[name]
    dataset_class = getattr(torchvision.datasets, known.class_name)
    folder = root / known.folder
    missing = [file for file in known.files if not (folder / file).is_file()]
    if missing:
        _fetch(name, dataset_class, root, missing, download)
    try:
        parts = [dataset_class(root, train=train, download=False) for train in (True, False)]
    except Exception as error:  # a damaged file fails in torchvision in any way, depending on where it ends
        raise ValueError(
            f"{name}: the files in {folder} cannot be read ({_one_line(error)}); "
            "delete that folder and load again, or put whole files there."
        ) from error
    # Only a set with files for labels of their own can have another number of them.
    for part, images, labels in zip(parts, known.files[::2], known.files[1::2], strict=False):
        if len(part.data) != len(part.targets):
            raise ValueError(
                f"{name}: {folder / images} holds {len(part.data)} rows, but {labels} holds {len(part.targets)} "
                "labels; put the two files there that belong together."
            )
    train, test = (Rows(_images(part.data), torch.as_tensor(part.targets).long()) for part in parts)
    return Source(name, "intensities / 255 in [0, 1]", train, test=test, divided=True)


def _images(values: Any) -> Tensor:
    """Images ``(rows, channels, height, width)`` in [0, 1], of bytes with the channels last or not there."""
    tensor = torch.as_tensor(values)
    channels_first = tensor.unsqueeze(1) if tensor.dim() == 3 else tensor.movedim(-1, 1)
    return channels_first.float() / 255


def _fetch(name: str, dataset_class: type, root: Path, missing: list[str], download: bool) -> None:
    known = _KNOWN[name]
    folder = root / known.folder
    repair = (
        f"Put {', '.join(known.files)} into that folder, "
        f"or pass root= (--data-root) with the folder that holds {known.folder}."
    )
    if not download:
        raise ValueError(f"{name}: {folder} lacks {', '.join(missing)}, and download is off. {repair}")
    try:
        dataset_class(root, train=True, download=True)
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"{name}: {folder} lacks {', '.join(missing)}, and the download failed ({_one_line(error)}). {repair}"
        ) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
