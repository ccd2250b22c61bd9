"""What holds for all pictures: colours that stay apart, letters that can be read, figures that show themselves."""

import gc
import io
import operator
import struct
import weakref
from functools import partial
from itertools import combinations, pairwise

import matplotlib
import numpy as np
import pytest
import torch
from IPython.core.formatters import DisplayFormatter
from matplotlib.colors import to_rgb
from PIL import Image

from pyrovae import plots
from pyrovae.evaluation import BoundComparison
from pyrovae.evaluation.estimates import estimates
from pyrovae.plots import accuracy, figures, scores
from pyrovae.semi_supervised.scores import METHODS, Score

# How colours look to those without one kind of cone: Machado, Oliveira and Fernandes (2009), severity 1.
SEEN = {
    "all cones": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
PALETTES = {
    "classes": figures.CLASS_COLOURS,
    "lines": (figures.BLUE, figures.ORANGE, figures.GREEN, figures.GREY),
    "runs": scores._COLOURS,
    "classifiers": accuracy._COLOURS,
}
WHITE = (1.0, 1.0, 1.0)


def lab(colours, seen):
    """CIELAB coordinates of colours as they are seen."""
    srgb = np.array([to_rgb(colour) for colour in colours])
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    linear = (linear @ np.transpose(seen)).clip(0, 1)
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    xyz = linear @ np.transpose(to_xyz) / [0.95047, 1.0, 1.08883]
    x, y, z = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


@pytest.mark.parametrize("palette", PALETTES.values(), ids=PALETTES)
@pytest.mark.parametrize("seen", SEEN.values(), ids=SEEN)
def test_colours_are_told_apart_with_any_colour_vision(palette, seen):
    """Distances of 15 in CIELAB, where about 2 can be seen side by side; matplotlib's own ten come down to 3."""
    places = lab([*palette, WHITE], seen)
    assert min(np.linalg.norm(first - second) for first, second in combinations(places, 2)) > 15


def test_the_measure_of_colours_finds_bad_ones():
    own = lab([f"C{number}" for number in range(10)], SEEN["deuteranopia"])
    assert min(np.linalg.norm(first - second) for first, second in combinations(own, 2)) < 8
    np.testing.assert_allclose(
        lab([WHITE, "#ff0000"], SEEN["all cones"]), [[100, 0, 0], [53.24, 80.09, 67.20]], atol=0.02
    )


def test_a_scale_of_many_classes_grows_lighter_and_stays_darker_than_paper():
    lightness = lab(figures.class_colours(range(25)), SEEN["all cones"])[:, 0]
    assert (np.diff(lightness) > 0).all()
    assert lightness[-1] < 88


def codes(dims, classes, rows=300):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(rows) % classes
    return 3 * torch.randn(classes, dims, generator=generator)[labels] + torch.randn(rows, dims), labels


def bounds(rows=50):
    log_weights = torch.randn(400, rows, dtype=torch.float64) - 1000
    return BoundComparison(**estimates(log_weights, (1, 10, 100, 400)), sweep=(1, 10, 100, 400), num_samples=400)


def history(epochs):
    return [
        {"epoch": epoch}
        | {f"{split}_{term}": -12345.6 / epoch for split in ("train", "validation") for term in ("elbo", "kl")}
        for epoch in range(1, epochs + 1)
    ]


def grey(count=12):
    return torch.rand(count, 1, 8, 8)


LONG = [f"a name that is long, number {number}" for number in range(4)] + ["name" * 40]
TITLE = (
    "mean of p(x|z), one dimension moved, the others at the posterior mean of test row 0, class 0, 12 of 20 dimensions"
)
# Of a range for which a locator of two steps takes three ticks.
UNIT = torch.rand(40, 5, generator=torch.Generator().manual_seed(11))
TABLE = 1e5 * UNIT
FIGURES = {
    "one image": lambda: plots.samples(grey(1), grey(1), grey(1)),
    "images": lambda: plots.reconstructions(grey(), grey(), grey()),
    "denoising": lambda: plots.denoising(grey(1), grey(1), grey(1)),
    "columns": lambda: plots.samples(TABLE, TABLE, TABLE, entry_names=LONG),
    "reconstructed columns": lambda: plots.reconstructions(TABLE, TABLE, TABLE, entry_names=LONG),
    **{
        f"columns of {scale:g} from {shift:g} on, {what}": partial(draw, *[scale * UNIT + shift] * 3, entry_names=LONG)
        for scale, shift in (
            (1e-3, 0),
            (9.3e4, 4e3),
            (0.1, -0.03),
            (1, 5),
            (9e4, -3e4),
            (1.2e5, 7),
            (5e6, -2e6),
            (1, 1e5),
        )
        for what, draw in (("drawn", plots.samples), ("reconstructed", plots.reconstructions))
    },
    "thirty columns": lambda: plots.samples(*[torch.randn(40, 30)] * 3),
    "interpolation": lambda: plots.interpolation(
        torch.rand(10, 5, 1, 8, 8), names=[f"row {n},\nclass 3" for n in LONG]
    ),
    "interpolated rows": lambda: plots.interpolation(torch.rand(10, 5, 2), entry_names=LONG[:2]),
    "classes of rows": lambda: plots.class_samples(torch.rand(4, 10, 30), LONG[:4]),
    "one latent moved": lambda: plots.traversals(torch.rand(1, 9, 2), title=TITLE),
    "images moved": lambda: plots.traversals(torch.rand(2, 5, 1, 8, 8), title=TITLE),
    "a long title": lambda: plots.latent_histograms(*codes(1, 10), title=TITLE),
    "manifold": lambda: plots.manifold(torch.rand(6, 6, 1, 8, 8), title=TITLE),
    "manifold of rows": lambda: plots.manifold(torch.rand(10, 10, 5), torch.linspace(-1.6, 1.6, 10).expand(2, 10)),
    "one latent": lambda: plots.latent_space(*codes(1, 10)),
    "two hundred latents": lambda: plots.latent_space(*codes(200, 25)),
    "histograms of two hundred": lambda: plots.latent_histograms(*codes(200, 10)),
    "histograms of one row": lambda: plots.latent_histograms(torch.tensor([[-2.123, 0.00123]]), torch.tensor([3])),
    "epochs": lambda: plots.learning_curves(history(40), 38),
    "one epoch": lambda: plots.learning_curves(history(1), 1),
    "no epoch": lambda: plots.learning_curves([], 0),
    "losses": lambda: plots.loss_curves(
        [{"epoch": e, "train_loss": 9.0 / e} for e in range(1, 50)], 49, "error per row"
    ),
    "gaps": lambda: plots.gap_histogram(bounds().gap, bounds().gap, bounds().gap),
    "k-hat": lambda: plots.k_hat_scatter(bounds()),
    "ten runs": lambda: plots.bound_by_draws({f"{name} {n}": bounds() for name in LONG for n in (1, 2)}),
    "accuracy": lambda: plots.accuracy_by_labels(
        [Score(method, labels, 90.0, 1.0, 3) for method in METHODS for labels in (20, 100, 1000)]
    ),
    "accuracy of close numbers": lambda: plots.accuracy_by_labels(
        [Score("m2", labels, 90.0, 1.0, 3) for labels in (1000, 1100, 1200, 1300, 20000)]
    ),
}


def ticks(axis):
    """The labels of an axis that are drawn."""
    ticks = axis._update_ticks()
    return [tick.label1 for tick in ticks if tick.label1.get_visible() and tick.label1.get_text()]


def letters(figure):
    """All texts that are drawn, but for those that stand on points."""
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
    found = [*figure.texts, *(text for legend in legends for text in (legend.get_title(), *legend.get_texts()))]
    for axes in figure.axes:
        found += [axes.title, axes._left_title]
        if axes.axison:
            found += [axes.xaxis.label, axes.yaxis.label, *ticks(axes.xaxis), *ticks(axes.yaxis)]
    return [text for text in found if text.get_text().strip()]


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES)
def test_letters_are_not_cut_off_nor_small_and_no_tick_lies_on_another(make):
    torch.manual_seed(0)
    figure = make()
    # Twice, as savefig does where an axes has an aspect.
    figure.draw_without_rendering()
    figure.draw_without_rendering()
    frame = figure.bbox.padded(2)
    for text in letters(figure):
        box = text.get_window_extent()
        assert frame.contains(box.x0, box.y0), text
        assert frame.contains(box.x1, box.y1), text
    for axes in figure.axes:
        if axes.axison:
            for axis, lowest, highest in ((axes.xaxis, "x0", "x1"), (axes.yaxis, "y0", "y1")):
                boxes = sorted((label.get_window_extent() for label in ticks(axis)), key=operator.attrgetter(lowest))
                for before, after in pairwise(boxes):
                    assert getattr(after, lowest) > getattr(before, highest) - 1, ticks(axis)
    titles = [axes.title.get_window_extent() for axes in figure.axes if axes.get_title()]
    assert not any(first.overlaps(second) for first, second in combinations(titles, 2))
    # On a phone of 390 pixels, where wide pictures keep their size and move.
    width = figure.get_size_inches()[0]
    assert width > 6.5 or min(text.get_fontsize() for text in letters(figure)) * 358 / (72 * width) >= 6.5


