"""The latent space as points."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pyrovae.evaluation.summaries import counted
from pyrovae.plots.figures import BLUE, check_labels, class_colours, class_legend, new_figure
from pyrovae.plots.histograms import latent_histograms
from pyrovae.plots.names import short
from pyrovae.plots.projection import ProjectionMethod, project

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# More numbers would hide the points.
_MOST_NAMED = 30


def latent_space(
    codes: Tensor,
    labels: Tensor | None = None,
    method: ProjectionMethod = "pca",
    *,
    seed: int = 0,
    names: Sequence[str] | None = None,
    title: str | None = None,
) -> "Figure":
    """One point for each row, at its code in a plane, in the colour of its class.

    Codes of two dimensions are shown as they are; of one dimension there is a histogram; of more the plane is that of
    ``project``. The number of a class stands on one of its points, near its middle, where there are 30 classes at most.

    Args:
        codes: ``(rows, dims)``, such as posterior means.
        labels: classes ``(rows,)``, whole numbers; None shows all rows alike.
        method: ``"pca"``, ``"tsne"``, or ``"umap"``, which needs ``pip install 'pyrovae[umap]'``.
        seed: of t-SNE and UMAP.
        names: of the dimensions; without them z[0], z[1] and so on.
        title: what the codes are; without it how many rows they are of.

    Raises:
        ValueError: as ``project``; labels of another number of rows.

    Example:
        >>> import torch
        >>> figure = latent_space(torch.randn(50, 5), torch.arange(50) % 3)
        >>> figure.axes[0].get_xlabel()
        'component 1: ... % of the variance'
    """
    check_labels(labels, len(codes))
    if codes.dim() == 2 and codes.shape[1] == 1:
        return latent_histograms(codes, labels, names=names, title=title)
    projection = project(codes, method, seed=seed, names=names)
    figure = new_figure(5.4, 4.8)
    axes = figure.subplots()
    first, second = projection.points.T.numpy()
    size = min(max(16000 / len(codes), 4.0), 25.0)
    if labels is None:
        axes.scatter(first, second, s=size, color=BLUE, alpha=0.6, linewidths=0)
    else:
        classes = sorted(set(labels.tolist()))
        colours = dict(zip(classes, class_colours(classes), strict=True))
        # In the order of the rows, so that no class lies on top of all others.
        axes.scatter(
            first, second, s=size, color=[colours[label] for label in labels.tolist()], alpha=0.8, linewidths=0
        )
        class_legend(figure, classes, list(colours.values()))
        if len(classes) <= _MOST_NAMED:
            _name_classes(axes, projection.points, labels.cpu(), colours)
    axes.set(xlabel=short(projection.axis_names[0], 44), ylabel=short(projection.axis_names[1], 44))
    # What the codes are, and below it how they came into a plane.
    of_rows = title or f"codes of {counted(len(codes), 'row')}"
    how = projection.title.replace(": ", ",\n", 1)
    axes.set_title(f"{of_rows}{how}", fontsize=10)
    axes.set_aspect("equal", adjustable="datalim")
    if not projection.has_units:
        axes.set(xticks=[], yticks=[])
    return figure


def _name_classes(axes: "Axes", points: Tensor, labels: Tensor, colours: dict[int, Any]) -> None:
    """The number of each class, on the point nearest to its medians that leaves the others' numbers free."""
    apart = 0.06 * (points.amax(0) - points.amin(0)).max()
    taken: list[Tensor] = []
    for name, colour in colours.items():
        own = points[labels == name]
        distance = torch.linalg.vector_norm(own - own.median(0).values, dim=1)
        free = torch.ones(len(own), dtype=torch.bool)
        for place in taken:
            free &= torch.linalg.vector_norm(own - place, dim=1) > apart
        nearest = own[torch.where(free, distance, distance + distance.max() + 1).argmin()]
        taken.append(nearest)
        axes.annotate(
            str(name),
            (nearest[0].item(), nearest[1].item()),
            ha="center",
            va="center",
            fontsize=11 if len(colours) <= 10 else 7,
            # On white, whatever the user's style is.
            color="black",
            bbox={
                "boxstyle": "circle,pad=0.25",
                "facecolor": "white",
                "edgecolor": colour,
                "linewidth": 2,
                "alpha": 0.9,
            },
        )
