"""What the decoder makes of points of the latent space."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyrovae.plots.figures import check_names, new_figure, wrapped
from pyrovae.plots.images import are_images, missing_said, scale_of, show, tile
from pyrovae.plots.names import level_ticks, short_names
from pyrovae.plots.projection import dimension_names
from pyrovae.plots.tables import table_of_rows, white_said

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_PANELS = 12


def interpolation(
    images: Tensor,
    start: Tensor | None = None,
    end: Tensor | None = None,
    *,
    names: Sequence[str] | None = None,
    title: str = "decoded on the straight line between two codes",
    entry_names: Sequence[str] | None = None,
) -> "Figure":
    """Lines between two rows, one below the other, as ``interpolate`` of a model gives them.

    Args:
        images: ``(num_steps, rows, *data_shape)``, on the CPU as all tensors here.
        start: the rows of data where the lines start, ``(rows, *data_shape)``, shown before them.
        end: those where they end, shown behind them.
        names: of the lines.
        title: what was decoded.
        entry_names: of the entries of a row that is no image.

    Raises:
        ValueError: shapes that do not fit one another, or another number of names.

    Example:
        >>> import torch
        >>> figure = interpolation(torch.rand(8, 3, 1, 6, 6))
        >>> [label.get_text() for label in figure.axes[0].get_xticklabels()][-1]
        '1'
    """
    _check(images, 2, "(num_steps, rows, *data_shape)")
    steps, rows = images.shape[:2]
    check_names("names", names, rows, "lines")
    parts = [images]
    columns = [f"{step / max(steps - 1, 1):.2g}" for step in range(steps)]
    if start is not None:
        _check_like(start, images[0], "start")
        parts, columns = [start[None], *parts], ["data", *columns]
    if end is not None:
        _check_like(end, images[0], "end")
        parts, columns = [*parts, end[None]], [*columns, "data"]
    return table_of_rows(
        torch.cat(parts).movedim(1, 0),
        title,
        names or [f"line {row}" for row in range(rows)],
        columns,
        entry_names,
        "part of the way",
    )


def traversals(
    images: Tensor,
    *,
    names: Sequence[str] | None = None,
    values: Sequence[str] | None = None,
    value_label: str = "",
    title: str = "decoded while one latent dimension moves and the others stay",
    entry_names: Sequence[str] | None = None,
) -> "Figure":
    """One line for each latent dimension that moves, one column for each of its values, as ``VAE.traverse`` gives them.

    Args:
        images: ``(dims, num_values, *data_shape)``.
        names: of the dimensions; without them z[0], z[1] and so on.
        values: of the columns; without them they are numbered.
        value_label: what the values are.
        title: what was decoded.
        entry_names: of the entries of a row that is no image.

    Raises:
        ValueError: another shape, or another number of names.

    Example:
        >>> import torch
        >>> figure = traversals(torch.rand(3, 9, 1, 6, 6))
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
        ['z[0]', 'z[1]', 'z[2]']
    """
    _check(images, 2, "(dims, num_values, *data_shape)")
    dims, count = images.shape[:2]
    check_names("names", names, dims, "dimensions")
    check_names("values", values, count, "columns")
    columns = values or [str(number) for number in range(count)]
    return table_of_rows(images, title, names or dimension_names(dims), columns, entry_names, value_label)


def class_samples(
    images: Tensor,
    names: Sequence[str],
    *,
    title: str = "new rows of each class",
    entry_names: Sequence[str] | None = None,
) -> "Figure":
    """New rows, a line for each class.

    Args:
        images: ``(classes, num_samples, *data_shape)``, such as ``sample`` of ``ConditionalVAE`` or ``M2``, or
            ``VAE.sample_like`` with the rows of each class.
        names: of the classes.
        title: which model drew them, and how.
        entry_names: of the entries of a row that is no image.

    Raises:
        ValueError: another shape, or as many names as there are no classes.

    Example:
        >>> import torch
        >>> figure = class_samples(torch.rand(2, 5, 1, 6, 6), ["0", "1"])
        >>> figure.axes[0].get_title(loc="left")
        'new rows of each class'
    """
    _check(images, 2, "(classes, num_samples, *data_shape)")
    check_names("names", names, len(images), "classes")
    columns = [str(number) for number in range(1, images.shape[1] + 1)]
    lines = [f"class {name}" for name in names]
    return table_of_rows(images, title, lines, columns, entry_names, "draw")


def variants(
    x: Tensor,
    images: Tensor,
    *,
    names: Sequence[str] | None = None,
    variant_names: Sequence[str] | None = None,
    title: str = "rows and their variants",
    entry_names: Sequence[str] | None = None,
) -> "Figure":
    """Given rows, and beside each its variants, as ``VAE.variants`` gives them.

    Args:
        x: rows ``(rows, *data_shape)``.
        images: ``(num_variants, rows, *data_shape)``.
        names: of the rows.
        variant_names: of the variants, the classes of a ``ConditionalVAE`` for example; None numbers them from 1.
        title: how the variants were found.
        entry_names: of the entries of a row that is no image.

    Raises:
        ValueError: shapes that do not fit one another, or another number of names.

    Example:
        >>> import torch
        >>> figure = variants(torch.rand(3, 1, 6, 6), torch.rand(5, 3, 1, 6, 6))
        >>> len(figure.axes[0].get_xticks())
        6
    """
    _check(images, 2, "(num_variants, rows, *data_shape)")
    _check_like(x, images[0], "x")
    check_names("names", names, len(x), "rows")
    check_names("variant_names", variant_names, len(images), "variants")
    columns = ["data", *(variant_names or map(str, range(1, len(images) + 1)))]
    lines = names or [f"row {row}" for row in range(len(x))]
    label = "variant" if variant_names is None else ""
    return table_of_rows(torch.cat([x[None], images]).movedim(1, 0), title, lines, columns, entry_names, label)


def manifold(
    images: Tensor,
    values: Tensor | None = None,
    *,
    title: str = "decoded on a grid over the latent space",
    entry_names: Sequence[str] | None = None,
    levels: Mapping[str, Sequence[str]] | None = None,
) -> "Figure":
    """What is decoded on a grid over two latent dimensions, as ``VAE.manifold`` gives it.

    z[0] grows to the right, z[1] upwards. Images are set side by side (Kingma and Welling, 2014, figure 4); of rows
    that are no images each entry has a panel with its value in colour, twelve at most, those that vary most.

    Args:
        images: ``(size, size, *data_shape)``; the first index is that of z[0], the second that of z[1].
        values: of the two dimensions, ``(2, size)``, written at the edges.
        title: what was decoded.
        entry_names: of the entries of a row that is no image.
        levels: of categorical entries, by their names: what 0, 1, ... stand for; twelve at most are written.

    Raises:
        ValueError: another shape, or another number of names.

    Example:
        >>> import torch
        >>> figure = manifold(torch.rand(4, 4, 1, 6, 6))
        >>> figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()
        ('z[0]', 'z[1]')
    """
    _check(images, 2, "(size, size, *data_shape)")
    if images.shape[0] != images.shape[1]:
        raise ValueError(f"images have shape {tuple(images.shape)}; expected (size, size, *data_shape)")
    # Lines from top to bottom, columns from left to right.
    cells = images.transpose(0, 1).flip(0)
    if are_images(cells.flatten(0, 1)):
        return _grid_of_images(cells, values, title)
    return _maps_of_entries(cells.flatten(2), values, entry_names, levels, title)


def _grid_of_images(cells: Tensor, values: Tensor | None, title: str) -> "Figure":
    size = len(cells)
    height, width = cells.shape[-2:]
    low, high = scale_of(cells)
    side = min(8.0, 0.6 * size * max(width / height, 1) + 1)
    # With room for the letters above and below images that are far wider than high.
    figure = new_figure(side, max(side * height / width, 2.0))
    axes = figure.subplots()
    show(axes, tile(cells.flatten(0, 1), size, size, low, high))
    across = [index * (width + 1) + (width - 1) / 2 for index in range(size)]
    upwards = [(size - 1 - index) * (height + 1) + (height - 1) / 2 for index in range(size)]
    marked = _marked(size, 4)
    axes.set_xticks([across[index] for index in marked], _written(values, 0, marked))
    axes.set_yticks([upwards[index] for index in marked], _written(values, 1, marked))
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set(xlabel="z[0]", ylabel="z[1]")
    axes.set_title(wrapped(f"{title}{missing_said(cells)}", 0.85 * side), fontsize=10)
    return figure


def _maps_of_entries(
    cells: Tensor,
    values: Tensor | None,
    entry_names: Sequence[str] | None,
    levels: Mapping[str, Sequence[str]] | None,
    title: str,
) -> "Figure":
    from matplotlib import colormaps

    size, entries = len(cells), cells.shape[-1]
    check_names("entry_names", entry_names, entries, "entries")
    # Of one cell too.
    spread = cells.flatten(0, 1).var(0, correction=0)
    shown = sorted(spread.argsort(descending=True)[:_MOST_PANELS].tolist())
    across = min(len(shown), 4)
    down = -(-len(shown) // across)
    figure = new_figure(max(2.7 * across, 4.0), 2.3 * down + 0.4)
    grid = figure.subplots(down, across, squeeze=False).flatten()
    marked = _marked(size, 3)
    titles = short_names([entry_names[entry] for entry in shown]) if entry_names else [f"entry {n}" for n in shown]
    for panel, (axes, entry) in enumerate(zip(grid, shown, strict=False)):
        ticks = level_ticks(entry, entry_names, levels)
        # A colour for each category, or those from the lowest to the highest value.
        ends = (-0.5, len(ticks) - 0.5) if ticks else (None, None)
        colours = colormaps["viridis"].resampled(len(ticks) or 256).with_extremes(bad="white")
        picture = axes.imshow(
            cells[..., entry].numpy(),
            cmap=colours,
            aspect="equal",
            vmin=ends[0],
            vmax=ends[1],
            origin="upper",
            interpolation="nearest",
        )
        axes.grid(False)
        bar = figure.colorbar(picture, ax=axes, fraction=0.05)
        if ticks:
            bar.set_ticks(range(len(ticks)), labels=ticks, fontsize=8)
        axes.set_title(titles[panel], fontsize=9)
        axes.set_xticks(marked, _written(values, 0, marked))
        axes.set_yticks([size - 1 - index for index in marked], _written(values, 1, marked))
        axes.set(xlabel="z[0]" if panel >= len(shown) - across else "", ylabel="z[1]" if panel % across == 0 else "")
    for axes in grid[len(shown) :]:
        axes.set_axis_off()
    some = f", {len(shown)} of {entries} entries, those that vary most" if len(shown) < entries else ""
    figure.suptitle(wrapped(f"{title}{some}{white_said(cells[..., shown])}", figure.get_figwidth()), fontsize=10)
    return figure


def _marked(size: int, most: int) -> list[int]:
    """Some of the positions of a grid, both ends among them."""
    return sorted({round(place) for place in torch.linspace(0, size - 1, min(size, most)).tolist()})


def _written(values: Tensor | None, dim: int, marked: Sequence[int]) -> list[str]:
    return [str(index) if values is None else f"{values[dim, index].item():.2g}" for index in marked]


def _check(images: Tensor, leading: int, expected: str) -> None:
    if images.dim() <= leading or not images.numel():
        raise ValueError(f"images have shape {tuple(images.shape)}; expected {expected}")


def _check_like(rows: Tensor, wanted: Tensor, name: str) -> None:
    if rows.shape != wanted.shape:
        raise ValueError(f"{name} has shape {tuple(rows.shape)}, the images are of rows of {tuple(wanted.shape)}")
