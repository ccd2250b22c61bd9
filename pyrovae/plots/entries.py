"""Rows that are no images, one panel for each of their entries."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from torch import Tensor

from pyrovae.evaluation.summaries import counted
from pyrovae.plots.figures import GREY, ORANGE, PALE_BLUE, check_names, legend_below, new_figure, say
from pyrovae.plots.names import level_ticks, short_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_Values: TypeAlias = np.ndarray[tuple[int], np.dtype[np.float64]]
MOST_PANELS = 12
_MOST_BINS = 40
# So many times the range of the data draws may be outside of it and still be shown.
_FAR = 3.0
# Of the numbers at the ticks of a small panel.
_MOST_CHARACTERS = 4


@dataclass(frozen=True, eq=False)
class Cloud:
    """Values that are drawn as points.

    Attributes:
        label: what they are.
        values: ``(rows, *data_shape)``.
        colour: of the points.
        marker: their form.
    """

    label: str
    values: Tensor
    colour: str
    marker: str


def clouds(
    x: Tensor,
    shown: Sequence[Cloud],
    names: Sequence[str] | None,
    xlabel: str,
    ylabel: str,
    levels: Mapping[str, Sequence[str]] | None = None,
) -> "Figure":
    """Values against those of the data, in one range, with the line on which they are equal.

    Args:
        x: rows of data ``(rows, *data_shape)``.
        shown: what is drawn, of the same shape.
        names: of the entries.
        xlabel: what the rows of data are.
        ylabel: what is drawn of them.
        levels: what the numbers 0, 1, ... of an entry stand for, by its name.

    Raises:
        ValueError: another number of names.
    """
    data = x.flatten(1)
    entries = data.shape[1]
    check_names("entry_names", names, entries, "entries")
    together = entries > MOST_PANELS and names is None
    figure, panels, across = _panels(1 if together else entries, 2.3, 2.2)
    titles = _titles(len(panels), names)
    for panel, axes in enumerate(panels):
        which = slice(None) if together else slice(panel, panel + 1)
        known = data[:, which].isfinite()
        for cloud in shown:
            axes.scatter(
                data[:, which][known].numpy(),
                cloud.values.flatten(1)[:, which][known].numpy(),
                s=12,
                color=cloud.colour,
                marker=cloud.marker,
                alpha=0.5,
                linewidths=0.8 if cloud.marker == "x" else 0,
                label=cloud.label,
            )
        if not bool(known.any()):
            say(axes, "all missing")
            continue
        # One range for both: by its own, a reconstruction far too narrow would look like a good one.
        ends = min(axes.get_xlim()[0], axes.get_ylim()[0]), max(axes.get_xlim()[1], axes.get_ylim()[1])
        axes.set(xlim=ends, ylim=ends)
        axes.axline((ends[0], ends[0]), slope=1, color=GREY, linestyle=":")
        axes.set(xlabel=xlabel if panel >= len(panels) - across else "", ylabel=ylabel if panel % across == 0 else "")
        axes.locator_params(axis="y", nbins=_ticks(panels))
        _space_out(axes, panels)
        if not together:
            _name_ticks(axes, level_ticks(panel, names, levels), both=True)
        axes.set_title("" if together else titles[panel], fontsize=9)
    of_model = [cloud.values.flatten(1).where(data.isfinite(), 0) for cloud in shown]
    _title(figure, f"values of {counted(len(data), 'row')}", data, of_model, None if together else len(panels))
    legend_below(figure, panels[0], len(shown))
    return figure


def histograms(
    x: Tensor, draws: Tensor, names: Sequence[str] | None, levels: Mapping[str, Sequence[str]] | None = None
) -> "Figure":
    """Of each entry a histogram of the data and of what the model draws, in the same bins.

    Draws so far outside of the data that these would be one bar are left out, and counted in the title.

    Args:
        x: rows of data ``(rows, *data_shape)``.
        draws: new rows, of the same shape.
        names: of the entries.
        levels: what the numbers 0, 1, ... of an entry stand for, by its name.

    Raises:
        ValueError: another number of names.
    """
    data, new = x.flatten(1).double(), draws.flatten(1).double()
    check_names("entry_names", names, data.shape[1], "entries")
    figure, panels, across = _panels(data.shape[1], 2.3, 2.0)
    titles = _titles(len(panels), names)
    far = 0
    for entry, axes in enumerate(panels):
        observed, drawn = (values[:, entry][values[:, entry].isfinite()].numpy() for values in (data, new))
        near = _near(drawn, observed)
        far += len(drawn) - len(near)
        edges = _edges(np.concatenate([observed, near]))
        axes.set_xlabel(titles[entry], fontsize=9)
        axes.set_ylabel("share of rows" if entry % across == 0 else "")
        shares = [np.histogram(values, edges)[0] / max(len(values), 1) for values in (observed, drawn)]
        axes.stairs(shares[0], edges, fill=True, color=PALE_BLUE, label="data")
        axes.stairs(shares[1], edges, color=ORANGE, linewidth=1.5, label="draws of the model")
        _space_out(axes, panels)
        _name_ticks(axes, level_ticks(entry, names, levels), both=False)
        if not len(observed):
            axes.set_title("all data missing", fontsize=9)
    outside = f"\n{counted(far, 'draw')} far outside not shown" if far else ""
    rows = f"{counted(len(data), 'row')} of data, {counted(len(new), 'new row')}"
    _title(figure, rows, data, [new], len(panels), outside)
    legend_below(figure, panels[0], 2)
    return figure


def _panels(entries: int, width: float, height: float) -> "tuple[Figure, list[Axes], int]":
    """A figure with a panel for each entry, twelve at most, and how many are side by side; one alone is larger."""
    count = min(entries, MOST_PANELS)
    across = 3 if count in (3, 5, 6, 9) else min(count, 4)
    down = -(-count // across)
    figure = new_figure(4.6, 4.4) if count == 1 else new_figure(max(width * across, 4.6), height * down + 0.7)
    grid = figure.subplots(down, across, squeeze=False).flatten().tolist()
    for axes in grid[count:]:
        axes.set_axis_off()
    return figure, grid[:count], across


def _ticks(panels: "Sequence[Axes]") -> int:
    """Steps between the ticks of an axis, at most: few in a small panel, for whose numbers there is little room."""
    return 5 if len(panels) == 1 else 3


def _space_out(axes: "Axes", panels: "Sequence[Axes]") -> None:
    """Few ticks on the horizontal axis of a small panel, and fewer where their numbers are long."""
    axes.locator_params(axis="x", nbins=_ticks(panels))
    longest = max(map(len, axes.xaxis.get_major_formatter().format_ticks(list(axes.get_xticks()))), default=0)
    if len(panels) > 1 and longest > _MOST_CHARACTERS:
        # Without steps of 3, 4 and 6 two ticks of 50000 may not fit, and there would be three.
        axes.locator_params(axis="x", nbins=2, steps=[1, 2, 3, 4, 5, 6, 8, 10])


def _name_ticks(axes: "Axes", ticks: Sequence[str], *, both: bool) -> None:
    """The names of an entry's categories in place of their numbers; on the vertical axis too."""
    if ticks:
        axes.set_xticks(range(len(ticks)), ticks, rotation=90, fontsize=8)
    if ticks and both:
        axes.set_yticks(range(len(ticks)), ticks, fontsize=8)
        axes.set(xlim=(-0.5, len(ticks) - 0.5), ylim=(-0.5, len(ticks) - 0.5))


