"""Data sets known by name."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from pyrovae.data.source import Rows, Source

# The class in torchvision is also the name of its folder below the root.
TORCHVISION_CLASSES = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}
NAMES = ("digits", *TORCHVISION_CLASSES)

RAW_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


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
    """Read MNIST or Fashion-MNIST with their official test set.

    Args:
        name: A key of `TORCHVISION_CLASSES`.
        root: Folder that holds `MNIST/raw` or `FashionMNIST/raw`.
        download: Fetch the files if one of them is missing.

    Raises:
        ValueError: If the files are missing and cannot be fetched, or cannot be read.
    """
    import torchvision.datasets

    dataset_class = getattr(torchvision.datasets, TORCHVISION_CLASSES[name])
    raw = root / TORCHVISION_CLASSES[name] / "raw"
    missing = [file for file in RAW_FILES if not (raw / file).is_file()]
    if missing:
        _fetch(name, dataset_class, root, raw, missing, download)
    try:
        parts = [dataset_class(root, train=train, download=False) for train in (True, False)]
    # A cut-off file fails in torchvision in any of these ways, depending on where it ends.
    except (AssertionError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{name}: the files in {raw} cannot be read ({_one_line(error)}); "
            "delete that folder and load again, or put whole files there."
        ) from error
    rows = []
    for part, images, labels in zip(parts, RAW_FILES[::2], RAW_FILES[1::2], strict=True):
        if len(part.data) != len(part.targets):
            raise ValueError(
                f"{name}: {raw / images} holds {len(part.data)} rows, but {labels} holds {len(part.targets)} "
                "labels; put the two files there that belong together."
            )
        rows.append(Rows(part.data.unsqueeze(1).float() / 255, part.targets.long()))
    train, test = rows
    return Source(name, "intensities / 255 in [0, 1]", train, test=test)


def _fetch(name: str, dataset_class: type, root: Path, raw: Path, missing: list[str], download: bool) -> None:
    repair = (
        f"Put {', '.join(RAW_FILES)} into that folder, "
        f"or pass root= (--data-root) with the folder that holds {raw.parent.name}/raw."
    )
    if not download:
        raise ValueError(f"{name}: {raw} lacks {', '.join(missing)}, and download is off. {repair}")
    try:
        dataset_class(root, train=True, download=True)
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"{name}: {raw} lacks {', '.join(missing)}, and the download failed ({_one_line(error)}). {repair}"
        ) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
