"""What all pictures share: figures, colours, what they say of their data."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FILE_DPI = 120
"""Dots per inch of a picture in a file; one on a screen has those of ``matplotlib.rcParams["figure.dpi"]``."""

# Okabe and Ito's colours, told apart with any colour vision.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"
# Of filled areas, on which the others are seen.
PALE_BLUE = "#9ecae1"
# Seen on white; ``in_style`` has what a dark style of the user takes in its place.
BLACK = "#000000"
# Ten that are told apart with any colour vision (Petroff, 2021), with black for the darker of two greys.
CLASS_COLOURS = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    BLACK,
    "#92dadd",
)


def new_figure(width: float, height: float) -> "Figure":
    r"""An empty figure, in inches, that notebooks show.

    Example:
        >>> new_figure(3, 2)._repr_png_()[:4]
        b'\x89PNG'
    """
    from pyrovae.plots.shown import ShownFigure

    return ShownFigure(figsize=(width, height), layout="constrained")


def legend_below(figure: "Figure", axes: "Axes", columns: int = 1) -> None:
    """A legend of what is drawn in some axes, below all of them, where it hides nothing."""
    from matplotlib.collections import PathCollection

    handles, labels = axes.get_legend_handles_labels()
    if not handles:
        return
    legend = figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
    for handle in legend.legend_handles:
        # Points may be too small to be told apart.
        if isinstance(handle, PathCollection):
            handle.set_sizes([20])
            handle.set_alpha(1)


def say(axes: "Axes", text: str) -> None:
    """A text in the place of what cannot be drawn."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center")
    axes.set(xticks=[], yticks=[])


def wrapped(title: str, inches: float) -> str:
    """A title of 10 points in as many lines as its width takes.

    Example:
        >>> print(wrapped("mean of p(x|z) on the grid", 1.6))
        mean of p(x|z) on
        the grid
    """
    letters = max(int(inches / 0.085), 12)
    return "\n".join(textwrap.fill(line, letters, break_long_words=False) for line in title.split("\n"))


def in_style(colours: Sequence[str]) -> list[str]:
    """Colours with that of letters in the place of black, which a dark style would hide.

    Example:
        >>> in_style([BLUE, BLACK])
        ['#0072B2', 'black']
    """
    import matplotlib

    ink: str = matplotlib.rcParams["text.color"]
    return [ink if colour == BLACK else colour for colour in colours]


def class_colours(classes: Sequence[int]) -> list[Any]:
    """A colour for each class: ten that differ, or a scale from dark to light where there are more.

    Example:
        >>> class_colours([3, 5])
        ['#3f90da', '#ffa90e']
    """
    if len(classes) <= len(CLASS_COLOURS):
        return in_style(CLASS_COLOURS[: len(classes)])
    import matplotlib

    shades = matplotlib.colormaps["viridis"]
    # The lightest would be lost on white.
    return [shades(0.92 * index / (len(classes) - 1)) for index in range(len(classes))]


def class_legend(figure: "Figure", classes: Sequence[int], colours: Sequence[Any]) -> None:
    """A legend of classes to the right of all panels; of many classes some are named."""
    from matplotlib.lines import Line2D

    step = -(-len(classes) // 20)
    handles: list[Line2D] = [
        Line2D([], [], linestyle="", marker="o", markersize=6, color=colour, label=str(name))
        for name, colour in list(zip(classes, colours, strict=True))[::step]
    ]
    figure.legend(handles=handles, title="class", loc="outside right upper", frameon=False)


def spaced_names(numbers: Sequence[int]) -> list[str]:
    """Labels of ticks on a logarithmic axis: the ends, powers of ten, and others as far as there is room.

    Example:
        >>> spaced_names([1, 10, 95, 100])
        ['1', '10', '', '100']
    """
    least = 0.1 * math.log(numbers[-1] / numbers[0])
    named: list[int] = []
    for number in sorted(
        numbers, key=lambda k: (k not in (numbers[0], numbers[-1]), not math.log10(k).is_integer(), k)
    ):
        if all(abs(math.log(number / other)) >= least for other in named):
            named.append(number)
    return [f"{number:,}" if number in named else "" for number in numbers]


def check_names(argument: str, names: Sequence[str] | None, count: int, things: str) -> None:
    """Refuse names that are not one for each thing; None is no names.

    Raises:
        ValueError: how many there are of both.
    """
    if names is not None and len(names) != count:
        raise ValueError(f"{len(names)} {argument} are given for {count} {things}; expected one for each")


def check_labels(labels: Tensor | None, rows: int) -> None:
    """Refuse labels that are no whole numbers, one for each row.

    Raises:
        ValueError: what they are instead.
    """
    if labels is not None and (labels.shape != (rows,) or labels.is_floating_point()):
        raise ValueError(
            f"labels have shape {tuple(labels.shape)} and type {labels.dtype}; expected a whole number for each of "
            f"{rows} rows"
        )


def picture_metadata(provenance: Mapping[str, Any]) -> dict[str, str]:
    """What a picture's file says of the data, as ``savefig`` takes it.

    Args:
        provenance: ``DataSplits.provenance()``.
    """
    said = "; ".join(f"data {key}: {provenance[key]}" for key in ("name", "variant", "seed", "checksum"))
    return {"Description": said}
