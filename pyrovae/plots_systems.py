"""Pictures of autoencoders and of conditional VAEs: each function takes numbers and returns a matplotlib figure."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart with any colour vision.
_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#666666"


def _figure(width: float, height: float) -> "Figure":
    # Not pyplot, whose figures live on in a global list and need a display's backend.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", dpi=120)


def loss_curves(history: Sequence[Mapping[str, float]], best_epoch: int, unit: str) -> "Figure":
    """The loss of every epoch, for training and validation rows.

    Args:
        history: ``LossResult.history``.
        best_epoch: ``LossResult.best_epoch``, marked by a line.
        unit: of the loss, ``"squared error per row"`` for example.
    """
    from matplotlib.ticker import LogFormatter

    class Plain(LogFormatter):
        """Numbers where the usual labels of a logarithmic axis stand, all without exponents."""

        def __call__(self, x: float, pos: int | None = None) -> str:
            return f"{x:g}" if super().__call__(x, pos) else ""

    figure = _figure(5.6, 3.6)
    axes = figure.subplots()
    epochs = [terms["epoch"] for terms in history]
    for split, colour in (("train", _BLUE), ("validation", _ORANGE)):
        if history and f"{split}_loss" in history[0]:
            values = [terms[f"{split}_loss"] for terms in history]
            axes.plot(epochs, values, color=colour, label=split, marker="." if len(epochs) == 1 else "")
    if best_epoch:
        axes.axvline(best_epoch, color=_GREY, linestyle=":", label=f"kept: epoch {best_epoch}")
    # Equal ratios of a loss are equal distances, so that the first epochs do not flatten the rest.
    axes.set(xlabel="epoch", ylabel=unit, yscale="log", title="reconstruction loss")
    axes.locator_params(axis="x", integer=True)
    axes.yaxis.set_major_formatter(Plain())
    axes.yaxis.set_minor_formatter(Plain())
    if history:
        axes.legend(frameon=False)
    return figure


def denoising(clean: Tensor, corrupted: Tensor, reconstructed: Tensor) -> "Figure":
    """Clean rows, the same rows corrupted, and what is made of these.

    Args:
        clean: rows ``(rows, *data_shape)``, on the CPU as all tensors here.
        corrupted: the same shape.
        reconstructed: the same shape.
    """
    lines = {"clean": clean, "corrupted": corrupted, "reconstructed": reconstructed}
    if clean.dim() == 4 and clean.shape[1] in (1, 3):
        return image_lines("test rows", {name: x[:12] for name, x in lines.items()}, shared=clean)
    figure = _figure(4.6, 4.4)
    axes = figure.subplots()
    for x, colour, label in ((corrupted, _GREY, "corrupted"), (reconstructed, _BLUE, "reconstructed")):
        axes.plot(clean.flatten().numpy(), x.flatten().numpy(), ".", color=colour, markersize=3, alpha=0.4, label=label)
    axes.axline((0, 0), slope=1, color=_GREY, linestyle=":")
    axes.set(xlabel="clean", ylabel="corrupted, reconstructed", title="every value of some test rows")
    axes.legend(frameon=False)
    return figure


def image_lines(title: str, lines: Mapping[str, Tensor], shared: Tensor | None = None) -> "Figure":
    """Images in lines, the name of each line at its left, in one scale of grey or colour.

    Args:
        title: above all lines.
        lines: images ``(images, channels, height, width)`` by the name of their line.
        shared: images that span the scale; None takes all that are drawn.
    """
    low, high = (end.item() for end in (torch.cat(list(lines.values())) if shared is None else shared).aminmax())
    height, width = next(iter(lines.values())).shape[-2:]
    columns = max(len(images) for images in lines.values())
    size = min(1.0, 12 / columns)
    figure = _figure(columns * size + 1.0, len(lines) * size * height / width + 0.5)
    figure.suptitle(title, fontsize=10)
    for axes, (name, images) in zip(figure.subplots(len(lines), 1, squeeze=False).flat, lines.items(), strict=True):
        scaled = ((images.float() - low) / max(high - low, 1e-12)).clamp(0, 1)
        # A white column between two images.
        columns_apart = torch.nn.functional.pad(scaled, (0, 1), value=1.0)
        line = torch.cat(list(columns_apart), -1)[..., :-1]
        axes.imshow((line[0] if len(line) == 1 else line.movedim(0, -1)).numpy(), cmap="gray", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    return figure
