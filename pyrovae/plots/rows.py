"""Rows of data beside rows of the model."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyrovae.plots.figures import BLUE, GREY, ORANGE, new_figure
from pyrovae.plots.images import are_images, image_grid, image_lines

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def reconstructions(x: Tensor, means: Tensor, draws: Tensor | None = None) -> "Figure":
    """Rows of data beside the mean of p(x|z) at a draw from q(z|x).

    Args:
        x: rows ``(rows, *data_shape)``, on the CPU as all tensors here.
        means: their reconstructions, the same shape.
        draws: draws from p(x|z), the same shape, shown too; or None.
    """
    if are_images(x):
        columns = min(len(x), 12)
        drawn = [] if draws is None else [("draw from p(x|z)", draws[:columns])]
        blocks = [("data", x[:columns]), ("reconstruction", means[:columns]), *drawn]
        return image_grid(blocks, columns, shared=torch.cat([x, means]))
    figure = new_figure(4.6, 4.4)
    axes = figure.subplots()
    if draws is not None:
        axes.plot(
            x.flatten().numpy(), draws.flatten().numpy(), "x", color=ORANGE, markersize=3, alpha=0.4, label="draw"
        )
    axes.plot(x.flatten().numpy(), means.flatten().numpy(), ".", color=BLUE, markersize=3, alpha=0.4, label="mean")
    axes.axline((0, 0), slope=1, color=GREY, linestyle=":")
    axes.set(xlabel="data", ylabel="reconstruction", title="every value of some test rows")
    if draws is not None:
        axes.legend(frameon=False, markerscale=2)
    return figure


def denoising(clean: Tensor, corrupted: Tensor, reconstructed: Tensor) -> "Figure":
    """Clean rows, the same rows corrupted, and what is made of these.

    Args:
        clean: rows ``(rows, *data_shape)``, on the CPU as all tensors here.
        corrupted: the same shape.
        reconstructed: the same shape.
    """
    lines = {"clean": clean, "corrupted": corrupted, "reconstructed": reconstructed}
    if are_images(clean):
        return image_lines("test rows", {name: x[:12] for name, x in lines.items()}, shared=clean)
    figure = new_figure(4.6, 4.4)
    axes = figure.subplots()
    for x, colour, label in ((corrupted, GREY, "corrupted"), (reconstructed, BLUE, "reconstructed")):
        axes.plot(clean.flatten().numpy(), x.flatten().numpy(), ".", color=colour, markersize=3, alpha=0.4, label=label)
    axes.axline((0, 0), slope=1, color=GREY, linestyle=":")
    axes.set(xlabel="clean", ylabel="corrupted, reconstructed", title="every value of some test rows")
    axes.legend(frameon=False)
    return figure


def samples(x: Tensor, means: Tensor, draws: Tensor) -> "Figure":
    """New rows from the prior, as means of p(x|z) and as draws from it, below rows of data.

    Args:
        x: rows of data ``(rows, *data_shape)``.
        means: means of p(x|z), the same shape.
        draws: draws from p(x|z), the same shape.
    """
    if are_images(x):
        columns = min(len(x), 12)
        count = 2 * columns
        return image_grid(
            [
                ("data", x[:columns]),
                ("mean of p(x|z), z from the prior", means[:count]),
                ("draw from p(x|z)", draws[:count]),
            ],
            columns,
            shared=torch.cat([x, means]),
        )
    values, new = x.reshape(len(x), -1), draws.reshape(len(draws), -1)
    dimensions = min(values.shape[1], 8)
    figure = new_figure(2.4 * min(dimensions, 4), 2.2 * -(-dimensions // 4))
    grid = figure.subplots(-(-dimensions // 4), min(dimensions, 4), squeeze=False).flatten()
    for dimension, axes in enumerate(grid):
        if dimension >= dimensions:
            axes.set_axis_off()
            continue
        observed = values[:, dimension][~values[:, dimension].isnan()]
        drawn = new[:, dimension]
        low, high = (end.item() for end in torch.cat([observed, drawn]).aminmax())
        for split, colour, label in ((observed, BLUE, "data"), (drawn, ORANGE, "model")):
            if not len(split):
                continue
            axes.hist(
                split.numpy(),
                bins=30,
                range=(low, high) if high > low else None,
                density=True,
                histtype="step",
                color=colour,
                label=label,
            )
        axes.set(xlabel=f"dimension {dimension}", ylabel="density" if dimension % 4 == 0 else "")
    grid[0].legend(frameon=False)
    return figure
