"""Decoded rows in lines and columns: what stands where, for images and for other rows."""

import io
import warnings

import numpy as np
import pytest
import torch
from matplotlib import style
from torch import nn

from pyrovae import VAE, likelihoods, load_data, networks, plots, posteriors, priors
from pyrovae.pictures import LatentOverview
from pyrovae.pictures.decoded import Decoded
from pyrovae.pictures.levels import levels_of, levels_of_means, levels_of_reconstructions
from pyrovae.runs import ModelRows, Run


def tile(figure, line, column, height=6, width=4):
    """One image of a picture of images, from its place."""
    shown = np.asarray(figure.axes[0].images[0].get_array())
    top, left = line * (height + 1), column * (width + 1)
    return shown[top : top + height, left : left + width]


def scaled(image, cells):
    return ((image - cells.min()) / (cells.max() - cells.min())).movedim(0, -1).squeeze(-1).numpy()


def tick_names(axes):
    return [[label.get_text() for label in labels] for labels in (axes.get_xticklabels(), axes.get_yticklabels())]


@pytest.mark.parametrize("channels", [1, 3])
def test_images_stand_in_their_line_and_column(channels):
    images = torch.rand(5, 3, channels, 6, 4)
    for figure, turned in ((plots.interpolation(images), True), (plots.traversals(images), False)):
        for first in range(5):
            for second in range(3):
                place = (second, first) if turned else (first, second)
                np.testing.assert_allclose(tile(figure, *place), scaled(images[first, second], images), atol=1e-6)


def test_the_rows_of_an_interpolation_stand_at_its_ends():
    images, start, end = torch.rand(4, 2, 1, 6, 4), torch.rand(2, 1, 6, 4), torch.rand(2, 1, 6, 4)
    figure = plots.interpolation(images, start, end, names=["a", "b"])
    cells = torch.cat([start[None], images, end[None]])
    np.testing.assert_allclose(tile(figure, 1, 0), scaled(start[1], cells), atol=1e-6)
    np.testing.assert_allclose(tile(figure, 1, 5), scaled(end[1], cells), atol=1e-6)
    assert tick_names(figure.axes[0]) == [["data", "0", "0.33", "0.67", "1", "data"], ["a", "b"]]


def test_variants_stand_behind_their_row():
    x, images = torch.rand(2, 1, 6, 4), torch.rand(3, 2, 1, 6, 4)
    figure = plots.variants(x, images)
    cells = torch.cat([x[None], images])
    np.testing.assert_allclose(tile(figure, 1, 0), scaled(x[1], cells), atol=1e-6)
    np.testing.assert_allclose(tile(figure, 1, 3), scaled(images[2, 1], cells), atol=1e-6)
    assert tick_names(figure.axes[0]) == [["data", "1", "2", "3"], ["row 0", "row 1"]]


def test_a_class_has_a_line():
    figure = plots.class_samples(torch.rand(2, 3, 1, 6, 4), ["7", "9"], title="of a model")
    assert tick_names(figure.axes[0])[1] == ["class 7", "class 9"]
    assert figure.axes[0].get_title(loc="left") == "of a model"


def test_the_first_dimension_of_a_manifold_goes_right_and_the_second_up():
    images, values = torch.rand(5, 5, 1, 6, 4), torch.stack([torch.arange(5.0), 10 * torch.arange(5.0)])
    figure = plots.manifold(images, values)
    for first in range(5):
        for second in range(5):
            np.testing.assert_allclose(
                tile(figure, 4 - second, first), scaled(images[first, second], images), atol=1e-6
            )
    across, upwards = tick_names(figure.axes[0])
    assert (across[0], across[-1], upwards[0], upwards[-1]) == ("0", "4", "0", "40")
    lowest, *_, highest = figure.axes[0].get_yticks()
    assert lowest > highest  # of a picture whose lines count from the top


def test_rows_that_are_no_images_have_a_panel_each_with_every_entry_in_its_own_scale():
    images = torch.rand(4, 2, 3) * torch.tensor([1.0, 100.0, 0.0])
    figure = plots.interpolation(images, entry_names=["a", "b", "c"])
    panels = [axes for axes in figure.axes if axes.images and axes.get_title()]
    assert len(panels) == 2
    low, high = images.flatten(0, 1).aminmax(dim=0)
    for row, axes in enumerate(panels):
        expected = (images[:, row] - low) / (high - low).clamp(min=1e-12)
        np.testing.assert_allclose(np.asarray(axes.images[0].get_array()), expected.numpy(), atol=1e-6)
        said = [f"{name}: {a:.3g} to {b:.3g}" for name, a, b in zip("abc", low.tolist(), high.tolist(), strict=True)]
        assert tick_names(axes)[0] == said
    assert "c: 0 to 0" in said
    bar = [label.get_text() for label in figure.axes[-1].get_yticklabels()]
    assert bar == ["lowest in\nthis picture", "highest in\nthis picture"]


