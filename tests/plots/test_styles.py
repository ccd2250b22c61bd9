"""Pictures in the styles and under the settings of the user: what they show stays the same, and is seen."""

import matplotlib.style
import pytest
import torch
from matplotlib.colors import to_rgb

from pyrovae import VAE, latent_summary, likelihoods, networks, plots, posteriors, priors
from pyrovae.evaluation import BoundComparison
from pyrovae.evaluation.estimates import estimates
from pyrovae.semi_supervised.scores import METHODS, Score


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_numbers_lines_and_bars_are_seen_in_the_style_of_the_user(style):
    codes_of_ten, labels = torch.randn(60, 2), torch.arange(60) % 10
    weights = torch.randn(8, 40, 3, generator=torch.Generator().manual_seed(0))
    runs = {
        f"run {run}": BoundComparison(**estimates(of_run, (1, 40)), sweep=(1, 40), num_samples=40)
        for run, of_run in enumerate(weights)
    }
    scores = [Score(method, labels, 90.0, 1.0, 3) for method in METHODS for labels in (20, 100)]
    vae = VAE(
        priors.StandardNormal(3), likelihoods.Normal(networks.MLP(3, 5)), posteriors.DiagonalNormal(networks.MLP(5, 6))
    )
    latents = latent_summary(vae.model, vae.guide, torch.randn(30, 5), aggregate=False)
    with matplotlib.style.context(style):
        of_classes = plots.latent_space(codes_of_ten, labels)
        lines = [*plots.bound_by_draws(runs).axes[0].lines, *plots.accuracy_by_labels(scores).axes[0].lines]
        bars = [
            bar
            for drawn in plots.kl_per_dimension(latents).axes[0].containers
            for bar in getattr(drawn, "lines", [(), (), ()])[2]
        ]
        ground = to_rgb(matplotlib.rcParams["axes.facecolor"])
    for number in of_classes.axes[0].texts:
        assert to_rgb(number.get_color()) != to_rgb(number.get_bbox_patch().get_facecolor())
    points = of_classes.axes[0].collections[0].get_facecolors()
    drawn = [*map(to_rgb, points), *(to_rgb(line.get_color()) for line in lines)]
    drawn += [to_rgb(colour) for bar in bars for colour in bar.get_colors()]
    assert bars
    assert ground not in drawn


IMAGES = torch.rand(3, 3, 1, 6, 4)
OF_IMAGES = {
    "blocks": lambda: plots.image_blocks({"data": IMAGES[0]}),
    "lines": lambda: plots.image_lines("new images", {"a": IMAGES[0], "b": IMAGES[1]}),
    "in lines and columns": lambda: plots.traversals(IMAGES),
    "manifold": lambda: plots.manifold(IMAGES),
    "strips": lambda: plots.traversals(IMAGES.flatten(2)),
    "maps": lambda: plots.manifold(IMAGES.flatten(2)),
}


@pytest.mark.parametrize("make", OF_IMAGES.values(), ids=OF_IMAGES)
def test_settings_of_the_user_turn_no_image_over_and_lay_no_grid_on_it(make):
    with matplotlib.rc_context({"image.origin": "lower", "image.interpolation": "bicubic", "axes.grid": True}):
        figure = make()
    shown = [axes for axes in figure.axes if axes.images]
    assert shown
    for axes in shown:
        bottom, top = axes.get_ylim()
        assert bottom > top
        assert axes.images[0].get_interpolation() in ("antialiased", "auto", "nearest")
        grid = [*axes.get_xgridlines(), *axes.get_ygridlines()]
        assert not any(line.get_visible() for line in grid)
