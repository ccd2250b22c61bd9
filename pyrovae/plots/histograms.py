"""The latent dimensions, one at a time."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from pyrovae.evaluation.summaries import counted
from pyrovae.plots.figures import (
    BLUE,
    check_labels,
    check_names,
    class_colours,
    class_legend,
    new_figure,
    wrapped,
)
from pyrovae.plots.names import short_names
from pyrovae.plots.projection import check_codes, dimension_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_PANELS = 12
_MOST_BINS = 40


def latent_histograms(
    codes: Tensor,
    labels: Tensor | None = None,
    dims: Sequence[int] | None = None,
    *,
    names: Sequence[str] | None = None,
    title: str | None = None,
) -> "Figure":
    """A histogram of the rows for each latent dimension, the classes stacked on one another.

    Args:
        codes: ``(rows, dims)``, such as posterior means.
        labels: classes ``(rows,)``, whole numbers; None shows all rows alike.
        dims: the dimensions to show; None shows all, or of more than twelve those with the largest variance over rows,
            as the title says.
        names: of all dimensions; without them z[0], z[1] and so on.
        title: what the codes are; without it how many dimensions of how many are shown.

    Raises:
        ValueError: no such dimension, codes that are no table of numbers, labels of another number of rows, or
            another number of names.

    Example:
        >>> import torch
        >>> figure = latent_histograms(torch.randn(50, 20), torch.arange(50) % 3)
        >>> len(figure.axes), figure.get_suptitle()
        (12, 'codes of 50 rows: 12 of 20 latent dimensions, those with the largest variance')
    """
    check_codes(codes)
    check_labels(labels, len(codes))
    values, total = codes.detach().cpu().double(), codes.shape[1]
    if dims is not None and not (dims and all(0 <= dim < total for dim in dims)):
        raise ValueError(f"dims is {list(dims)}; expected whole numbers from 0 to {total - 1}")
    check_names("names", names, total, "dimensions")
    names = names or dimension_names(total)
    some = ""
    if dims is not None:
        shown = list(dims)
    elif total > MOST_PANELS:
        shown = sorted(values.var(0, correction=0).argsort(descending=True)[:MOST_PANELS].tolist())
        some = f": {MOST_PANELS} of {total} latent dimensions, those with the largest variance"
    else:
        shown = list(range(total))
    classes = [] if labels is None else sorted(set(labels.tolist()))
    colours = class_colours(classes) if classes else [BLUE]
    groups = [values] if labels is None else [values[labels.cpu() == name] for name in classes]
    # Fewer of few rows, which would lie one in a bin.
    bins = min(max(round(2 * math.sqrt(len(values))), 5), _MOST_BINS)
    # Three side by side where they fill their lines better.
    columns = 3 if len(shown) in (5, 6, 9) else min(len(shown), 4)
    lines = -(-len(shown) // columns)
    figure = new_figure(max(2.5 * columns, 4.5) + bool(classes), max(2.1 * lines, 3.0 if lines == 1 else 0) + 0.3)
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True).flatten()
    titles = short_names([names[dim] for dim in shown])
    for panel, (axes, dim) in enumerate(zip(grid, shown, strict=False)):
        edges = np.histogram_bin_edges(values[:, dim].numpy(), bins)
        below = np.zeros(bins)
        # One patch for each class: bars of their own would take seconds to draw.
        for group, colour in zip(groups, colours, strict=True):
            above = below + np.histogram(group[:, dim].numpy(), edges)[0]
            axes.stairs(above, edges, baseline=below, fill=True, color=colour, linewidth=0)
            below = above
        axes.locator_params(axis="x", nbins=5)
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.set(xlabel=titles[panel], ylabel="rows" if panel % columns == 0 else "")
    # Once all are there, as they share their axis.
    grid[0].set_ylim(bottom=0)
    for axes in grid[len(shown) :]:
        axes.set_axis_off()
    if classes:
        class_legend(figure, classes, colours)
    of_rows = title or f"codes of {counted(len(codes), 'row')}{some}"
    figure.suptitle(wrapped(of_rows, figure.get_figwidth()), fontsize=10)
    return figure
