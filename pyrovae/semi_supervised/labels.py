"""What the labels of rows have to be."""

from itertools import islice
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

UNLABELLED = -1
"""The label of a row that has none."""

# So many classes without a row are named in an error.
_NAMED = 10


def as_labels(y: Any, num_rows: int, num_classes: int | None = None, argument: str = "y") -> Tensor:
    """Labels as a tensor of integers, whichever rows have one.

    Args:
        y: integers from 0, ``-1`` for a row without a label, ``(rows,)``; an array, a tensor or a list.
        num_rows: number of rows that they belong to.
        num_classes: labels are below it; None is no limit.
        argument: their name in the caller's signature.

    Returns:
        ``(rows,)``, int64.

    Raises:
        ValueError: labels that are masked or no integers, for another number of rows, or out of range.
    """
    if np.ma.is_masked(y):
        raise ValueError(
            f"{argument} is a masked array, and what is under its mask would count; expected integers from 0, and -1 "
            "for rows without a label: give y.filled(-1)"
        )
    values = y.detach().cpu().numpy() if isinstance(y, Tensor) else np.asarray(y)
    if values.dtype.kind not in "iu":
        raise ValueError(
            f"{argument} holds values of type {values.dtype}; expected integers from 0, and -1 for rows without a "
            f"label: {_way_to_integers(values)}"
        )
    if values.shape != (num_rows,):
        raise ValueError(
            f"{argument} has shape {values.shape} and x {num_rows} rows; expected one label for each row, "
            f"({num_rows},): give -1 to rows without a label"
        )
    too_high = values >= num_classes if num_classes is not None else np.zeros(num_rows, bool)
    outside = (values < UNLABELLED) | too_high
    if outside.any():
        first = int(outside.nonzero()[0][0])
        highest = "" if num_classes is None else f" to {num_classes - 1}"
        raise ValueError(
            f"{argument} is {values[first]} in row {first}, and {int(outside.sum())} labels are out of range; expected "
            f"integers from 0{highest}, and -1 for rows without a label: number the classes from 0"
        )
    return torch.from_numpy(values.astype(np.int64))


def _way_to_integers(values: Any) -> str:
    """What turns labels of another type into integers, and keeps the rows without one apart."""
    if values.dtype.kind == "b":
        return "give np.asarray(y).astype(int)"
    if values.dtype.kind == "f":
        missing = np.isnan(values)
        if (np.trunc(values[~missing]) == values[~missing]).all() and np.isfinite(values[~missing]).all():
            # As a column of whole numbers becomes when some of them are missing.
            return f"give np.{'nan_to_num(y, nan=-1)' if missing.any() else 'asarray(y)'}.astype(int)"
    return (
        "number the classes, y = np.full(len(names), -1); y[known] = np.unique(names[known], return_inverse=True)[1], "
        "with names the array of labels and known true where a row has one"
    )


def check_labels(y: Any, num_rows: int, num_classes: int | None = None) -> tuple[Tensor, int]:
    """Labels that a classifier can be trained with, and the number of classes.

    Args:
        y: integers from 0, ``-1`` for a row without a label, ``(rows,)``; an array, a tensor or a list.
        num_rows: number of rows that they belong to.
        num_classes: number of classes; None is one more than the highest label.

    Returns:
        The labels ``(rows,)``, int64, and the number of classes.

    Raises:
        ValueError: labels that ``as_labels`` refuses, no labelled row, a class without one, fewer than two classes.

    Example:
        >>> check_labels([0, -1, 1, 0, -1], num_rows=5)
        (tensor([ 0, -1,  1,  0, -1]), 2)
    """
    if num_classes is not None and (isinstance(num_classes, bool) or not isinstance(num_classes, Integral)):
        raise ValueError(f"num_classes is {num_classes!r}; expected an integer, 2 or more, or None to count them")
    labels = as_labels(y, num_rows, num_classes)
    known = labels[labels != UNLABELLED]
    if not len(known):
        raise ValueError(
            f"none of the {num_rows} rows has a label, all of y is -1; expected some labelled rows of each class: "
            "label a few, or use a model that needs no labels, such as pyrovae.VAE"
        )
    present = set(known.unique().tolist())
    expected = range(int(num_classes) if num_classes is not None else max(present) + 1)
    if len(expected) < 2:
        given = f"num_classes is {num_classes}" if num_classes is not None else "all labelled rows have the label 0"
        raise ValueError(
            f"{given}; expected two or more classes: with one class there is nothing to tell apart, so label rows of "
            "another class too"
        )
    if len(present) < len(expected):
        # Labels that are numbers of something else leave out millions.
        first = list(islice((label for label in expected if label not in present), _NAMED))
        others = len(expected) - len(present) - len(first)
        raise ValueError(
            f"no row is labelled {', '.join(map(str, first))}{f' and {others:,} others' if others else ''}, of the "
            f"classes 0 to {expected[-1]}; expected a labelled row of every class: label one of each, or number the "
            "classes without gaps"
        )
    return labels, len(expected)
