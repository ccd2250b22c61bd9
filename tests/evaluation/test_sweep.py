"""The K-sample bound for many K, its bias, smoothing, and which rows are believed.

Statistical checks allow 4 standard errors of a mean over many rows: a false alarm in 1 of 16,000 seeds each.
"""

import dataclasses
import itertools
import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from problems import ExactPosterior, LinearGaussian, ScaledPosterior, bits, small_vae

from pyrovae import ais, compare_bounds, inference_gap, ood_scores, prior_log_px
from pyrovae.evaluation.arviz_interface import k_hat_limit
from pyrovae.evaluation.estimates import estimates

PROBS, LOCS, VALUE = torch.tensor([0.2, 0.5, 0.3]), torch.tensor([-2.0, 0.0, 3.0]), 1.3


def discrete_model(x):
    with pyro.plate("data", len(x)):
        k = pyro.sample("k", dist.Categorical(PROBS))
        pyro.sample("x", dist.Normal(LOCS[k], 1.0), obs=x)


def uniform_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("k", dist.Categorical(torch.ones(len(x), 3)))


def exact_bound(num_samples):
    """E[log mean w] over all 3^K outcomes."""
    log_w = PROBS.double().log() + torch.distributions.Normal(LOCS.double(), 1.0).log_prob(torch.tensor(VALUE))
    log_w = log_w + math.log(3)
    outcomes = torch.tensor(list(itertools.product(range(3), repeat=num_samples)))
    return (torch.logsumexp(log_w[outcomes], 1) - math.log(num_samples)).mean().item()


def test_bounds_of_a_discrete_latent_by_enumeration():
    sweep = (1, 2, 3, 5, 8)
    rows = 500
    # The errors are those of first order in K / draws: of 120 draws the one for K = 8 is a sixth too small.
    bounds = compare_bounds(discrete_model, uniform_guide, torch.full((rows,), VALUE), num_samples=480, sweep=sweep)
    exact = [exact_bound(k) for k in sweep]
    assert exact == sorted(exact)
    for k, estimate, error, truth in zip(sweep, bounds.sweep_bounds, bounds.sweep_standard_errors, exact, strict=True):
        spread = estimate.std().item() / math.sqrt(rows)
        assert abs(estimate.mean().item() - truth) < 4 * spread, k
        # The reported errors are those of the rows' spread: equal rows, so the ratio is 1 within 15 %.
        assert error.square().mean().sqrt().item() == pytest.approx(estimate.std().item(), rel=0.15)


def test_errors_of_elbo_log_px_and_gap_are_those_of_equal_rows():
    """Rows that are equal have numbers that differ by their draws alone."""
    bounds = compare_bounds(discrete_model, uniform_guide, torch.full((500,), VALUE), num_samples=480)
    for estimate, error in (
        (bounds.elbo, bounds.elbo_standard_error),
        (bounds.log_px, bounds.standard_error),
        (bounds.gap, bounds.gap_standard_error),
    ):
        # The spread of 500 rows is known to 3.2 %: a false alarm in less than 1 of 100,000 seeds.
        assert error.square().mean().sqrt().item() == pytest.approx(estimate.std().item(), rel=0.15)


def test_the_error_of_a_bound_from_few_groups_is_that_of_all_their_draws():
    """Of 480 draws there are ten groups of 48, and three of 160."""
    rows = torch.full((500,), VALUE)
    bounds = compare_bounds(discrete_model, uniform_guide, rows, num_samples=480, sweep=(48, 160))
    for estimate, error in zip(bounds.sweep_bounds, bounds.sweep_standard_errors, strict=True):
        # The errors, of first order, are 5 % too small here, and the spread of 500 rows is known to 3.2 %: with three
        # of these to the bound a false alarm in 1 of 1,000 seeds.
        assert error.square().mean().sqrt().item() == pytest.approx(estimate.std().item(), rel=0.15)


