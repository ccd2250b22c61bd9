"""Pictures of rows hold the numbers that they are given, and say what they leave out."""

from functools import partial

import numpy as np
import pytest
import torch

from pyrovae import plots


def pixels(figure):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


@pytest.mark.parametrize("channels", [1, 3])
def test_image_grids_hold_the_images(channels):
    x = torch.rand(5, channels, 6, 4)
    figure = plots.reconstructions(x, x / 2)
    for axes, expected in zip(figure.axes, (x, x / 2), strict=True):
        shown = np.asarray(axes.images[0].get_array())
        # Without rescaling of its own: one grey scale for the whole picture.
        low, high = torch.cat([x, x / 2]).min(), torch.cat([x, x / 2]).max()
        for index in range(5):
            tile = shown[:6, index * 5 : index * 5 + 4]
            image = ((expected[index] - low) / (high - low)).movedim(0, -1).squeeze(-1)
            np.testing.assert_allclose(tile, image, atol=1e-6)
    assert pixels(figure).std() > 10


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 7), (4,), (1,), (200,), (2, 3)])
def test_every_kind_of_data_is_drawn(shape):
    x = torch.rand(24, *shape)
    for figure in (plots.reconstructions(x, x), plots.samples(x, x, x), plots.samples(x[:1], x[:1], x[:1])):
        assert pixels(figure).std() > 5


