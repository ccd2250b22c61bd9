"""What the numbers of a table's categorical columns stand for, and those of binary columns of two words."""

from typing import Any

from torch import nn

from pyrovae.data import AnyRows, DataSplits, num_categories


def levels_of(data: DataSplits[AnyRows]) -> dict[str, list[str]]:
    """By the name of each such column what its numbers stand for; a category without a name has its number."""
    return {**_words_of_binary(data), **_categories_of(data)}


def levels_of_reconstructions(module: nn.Module | None, data: DataSplits[AnyRows]) -> dict[str, list[str]]:
    """``levels_of_means``, and the two words of binary columns, between which a mean lies."""
    return {**_words_of_binary(data), **levels_of_means(module, data)}


def levels_of_means(module: nn.Module | None, data: DataSplits[AnyRows]) -> dict[str, list[str]]:
    """Those that the mean of p(x|z) has: of categories, under a likelihood that is told which columns have them.

    Others have a mean of the numbers, which is no category, and so have binary columns.
    """
    likelihood: Any = getattr(module, "likelihood", None)
    while hasattr(likelihood, "likelihood"):
        likelihood = likelihood.likelihood
    return _categories_of(data) if hasattr(likelihood, "column_kinds") else {}


def _categories_of(data: DataSplits[AnyRows]) -> dict[str, list[str]]:
    counts = {name: count for name, kind in _kinds(data).items() if (count := num_categories(kind)) is not None}
    return {name: list(data.categories.get(name) or map(str, range(count))) for name, count in counts.items()}


def _words_of_binary(data: DataSplits[AnyRows]) -> dict[str, list[str]]:
    kinds = _kinds(data)
    return {name: list(words) for name, words in data.categories.items() if kinds.get(name) == "binary"}


def _kinds(data: DataSplits[AnyRows]) -> dict[str, str]:
    return dict(zip(data.column_names or (), data.column_kinds or (), strict=False))


def of_categories(module: nn.Module | None, data: DataSplits[AnyRows]) -> str:
    """What a title on the mean of p(x|z) adds where it has the most probable category of some columns."""
    return "; of categories the most probable one" if levels_of_means(module, data) else ""