def test_one_draw_is_the_elbo_and_all_draws_are_log_px():
    problem = LinearGaussian.random(4, 2, 0)
    vae = problem.vae(ScaledPosterior(problem))
    bounds = compare_bounds(vae.model, vae.guide, problem.rows(50), num_samples=300, sweep=[300, 1, 7])
    assert bounds.sweep == (1, 7, 300)
    torch.testing.assert_close(bounds.sweep_bounds[0], bounds.elbo)
    torch.testing.assert_close(bounds.sweep_standard_errors[0], bounds.elbo_standard_error)
    torch.testing.assert_close(bounds.sweep_bounds[2], bounds.log_px)
    torch.testing.assert_close(bounds.sweep_standard_errors[2], bounds.standard_error)
    means = bounds.sweep_bounds.mean(1)
    assert means[0] < means[1] < means[2]


def test_the_error_of_one_draw_is_that_of_the_elbo_however_few_there_are():
    log_w = torch.randn(10, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    numbers = estimates(log_w, [1, 10])
    torch.testing.assert_close(numbers["sweep_standard_errors"][0], numbers["elbo_standard_error"])
    torch.testing.assert_close(numbers["sweep_standard_errors"][1], numbers["standard_error"])


def test_the_usual_numbers_of_draws():
    vae, x = small_vae(), bits(3)
    assert compare_bounds(vae.model, vae.guide, x, num_samples=1000).sweep == (1, 10, 100, 1000)
    assert compare_bounds(vae.model, vae.guide, x, num_samples=70).sweep == (1, 10, 70)
    assert compare_bounds(vae.model, vae.guide, x, num_samples=5000).sweep == (1, 10, 100, 1000, 5000)


@pytest.mark.parametrize("sweep", [[], [0], [-1], [101], [1.5]])
def test_bad_sweeps(sweep):
    vae = small_vae()
    with pytest.raises(ValueError, match="expected numbers of draws between 1 and num_samples, 100"):
        compare_bounds(vae.model, vae.guide, bits(3), num_samples=100, sweep=sweep)


def test_the_bias_is_of_the_right_size():
    """Log-normal weights: log p(x) = s^2 / 2, and to first order in 1/K the bias is -(exp(s^2) - 1) / 2K."""
    s, num_samples, rows = 0.7, 100, 20_000
    log_w = s * torch.randn(num_samples, rows, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    numbers = estimates(log_w, [num_samples])
    bias = (numbers["log_px"] - s**2 / 2).mean().item()
    error = numbers["log_px"].std().item() / math.sqrt(rows)
    first_order = -(math.exp(s**2) - 1) / (2 * num_samples)
    # The next order is 1/K^2, with a coefficient of a few units: 0.0005 at K = 100.
    assert abs(bias - first_order) < 4 * error + 0.0005
    assert numbers["bias"].mean().item() == pytest.approx(first_order, rel=0.1)


def test_smoothing_lowers_the_spread_of_heavy_weights():
    """Weights u^-0.6, whose tail index is 0.6 and mean 2.5."""
    u = torch.rand(1000, 400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    numbers = estimates(-0.6 * u.log(), [1000])
    plain, smooth = numbers["log_px"], numbers["log_px_smoothed"]
    # Estimates of 400 rows: k-hat has a standard error of about 1.6 / sqrt(94) = 0.17 in a row.
    assert abs(numbers["k_hat"].mean().item() - 0.6) < 0.05
    assert smooth.std() < plain.std()
    # And it is closer to the truth, though both are logarithms of noisy means and so too low.
    assert (smooth - math.log(2.5)).square().mean() < (plain - math.log(2.5)).square().mean()


def test_the_guide_with_the_better_elbo_can_be_the_worse_proposal():
    """Posterior Normal(0, 1): a narrow guide has the smaller KL, and weights of infinite variance."""
    z = torch.randn(5000, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def numbers(scale):
        return estimates(-0.5 * (scale * z) ** 2 + 0.5 * z**2 + math.log(scale), [5000])

    narrow, wide = numbers(0.6), numbers(1.8)
    for guide, scale in ((narrow, 0.6), (wide, 1.8)):
        assert guide["elbo"].mean().item() == pytest.approx(-0.5 * (scale**2 - 1 - 2 * math.log(scale)), abs=0.01)
    assert narrow["elbo"].mean() > wide["elbo"].mean() + 0.3
    assert abs(narrow["k_hat"].mean().item() - 0.64) < 0.1
    assert (wide["k_hat"] < 0.3).all()
    assert narrow["ess"].mean() < wide["ess"].mean()
    assert narrow["log_px"].abs().mean() > wide["log_px"].abs().mean()


def normal_pair(scale):
    """z standard normal, x = z + noise; the guide is the posterior with its scale multiplied."""

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.5 * x, scale * math.sqrt(0.5)))

    return model, guide


@pytest.mark.parametrize("scale", [0.5, 0.6, 0.8])
def test_k_hat_of_a_pair_is_one_minus_the_square_of_the_scale(scale):
    """Its standard error is (1 + k) / sqrt(tail) with 3 sqrt(S) = 425 draws in the tail."""
    x = torch.linspace(-2, 2, 40, dtype=torch.float64)
    bounds = compare_bounds(*normal_pair(scale), x, num_samples=20_000)
    k = 1 - scale**2
    z = (bounds.k_hat - k) / ((1 + k) / math.sqrt(3 * math.sqrt(20_000)))
    # 40 rows at 4 standard errors, were they Gaussian: a false alarm in about 1 of 400 seeds.
    assert z.abs().max() < 4
    assert (bounds.reliable == (bounds.k_hat <= 0.7)).all()
    exact = torch.distributions.Normal(0.0, math.sqrt(2)).log_prob(x)
    assert ((bounds.elbo - exact + 0.5 * (scale**2 - 1 - 2 * math.log(scale))).abs() < 0.03).all()


def test_of_two_pairs_the_one_with_the_better_elbo_is_scored_worse():
    x = torch.linspace(-2, 2, 50, dtype=torch.float64)
    exact = torch.distributions.Normal(0.0, math.sqrt(2)).log_prob(x)
    narrow, wide = (compare_bounds(*normal_pair(scale), x, num_samples=2000) for scale in (0.6, 1.8))
    # KL(Normal(0, a) || Normal(0, 1)) = (a^2 - 1) / 2 - log a, against the same posterior.
    further = (1.8**2 - 0.6**2) / 2 - math.log(1.8 / 0.6)
    variance = narrow.elbo_standard_error.square() + wide.elbo_standard_error.square()
    assert abs((narrow.elbo - wide.elbo).mean() - further) < 4 * variance.sum().sqrt() / len(x)
    assert (narrow.log_px - exact).square().mean() > 2 * (wide.log_px - exact).square().mean()
    assert narrow.ess.min() < wide.ess.min()
    assert wide.reliable.all()
    assert len(narrow.unreliable_rows) > 5


class NoNumberAbove(dist.Normal):
    """A density that is NaN for values above 5."""

    def log_prob(self, value):
        return torch.where(value > 5, math.nan, super().log_prob(value))


def half_defined_pair():
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.tensor(0.0), 1.0))
            pyro.sample("x", NoNumberAbove(z, 1.0), obs=x)

    return model, normal_pair(1.2)[1]