def table(rows=40, entries=5):
    """Numbers, small counts and bits, and large numbers; some are missing."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, entries, generator=generator)
    x[:, 1] = torch.poisson(torch.full((rows,), 3.0), generator=generator)
    x[:, 2] = (x[:, 2] > 0).float()
    x[:, 3] *= 1e5
    x[::7, 0] = torch.nan
    return x


def points(axes):
    return [np.asarray(collection.get_offsets()) for collection in axes.collections]


def test_each_column_has_a_panel_of_its_values_against_the_reconstructed_ones():
    x, means, draws = table(), table() + 1, table() - 1
    means[:], draws[:] = means.nan_to_num(0), draws.nan_to_num(0)
    names = ["a", "b $x$", "c", "d", "e"]
    figure = plots.reconstructions(x, means, draws, entry_names=names)
    panels = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title() for axes in panels] == ["a", r"b \$x\$", "c", "d", "e"]
    for entry, axes in enumerate(panels):
        known = ~x[:, entry].isnan()
        for found, values in zip(points(axes), (draws, means), strict=True):
            expected = torch.stack([x[known, entry], values[known, entry]], 1)
            np.testing.assert_allclose(found, expected.numpy(), rtol=1e-6)
    assert figure.get_suptitle() == "values of 40 rows\n6 missing values left out"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["draw from p(x|z)", "mean"]
    assert (panels[0].get_ylabel(), panels[-1].get_xlabel()) == ("reconstruction", "data")


@pytest.mark.parametrize("first", [0, 25, 49])
def test_values_and_reconstructions_have_one_range_whatever_row_is_first(first):
    x = torch.linspace(-1, 1, 50)[:, None]
    x[10], means = 100.0, 0.1 * x
    (axes,) = plots.reconstructions(x.roll(first, 0), means.roll(first, 0)).axes
    assert axes.get_xlim() == axes.get_ylim() == pytest.approx((-6.05, 105.05))
    (axes,) = plots.reconstructions(means.roll(first, 0), x.roll(first, 0)).axes
    assert axes.get_xlim() == axes.get_ylim() == pytest.approx((-6.05, 105.05))


def test_many_entries_without_names_share_a_panel_and_twelve_of_those_with_names_have_one_each():
    x = torch.randn(10, 30)
    missing = x.clone()
    missing[:, [3, 20]] = torch.nan
    assert plots.reconstructions(missing, x).get_suptitle() == "values of 10 rows\n20 missing values left out"
    assert (
        plots.samples(missing, x, x).get_suptitle().endswith("the first 12 of 30 entries\n10 missing values left out")
    )
    (axes,) = plots.reconstructions(x, 2 * x).axes
    np.testing.assert_allclose(points(axes)[0], torch.stack([x, 2 * x], -1).flatten(0, 1).numpy(), rtol=1e-6)
    figure = plots.denoising(x, x + 1, x + 2, entry_names=[f"column {entry}" for entry in range(30)])
    assert [axes.get_title() for axes in figure.axes] == [f"column {entry}" for entry in range(12)]
    assert figure.get_suptitle() == "values of 10 rows, the first 12 of 30 entries"
    for added, found in enumerate(points(figure.axes[5]), start=1):
        np.testing.assert_allclose(found, torch.stack([x[:, 5], x[:, 5] + added], 1).numpy(), rtol=1e-6)


def test_histograms_of_new_rows_and_of_data_have_the_same_bins():
    x, draws = table(), table(40).roll(1, 0).nan_to_num(0.3) * 1.5
    draws[:, 1:3] = draws[:, 1:3].round()
    figure = plots.samples(x, draws, draws)
    panels = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_xlabel() for axes in panels] == [f"entry {entry}" for entry in range(5)]
    assert panels[0].get_ylabel() == "share of rows"
    assert figure.get_suptitle() == "40 rows of data, 40 new rows\n6 missing values left out"
    for entry, axes in enumerate(panels):
        both = [values[:, entry][~values[:, entry].isnan()].double().numpy() for values in (x, draws)]
        edges = axes.patches[0].get_data().edges
        if entry in (1, 2):
            whole = np.concatenate(both)
            np.testing.assert_allclose(edges, np.arange(whole.min() - 0.5, whole.max() + 1))
        for patch, values in zip(axes.patches, both, strict=True):
            np.testing.assert_array_equal(patch.get_data().edges, edges)
            np.testing.assert_allclose(patch.get_data().values, np.histogram(values, edges)[0] / len(values))
            assert patch.get_data().values.sum() == pytest.approx(1)


def test_draws_far_outside_do_not_flatten_the_data_and_are_counted():
    x, draws = torch.linspace(-1, 1, 50)[:, None], torch.linspace(-2, 2, 50)[:, None]
    draws[3], draws[4], draws[5] = 1e6, -1e6, torch.inf
    figure = plots.samples(x, draws, draws)
    assert (
        figure.get_suptitle()
        == "50 rows of data, 50 new rows\n1 value not finite left out\n2 draws far outside not shown"
    )
    (of_data, of_draws) = (patch.get_data() for patch in figure.axes[0].patches)
    assert (of_data.edges[0], of_data.edges[-1]) == (-2, 2)
    assert of_data.values.sum() == pytest.approx(1)
    # Of all finite draws.
    assert of_draws.values.sum() == pytest.approx(47 / 49)
    assert "outside" not in plots.samples(x[:1], draws[:1], draws[3:4]).get_suptitle()


@pytest.mark.parametrize(
    "x",
    [torch.ones(24, 2), torch.full((24, 1), torch.nan), torch.tensor([[0.3, 0.7]])],
    ids=["one value", "missing", "one row"],
)
def test_columns_without_spread_or_values_are_drawn(x):
    new = torch.ones_like(x)
    for figure in (plots.samples(x, new, new), plots.reconstructions(x, new), plots.denoising(x, new, new)):
        assert pixels(figure).std() > 5
    if x.isnan().all():
        assert plots.samples(x, new, new).axes[0].get_title() == "all data missing"
        assert [text.get_text() for text in plots.reconstructions(x, new).axes[0].texts] == ["all missing"]


@pytest.mark.parametrize("channels", [1, 3])
def test_missing_pixels_have_a_colour_of_their_own_and_the_title_says_so(channels):
    x = torch.rand(2, channels, 6, 4)
    x[1, :, 2, 3] = torch.nan
    figure = plots.image_blocks({"data": x, "mean": x.nan_to_num(0)})
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["data; missing pixels are blue", "mean"]
    picture = figure.axes[0].images[0]
    shown = picture.to_rgba(picture.get_array())[..., :3]
    blue = np.array([86, 180, 233]) / 255
    where = np.abs(shown - blue).sum(-1) < 0.01
    assert np.argwhere(where).tolist() == [[2, 5 + 3]]
    assert plots.image_lines("rows", {"data": x}).get_suptitle() == "rows; missing pixels are blue"
    assert plots.image_blocks({"data": x}, width=6.0).get_figwidth() == 6
    assert pixels(plots.image_blocks({"all": torch.full((1, channels, 4, 4), torch.nan)})).std() > 1


def test_a_pixel_that_lacks_one_colour_is_missing():
    x = torch.rand(1, 3, 6, 4)
    x[0, 1, 2, 3] = torch.nan
    shown = np.asarray(plots.image_blocks({"data": x}).axes[0].images[0].get_array())
    np.testing.assert_allclose(shown[2, 3], np.array([86, 180, 233]) / 255, atol=0.01)
    low, high = x[x.isfinite()].aminmax()
    np.testing.assert_allclose(shown[2, 2], ((x[0, :, 2, 2] - low) / (high - low)).numpy(), atol=1e-6)


def test_rows_that_do_not_fit_one_another_are_refused():
    with pytest.raises(ValueError, match=r"means has shape \(3, 4\), the rows of data have \(3, 5\)"):
        plots.reconstructions(torch.rand(3, 5), torch.rand(3, 4))
    with pytest.raises(ValueError, match=r"have shape \(0, 5\); expected \(rows, \*data_shape\)"):
        plots.samples(*[torch.rand(0, 5)] * 3)
    with pytest.raises(ValueError, match=r"rows of shape \(5,\) are no images"):
        plots.image_lines("rows", {"data": torch.rand(3, 5)})
    x = torch.rand(3, 4)
    for draw in (plots.reconstructions, partial(plots.samples, x), partial(plots.denoising, x)):
        with pytest.raises(ValueError, match="1 entry_names are given for 4 entries; expected one for each"):
            draw(x, x, entry_names=["a"])
    for draw in (plots.image_blocks, partial(plots.image_lines, "rows")):
        with pytest.raises(ValueError, match="there are no images to show"):
            draw({})
        with pytest.raises(ValueError, match=r"images differ in their shapes: 'a' \(1, 4, 4\), 'b' \(1, 4, 5\)"):
            draw({"a": torch.rand(3, 1, 4, 4), "b": torch.rand(3, 1, 4, 5)})


def test_infinite_values_are_counted_where_they_are_left_out():
    x, means, draws = (torch.rand(10, 2) for _ in range(3))
    x[0, 0], x[1, 1], x[2, 0] = torch.inf, -torch.inf, torch.nan
    # Not drawn, as the value of the data is not: the first three; left out by themselves: the last two.
    means[0, 0] = means[1, 1] = draws[2, 0] = torch.inf
    means[5, 0], draws[6, 1] = torch.inf, torch.nan
    said = plots.reconstructions(x, means, draws).get_suptitle()
    assert said == "values of 10 rows\n1 missing value left out\n4 values not finite left out"
    said = plots.samples(x, means, draws).get_suptitle()
    assert said == "10 rows of data, 10 new rows\n1 missing value left out\n4 values not finite left out"


def test_categories_are_named_at_the_ticks_where_they_are_few():
    x = torch.stack([torch.arange(26.0) % 3, torch.arange(26.0) % 13, torch.rand(26)], 1)
    names = ["city", "month", "height"]
    levels = {"city": ["Rome", "Oslo", "$Bern$"], "month": [f"month {number}" for number in range(13)]}
    for figure in (
        plots.reconstructions(x, x, entry_names=names, levels=levels),
        plots.samples(x, x, x, entry_names=names, levels=levels),
    ):
        axes = figure.axes[0]
        assert axes.get_xticks().tolist() == [0, 1, 2]
        assert [label.get_text() for label in axes.get_xticklabels()] == ["Rome", "Oslo", r"\$Bern\$"]
        figure.draw_without_rendering()
        for axes in figure.axes[1:3]:
            assert not any("month" in label.get_text() for label in axes.get_xticklabels())
    legend = plots.reconstructions(x, x, entry_names=names, levels=levels).legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["mean; of categories the most probable one"]


def test_the_legend_speaks_of_categories_where_a_panel_has_them():
    x, names = torch.arange(40.0).reshape(2, 20) % 3, [f"column {entry}" for entry in range(20)]
    for column, said in (("column 11", "mean; of categories the most probable one"), ("column 12", "mean")):
        figure = plots.reconstructions(x, x, entry_names=names, levels={column: ["a", "b", "c"]})
        assert [text.get_text() for text in figure.legends[0].get_texts()] == [said]


def test_two_words_are_named_and_their_means_are_no_categories():
    x = torch.stack([torch.arange(26.0) % 2, torch.rand(26)], 1)
    means = torch.cat([0.1 + 0.8 * x[:, :1], x[:, 1:]], 1)
    figure = plots.reconstructions(x, means, entry_names=["smoker", "height"], levels={"smoker": ["no", "yes"]})
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["no", "yes"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["mean"]


def test_a_map_of_categories_has_a_colour_and_a_name_for_each():
    cells = torch.stack([torch.randint(3, (5, 5)).float(), torch.rand(5, 5)], 2)
    figure = plots.manifold(cells, entry_names=["city", "height"], levels={"city": ["Rome", "Oslo", "Bern"]})
    picture, bar = figure.axes[0].images[0], figure.axes[0].images[0].colorbar
    assert [label.get_text() for label in bar.ax.get_yticklabels()] == ["Rome", "Oslo", "Bern"]
    assert picture.cmap.N == 3
    assert figure.axes[1].images[0].cmap.N == 256
