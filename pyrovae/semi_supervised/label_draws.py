"""Which rows of a data set are to be labelled."""

import torch
import torch.nn.functional as F
from torch import Tensor

from pyrovae.semi_supervised.labels import UNLABELLED


def count_labels(asked: float, labels: Tensor) -> int:
    """The number of labels that is meant by a number or a fraction.

    Args:
        asked: a whole number of rows, or below 1 the fraction of the rows with labels.
        labels: those of all rows ``(rows,)``, -1 for rows without one.

    Raises:
        ValueError: neither a whole number nor a fraction, more than there are, fewer than one for each class.

    Example:
        >>> labels = torch.tensor([0, 1] * 50)
        >>> count_labels(10, labels), count_labels(0.8, labels)
        (10, 80)
    """
    known = labels[labels != UNLABELLED]
    num_classes = len(known.unique())
    if asked >= 1 and not float(asked).is_integer():
        raise ValueError(f"labels is {asked:g}; expected a whole number of rows, or a fraction of them below 1")
    count = round(asked * len(known)) if asked < 1 else int(asked)
    if count > len(known):
        raise ValueError(f"labels is {count:,}, and {len(known):,} training rows have one: give at most {len(known):,}")
    if count < num_classes:
        meant = f"{asked:g}" if asked >= 1 else f"{asked:g}, {count} of {len(known):,} rows"
        raise ValueError(
            f"labels is {meant}, and there are {num_classes} classes; expected one of each or more: give at least "
            f"{num_classes}"
        )
    return count


def draw_labels(labels: Tensor, count: int, seed: int) -> Tensor:
    """Hide all labels but some, of each class the same number, give or take one.

    Where a class has too few rows, others have more. With one seed, fewer labels are a part of more.

    Args:
        labels: those of all rows ``(rows,)``, -1 for rows without one.
        count: number of labels to keep.
        seed: of the draw; the global generators stay as they are.

    Returns:
        ``(rows,)``, -1 for rows whose label is hidden.

    Example:
        >>> known = draw_labels(torch.tensor([0, 1] * 50), 10, seed=0)
        >>> [int((known == label).sum()) for label in (0, 1)]
        [5, 5]
    """
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    order = order[labels[order] != UNLABELLED]
    shuffled = labels[order]
    # The first row of each class, then the second of each, and so on.
    rank = F.one_hot(shuffled).cumsum(0)[torch.arange(len(order)), shuffled]
    chosen = order[rank.argsort(stable=True)[:count]]
    known = torch.full_like(labels, UNLABELLED)
    known[chosen] = labels[chosen]
    return known
