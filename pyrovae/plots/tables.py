"""Rows of data in lines and columns: images as they are, other rows as strips of colour."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyrovae.plots.figures import check_names, new_figure, wrapped
from pyrovae.plots.images import are_images, missing_said, scale_of, show, tile
from pyrovae.plots.names import literal, short, short_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# More names than these do not fit beside one another.
_MOST_NAMES = 40
# Inches of panels side by side, unless one alone is wider.
_WIDE = 8.4


def table_of_rows(
    cells: Tensor,
    title: str,
    line_names: Sequence[str],
    column_names: Sequence[str],
    entry_names: Sequence[str] | None = None,
    column_label: str = "",
) -> "Figure":
    """Rows of data in lines and columns, all in one scale.

    Images make one picture. Of other rows each line is a panel, and each of its columns a strip of cells, one for
    each entry of the row, coloured from the lowest to the highest value that this entry has in the picture; of forty
    entries at most these two stand behind its name.

    Args:
        cells: ``(lines, columns, *data_shape)``; NaN and infinite values are left white, and NaN blue in images, as the
            title says.
        title: of the whole.
        line_names: of the lines.
        column_names: of the columns.
        entry_names: of the entries of a row that is no image; without them they are numbered.
        column_label: what the columns are.

    Raises:
        ValueError: another number of names of entries.
    """
    line_names = ["\n".join(short(part, 40, 1) for part in name.split("\n")) for name in line_names]
    column_names = list(map(literal, column_names))
    entry_names = None if entry_names is None else short_names(entry_names, 30, 1)
    if are_images(cells.flatten(0, 1)):
        return _images(cells, title, line_names, column_names, column_label)
    return _strips(cells.flatten(2), title, line_names, column_names, entry_names, column_label)


def _images(
    cells: Tensor, title: str, line_names: Sequence[str], column_names: Sequence[str], column_label: str
) -> "Figure":
    lines, columns = cells.shape[:2]
    height, width = cells.shape[-2:]
    low, high = scale_of(cells)
    size = min(0.75, 11 / columns)
    beside = 0.09 * max(len(part) for name in line_names for part in name.split("\n"))
    heading = wrapped(f"{title}{missing_said(cells)}", columns * size)
    above = 0.2 * (heading.count("\n") + 1)
    figure = new_figure(columns * size + beside + 0.5, lines * size * height / width + above + 0.6)
    axes = figure.subplots()
    show(axes, tile(cells.flatten(0, 1), lines, columns, low, high))
    axes.set_yticks([line * (height + 1) + (height - 1) / 2 for line in range(lines)], line_names)
    axes.set_xticks([column * (width + 1) + (width - 1) / 2 for column in range(columns)], column_names)
    _without_frame(axes)
    axes.set_xlabel(column_label)
    axes.set_title(heading, fontsize=10, loc="left")
    return figure


def _strips(
    cells: Tensor,
    title: str,
    line_names: Sequence[str],
    column_names: Sequence[str],
    entry_names: Sequence[str] | None,
    column_label: str,
) -> "Figure":
    from matplotlib import colormaps

    lines, columns, entries = cells.shape
    check_names("entry_names", entry_names, entries, "entries")
    flat = cells.reshape(-1, entries)
    # Of an entry that is finite nowhere nothing is shown.
    low = flat.where(flat.isfinite(), torch.inf).amin(0)
    high = flat.where(flat.isfinite(), -torch.inf).amax(0)
    scaled = ((cells - low) / (high - low).clamp(min=1e-12)).where(cells.isfinite(), torch.nan)
    wide = min(max(0.24 * entries, 2.2), 10.0)
    across = min(max(int(_WIDE / wide), 1), 3, lines)
    down = -(-lines // across)
    named = entries <= _MOST_NAMES
    # Names of entries are written upright below the lowest panels.
    labels = _with_ends(entry_names or [str(entry) for entry in range(entries)], flat, low, high) if named else []
    below = 0.08 * max(map(len, labels), default=0)
    figure = new_figure(max(4.0, across * wide + 1.8), down * (0.2 * columns + 0.5) + below + 0.9)
    grid = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).flatten()
    colours = colormaps["viridis"].with_extremes(bad="white")
    for axes, name, strip in zip(grid, line_names, scaled, strict=False):
        picture = axes.imshow(
            strip.numpy(), cmap=colours, vmin=0, vmax=1, aspect="auto", origin="upper", interpolation="nearest"
        )
        axes.set_title(name, fontsize=9)
        axes.set_yticks(range(columns), column_names, fontsize=8)
        if named:
            axes.set_xticks(range(entries), labels, fontsize=8, rotation=90)
        else:
            axes.locator_params(axis="x", integer=True)
        _without_frame(axes)
    for axes in grid[lines:]:
        axes.set_axis_off()
    for axes in grid[lines - across : (down - 1) * across]:
        _name_columns(axes, labels)
    if entry_names is None or not named:
        for axes in grid[(down - 1) * across : lines]:
            axes.set_xlabel("entry")
    grid[0].set_ylabel(column_label)
    bar = figure.colorbar(picture, ax=list(grid), ticks=[0, 1], fraction=0.05, aspect=30)
    bar.ax.set_yticklabels(["lowest in\nthis picture", "highest in\nthis picture"], fontsize=8)
    bar.outline.set_visible(False)
    figure.suptitle(wrapped(f"{title}{white_said(cells)}", figure.get_figwidth()), fontsize=10)
    return figure


def white_said(cells: Tensor) -> str:
    """What the title says of cells without a colour; nothing where all have one."""
    kinds = {"missing": cells.isnan(), "infinite": cells.isinf()}
    white = " and ".join(kind for kind, found in kinds.items() if bool(found.any()))
    return f"; {white} entries are white" if white else ""


def _with_ends(names: Sequence[str], flat: Tensor, low: Tensor, high: Tensor) -> list[str]:
    """The names of entries, with the lowest and the highest value of each."""
    ends = [
        f"{lowest:.3g} to {highest:.3g}" if lowest <= highest else "all missing" if missing else "none finite"
        for missing, lowest, highest in zip(flat.isnan().all(0).tolist(), low.tolist(), high.tolist(), strict=True)
    ]
    return [f"{name}: {end}" for name, end in zip(names, ends, strict=True)]


def _name_columns(axes: "Axes", labels: Sequence[str]) -> None:
    """Names below a panel that no other is below: they take the room that is free there, and none between lines."""
    for entry, label in enumerate(labels):
        axes.annotate(
            label,
            (entry, 0),
            (0, -3.5),
            xycoords=axes.get_xaxis_transform(),
            textcoords="offset points",
            rotation=90,
            ha="center",
            va="top",
            fontsize=8,
        ).set_in_layout(False)


def _without_frame(axes: "Axes") -> None:
    axes.tick_params(length=0)
    axes.grid(False)
    for side in axes.spines.values():
        side.set_visible(False)
