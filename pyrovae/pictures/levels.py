"""What the numbers of a table's categorical columns stand for."""

from pyrovae.data import AnyRows, DataSplits, num_categories


def levels_of(data: DataSplits[AnyRows]) -> dict[str, list[str]]:
    """By the name of each categorical column what its numbers 0, 1, ... stand for; the numbers where it is not said."""
    kinds = dict(zip(data.column_names or (), data.column_kinds or (), strict=False))
    counts = {name: count for name, kind in kinds.items() if (count := num_categories(kind)) is not None}
    return {name: list(data.categories.get(name) or map(str, range(count))) for name, count in counts.items()}


def of_categories(data: DataSplits[AnyRows]) -> str:
    """What a title on the mean of p(x|z) adds where some columns are categorical, which have no mean."""
    categorical = any(num_categories(kind) is not None for kind in data.column_kinds or ())
    return "; of categories the most probable one" if categorical else ""
