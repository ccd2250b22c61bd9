"""What the numbers of a table's categorical columns stand for."""

from typing import Any

from torch import nn

from pyrovae.data import AnyRows, DataSplits, num_categories


def levels_of(data: DataSplits[AnyRows]) -> dict[str, list[str]]:
    """By the name of each categorical column what its numbers 0, 1, ... stand for; the numbers where it is not said."""
    kinds = dict(zip(data.column_names or (), data.column_kinds or (), strict=False))
    counts = {name: count for name, kind in kinds.items() if (count := num_categories(kind)) is not None}
    return {name: list(data.categories.get(name) or map(str, range(count))) for name, count in counts.items()}


def levels_of_means(module: nn.Module | None, data: DataSplits[AnyRows]) -> dict[str, list[str]]:
    """``levels_of`` where the mean of p(x|z) has them: under a likelihood that is told which columns are categorical.

    Others have a mean of the numbers, which is no category.
    """
    likelihood: Any = getattr(module, "likelihood", None)
    while hasattr(likelihood, "likelihood"):
        likelihood = likelihood.likelihood
    return levels_of(data) if hasattr(likelihood, "column_kinds") else {}


def of_categories(module: nn.Module | None, data: DataSplits[AnyRows]) -> str:
    """What a title on the mean of p(x|z) adds where it has the most probable category of some columns."""
    return "; of categories the most probable one" if levels_of_means(module, data) else ""
