"""The latent space in pictures: points against NumPy's decomposition, histograms against counts."""

import sys
from itertools import pairwise

import numpy as np
import pytest
import torch

from pyrovae import plots


def clusters(dims, rows=60, classes=3):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(rows) % classes
    centres = 4 * torch.randn(classes, dims, generator=generator)
    return centres[labels] + torch.randn(rows, dims, generator=generator), labels


def counts(patch):
    """Rows of one class in each bin."""
    steps = patch.get_data()
    return steps.values - steps.baseline


def shown(figure):
    (points,) = figure.axes[0].collections
    return np.asarray(points.get_offsets())


def test_principal_components_are_those_of_numpy():
    codes, labels = clusters(7)
    centred = (codes - codes.mean(0)).double().numpy()
    _, singular, turned = np.linalg.svd(centred, full_matrices=False)
    expected = centred @ turned[:2].T
    figure = plots.latent_space(codes, labels)
    # The sign of a component is free.
    np.testing.assert_allclose(np.abs(shown(figure)), np.abs(expected), atol=1e-6)
    shares = 100 * singular**2 / (singular**2).sum()
    axes = figure.axes[0]
    assert axes.get_xlabel() == f"component 1: {shares[0]:.0f} % of the variance"
    assert axes.get_ylabel() == f"component 2: {shares[1]:.0f} % of the variance"


def test_two_dimensions_are_shown_as_they_are_and_each_row_has_the_colour_of_its_class():
    codes, labels = clusters(2)
    figure = plots.latent_space(codes, labels, names=["a[0]", "a[1]"], title="some rows")
    np.testing.assert_allclose(shown(figure), codes.numpy(), atol=1e-6)
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("a[0]", "a[1]", "some rows")
    colours = axes.collections[0].get_facecolors()
    of_classes = [np.unique(colours[labels.numpy() == name], axis=0) for name in range(3)]
    assert all(len(found) == 1 for found in of_classes)
    assert len(np.unique(np.concatenate(of_classes), axis=0)) == 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["0", "1", "2"]
    # The number of a class stands on one of its points, and on no other number.
    places = np.array([text.xyann for text in axes.texts])
    for name, place in enumerate(places):
        assert (np.abs(codes[labels == name].numpy() - place).sum(1) < 1e-6).any()
    assert (np.linalg.norm(places[:, None] - places, axis=-1) + 9 * np.eye(3)).min() > 0


def test_classes_in_one_place_have_their_numbers_side_by_side():
    codes = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    texts = plots.latent_space(codes, torch.arange(200) % 2).axes[0].texts
    first, second = (np.array(text.xyann) for text in texts)
    assert np.linalg.norm(first - second) > 0.06 * np.ptp(codes.numpy(), 0).max()


def test_one_dimension_is_a_histogram_and_rows_without_labels_are_alike():
    codes, labels = clusters(1)
    figure = plots.latent_space(codes, labels)
    assert sum(counts(patch).sum() for patch in figure.axes[0].patches) == 60
    codes, _ = clusters(3)
    assert not plots.latent_space(codes).legends


def test_many_classes_have_a_scale_of_colours_and_some_of_their_names():
    codes, labels = clusters(2, rows=300, classes=25)
    assert sorted(int(text.get_text()) for text in plots.latent_space(codes, labels).axes[0].texts) == list(range(25))
    codes, labels = clusters(2, rows=300, classes=100)
    figure = plots.latent_space(codes, labels)
    assert len(np.unique(figure.axes[0].collections[0].get_facecolors(), axis=0)) == 100
    assert len(figure.legends[0].get_texts()) == 20
    assert not figure.axes[0].texts


