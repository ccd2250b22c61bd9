"""Pictures of scores show the numbers that they are given."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from pyrovae import VAE, latent_summary, likelihoods, networks, plots, posteriors, priors
from pyrovae.evaluation import BoundComparison
from pyrovae.evaluation.estimates import estimates
from pyrovae.semi_supervised.scores import Score

SWEEP = (1, 10, 100, 400)


def bounds_of(scale, rows=30, draws=400):
    log_weights = scale * torch.randn(draws, rows, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sweep = tuple(k for k in SWEEP if k <= draws)
    return BoundComparison(**estimates(log_weights, sweep), sweep=sweep, num_samples=draws)


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_every_row_is_counted_in_the_histogram_of_the_gap():
    gap = torch.tensor([0.0, 0.5, 0.5, 1.0, torch.nan, torch.inf])
    figure = plots.gap_histogram(gap)
    (axes,) = figure.axes
    counts, edges, _ = axes.patches[0].get_data()
    np.testing.assert_array_equal(counts, np.histogram([0.0, 0.5, 0.5, 1.0], np.linspace(0, 1, 6))[0])
    np.testing.assert_allclose(edges, np.linspace(0, 1, 6))
    assert axes.get_title() == "gap of 4 rows\n2 rows without a number left out"
    assert axes.lines[0].get_xdata()[0] == 0.5
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("gap, nats per row", "rows")


def test_a_row_far_from_all_others_does_not_flatten_the_gaps():
    gap = torch.cat([torch.linspace(0.5, 1.5, 99), torch.tensor([900.0])])
    figure = plots.gap_histogram(gap)
    (axes,) = figure.axes
    counts, edges, _ = axes.patches[0].get_data()
    assert counts.sum() == 99
    assert edges[-1] == pytest.approx(1.5)
    assert axes.get_xlim()[1] < 2
    assert axes.get_title() == "gap of 100 rows\n1 row far outside not shown"
    # Of all rows, as in the tables.
    assert legend(figure) == ["gap, mean 9.99 nats"]
    # No legend of a line that is outside of the panel.
    assert not axes.lines
    assert gap.mean().item() == pytest.approx(9.99)


def test_the_halves_of_the_gap_are_shown_where_they_are_known():
    bounds = bounds_of(1.0)
    figure = plots.gap_histogram(bounds.gap, 0.25 * bounds.gap, 0.75 * bounds.gap)
    mean = bounds.gap.mean().item()
    assert legend(figure) == [
        f"gap, mean {mean:.3g} nats",
        f"approximation gap, mean {mean / 4:.3g} nats",
        f"amortisation gap, mean {3 * mean / 4:.3g} nats",
        "mean of the gap",
    ]
    for patch, part in zip(figure.axes[0].patches, (1.0, 0.25, 0.75), strict=True):
        counts, edges, _ = patch.get_data()
        np.testing.assert_array_equal(counts, np.histogram(part * bounds.gap.numpy(), edges)[0])


def test_rows_with_a_negative_half_of_the_gap_are_drawn_and_those_far_outside_are_counted():
    """Both halves are estimates, which may be below 0; a row far outside in several of the three is one row."""
    torch.manual_seed(0)
    gap = torch.rand(180, dtype=torch.float64) + 0.1
    approximation = 0.5 * torch.randn(180, dtype=torch.float64)
    gap[0], approximation[0], approximation[1] = 800.0, 790.0, -500.0
    figure = plots.gap_histogram(gap, approximation, gap - approximation)
    (axes,) = figure.axes
    counts = [patch.get_data().values.sum() for patch in axes.patches]
    assert counts == [179, 178, 179]
    assert (approximation < 0).sum() > 60
    assert axes.get_title() == "gap of 180 rows\n2 rows far outside not shown"
    assert legend(figure)[1] == f"approximation gap, mean {approximation.mean().item():.3g} nats"


def test_a_half_of_the_gap_without_numbers_has_no_mean():
    figure = plots.gap_histogram(torch.rand(5), torch.full((5,), torch.nan), torch.rand(5))
    assert legend(figure)[1] == "approximation gap, known of no row"


@pytest.mark.parametrize("gap", [[0.3], [0.0, 0.0]])
def test_a_gap_that_never_changes_is_drawn(gap):
    assert plots.gap_histogram(torch.tensor(gap)).axes[0].get_ylabel() == "rows"


def test_rows_above_the_limit_of_k_hat_are_set_apart():
    bounds = bounds_of(3.0)
    k_hat = bounds.k_hat.clone()
    k_hat[0] = torch.nan
    bounds = replace(bounds, k_hat=k_hat)
    axes = plots.k_hat_scatter(bounds).axes[0]
    within, above = (np.asarray(points.get_offsets()) for points in axes.collections)
    assert len(within) == int(bounds.reliable.sum())
    assert len(within) + len(above) == 29
    assert (within[:, 1] <= bounds.k_hat_limit).all()
    assert (above[:, 1] > bounds.k_hat_limit).all()
    known = ~bounds.k_hat.isnan()
    assert sorted([*within[:, 0], *above[:, 0]]) == pytest.approx(sorted(bounds.log_px[known].tolist()))
    assert axes.lines[0].get_ydata()[0] == bounds.k_hat_limit
    assert axes.get_title() == "k-hat of 29 rows; 1 row without one left out"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("log p(x), nats per row", "k-hat")
    conditional = plots.k_hat_scatter(bounds, target="log p(x|c)").axes[0]
    assert conditional.get_xlabel() == "log p(x|c), nats per row"


def test_the_bound_is_drawn_with_two_errors_of_its_mean():
    bounds = bounds_of(1.0)
    figure = plots.bound_by_draws({"a $x$": bounds, "b": bounds_of(2.0)})
    line, (_, _), (bars,) = figure.axes[0].containers[0]
    assert line.get_xdata().tolist() == list(SWEEP)
    assert line.get_ydata() == pytest.approx(bounds.sweep_bounds.mean(1).numpy())
    lengths = [segment[1, 1] - segment[0, 1] for segment in bars.get_segments()]
    errors = (bounds.sweep_standard_errors.numpy() ** 2).sum(1) ** 0.5 / 30
    assert lengths == pytest.approx(4 * errors)
    assert legend(figure) == [r"a \$x\$", "b"]
    (axes,) = figure.axes
    assert axes.get_title() == "mean bound of 30 rows, bars of two standard errors"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("draws K", "bound, nats per row")


def test_means_of_bounds_that_are_not_finite_are_named():
    log_weights = torch.randn(400, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    log_weights[:100, 3] = -torch.inf
    bounds = BoundComparison(**estimates(log_weights, SWEEP), sweep=SWEEP, num_samples=400)
    assert bounds.sweep_bounds.mean(1).isfinite().tolist() == [False, False, False, True]
    said = plots.bound_by_draws({"a": bounds, "b": bounds_of(1.0)}).axes[0].get_title()
    assert said == "mean bound of 30 rows, bars of two standard errors\nnot finite, and left out: K = 1, 10, 100"
    assert plots.bound_by_draws({"a": bounds_of(1.0, rows=1)}).axes[0].get_title().startswith("mean bound of 1 row,")


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ((3, 3), "bars of one standard error over 3 draws of the labels"),
        ((1, 3), "bars of one standard error over 1 to 3 draws of the labels"),
        ((1, 1), "one draw of the labels, so no bars of errors"),
    ],
)
def test_accuracies_say_what_their_bars_are(seeds, said):
    given = [
        Score("m2", labels, 90.0, 0.5 if n > 1 else torch.nan, n) for labels, n in zip((9, 80), seeds, strict=True)
    ]
    figure = plots.accuracy_by_labels(given)
    (axes,) = figure.axes
    assert axes.get_title() == said
    (bars,) = axes.containers[0].lines[2]
    lengths = [segment[1, 1] - segment[0, 1] for segment in bars.get_segments() if segment.ndim == 2]
    assert lengths == pytest.approx([1.0 for n in seeds if n > 1])


def test_no_accuracies_are_refused():
    with pytest.raises(ValueError, match="there are no scores to show"):
        plots.accuracy_by_labels([])


def test_ten_runs_are_told_apart():
    figure = plots.bound_by_draws({f"run {number}": bounds_of(1 + number / 10) for number in range(10)})
    lines = [container[0] for container in figure.axes[0].containers]
    assert len({(line.get_color(), line.get_marker(), line.get_linestyle()) for line in lines}) == 10


@pytest.mark.parametrize("endless", [4, 30])
def test_rows_of_infinite_k_hat_are_at_the_top_edge(endless):
    """They have a k-hat, and it is above the limit."""
    bounds = bounds_of(3.0)
    k_hat = bounds.k_hat.clone()
    k_hat[:endless] = torch.inf
    bounds = replace(bounds, k_hat=k_hat)
    figure = plots.k_hat_scatter(bounds)
    axes = figure.axes[0]
    figure.draw_without_rendering()
    at_top = axes.lines[1]
    pixels = at_top.get_transform().transform(at_top.get_xydata())
    assert pixels[:, 1] == pytest.approx([axes.bbox.y1] * endless)
    assert at_top.get_xdata() == pytest.approx(bounds.log_px[:endless].numpy())
    low, high = axes.get_xlim()
    assert low < bounds.log_px.min() < bounds.log_px.max() < high
    above = int((~bounds.reliable).sum())
    assert f"k-hat above the limit: {above} rows, {endless} of them infinite" in axes.get_legend_handles_labels()[1]
    assert axes.get_title() == "k-hat of 30 rows"


@pytest.mark.parametrize("scale", [0.1, 3.0])
def test_the_panel_of_k_hat_takes_all_the_height_that_its_letters_leave(scale):
    figure = plots.k_hat_scatter(bounds_of(scale))
    figure.draw_without_rendering()
    (axes,) = figure.axes
    title, below, legend_box = (part.get_tightbbox() for part in (axes.title, axes.xaxis, figure.legends[0]))
    free = figure.bbox.height - axes.bbox.height - title.height - below.height - legend_box.height
    assert 0 < free < 0.12 * figure.bbox.height


def test_labels_of_many_numbers_of_draws_do_not_overlap():
    sweep = (1, 2, 5, 10, 20, 50, 100, 200, 400)
    log_weights = torch.randn(400, 30, dtype=torch.float64)
    bounds = BoundComparison(**estimates(log_weights, sweep), sweep=sweep, num_samples=400)
    figure = plots.bound_by_draws({"a": bounds})
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_xticklabels() if label.get_text()]
    assert len(boxes) >= 4
    assert not any(left.overlaps(right) for left, right in pairwise(boxes))
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert len(labels) == len(sweep)
    assert all(label in ("", str(k)) for label, k in zip(labels, sweep, strict=True))


def test_numbers_that_are_not_there_are_refused():
    few = bounds_of(1.0, draws=10)
    with pytest.raises(ValueError, match="no row of 30 has a k-hat, which needs at least 25 draws"):
        plots.k_hat_scatter(few)
    with pytest.raises(ValueError, match="no row of 2 has a finite gap"):
        plots.gap_histogram(torch.full((2,), torch.nan))
    with pytest.raises(ValueError, match=r"the approximation gap has shape \(2,\); expected \(3,\)"):
        plots.gap_histogram(torch.rand(3), torch.rand(2))
    with pytest.raises(ValueError, match="no finite bound"):
        plots.bound_by_draws({"a": replace(few, sweep_bounds=few.sweep_bounds * torch.nan)})
    with pytest.raises(ValueError, match="no epoch of 1 has 'kl'"):
        plots.term_curve([{"epoch": 1, "train_elbo": -2.0}], "kl", "KL", 1)
    with pytest.raises(ValueError, match=r"rows of shape \(5,\) are no images"):
        plots.image_blocks({"data": torch.rand(3, 5)})


@pytest.mark.parametrize("dims", [1, 3, 200])
def test_the_kl_of_each_dimension_is_a_bar_and_the_largest_is_first(dims):
    torch.manual_seed(0)
    vae = VAE(
        priors.StandardNormal(dims),
        likelihoods.Normal(networks.MLP(dims, 5)),
        posteriors.DiagonalNormal(networks.MLP(5, 2 * dims)),
    )
    latents = latent_summary(vae.model, vae.guide, torch.randn(30, 5), aggregate=False)
    figure = plots.kl_per_dimension(latents)
    (axes,) = figure.axes
    heights = [bar.get_height() for bar in sorted(axes.patches, key=lambda bar: bar.get_x())]
    site = latents.sites["z"]
    assert heights == pytest.approx(sorted(site.kl_per_dim.mean(0).tolist(), reverse=True))
    counted = int(site.active.sum())
    assert (f"active: {counted} of {dims}" in legend(figure)) == (counted > 0)
    assert axes.get_ylabel() == "KL, nats per row"
    assert axes.get_title().startswith("mean KL of 30 rows")
    names = [label.get_text() for label in axes.get_xticklabels()]
    if dims == 3:
        lines = [lines for drawn in axes.containers if hasattr(drawn, "lines") for lines in drawn.lines[2]]
        segments = sorted((segment for bars in lines for segment in bars.get_segments()), key=lambda ends: ends[0, 0])
        lengths = [segment[1, 1] - segment[0, 1] for segment in segments]
        errors = np.std(site.kl_per_dim.numpy(), axis=0, ddof=1) / 30**0.5
        assert lengths == pytest.approx(4 * errors[site.kl_per_dim.mean(0).argsort(descending=True)])
        assert names == [f"z[{dim}]" for dim in site.kl_per_dim.mean(0).argsort(descending=True).tolist()]


def test_dimensions_of_which_the_draws_do_not_tell_are_neither_active_nor_not():
    torch.manual_seed(0)
    vae = VAE(
        priors.StandardNormal(3), likelihoods.Normal(networks.MLP(3, 5)), posteriors.DiagonalNormal(networks.MLP(5, 6))
    )
    latents = latent_summary(vae.model, vae.guide, torch.randn(30, 5), aggregate=False)
    of_z = {"active": torch.tensor([True, False, False]), "undecided": torch.tensor([False, True, False])}
    said = legend(plots.kl_per_dimension(replace(latents, sites={"z": replace(latents.sites["z"], **of_z)})))
    assert all(f"{kind}: 1 of 3" in said for kind in ("active", "not active", "activity unknown"))


def test_a_latent_without_kl_of_its_dimensions_is_refused_with_the_reason():
    torch.manual_seed(0)
    vae = VAE(
        priors.StandardNormal(2),
        likelihoods.Normal(networks.MLP(2, 5)),
        posteriors.FullCovarianceNormal(networks.MLP(5, posteriors.FullCovarianceNormal.encoder_shape(2))),
    )
    latents = latent_summary(vae.model, vae.guide, torch.randn(30, 5), aggregate=False)
    with pytest.raises(ValueError, match="latent 'z' has no KL of single dimensions: "):
        plots.kl_per_dimension(latents)


def test_stacked_histograms_show_their_highest_bin():
    codes = torch.cat([torch.randn(200, 1), torch.zeros(200, 1)], 1)
    axes = plots.latent_histograms(codes).axes
    assert all(panel.get_ylim()[0] == 0 for panel in axes)
    assert all(panel.get_ylim()[1] >= 200 for panel in axes)
