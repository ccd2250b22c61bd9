"""Pictures of results: each function takes numbers and returns a matplotlib figure."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from pyrovae.semi_supervised.scores import Score
    from pyrovae.training import EpochTerms

# Okabe and Ito's colours, told apart with any colour vision.
_BLUE, _ORANGE, _GREEN, _GREY = "#0072B2", "#D55E00", "#009E73", "#666666"
_COLOURS = (_GREY, "#000000", "#56B4E9", _BLUE, _GREEN, "#E69F00", _ORANGE, "#CC79A7")
_MARKERS = "sDv^oPX*"


def _figure(width: float, height: float) -> "Figure":
    # Not pyplot, whose figures live on in a global list and need a display's backend.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", dpi=120)


def learning_curves(history: "Sequence[EpochTerms]", best_epoch: int) -> "Figure":
    """ELBO, reconstruction and KL of every epoch, for training and validation rows; the objective where it is another.

    Args:
        history: ``FitResult.history``.
        best_epoch: ``FitResult.best_epoch``, marked by a line.
    """
    panels = {"elbo": "ELBO", "reconstruction": "reconstruction", "kl": "KL"}
    if any(_differs(terms, split) for terms in history for split in ("train", "validation")):
        panels["objective"] = "objective"
    figure = _figure(11 / 3 * len(panels), 3.4)
    epochs = [terms["epoch"] for terms in history]
    for axes, (term, title) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for split, colour in (("train", _BLUE), ("validation", _ORANGE)):
            if history and f"{split}_{term}" in history[0]:
                values = [terms[f"{split}_{term}"] for terms in history]
                axes.plot(epochs, values, color=colour, label=split, marker="." if len(epochs) == 1 else "")
        if best_epoch:
            axes.axvline(best_epoch, color=_GREY, linestyle=":", label=f"kept: epoch {best_epoch}")
        axes.set(title=title, xlabel="epoch", ylabel="nats per row")
        axes.xaxis.get_major_locator().set_params(integer=True)
        # The first epochs are far from the rest and would flatten what matters.
        _focus(
            axes, [terms[f"{s}_{term}"] for terms in history for s in ("train", "validation") if f"{s}_{term}" in terms]
        )
    if history:
        figure.axes[0].legend(frameon=False)
    return figure


def _differs(terms: "EpochTerms", split: str) -> bool:
    """Whether an epoch's objective is another number than its ELBO, by more than rounding."""
    elbo = terms.get(f"{split}_elbo", 0.0)
    return not math.isclose(terms.get(f"{split}_objective", elbo), elbo, rel_tol=1e-5)


def _focus(axes: "Axes", values: Sequence[float]) -> None:
    settled = torch.tensor([value for value in values if value == value], dtype=torch.float64)
    if len(settled) >= 20:
        low, high = torch.quantile(settled, torch.tensor([0.05, 0.95], dtype=torch.float64)).tolist()
        margin = 0.15 * (high - low)
        axes.set_ylim(
            max(settled.min().item(), low - margin) - margin, min(settled.max().item(), high + margin) + margin
        )


def reconstructions(x: Tensor, means: Tensor) -> "Figure":
    """Rows of data beside the mean of p(x|z) at a draw from q(z|x).

    Args:
        x: rows ``(rows, *data_shape)``, on the CPU as all tensors here.
        means: their reconstructions, the same shape.
    """
    if _are_images(x):
        columns = min(len(x), 12)
        return _image_grid(
            [("data", x[:columns]), ("reconstruction", means[:columns])], columns, shared=torch.cat([x, means])
        )
    figure = _figure(4.6, 4.4)
    axes = figure.subplots()
    axes.plot(x.flatten().numpy(), means.flatten().numpy(), ".", color=_BLUE, markersize=3, alpha=0.4)
    axes.axline((0, 0), slope=1, color=_GREY, linestyle=":")
    axes.set(xlabel="data", ylabel="reconstruction", title="every value of some test rows")
    return figure