def test_infinite_cells_are_white_and_leave_the_colours_of_the_others():
    images = torch.rand(4, 1, 3)
    images[0, 0, 0], images[1, 0, 1], images[:, 0, 2] = torch.inf, torch.nan, -torch.inf
    figure = plots.interpolation(images, title="rows")
    (axes,) = [axes for axes in figure.axes if axes.images and axes.get_title()]
    drawn = np.ma.filled(axes.images[0].get_array().astype(float), np.nan)
    finite = images[1:, 0, 0]
    assert drawn[1:, 0] == pytest.approx(((finite - finite.min()) / (finite.max() - finite.min())).numpy(), abs=1e-6)
    assert np.isnan(drawn).tolist() == (~images[:, 0].isfinite()).tolist()
    assert figure.get_suptitle() == "rows; missing and infinite entries are white"
    names = tick_names(axes)[0]
    assert (names[0], names[2]) == (f"0: {finite.min():.3g} to {finite.max():.3g}", "2: none finite")


def test_entries_too_many_for_names_are_numbered_at_some():
    for names in (None, [f"hour {entry}" for entry in range(60)]):
        figure = plots.traversals(torch.rand(2, 5, 60), entry_names=names)
        lowest = [axes for axes in figure.axes if axes.images and axes.get_title()][-1]
        figure.draw_without_rendering()
        assert lowest.get_xlabel() == "entry"
        assert {0, 20, 40} <= set(lowest.get_xticks())
        assert "20" in tick_names(lowest)[0]


def test_a_panel_above_an_empty_place_has_the_names_of_its_columns():
    images = torch.rand(5, 8, 4)
    images[..., 2] = torch.nan
    figure = plots.traversals(images, entry_names=list("abcd"))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    panels = [axes for axes in figure.axes if axes.images and axes.get_title()]
    above = panels[2]
    assert [text.get_text() for text in above.texts] == tick_names(panels[4])[0]
    assert above.texts[2].get_text() == "c: all missing"
    boxes = [text.get_window_extent() for text in above.texts]
    assert all(0 < box.y0 < box.y1 < above.bbox.y0 for box in boxes)
    assert [(box.x0 + box.x1) / 2 for box in boxes] == pytest.approx(
        [above.transData.transform((entry, 0))[0] for entry in range(4)], abs=2
    )
    assert not any(axes.texts for axes in panels[:2] + panels[3:])


def test_a_manifold_of_rows_that_are_no_images_is_a_map_of_each_entry():
    images = torch.rand(4, 4, 30)
    images[..., 10] *= 5
    figure = plots.manifold(images, entry_names=[f"column {entry}" for entry in range(30)])
    maps = {axes.get_title(): axes for axes in figure.axes if axes.get_title()}
    assert len(maps) == 12
    expected = images[..., 10].T.flip(0).numpy()
    np.testing.assert_array_equal(np.asarray(maps["column 10"].images[0].get_array()), expected)
    assert figure.get_suptitle().endswith("12 of 30 entries, those that vary most")


def test_a_map_says_what_is_white_and_may_have_one_cell():
    images = torch.rand(3, 3, 2)
    images[0, 0, 0] = torch.nan
    with style.context("dark_background"):
        figure = plots.manifold(images, title="rows")
    assert figure.get_suptitle() == "rows; missing entries are white"
    picture = figure.axes[0].images[0]
    assert tuple(picture.to_rgba(picture.get_array())[2, 0]) == (1, 1, 1, 1)
    with warnings.catch_warnings(action="error"):
        plots.manifold(images[:1, :1])


