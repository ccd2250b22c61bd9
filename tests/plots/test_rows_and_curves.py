"""Pictures are drawn from what they are given; that they look right was judged by eye."""

import matplotlib
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


def test_a_column_that_never_changes_is_drawn():
    x = torch.ones(24, 2)
    assert pixels(plots.samples(x, x, x)).std() > 5


def test_learning_curves_show_the_history():
    history = [
        {"epoch": e, "seconds": 1.0}
        | {f"{s}_{t}": float(-e) for s in ("train", "validation") for t in ("elbo", "reconstruction", "kl")}
        for e in range(1, 40)
    ]
    figure = plots.learning_curves(history, best_epoch=7)
    assert [axes.get_title() for axes in figure.axes] == ["ELBO", "reconstruction", "KL"]
    for axes in figure.axes:
        train, validation, best = axes.lines
        np.testing.assert_array_equal(train.get_ydata(), [-float(e) for e in range(1, 40)])
        np.testing.assert_array_equal(validation.get_ydata(), train.get_ydata())
        assert best.get_xdata() == [7, 7]
        assert axes.get_ylabel() == "nats per row"
    assert pixels(plots.learning_curves([], 0)).std() > 1
    assert pixels(plots.learning_curves(history[:1], 1)).std() > 1


def test_no_figure_is_kept_and_the_backend_is_not_changed():
    import matplotlib.pyplot as plt

    backend = matplotlib.get_backend()
    plots.reconstructions(torch.rand(3, 4), torch.rand(3, 4))
    assert plt.get_fignums() == []
    assert matplotlib.get_backend() == backend
