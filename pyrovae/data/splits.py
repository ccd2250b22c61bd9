"""The three splits of a data set: how rows are dealt to them, and what identifies them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Generic, TypeVar

import torch
from torch import Tensor

from pyrovae.data.facts import Facts, Support, facts_of, missing_entries
from pyrovae.data.source import Rows, Source
from pyrovae.data.streaming import AnyRows

RowsT = TypeVar("RowsT", bound=AnyRows, covariant=True)


@dataclass(frozen=True, eq=False)
class DataSplits(Generic[RowsT]):
    """Training, validation and test rows of one data set.

    Args:
        train: Float32 values, shape ``(rows, *data_shape)``, a tensor or `StreamedRows`; NaN for a missing entry.
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
        column_kinds: Kinds of a table's columns, where `load_data` was told them: "real", "count", "binary" or
            "categorical(k)".
        column_names: Names of a table's columns, where it has them.
        categories: By the name of a column, what its numbers 0, 1, ... stand for.
        label_names: What the labels 0, 1, ... stand for, the folders of a folder of images; empty where they are
            numbers alone.
        left_out: Names of the arrays of a .npz file that were not read.
        divided: Whether the values of images are bytes divided by 255, which they may be before they are binarised;
            None where they were no bytes, and may have any scale. New rows of a model are loaded in the same way.

    Example:
        >>> from pyrovae import data
        >>> digits = data.load_data("digits", binarize="dynamic")
        >>> batch = digits.train_transform(digits.train[:2])
        >>> batch.shape
        torch.Size([2, 1, 8, 8])
    """

    train: RowsT
    validation: RowsT
    test: RowsT
    train_labels: Tensor | None
    validation_labels: Tensor | None
    test_labels: Tensor | None
    support: Support
    name: str
    variant: str
    seed: int
    train_transform: Callable[[Tensor], Tensor] | None = None
    column_kinds: tuple[str, ...] | None = None
    column_names: tuple[str, ...] | None = None
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    label_names: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    divided: bool | None = None

    @property
    def num_missing(self) -> int:
        """Number of missing entries in the three splits."""
        return sum(missing_entries(split) for split in (self.train, self.validation, self.test))

    @property
    def data_shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return tuple(self.train.shape[1:])

    @property
    def checksum(self) -> str:
        """Sha256 over shapes, dtypes and bytes of the three splits as they stand.

        Streamed rows have that of the same rows in memory; they are read once for it.
        """
        return self._facts().checksum

    def _facts(self) -> Facts:
        if isinstance(self.train, Tensor):
            return facts_of(self.train, self.validation, self.test)
        return self._facts_read

    @cached_property
    def _facts_read(self) -> Facts:
        return facts_of(self.train, self.validation, self.test)

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
        facts = self._facts()
        rows = f"{len(self.train)} train, {len(self.validation)} validation, {len(self.test)} test"
        entries = sum(split.shape.numel() for split in splits)
        kinds = Counter(self.column_kinds or ())
        lines = {
            "data": self.name,
            "values": self.variant,
            "shape": str(self.data_shape),
            "support": f"{self.support}, from {facts.lowest:g} to {facts.highest:g}",
            "rows": rows,
            **({"missing": f"{self.num_missing:,} of {entries:,} entries"} if self.num_missing else {}),
            **({"columns": ", ".join(f"{n} {kind}" for kind, n in kinds.items())} if kinds else {}),
            **({"not read": ", ".join(self.left_out)} if self.left_out else {}),
            "checksum": facts.checksum[:12],
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
            **({"missing": self.num_missing} if self.num_missing else {}),
            **({"column_names": list(self.column_names)} if self.column_names else {}),
            **({"column_kinds": list(self.column_kinds)} if self.column_kinds else {}),
            **(
                {"categories": {name: list(levels) for name, levels in self.categories.items()}}
                if self.categories
                else {}
            ),
            **({"label_names": list(self.label_names)} if self.label_names else {}),
            **({} if self.divided is None else {"divided": self.divided}),
        }


def split_rows(
    source: Source, validation_fraction: float, test_fraction: float, generator: torch.Generator
) -> tuple[Rows, Rows, Rows]:
    """Deal a source's rows to training, validation and test.

    Args:
        source: The data as read; parts it sets apart are kept.
        validation_fraction: Part of `source.train` drawn for validation, in (0, 1).
        test_fraction: Part of `source.train` drawn for test, in (0, 1); or 1, all of it in its order.
        generator: Random source of the draw.

    Raises:
        ValueError: If there are too few rows for one in every split, or all are asked for beside a test set.
    """
    if test_fraction == 1:
        if source.test is not None:
            raise ValueError(f"{source.name} has test rows of its own, so that not all of its rows can be test rows.")
        none = source.train.take(torch.arange(0))
        return none, none, source.train
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


def _share(total: int, fraction: float, most: int) -> int:
    return min(max(1, round(total * fraction)), most)