@pytest.mark.parametrize("height", [2, 40])
def test_images_of_a_manifold_fill_its_picture_whatever_their_form(height):
    figure = plots.manifold(torch.rand(5, 5, 1, height, 20))
    with warnings.catch_warnings(action="error"):
        figure.draw_without_rendering()
        figure.draw_without_rendering()
    box = figure.axes[0].get_window_extent()
    assert box.width > 0.6 * figure.bbox.width or box.height > 0.6 * figure.bbox.height


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 7), (1,), (45,), (2, 3)])
def test_every_kind_of_row_is_drawn_with_missing_entries(shape):
    x = torch.rand(2, *shape)
    x.view(2, -1)[0, 0] = torch.nan
    images = torch.rand(3, 2, *shape)
    figures = [
        plots.interpolation(images, x, x),
        plots.traversals(images),
        plots.variants(x, images),
        plots.class_samples(images, list("abc")),
        *([plots.manifold(images[:2])] if len(shape) == 3 else []),
    ]
    for figure in figures:
        figure.savefig("/dev/null", format="png")


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plots.interpolation(torch.rand(5, 3)), r"images have shape \(5, 3\); expected \(num_steps, rows, "),
        (lambda: plots.interpolation(torch.rand(5, 3, 4), torch.rand(2, 4)), r"start has shape \(2, 4\), the images"),
        (lambda: plots.traversals(torch.rand(0, 3, 4)), r"expected \(dims, num_values, \*data_shape\)"),
        (lambda: plots.manifold(torch.rand(5, 3, 4)), r"\(5, 3, 4\); expected \(size, size, \*data_shape\)"),
        (lambda: plots.class_samples(torch.rand(5, 3, 4), ["a"]), "1 names are given for 5 classes"),
        (lambda: plots.interpolation(torch.rand(8, 3, 4), names=["a"]), "1 names are given for 3 lines; expected one"),
        (lambda: plots.traversals(torch.rand(3, 5, 4), names=["a"]), "1 names are given for 3 dimensions"),
        (lambda: plots.traversals(torch.rand(3, 5, 4), values=["1", "2"]), "2 values are given for 5 columns"),
        (lambda: plots.traversals(torch.rand(3, 5, 4), entry_names=["a"]), "1 entry_names are given for 4 entries"),
        (lambda: plots.manifold(torch.rand(3, 3, 4), entry_names=["a"]), "1 entry_names are given for 4 entries"),
        (lambda: plots.variants(torch.rand(3, 4), torch.rand(5, 3, 4), names=["a"]), "1 names are given for 3 rows"),
        (
            lambda: plots.variants(torch.rand(3, 4), torch.rand(5, 3, 4), variant_names=["a"]),
            "1 variant_names are given for 5 variants",
        ),
        (lambda: plots.latent_space(torch.rand(9, 2), names=["a"]), "1 names are given for 2 dimensions"),
        (lambda: plots.latent_histograms(torch.rand(9, 3), names=["a"]), "1 names are given for 3 dimensions"),
        (lambda: plots.variants(torch.rand(2, 4), torch.rand(5, 3, 4)), r"x has shape \(2, 4\), the images"),
    ],
)
def test_numbers_that_make_no_picture(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()


@pytest.mark.parametrize("kind", ["binary", "categorical", "categorical(2)"])
def test_levels_of_two_words(kind, tmp_path):
    cell = {"categorical(2)": (0, 1)}.get(kind, ("no", "yes"))
    lines = [f"{cell[row % 2]},{row % 3},{row}" for row in range(40)]
    (tmp_path / "people.csv").write_text("\n".join(["smoker,member,height", *lines]))
    data = load_data(str(tmp_path / "people.csv"), columns={"smoker": kind, "member": "count"})
    shape = likelihoods.Columns.decoder_shape((3,), data.column_kinds)
    told = nn.Module()
    told.likelihood = likelihoods.Columns(networks.MLP(2, shape), data.column_kinds)
    words = {"smoker": list(map(str, cell))}
    assert levels_of(data) == levels_of_reconstructions(told, data) == words
    assert levels_of_means(told, data) == ({} if kind == "binary" else words)
    assert levels_of_reconstructions(None, data) == (words if kind == "binary" else {})


@pytest.mark.parametrize(
    ("columns", "said"), [({"city": "categorical"}, "; of categories the most probable one"), ({"city": "count"}, "")]
)
def test_titles_say_that_the_mean_of_categories_is_the_most_probable_one(columns, said, tmp_path):
    lines = [f"{row % 3},{row}" for row in range(40)]
    (tmp_path / "people.csv").write_text("\n".join(["city,height", *lines]))
    data = load_data(str(tmp_path / "people.csv"), columns=columns)
    shape = likelihoods.Columns.decoder_shape((2,), data.column_kinds)
    vae = VAE(
        priors.StandardNormal(2),
        likelihoods.Columns(networks.MLP(2, shape), data.column_kinds),
        posteriors.DiagonalNormal(networks.MLP(2, 4)),
    )
    decoded = Decoded(vae, data, [0, 1], torch.device("cpu"))
    run = Run(vae.model, vae.guide, {"latent_dim": 2}, data.data_shape)
    overview = LatentOverview(run, ModelRows(data, data.train, data.validation, data.test, None), torch.device("cpu"))
    figures = [decoded.manifold(), decoded.interpolation(), overview.interpolation(), decoded.variants(1.0)]
    titles = [" ".join(figure.get_suptitle().split()) for figure in figures]
    line = "mean of p(x|z) on the straight line between the posterior means of two test rows"
    starts = ("mean of p(x|z) on the grid", line, line, "test rows, and the mean of p(x|z)")
    for title, start in zip(titles, starts, strict=True):
        assert title.startswith(start)
        assert title.endswith(said)
        assert bool(said) == ("categories" in title)
