"""Codes of many dimensions as points of a plane."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from pyrovae.plots.figures import check_names

ProjectionMethod = Literal["pca", "tsne", "umap"]
"""How latents of more than two dimensions come into a plane."""

# Principal components, t-SNE and UMAP all need neighbours to compare.
_FEWEST_ROWS = 4


@dataclass(frozen=True)
class Projection:
    """Points of a plane, and what their two numbers are.

    Attributes:
        points: ``(rows, 2)``, float64.
        axis_names: of the two numbers.
        title: how they were found, after a colon; empty for the codes themselves.
        has_units: whether the numbers of a point mean anything but who is near whom.
    """

    points: Tensor
    axis_names: tuple[str, str]
    title: str
    has_units: bool


def project(
    codes: Tensor, method: ProjectionMethod = "pca", *, seed: int = 0, names: Sequence[str] | None = None
) -> Projection:
    """Codes as points of a plane; those of two dimensions stay as they are.

    Principal components are a turn of the axes, so that distances in the plane are never larger than those of the
    codes. t-SNE (van der Maaten and Hinton, 2008) and UMAP (McInnes, Healy and Melville, 2018) keep neighbours
    together: in their pictures neither distances between groups nor the sizes of groups say anything.

    Args:
        codes: ``(rows, dims)``, two dimensions at least, and of more than two four rows at least.
        method: ``"pca"``; ``"tsne"``; or ``"umap"``, which needs ``pip install 'pyrovae[umap]'``.
        seed: of t-SNE and UMAP.
        names: of the dimensions; without them z[0], z[1] and so on.

    Raises:
        ValueError: an unknown method, UMAP without its package, too few rows or dimensions, NaN, codes that are all
            equal, another number of names.

    Example:
        >>> import torch
        >>> project(torch.tensor([[0.0, 0.0, 0.0], [3.0, 0.0, 4.0], [6.0, 0.0, 8.0], [9.0, 0.0, 12.0]])).axis_names
        ('component 1: 100 % of the variance', 'component 2: 0 % of the variance')
    """
    check_codes(codes)
    check_method(method)
    if codes.shape[1] < 2 or (codes.shape[1] > 2 and len(codes) < _FEWEST_ROWS):
        raise ValueError(
            f"codes have shape {tuple(codes.shape)}; a projection needs {_FEWEST_ROWS} rows and two dimensions at least"
        )
    values = codes.detach().cpu().double()
    if codes.shape[1] == 2:
        check_names("names", names, 2, "dimensions")
        first, second = names or dimension_names(2)
        return Projection(values, (first, second), "", has_units=True)
    if bool((values == values[0]).all()):
        raise ValueError("all codes are equal, so there is nothing to project: the latent holds nothing of the rows")
    if method == "pca":
        return _principal_components(values)
    points, title = _tsne(values, seed) if method == "tsne" else _umap(values, seed)
    return Projection(points, ("", ""), title, has_units=False)


def check_method(method: str) -> None:
    """Refuse a method that cannot be used.

    Raises:
        ValueError: an unknown one, or UMAP without its package.
    """
    if method not in get_args(ProjectionMethod):
        raise ValueError(f"method is {method!r}; expected one of {', '.join(get_args(ProjectionMethod))}")
    if method == "umap":
        _umap_package()


def check_codes(codes: Tensor) -> None:
    """Refuse what is no table of finite numbers.

    Raises:
        ValueError: what it is instead.
    """
    if codes.dim() != 2 or not codes.numel():
        raise ValueError(f"codes have shape {tuple(codes.shape)}; expected (rows, dims)")
    if not bool(codes.isfinite().all()):
        raise ValueError("codes have NaN or infinite values: leave out the rows that have them")


def dimension_names(dims: int) -> list[str]:
    """The names of the dimensions of one latent."""
    return [f"z[{dim}]" for dim in range(dims)]


def _principal_components(values: Tensor) -> Projection:
    from sklearn.decomposition import PCA

    pca = PCA(2, svd_solver="full")
    points = torch.from_numpy(pca.fit_transform(values.numpy()))
    first, second = (
        f"component {number}: {100 * share:.0f} % of the variance"
        for number, share in enumerate(pca.explained_variance_ratio_, start=1)
    )
    title = f": principal components of {values.shape[1]} dimensions"
    return Projection(points, (first, second), title, has_units=True)


def _tsne(values: Tensor, seed: int) -> tuple[Tensor, str]:
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(values) - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=seed)
    points = torch.from_numpy(tsne.fit_transform(values.numpy())).double()
    return points, f": t-SNE of {values.shape[1]} dimensions"


def _umap(values: Tensor, seed: int) -> tuple[Tensor, str]:
    neighbours = min(15, len(values) - 1)
    # One job, as more would make the seed worthless.
    reducer = _umap_package().UMAP(n_neighbors=neighbours, random_state=seed, n_jobs=1)
    # From random points where there are too few rows for its eigenvectors.
    if len(values) <= 15:
        reducer.set_params(init="random")
    points = torch.from_numpy(reducer.fit_transform(values.numpy())).double()
    return points, f": UMAP of {values.shape[1]} dimensions"


def _umap_package() -> Any:
    try:
        with warnings.catch_warnings():
            # It warns of what it lacks for its neural networks, which are not used here.
            warnings.simplefilter("ignore", ImportWarning)
            import umap
    except ImportError as error:
        raise ValueError(
            "method umap needs the package umap-learn, which is not installed: pip install 'pyrovae[umap]', or take "
            "pca or tsne"
        ) from error
    return umap