def samples(x: Tensor, means: Tensor, draws: Tensor) -> "Figure":
    """New rows from the prior, as means of p(x|z) and as draws from it, below rows of data.

    Args:
        x: rows of data ``(rows, *data_shape)``.
        means: means of p(x|z), the same shape.
        draws: draws from p(x|z), the same shape.
    """
    if _are_images(x):
        columns = min(len(x), 12)
        count = 2 * columns
        return _image_grid(
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
    figure = _figure(2.4 * min(dimensions, 4), 2.2 * -(-dimensions // 4))
    grid = figure.subplots(-(-dimensions // 4), min(dimensions, 4), squeeze=False).flatten()
    for dimension, axes in enumerate(grid):
        if dimension >= dimensions:
            axes.set_axis_off()
            continue
        observed = values[:, dimension][~values[:, dimension].isnan()]
        drawn = new[:, dimension]
        low, high = (end.item() for end in torch.cat([observed, drawn]).aminmax())
        for split, colour, label in ((observed, _BLUE, "data"), (drawn, _ORANGE, "model")):
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


def accuracy_by_labels(scores: "Sequence[Score]") -> "Figure":
    """Test accuracy of each classifier against the number of labels, with standard errors.

    Args:
        scores: ``mean_scores`` of the results of a comparison; they stand side by side around their number of labels.
    """
    from pyrovae.semi_supervised.scores import METHODS

    figure = _figure(7.2, 4.2)
    axes = figure.subplots()
    for index, (method, colour, marker) in enumerate(zip(METHODS, _COLOURS, _MARKERS, strict=False)):
        # Side by side, where they would hide one another.
        aside = 1.02 ** (index - len(METHODS) // 2)
        own = [score for score in scores if score.method == method]
        if own:
            axes.errorbar(
                [score.labels * aside for score in own],
                [score.accuracy for score in own],
                [score.standard_error for score in own],
                color=colour,
                marker=marker,
                markersize=5,
                capsize=3,
                linewidth=1.2,
                label=METHODS[method],
            )
    counts = sorted({score.labels for score in scores})
    axes.set(xscale="log", xlabel="labelled rows", ylabel="test accuracy, %")
    axes.set_xticks(counts, [f"{count:,}" for count in counts])
    axes.set_xticks([], minor=True)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _are_images(x: Tensor) -> bool:
    return x.dim() == 4 and x.shape[1] in (1, 3)


def _image_grid(blocks: "Sequence[tuple[str, Tensor]]", columns: int, shared: Tensor) -> "Figure":
    """Blocks of images under their titles, in one scale of grey or colour."""
    # Missing entries are NaN.
    low, high = (end.item() for end in shared[~shared.isnan()].aminmax())
    lines = [-(-len(images) // columns) for _, images in blocks]
    height, width = blocks[0][1].shape[-2:]
    size = min(1.0, 12 / columns)
    figure = _figure(columns * size, (sum(lines) * height / width) * size + 0.3 * len(blocks))
    parts = figure.subplots(len(blocks), 1, height_ratios=lines, squeeze=False).flatten()
    for axes, (title, images), line_count in zip(parts, blocks, lines, strict=True):
        axes.imshow(_tile(images, line_count, columns, low, high), cmap="gray", vmin=0, vmax=1, aspect="equal")
        axes.set_title(title, fontsize=9, loc="left")
        axes.set_axis_off()
    return figure


def _tile(images: Tensor, lines: int, columns: int, low: float, high: float) -> "NDArray[np.float32]":
    """One picture ``(height, width[, 3])`` with a thin white line between images."""
    scaled = ((images.float() - low) / max(high - low, 1e-12)).clamp(0, 1).nan_to_num(nan=1.0)
    count, channels, height, width = scaled.shape
    canvas = torch.ones(channels, lines * (height + 1) - 1, columns * (width + 1) - 1)
    for index in range(count):
        top, left = (index // columns) * (height + 1), (index % columns) * (width + 1)
        canvas[:, top : top + height, left : left + width] = scaled[index]
    return (canvas[0] if channels == 1 else canvas.movedim(0, -1)).numpy()
