"""Curves of training show every epoch, or say which they leave out."""

import numpy as np
import pytest

from pyrovae import plots


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
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["train", "validation", "kept: epoch 7"]


def curve(epochs):
    """ELBOs that begin far below where they end; that of the last epochs moves by little."""
    return [
        {"epoch": e, "train_elbo": -1e5 / e**6 - 100 + e / 10, "train_kl": 1.0 + e / 10} for e in range(1, epochs + 1)
    ]


def test_first_epochs_that_would_flatten_the_rest_are_left_out_and_the_title_says_so():
    figure = plots.learning_curves(curve(40), 40)
    elbo, _, kl = figure.axes
    assert elbo.get_title() == "ELBO\nfirst epochs cut off"
    low, high = elbo.get_ylim()
    later = [terms["train_elbo"] for terms in curve(40)][10:]
    assert low < min(later)
    assert high > max(later)
    assert high - low < 4 * (max(later) - min(later))
    assert kl.get_title() == "KL"
    assert kl.get_ylim()[0] < 1.1 < 5 < kl.get_ylim()[1]
    limited = plots.term_curve(curve(40), "elbo", "ELBO", 40, limits=(-1e6, 0)).axes[0]
    assert (limited.get_title(), limited.get_ylim()) == ("ELBO", (-1e6, 0))


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ((-200.0, 0.0), "\nfirst epochs cut off"),
        ((-2e5, -97.0), "\nsome epochs cut off"),
        ((-100098.0, -96.0), "\nfirst epochs cut off"),
        ((-100099.9, -96.0), ""),
    ],
)
def test_epochs_outside_of_given_limits_are_not_left_out_without_a_word(limits, said):
    history = [*curve(40), {"epoch": 41, "train_elbo": float("nan"), "train_kl": 1.0}]
    (axes,) = plots.term_curve(history, "elbo", "ELBO", 40, limits=limits).axes
    assert (axes.get_title(), axes.get_ylim()) == (f"ELBO{said}", limits)


def test_curves_of_several_runs_are_cut_by_epochs_and_say_so(tmp_path, monkeypatch):
    """Of thirty epochs one is cut: its training and its validation rows, and nothing of the second."""
    from pyrovae.report import comparison_page

    elbo = [-5000.0, -3000.0, *(-100.0 + e for e in range(28))]
    history = [{"epoch": e, "train_elbo": v, "validation_elbo": v + 10} for e, v in enumerate(elbo, start=1)]
    (tmp_path / "summary.json").write_text("{}")
    figures = []
    monkeypatch.setattr(comparison_page, "picture", lambda figure, *_: figures.append(figure))
    comparison_page._term({str(tmp_path): history}, "elbo", "ELBO")
    (axes,) = figures[0].axes
    assert axes.get_title() == "ELBO\nfirst epochs cut off"
    assert axes.get_ylim() == pytest.approx((-3000 - 0.05 * 2937, -63 + 0.05 * 2937))


def test_a_fit_without_epochs_or_with_one_is_drawn():
    for figure in (plots.learning_curves([], 0), plots.loss_curves([], 0, "error")):
        for axes in figure.axes:
            assert [text.get_text() for text in axes.texts] == ["no epoch was finished"]
            assert not axes.lines
    (axes, *_) = plots.learning_curves(curve(1), 1).axes
    assert axes.get_xticks().tolist() == [1]
    assert axes.lines[0].get_marker() == "o"


def test_epochs_without_numbers_have_no_panel_of_their_own():
    history = [{"epoch": e, "train_elbo": elbo, "train_objective": elbo} for e, elbo in ((1, -2.0), (2, float("nan")))]
    assert len(plots.learning_curves(history, 1).axes) == 3
    history[0]["train_objective"] = -1.0
    assert len(plots.learning_curves(history, 1).axes) == 4


def test_the_loss_is_drawn_on_a_scale_of_ratios_in_its_unit():
    history = [{"epoch": e, "train_loss": 50.0 / e, "validation_loss": 60.0 / e} for e in range(1, 20)]
    (axes,) = plots.loss_curves(history, 19, "squared error per row").axes
    assert (axes.get_yscale(), axes.get_ylabel(), axes.get_xlabel()) == ("log", "squared error per row", "epoch")
    for line, first in zip(axes.lines, (50.0, 60.0), strict=False):
        np.testing.assert_allclose(line.get_ydata(), first / np.arange(1, 20))