@pytest.mark.parametrize(
    "make",
    [
        lambda: plots.image_lines("new rows", {f"label={name}": torch.rand(12, 1, 8, 8) for name in range(10)}),
        lambda: plots.interpolation(torch.rand(10, 5, 1, 8, 8), names=[f"row {name},\nclass 3" for name in range(5)]),
    ],
    ids=["lines", "interpolation"],
)
def test_letters_beside_images_are_whole_in_a_file(make):
    buffer = io.BytesIO()
    make().savefig(buffer, format="png", dpi=100)
    grey = np.asarray(Image.open(buffer).convert("L"))
    for edge in (grey[:, :2], grey[:, -2:], grey[:2], grey[-2:]):
        assert (edge == 255).all()


def test_a_figure_shows_itself_in_a_notebook_without_pyplot():
    figure = plots.gap_histogram(torch.rand(50))
    figure.set_dpi(50)
    formatter = DisplayFormatter()
    shown, _ = formatter.format(figure)
    assert shown["image/png"][:4] == b"\x89PNG"
    size = struct.unpack(">2I", shown["image/png"][16:24])
    np.testing.assert_allclose(size, 50 * figure.get_size_inches(), atol=1)
    # As with %matplotlib inline, which has a way of its own: shown once, and in that way.
    formatter.formatters["image/png"].for_type(matplotlib.figure.Figure, lambda _: b"inline")
    shown, _ = formatter.format(figure)
    assert shown["image/png"] == b"inline"
    assert sorted(shown) == ["image/png", "text/plain"]


def test_the_size_on_a_screen_is_that_of_the_user():
    with matplotlib.rc_context({"figure.dpi": 44}):
        assert plots.gap_histogram(torch.rand(50)).get_dpi() == 44


def test_a_hundred_figures_leave_nothing_behind():
    import matplotlib.pyplot as plt

    backend, before = matplotlib.get_backend(), plt.get_fignums()
    left = []
    for number in range(100):
        figure = plots.reconstructions(torch.rand(3, 1, 4, 4), torch.rand(3, 1, 4, 4))
        if not number % 20:
            figure._repr_png_()
        left.append(weakref.ref(figure))
    del figure
    gc.collect()
    assert all(reference() is None for reference in left)
    assert plt.get_fignums() == before
    assert matplotlib.get_backend() == backend
