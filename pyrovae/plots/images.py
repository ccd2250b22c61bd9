"""Images side by side."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyrovae.plots.figures import new_figure, wrapped
from pyrovae.plots.names import literal, short_names

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

# A colour that grey images do not have.
_MISSING = "#56B4E9"
# Inches of a letter, and of a figure with few images, so that its titles have room.
_LETTER, _NARROWEST = 0.085, 3.2


def are_images(x: Tensor) -> bool:
    """Whether rows ``(rows, *data_shape)`` are images of one or three channels."""
    return x.dim() == 4 and x.shape[1] in (1, 3)


def image_grid(blocks: "Sequence[tuple[str, Tensor]]", columns: int, shared: Tensor, width: float = 8.0) -> "Figure":
    """Blocks of images under their titles, in one scale of grey or colour; no wider than ``width`` inches."""
    low, high = scale_of(shared)
    lines = [-(-len(images) // columns) for _, images in blocks]
    tall, wide = blocks[0][1].shape[-2:]
    size = min(0.8, width / columns)
    figure = new_figure(max(columns * size, _NARROWEST), (sum(lines) * tall / wide) * size + 0.3 * len(blocks))
    parts = figure.subplots(len(blocks), 1, height_ratios=lines, squeeze=False).flatten()
    for axes, (title, images), line_count in zip(parts, blocks, lines, strict=True):
        show(axes, tile(images, line_count, columns, low, high))
        axes.set_anchor("W")
        axes.set_title(f"{title}{missing_said(images)}", fontsize=9, loc="left")
        axes.set_axis_off()
    return figure


def image_blocks(
    blocks: Mapping[str, Tensor], columns: int = 8, width: float = 4.8, shared: Tensor | None = None
) -> "Figure":
    """Blocks of images under their titles, in one scale of grey or colour, small enough for a narrow page.

    Args:
        blocks: images ``(images, channels, height, width)`` by the title of their block; pixels that are NaN are blue,
            which the title says.
        columns: images on a line; a line of fewer ends early.
        width: of the figure, inches.
        shared: images that span the scale, the lowest value black and the highest white; None takes all that are drawn.

    Raises:
        ValueError: rows that are no images of one or three channels, images that differ in shape, or none at all.

    Example:
        >>> import torch
        >>> figure = image_blocks({"data": torch.rand(4, 1, 6, 6), "mean": torch.rand(8, 1, 6, 6)}, columns=4)
        >>> [axes.get_title(loc="left") for axes in figure.axes]
        ['data', 'mean']
    """
    _check(blocks)
    titled = [(literal(name), images) for name, images in blocks.items()]
    return image_grid(titled, columns, torch.cat(list(blocks.values())) if shared is None else shared, width)


def image_lines(title: str, lines: Mapping[str, Tensor], shared: Tensor | None = None, width: float = 8.0) -> "Figure":
    """Images in lines, the name of each line at its left, in one scale of grey or colour.

    Args:
        title: above all lines.
        lines: images ``(images, channels, height, width)`` by the name of their line; pixels that are NaN are blue,
            which the title says.
        shared: images that span the scale, the lowest value black and the highest white; None takes all that are drawn.
        width: of a line, inches at most.

    Raises:
        ValueError: rows that are no images of one or three channels, images that differ in shape, or none at all.

    Example:
        >>> import torch
        >>> figure = image_lines("new images", {"class 0": torch.rand(4, 1, 6, 6), "class 1": torch.rand(4, 1, 6, 6)})
        >>> [axes.get_ylabel() for axes in figure.axes]
        ['class 0', 'class 1']
    """
    _check(lines)
    everything = torch.cat(list(lines.values()))
    low, high = scale_of(everything if shared is None else shared)
    tall, wide = everything.shape[-2:]
    columns = max(len(images) for images in lines.values())
    size = min(0.8, width / columns)
    names = short_names(list(lines), 40, 1)
    beside = _LETTER * max(map(len, names)) + 0.1
    figure = new_figure(max(columns * size + beside, _NARROWEST), len(lines) * size * tall / wide + 0.5)
    figure.suptitle(wrapped(f"{title}{missing_said(everything)}", figure.get_figwidth()), fontsize=10)
    parts = figure.subplots(len(lines), 1, squeeze=False).flat
    for axes, name, images in zip(parts, names, lines.values(), strict=True):
        show(axes, tile(images, 1, columns, low, high))
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    return figure


def scale_of(images: Tensor) -> tuple[float, float]:
    """The lowest and the highest value of images, of those that are numbers; 0 and 1 where none is.

    Example:
        >>> scale_of(torch.tensor([2.0, torch.nan, 3.0]))
        (2.0, 3.0)
    """
    known = images[images.isfinite()]
    if not known.numel():
        return 0.0, 1.0
    low, high = known.aminmax()
    return low.item(), high.item()


def missing_said(images: Tensor) -> str:
    """What the title says of pixels that are missing; nothing where none is."""
    return "; missing pixels are blue" if bool(images.isnan().any()) else ""


def show(axes: "Axes", picture: "NDArray[np.float32]") -> None:
    """Draw what ``tile`` made, values from 0, black, to 1, white; pixels that are NaN are blue."""
    import matplotlib
    import numpy as np
    from matplotlib.colors import to_rgb

    if picture.ndim == 3:
        # In all channels, also where one alone is missing.
        missing = np.isnan(picture).any(-1, keepdims=True)
        picture = np.where(missing, np.array(to_rgb(_MISSING), np.float32), picture)
    grey = matplotlib.colormaps["gray"].with_extremes(bad=_MISSING)
    # Whatever the user's settings are: the first line is at the top, and no grid lies on the images.
    axes.imshow(picture, cmap=grey, vmin=0, vmax=1, aspect="equal", origin="upper", interpolation="antialiased")
    axes.grid(False)


def tile(images: Tensor, lines: int, columns: int, low: float, high: float) -> "NDArray[np.float32]":
    """One picture ``(height, width[, 3])`` with a thin white line between images; NaN stays so."""
    scaled = ((images.float() - low) / max(high - low, 1e-12)).clamp(0, 1)
    count, channels, height, width = scaled.shape
    canvas = torch.ones(channels, lines * (height + 1) - 1, columns * (width + 1) - 1)
    for index in range(count):
        top, left = (index // columns) * (height + 1), (index % columns) * (width + 1)
        canvas[:, top : top + height, left : left + width] = scaled[index]
    return (canvas[0] if channels == 1 else canvas.movedim(0, -1)).numpy()


def _check(named: Mapping[str, Tensor]) -> None:
    if not named:
        raise ValueError("there are no images to show: expected some, by their names")
    shapes = {name: tuple(images.shape[1:]) for name, images in named.items()}
    for images in named.values():
        if not are_images(images):
            raise ValueError(
                f"rows of shape {tuple(images.shape[1:])} are no images; expected one or three channels, (1, height, "
                "width) or (3, height, width)"
            )
    if len(set(shapes.values())) > 1:
        found = ", ".join(f"{name!r} {shape}" for name, shape in shapes.items())
        raise ValueError(f"images differ in their shapes: {found}; expected the same for all")
