"""Rows of data beside rows of the model."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyrovae.plots.entries import MOST_PANELS, Cloud, clouds, histograms
from pyrovae.plots.figures import BLUE, GREY, ORANGE
from pyrovae.plots.images import are_images, image_grid, image_lines

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ACROSS = 12


def reconstructions(
    x: Tensor,
    means: Tensor,
    draws: Tensor | None = None,
    *,
    entry_names: Sequence[str] | None = None,
    levels: Mapping[str, Sequence[str]] | None = None,
) -> "Figure":
    """Rows of data beside the mean of p(x|z) at a draw from q(z|x).

    Images are shown, twelve at most. Of other rows there is a panel for each entry, twelve at most, with a point for
    each row: its value in the data against the reconstructed one. Rows of more entries that have no names share a
    panel. Values that are missing or infinite are left out, and counted in the title.

    Args:
        x: rows ``(rows, *data_shape)``, on the CPU as all tensors here.
        means: their reconstructions, the same shape.
        draws: draws from p(x|z), the same shape, shown too; or None.
        entry_names: of the entries of a row that is no image, such as the columns of a table.
        levels: of categorical and binary entries, by their names: what 0, 1, ... stand for; twelve at most are written.

    Raises:
        ValueError: shapes that do not fit one another, or another number of names.

    Example:
        >>> import torch
        >>> x = torch.randn(50, 2)
        >>> figure = reconstructions(x, 0.9 * x, entry_names=["height, cm", "weight, kg"])
        >>> [axes.get_title() for axes in figure.axes]
        ['height, cm', 'weight, kg']
    """
    _check(x, means=means, **({} if draws is None else {"draws": draws}))
    if are_images(x):
        some = slice(min(len(x), _ACROSS))
        drawn = [] if draws is None else [("draw from p(x|z)", draws[some])]
        blocks = [("data", x[some]), ("reconstruction", means[some]), *drawn]
        return image_grid(blocks, min(len(x), _ACROSS), shared=torch.cat([x[some], means[some]]))
    shown = [] if draws is None else [Cloud("draw from p(x|z)", draws, ORANGE, "x")]
    # Of two words the mean is between 0 and 1.
    shown_names = (entry_names or ())[:MOST_PANELS]
    named = [means.flatten(1)[:, entry] for entry, name in enumerate(shown_names) if name in (levels or {})]
    most_probable = any(bool((column == column.round()).all()) for column in named)
    mean = "mean; of categories the most probable one" if most_probable else "mean"
    return clouds(x, [*shown, Cloud(mean, means, BLUE, "o")], entry_names, "data", "reconstruction", levels)


def denoising(
    clean: Tensor, corrupted: Tensor, reconstructed: Tensor, *, entry_names: Sequence[str] | None = None
) -> "Figure":
    """Clean rows, the same rows corrupted, and what is made of these, as ``reconstructions`` shows them.

    Args:
        clean: rows ``(rows, *data_shape)``, on the CPU as all tensors here.
        corrupted: the same shape.
        reconstructed: the same shape.
        entry_names: of the entries of a row that is no image.

    Raises:
        ValueError: shapes that do not fit one another, or another number of names.

    Example:
        >>> import torch
        >>> x = torch.rand(5, 1, 6, 6)
        >>> [axes.get_ylabel() for axes in denoising(x, x.bernoulli(), x).axes]
        ['clean', 'corrupted', 'reconstructed']
    """
    _check(clean, corrupted=corrupted, reconstructed=reconstructed)
    if are_images(clean):
        lines = {"clean": clean, "corrupted": corrupted, "reconstructed": reconstructed}
        return image_lines("test rows", {name: x[:_ACROSS] for name, x in lines.items()}, shared=clean[:_ACROSS])
    shown = [Cloud("corrupted", corrupted, GREY, "x"), Cloud("reconstructed", reconstructed, BLUE, "o")]
    return clouds(clean, shown, entry_names, "clean", "value")


def samples(
    x: Tensor,
    means: Tensor,
    draws: Tensor,
    *,
    entry_names: Sequence[str] | None = None,
    levels: Mapping[str, Sequence[str]] | None = None,
) -> "Figure":
    """New rows from the prior, as means of p(x|z) and as draws from it, below rows of data.

    Images are shown, two lines of twelve at most. Of other rows there is a histogram of the data and of the draws for
    each entry, twelve at most, in the same bins; entries that are whole numbers have a bin for each. Draws further than
    three times the range of the data outside of it are left out, and counted in the title.

    Args:
        x: rows of data ``(rows, *data_shape)``, on the CPU as all tensors here.
        means: means of p(x|z), the same shape.
        draws: draws from p(x|z), the same shape.
        entry_names: of the entries of a row that is no image, such as the columns of a table.
        levels: of categorical and binary entries, by their names: what 0, 1, ... stand for; twelve at most are written.

    Raises:
        ValueError: shapes that do not fit one another, or another number of names.

    Example:
        >>> import torch
        >>> figure = samples(torch.randn(50, 2), torch.zeros(50, 2), torch.randn(50, 2))
        >>> [axes.get_xlabel() for axes in figure.axes], figure.axes[0].get_ylabel()
        (['entry 0', 'entry 1'], 'share of rows')
    """
    _check(x, means=means, draws=draws)
    if are_images(x):
        columns = min(len(x), _ACROSS)
        blocks = [
            ("data", x[:columns]),
            ("mean of p(x|z), z from the prior", means[: 2 * columns]),
            ("draw from p(x|z)", draws[: 2 * columns]),
        ]
        return image_grid(blocks, columns, shared=torch.cat([x[:columns], means[: 2 * columns]]))
    return histograms(x, draws, entry_names, levels)


def _check(x: Tensor, **others: Tensor) -> None:
    for name, rows in others.items():
        if rows.shape != x.shape:
            raise ValueError(f"{name} has shape {tuple(rows.shape)}, the rows of data have {tuple(x.shape)}")
    if x.dim() < 2 or not x.numel():
        raise ValueError(f"the rows of data have shape {tuple(x.shape)}; expected (rows, *data_shape)")