@pytest.mark.filterwarnings("ignore:Encountered NaN")
def test_a_row_whose_weights_are_no_numbers_is_flagged_by_every_estimator():
    """And the other rows have the numbers that they have without it."""
    pair, x, other = half_defined_pair(), torch.tensor([0.3, 9.0, -1.0]), torch.tensor([0.3, 1.0, -1.0])
    bounds, clean = (compare_bounds(*pair, rows, num_samples=200) for rows in (x, other))
    assert bounds.log_px.isnan().tolist() == [False, True, False]
    assert bounds.unreliable_rows.tolist()[0] == 1
    assert torch.equal(bounds.log_px[[0, 2]], clean.log_px[[0, 2]])
    assert "1 of 3 rows" in bounds.summary()
    annealing = {"num_temperatures": 4, "num_chains": 8, "num_leapfrog": 2, "warm_up": 4}
    for found in (
        prior_log_px(*pair, x, num_samples=200).log_px,
        ais(*pair, x, **annealing).log_px,
        ais(*pair, x, start="guide", **annealing).log_px,
        inference_gap(*pair, x, num_samples=50, steps=5).total,
        -ood_scores(*pair, x, num_samples=50).negative_log_px,
    ):
        assert found.isnan().tolist() == [False, True, False]
    gaps = [inference_gap(*pair, rows, num_samples=50, steps=5).approximation for rows in (x, other)]
    assert torch.equal(gaps[0][[0, 2]], gaps[1][[0, 2]])


