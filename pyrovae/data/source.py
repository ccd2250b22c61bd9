"""What a reader hands over: rows with their labels, not yet split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from pyrovae.data.streaming import AnyRows, taken


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows that belong together, with their labels.

    Args:
        values: Float32 values, shape (rows, *data_shape), in memory or streamed.
        labels: Int64 labels, shape (rows,), or None.
    """

    values: AnyRows
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.values)

    def take(self, index: Tensor) -> Rows:
        """Return the rows at the given positions."""
        return Rows(taken(self.values, index), None if self.labels is None else self.labels[index])


@dataclass(frozen=True, eq=False)
class Source:
    """A data set as it was read; a part that is None is still to be drawn from `train`.

    Args:
        name: Short name, e.g. "digits" or the file's name.
        variant: What the values are, e.g. "intensities / 16 in [0, 1]".
        train: Rows for training, or all rows.
        validation: Validation rows the source itself sets apart.
        test: Test rows the source itself sets apart.
        column_names: Names of the columns of a table, or None.
        column_kinds: Kinds of the columns, where they were asked for.
        categories: By the name of a column, what its numbers 0, 1, ... stand for.
        label_names: What the labels 0, 1, ... stand for; empty where they are numbers alone.
        left_out: Names of the arrays of a file that were not read.
        divided: Whether values are bytes divided by 255; None where they are no bytes, and may have any scale.
    """

    name: str
    variant: str
    train: Rows
    validation: Rows | None = None
    test: Rows | None = None
    column_names: tuple[str, ...] | None = None
    column_kinds: tuple[str, ...] | None = None
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    label_names: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    divided: bool | None = None
