"""What is known of each row beside its values: a class, or some columns of a table."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pyrovae.data.columns import num_categories
from pyrovae.data.facts import support_of
from pyrovae.data.splits import DataSplits
from pyrovae.data.streaming import AnyRows, all_in_memory


@dataclass(frozen=True, eq=False)
class Covariates:
    """Numbers c that are known of each row, for a model of x given c.

    Args:
        kinds: By the name of each number its kind, "real", "count" or "binary"; a class or a category is as many
            "binary" ones as it has values, one of them 1.
        train: Covariates of the training rows, shape (rows, len(kinds)).
        validation: As `train`.
        test: As `train`.
    """

    kinds: dict[str, str]
    train: Tensor
    validation: Tensor
    test: Tensor

    @property
    def checksum(self) -> str:
        """Sha256 over the names and the numbers of the three splits."""
        digest = hashlib.sha256(repr(self.kinds).encode())
        for split in (self.train, self.validation, self.test):
            digest.update(split.contiguous().numpy().data)
        return digest.hexdigest()


def label_covariates(data: DataSplits[AnyRows], known: Sequence[str] | None = None) -> Covariates:
    """The label of each row, as a one-hot vector.

    Args:
        data: Rows with labels.
        known: Names of the labels that a model knows, "label=0" or "label=cat" and so on; None takes those of the
            data.

    Raises:
        ValueError: If there are no labels, only one, one that is negative or that no training row has, or one that is
            not known.

    Example:
        >>> from pyrovae.data import load_data
        >>> label_covariates(load_data("digits")).train.shape
        torch.Size([1437, 10])
    """
    splits = (data.train_labels, data.validation_labels, data.test_labels)
    labels = [split for split in splits if split is not None]
    if len(labels) < len(splits):
        raise ValueError(
            f"{data.name} has no labels to condition on: give data with labels, a column 'label' in a .csv file, or "
            "labels in a .npz file; or take other columns by --condition-columns"
        )
    present = torch.cat(labels).unique().tolist()
    if present[0] < 0:
        raise ValueError(f"{data.name} has rows with the label {present[0]}; expected a class number from 0 for each")
    # Folders of other data may be some of those of a model, and so have other numbers.
    numbers = {data.label_names[number] if data.label_names else str(number): number for number in present}
    classes = list(numbers) if known is None else [name.removeprefix("label=") for name in known]
    if len(classes) == 1:
        raise ValueError(f"{data.name} has one label, {classes[0]}, on all rows: it says nothing of them; fit a VAE")
    in_training = labels[0].unique().tolist()
    without = [
        name for name, number in numbers.items() if (name not in classes if known else number not in in_training)
    ]
    if without:
        those = f" ({', '.join(classes)})" if known else ""
        raise ValueError(
            f"{data.name} has rows with the label {without[0]}, which no training row has{those}: leave them out, or "
            "give training rows of this label"
        )
    # No row has the number -1.
    one_hot = torch.tensor([numbers.get(name, -1) for name in classes])
    train, validation, test = ((split[:, None] == one_hot).float() for split in labels)
    return Covariates(dict.fromkeys((f"label={name}" for name in classes), "binary"), train, validation, test)


def column_covariates(data: DataSplits[AnyRows], names: Sequence[str]) -> tuple[DataSplits[AnyRows], Covariates]:
    """Some columns of a table as covariates, and the rows without them.

    Args:
        data: A table with names of its columns.
        names: The columns that are known; one of categories becomes a one-hot vector.

    Raises:
        ValueError: If the table has no names, not these columns, or no others, or lacks cells of these.
    """
    own = data.column_names
    if own is None or len(data.train.shape) != 2:
        raise ValueError(
            f"{data.name} has no named columns to condition on: give a .csv file whose first line names its columns"
        )
    for name in names:
        if name not in own:
            raise ValueError(f"{data.name} has no column {name!r}; its columns are {', '.join(own)}")
    if len(set(names)) < len(names):
        raise ValueError(f"a column is named twice among {', '.join(names)}; give each once")
    rest = [position for position, name in enumerate(own) if name not in names]
    if not rest:
        raise ValueError(f"all columns of {data.name} are conditioned on, and none is left to be x; leave one out")
    column_kinds = data.column_kinds or ("real",) * len(own)
    kinds: dict[str, str] = {}
    for name in names:
        kind = column_kinds[own.index(name)]
        values = data.categories.get(name) or range(num_categories(kind) or 0)
        kinds |= {f"{name}={value}": "binary" for value in values} or {name: kind}
    splits = [all_in_memory(split, data.name) for split in (data.train, data.validation, data.test)]
    for name in names:
        if absent := sum(int(split[:, own.index(name)].isnan().sum()) for split in splits):
            raise ValueError(
                f"{data.name} lacks {absent} cell{'' if absent == 1 else 's'} of column {name!r}, which is conditioned "
                "on and has to be known of each row: leave such rows out, or fill the cells"
            )
    known = [torch.cat([_numbers(split, own.index(n), column_kinds) for n in names], 1) for split in splits]
    left = [split[:, rest] for split in splits]
    without = dataclasses.replace(
        data,
        train=left[0],
        validation=left[1],
        test=left[2],
        support=support_of(*left),
        column_names=tuple(own[position] for position in rest),
        column_kinds=data.column_kinds and tuple(data.column_kinds[position] for position in rest),
        categories={name: levels for name, levels in data.categories.items() if name not in names},
    )
    return without, Covariates(kinds, *known)


def _numbers(rows: Tensor, position: int, column_kinds: Sequence[str]) -> Tensor:
    """A column as numbers ``(rows, numbers)``, its categories one-hot."""
    column = rows[:, position]
    categories = num_categories(column_kinds[position])
    if categories is None:
        return column[:, None]
    return torch.nn.functional.one_hot(column.long(), categories).to(rows)