@pytest.mark.parametrize(
    ("draws", "limit"), [(100, 0.5), (1000, 2 / 3), (2200, 0.7), (100_000, 0.7), (10, 0), (9, 0), (1, 0)]
)
def test_the_limit_depends_on_the_number_of_draws(draws, limit):
    assert k_hat_limit(draws) == pytest.approx(limit, abs=1e-3)


def test_an_exact_guide_is_believed_by_few_draws():
    """Its weights tie: k-hat is 0, which no number of draws is too small for."""
    problem = LinearGaussian.random(6, 2, 0)
    vae = problem.vae(ExactPosterior(problem))
    bounds = compare_bounds(vae.model, vae.guide, problem.rows(5), num_samples=6)
    torch.testing.assert_close(bounds.log_px, problem.log_px(problem.rows(5)))
    assert bounds.verdict() == "log p(x) can be believed: k-hat is at most 0.00 in every row."


def test_the_weights_of_many_draws_are_taken_a_few_rows_at_a_time(monkeypatch):
    vae, x = small_vae(), bits(70)
    options = {"num_samples": np.int64(100), "keep_log_weights": True}
    at_once = compare_bounds(vae.model, vae.guide, x, **options)
    taken = []

    def few(log_w, sweep):
        taken.append(log_w.shape[1])
        return estimates(log_w, sweep)

    monkeypatch.setattr("pyrovae.evaluation.bounds._WEIGHTS_AT_ONCE", 1050)
    monkeypatch.setattr("pyrovae.evaluation.bounds.estimates", few)
    in_parts = compare_bounds(vae.model, vae.guide, x, **options)
    assert taken == [10, 10, 10, 10, 10, 10, 4, 6]
    for name, value in vars(at_once).items():
        torch.testing.assert_close(getattr(in_parts, name), value)


def test_rows_not_to_be_believed_are_listed_the_worst_first():
    problem = LinearGaussian.random(6, 2, 0)
    vae = problem.vae(ScaledPosterior(problem, widen=0.4, shift=0.5))
    bounds = compare_bounds(vae.model, vae.guide, problem.rows(40), num_samples=400)
    rows = bounds.unreliable_rows
    assert 0 < len(rows) <= 40
    assert set(rows.tolist()) == {i for i in range(40) if not bounds.k_hat[i] <= k_hat_limit(400)}
    assert bounds.k_hat[rows].tolist() == sorted(bounds.k_hat[rows].tolist(), reverse=True)
    assert f"in {len(rows)} of 40 rows" in bounds.verdict()


def test_weights_that_are_not_numbers_flag_their_row_only():
    log_w = torch.randn(100, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    clean = estimates(log_w, [1, 100])
    log_w[4, 1] = math.nan
    broken = estimates(log_w, [1, 100])
    for name, values in clean.items():
        np.testing.assert_array_equal(values[..., [0, 2]], broken[name][..., [0, 2]])
    assert broken["log_px"][1].isnan()
    assert broken["k_hat"][1].isnan()


def test_a_row_of_probability_zero_is_said_before_all_else():
    vae, x = small_vae(), bits(40)
    bounds = compare_bounds(vae.model, vae.guide, x, num_samples=30)
    log_px = bounds.log_px.clone()
    log_px[7] = -math.inf
    said = dataclasses.replace(bounds, log_px=log_px).verdict()
    assert said.startswith("log p(x) is infinite or NaN in 1 of 40 rows, the first is row 7: look there for values")
