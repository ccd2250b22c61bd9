"""Images side by side."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyrovae.plots.figures import literal, new_figure

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


def are_images(x: Tensor) -> bool:
    """Whether rows ``(rows, *data_shape)`` are images of one or three channels."""
    return x.dim() == 4 and x.shape[1] in (1, 3)


def image_grid(blocks: "Sequence[tuple[str, Tensor]]", columns: int, shared: Tensor, width: float = 12.0) -> "Figure":
    """Blocks of images under their titles, in one scale of grey or colour; no wider than ``width`` inches."""
    # Missing entries are NaN.
    low, high = (end.item() for end in shared[~shared.isnan()].aminmax())
    lines = [-(-len(images) // columns) for _, images in blocks]
    tall, wide = blocks[0][1].shape[-2:]
    size = min(1.0, width / columns)
    figure = new_figure(columns * size, (sum(lines) * tall / wide) * size + 0.3 * len(blocks))
    parts = figure.subplots(len(blocks), 1, height_ratios=lines, squeeze=False).flatten()
    for axes, (title, images), line_count in zip(parts, blocks, lines, strict=True):
        axes.imshow(tile(images, line_count, columns, low, high), cmap="gray", vmin=0, vmax=1, aspect="equal")
        axes.set_title(title, fontsize=9, loc="left")
        axes.set_axis_off()
    return figure


def image_blocks(
    blocks: Mapping[str, Tensor], columns: int = 8, width: float = 4.8, shared: Tensor | None = None
) -> "Figure":
    """Blocks of images under their titles, in one scale of grey or colour, small enough for a narrow page.

    Args:
        blocks: images ``(images, channels, height, width)`` by the title of their block, NaN left white.
        columns: images on a line; a line of fewer ends early.
        width: of the figure, inches.
        shared: images that span the scale; None takes all that are drawn.

    Raises:
        ValueError: rows that are no images of one or three channels.

    Example:
        >>> figure = image_blocks({"data": torch.rand(4, 1, 6, 6), "mean": torch.rand(8, 1, 6, 6)}, columns=4)
        >>> [axes.get_title(loc="left") for axes in figure.axes]
        ['data', 'mean']
    """
    for images in blocks.values():
        if not are_images(images):
            raise ValueError(
                f"rows of shape {tuple(images.shape[1:])} are no images; expected one or three channels, (1, height, "
                "width) or (3, height, width)"
            )
    titled = [(literal(name), images) for name, images in blocks.items()]
    return image_grid(titled, columns, torch.cat(list(blocks.values())) if shared is None else shared, width)


def image_lines(title: str, lines: Mapping[str, Tensor], shared: Tensor | None = None, width: float = 12.0) -> "Figure":
    """Images in lines, the name of each line at its left, in one scale of grey or colour.

    Args:
        title: above all lines.
        lines: images ``(images, channels, height, width)`` by the name of their line.
        shared: images that span the scale; None takes all that are drawn.
        width: of a line, inches at most.
    """
    low, high = (end.item() for end in (torch.cat(list(lines.values())) if shared is None else shared).aminmax())
    tall, wide = next(iter(lines.values())).shape[-2:]
    columns = max(len(images) for images in lines.values())
    size = min(1.0, width / columns)
    figure = new_figure(columns * size + 1.0, len(lines) * size * tall / wide + 0.5)
    figure.suptitle(title, fontsize=10)
    for axes, (name, images) in zip(figure.subplots(len(lines), 1, squeeze=False).flat, lines.items(), strict=True):
        scaled = ((images.float() - low) / max(high - low, 1e-12)).clamp(0, 1)
        # A white column between two images.
        columns_apart = torch.nn.functional.pad(scaled, (0, 1), value=1.0)
        line = torch.cat(list(columns_apart), -1)[..., :-1]
        axes.imshow((line[0] if len(line) == 1 else line.movedim(0, -1)).numpy(), cmap="gray", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        axes.set_ylabel(literal(name), rotation=0, ha="right", va="center", fontsize=9)
    return figure


def tile(images: Tensor, lines: int, columns: int, low: float, high: float) -> "NDArray[np.float32]":
    """One picture ``(height, width[, 3])`` with a thin white line between images."""
    scaled = ((images.float() - low) / max(high - low, 1e-12)).clamp(0, 1).nan_to_num(nan=1.0)
    count, channels, height, width = scaled.shape
    canvas = torch.ones(channels, lines * (height + 1) - 1, columns * (width + 1) - 1)
    for index in range(count):
        top, left = (index // columns) * (height + 1), (index % columns) * (width + 1)
        canvas[:, top : top + height, left : left + width] = scaled[index]
    return (canvas[0] if channels == 1 else canvas.movedim(0, -1)).numpy()