def _title(
    figure: "Figure", rows: str, data: Tensor, of_model: Sequence[Tensor], panels: int | None, outside: str = ""
) -> None:
    some = f", the first {panels} of {data.shape[1]} entries" if panels is not None and panels < data.shape[1] else ""
    missing = int(data[:, :panels].isnan().sum())
    lost = f"\n{counted(missing, 'missing value')} left out" if missing else ""
    not_finite = int(data[:, :panels].isinf().sum()) + sum(int((~x[:, :panels].isfinite()).sum()) for x in of_model)
    lost += f"\n{counted(not_finite, 'value')} not finite left out" if not_finite else ""
    figure.suptitle(f"{rows}{some}{lost}{outside}", fontsize=10)


def _titles(panels: int, names: Sequence[str] | None) -> list[str]:
    return [f"entry {entry}" for entry in range(panels)] if names is None else short_names(names[:panels])


def _near(drawn: _Values, observed: _Values) -> _Values:
    """Draws without those that would flatten the data; all of them where the data have no range."""
    reach = _FAR * np.ptp(observed) if len(observed) else 0.0
    if reach == 0:
        return drawn
    return drawn[(drawn >= observed.min() - reach) & (drawn <= observed.max() + reach)]


def _edges(values: _Values) -> _Values:
    """A bin for each of a few whole numbers; else as many bins as there are rows for."""
    if len(values) and np.ptp(values) < _MOST_BINS and bool((values == np.round(values)).all()):
        return np.arange(values.min() - 0.5, values.max() + 1.0)
    # Of data and draws half each.
    bins = min(max(round(2 * math.sqrt(len(values) / 2)), 5), _MOST_BINS)
    return np.histogram_bin_edges(values, bins)