def test_neighbours_stay_together_by_t_sne():
    """Three clusters far apart: the nearest other point is of the same class for every row."""
    codes, labels = clusters(10)
    codes = codes + 50 * torch.nn.functional.one_hot(labels, 10)
    first, second = (shown(plots.latent_space(codes, labels, "tsne", seed=1)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    distances = np.linalg.norm(first[:, None] - first, axis=-1) + np.diag(np.full(60, np.inf))
    assert (labels.numpy()[distances.argmin(1)] == labels.numpy()).all()
    assert plots.project(codes[:5], "tsne").points.shape == (5, 2)


def test_umap_is_drawn_where_it_is_installed():
    pytest.importorskip("umap", exc_type=ImportError, reason="umap-learn is an extra")
    codes, labels = clusters(5)
    projection = plots.project(codes + 50 * torch.nn.functional.one_hot(labels, 5), "umap", seed=1)
    distances = torch.cdist(projection.points, projection.points).fill_diagonal_(torch.inf)
    assert (labels[distances.argmin(1)] == labels).all()


def test_umap_without_its_package_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ValueError, match=r"not installed: pip install 'pyrovae\[umap\]', or take pca or tsne"):
        plots.latent_space(torch.randn(20, 5), method="umap")


@pytest.mark.parametrize("labelled", [True, False])
def test_histograms_count_the_rows_of_each_class(labelled):
    codes, labels = clusters(3, rows=900 + 61)
    figure = plots.latent_histograms(codes, labels if labelled else None)
    assert len(figure.axes) == 3
    for dim, axes in enumerate(figure.axes):
        values = codes[:, dim].double().numpy()
        edges = np.linspace(values.min(), values.max(), 41)
        heights = np.array([counts(patch) for patch in axes.patches])
        groups = [values[labels.numpy() == name] for name in range(3)] if labelled else [values]
        np.testing.assert_array_equal(heights, [np.histogram(group, edges)[0] for group in groups])
        assert axes.get_xlabel() == f"z[{dim}]"
    if labelled:
        # Stacked: each class starts where the one below it ends.
        steps = [patch.get_data() for patch in figure.axes[0].patches]
        assert (steps[0].baseline == 0).all()
        for below, above in pairwise(steps):
            np.testing.assert_array_equal(above.baseline, below.values)


@pytest.mark.parametrize("dims", [1, 2, 200])
def test_one_row_is_drawn(dims):
    codes = torch.rand(1, dims)
    figure = plots.latent_histograms(codes, torch.tensor([3]))
    assert all(sum(counts(patch).sum() for patch in axes.patches) == 1 for axes in figure.axes)
    assert figure.get_suptitle().startswith("codes of 1 row")
    if dims == 2:
        np.testing.assert_allclose(shown(plots.latent_space(codes)), codes.numpy(), rtol=1e-6)


def test_of_many_dimensions_those_are_shown_that_vary_most():
    codes = torch.randn(100, 20, generator=torch.Generator().manual_seed(0))
    codes[:, 8:] *= 0.01
    figure = plots.latent_histograms(codes)
    names = [axes.get_xlabel() for axes in figure.axes]
    assert len(names) == 12
    assert names[:8] == [f"z[{dim}]" for dim in range(8)]
    assert "12 of 20 latent dimensions, those with the largest variance" in figure.get_suptitle()
    assert [axes.get_xlabel() for axes in plots.latent_histograms(codes, dims=[19, 3]).axes] == ["z[19]", "z[3]"]


def test_a_dimension_that_never_changes_is_drawn():
    figure = plots.latent_histograms(torch.zeros(10, 2), torch.arange(10) % 2)
    assert sum(counts(patch).sum() for patch in figure.axes[0].patches) == 10


@pytest.mark.parametrize(
    ("codes", "options", "message"),
    [
        (torch.randn(9, 3), {"method": "lda"}, "method is 'lda'; expected one of pca, tsne, umap"),
        (torch.randn(9, 3), {"labels": torch.zeros(8).long()}, r"labels have shape \(8,\) .* for each of 9 rows"),
        (torch.randn(9, 3), {"labels": torch.zeros(9)}, "labels have shape .* type torch.float32; expected a whole"),
        (torch.randn(9), {}, r"codes have shape \(9,\); expected \(rows, dims\)"),
        (torch.randn(3, 3), {}, "needs 4 rows and two dimensions"),
        (torch.full((9, 3), torch.nan), {}, "NaN or infinite"),
        (torch.ones(9, 3), {}, "all codes are equal"),
    ],
)
def test_codes_that_cannot_be_shown(codes, options, message):
    with pytest.raises(ValueError, match=message):
        plots.latent_space(codes, **options)


def test_long_names_of_dimensions_are_cut_short():
    names = ["a name of a dimension that is rather long and says all of it " * 2] * 2
    (axes,) = plots.latent_space(torch.rand(9, 2), names=names).axes
    for label in (
        axes.get_xlabel(),
        axes.get_ylabel(),
        plots.latent_histograms(torch.rand(9, 2), names=names).axes[0].get_xlabel(),
    ):
        assert label.startswith("a name of a")
        assert label.endswith("…")
        assert max(map(len, label.split("\n"))) <= 44


def test_dimensions_that_are_not_there():
    with pytest.raises(ValueError, match=r"dims is \[3\]; expected whole numbers from 0 to 2"):
        plots.latent_histograms(torch.randn(9, 3), dims=[3])
