"""The three splits of a data set: how rows are dealt to them, and what identifies them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pyrovae.data.source import Rows, Source

Support = Literal["binary", "unit_interval", "count", "real"]


@dataclass(frozen=True, eq=False)
class DataSplits:
    """Training, validation and test rows of one data set.

    Args:
        train: Float32 values, shape (rows, *data_shape).
        validation: As `train`.
        test: As `train`.
        train_labels: Int64 labels, shape (rows,), or None.
        validation_labels: As `train_labels`.
        test_labels: As `train_labels`.
        support: The values a likelihood sees; "binary" also when they are binarised at every step.
        name: Name of the data set or of the user's file.
        variant: What the values are, e.g. "thresholded at 0.5".
        seed: Seed of the split and of the binarisation.
        train_transform: Applied to every training batch before the model sees it, or None.

    Example:
        >>> from pyrovae import data
        >>> digits = data.load_data("digits", binarize="dynamic")
        >>> batch = digits.train_transform(digits.train[:2])
        >>> batch.shape
        torch.Size([2, 1, 8, 8])
    """

    train: Tensor
    validation: Tensor
    test: Tensor
    train_labels: Tensor | None
    validation_labels: Tensor | None
    test_labels: Tensor | None
    support: Support
    name: str
    variant: str
    seed: int
    train_transform: Callable[[Tensor], Tensor] | None = None

    @property
    def data_shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return tuple(self.train.shape[1:])

    @property
    def checksum(self) -> str:
        """Sha256 over shapes, dtypes and bytes of the three splits as they stand."""
        digest = hashlib.sha256()
        for split in (self.train, self.validation, self.test):
            digest.update(f"{tuple(split.shape)} {split.dtype} ".encode())
            digest.update(split.detach().cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def __repr__(self) -> str:
        rows = f"{len(self.train)} + {len(self.validation)} + {len(self.test)} rows"
        return f"DataSplits({self.name!r}, {rows} of shape {self.data_shape}, {self.variant})"

    def summary(self) -> str:
        """Describe the data in a few aligned lines.

        Example:
            >>> from pyrovae import data
            >>> print(data.load_data("digits").summary())
            data        digits
            values      intensities / 16 in [0, 1]
            shape       (1, 8, 8)
            support     unit_interval, from 0 to 1
            rows        1437 train, 180 validation, 180 test
            checksum    ...
        """
        splits = (self.train, self.validation, self.test)
        lowest = min(float(split.min()) for split in splits)
        highest = max(float(split.max()) for split in splits)
        rows = f"{len(self.train)} train, {len(self.validation)} validation, {len(self.test)} test"
        lines = {
            "data": self.name,
            "values": self.variant,
            "shape": str(self.data_shape),
            "support": f"{self.support}, from {lowest:g} to {highest:g}",
            "rows": rows,
            "checksum": self.checksum[:12],
        }
        return "\n".join(f"{title:<12}{text}" for title, text in lines.items())

    def provenance(self) -> dict[str, object]:
        """Return what a result file needs to say which data it is about, as plain JSON values.

        Example:
            >>> from pyrovae import data
            >>> data.load_data("digits").provenance()["rows"]
            {'train': 1437, 'validation': 180, 'test': 180}
        """
        return {
            "name": self.name,
            "variant": self.variant,
            "seed": self.seed,
            "checksum": self.checksum,
            "rows": {"train": len(self.train), "validation": len(self.validation), "test": len(self.test)},
            "data_shape": list(self.data_shape),
            "support": self.support,
        }


def split_rows(
    source: Source, validation_fraction: float, test_fraction: float, generator: torch.Generator
) -> tuple[Rows, Rows, Rows]:
    """Deal a source's rows to training, validation and test.

    Args:
        source: The data as read; parts it sets apart are kept.
        validation_fraction: Part of `source.train` drawn for validation, in (0, 1).
        test_fraction: Part of `source.train` drawn for test, in (0, 1).
        generator: Random source of the draw.

    Raises:
        ValueError: If there are too few rows for one in every split.
    """
    if source.validation is not None and source.test is not None:
        return source.train, source.validation, source.test
    total = len(source.train)
    needed = 3 if source.test is None else 2
    if total < needed:
        asked = "training, validation and test" if source.test is None else "training and validation"
        raise ValueError(
            f"{source.name}: {total} row{'' if total == 1 else 's'} cannot be split into {asked}; "
            f"at least {needed} rows are needed, so give more rows."
        )
    order = torch.randperm(total, generator=generator)
    test_rows = 0 if source.test is not None else _share(total, test_fraction, total - 2)
    validation_rows = _share(total, validation_fraction, total - test_rows - 1)
    train_rows = total - validation_rows - test_rows
    train, validation, test = order.split([train_rows, validation_rows, test_rows])
    return (
        source.train.take(train),
        source.train.take(validation),
        source.train.take(test) if source.test is None else source.test,
    )


def support_of(*splits: Tensor) -> Support:
    """Find the smallest support that holds every value."""
    if all(bool(((split == 0) | (split == 1)).all()) for split in splits):
        return "binary"
    if all(bool(((split >= 0) & (split <= 1)).all()) for split in splits):
        return "unit_interval"
    if all(bool(((split >= 0) & (split == split.round())).all()) for split in splits):
        return "count"
    return "real"


def _share(total: int, fraction: float, most: int) -> int:
    return min(max(1, round(total * fraction)), most)
