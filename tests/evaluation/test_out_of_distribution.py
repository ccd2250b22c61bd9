"""Scores and AUROC against closed forms and scikit-learn.

Statistical checks allow 4 standard errors: for one Gaussian estimate a false alarm in 1 of 16,000 seeds, and the
seeds are fixed.
"""

import math
import random

import numpy as np
import pyro
import pytest
import torch
from problems import ExactPosterior, LinearGaussian, ScaledPosterior, bits, small_vae
from scipy.stats import chi2, norm
from sklearn.metrics import roc_auc_score

from pyrovae import auroc, compare_bounds, ood_scores


def draws(count, seed, loc=0.0, scale=1.0):
    return loc + scale * torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("decimals", [12, 1, 0])
@pytest.mark.parametrize("sizes", [(200, 300), (1, 5), (7, 1)])
def test_auroc_is_that_of_scikit_learn(sizes, decimals):
    ins, outs = draws(sizes[0], 0).round(decimals=decimals), draws(sizes[1], 1, 0.5).round(decimals=decimals)
    expected = roc_auc_score([0] * len(ins) + [1] * len(outs), torch.cat([ins, outs]).numpy())
    assert auroc(ins, outs).value == pytest.approx(expected, abs=1e-12)
    assert auroc(outs, ins).value == pytest.approx(1 - expected, abs=1e-12)


def test_ties_count_one_half():
    assert auroc(torch.tensor([1.0, 1.0]), torch.tensor([1.0, 1.0])).value == 0.5
    assert auroc(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 3.0])).value == 3.5 / 4
    assert auroc(torch.tensor([0.0, math.inf]), torch.tensor([math.inf])).value == 0.75
    assert auroc(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])).value == 1.0
    assert auroc(torch.tensor([3, 4]), torch.tensor([1, 2])).value == 0.0


def test_standard_error_by_hand():
    """Three against two: the parts 1/2, 1 and the parts 1, 1, 1/4 by counting."""
    found = auroc(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([3.0, 4.0]))
    parts_out, parts_in = np.array([2.5 / 3, 1.0]), np.array([1.0, 1.0, 0.75])
    assert found.value == pytest.approx(parts_out.mean())
    assert found.standard_error == pytest.approx(math.sqrt(parts_out.var(ddof=1) / 2 + parts_in.var(ddof=1) / 3))
    assert math.isnan(auroc(torch.tensor([1.0]), torch.tensor([1.0, 2.0])).standard_error)
    assert auroc(torch.ones(5), torch.ones(7)).standard_error == 0


def test_two_standard_errors_of_few_rows_cover_less_than_their_part():
    """As the docstring says, 84 % of 20,000 seeds; of 1,000 seeds the part has an error of 1.2 %, 4 of them are 5 %."""
    exact = norm.cdf(1 / math.sqrt(2))
    many = [auroc(draws(5, seed), draws(200, 1000 + seed, 1.0)) for seed in range(1000)]
    covered = [abs(one.value - exact) <= 2 * one.standard_error for one in many]
    assert np.mean(covered) == pytest.approx(0.84, abs=0.05)


def test_auroc_of_two_gaussians():
    """P(N(1, 1) > N(0, 1)) = Phi(1 / sqrt 2); over 300 repetitions the error is that of the scatter."""
    exact = norm.cdf(1 / math.sqrt(2))
    found = auroc(draws(4000, 0), draws(3000, 1, 1.0))
    assert abs(found.value - exact) <= 4 * found.standard_error
    assert found.standard_error < 0.01
    many = [auroc(draws(80, seed), draws(60, 1000 + seed, 1.0)) for seed in range(300)]
    z = np.array([(one.value - exact) / one.standard_error for one in many])
    # The mean of 300 squares is 1 +- 0.08, a little more for the estimated errors.
    assert 0.7 < np.mean(z**2) < 1.5


@pytest.mark.parametrize(
    ("ins", "outs", "message"),
    [
        (torch.zeros(0), torch.zeros(3), r"in_scores is of shape \(0,\)"),
        (torch.zeros(3), torch.zeros(3, 1), r"out_scores is of shape \(3, 1\)"),
        (torch.zeros(3), [1.0], "out_scores is a list"),
        (torch.tensor([1.0, math.nan]), torch.zeros(3), "in_scores has NaN in 1 of 2 rows"),
    ],
)
def test_auroc_refuses(ins, outs, message):
    with pytest.raises(ValueError, match=message):
        auroc(ins, outs)


def problem_pair(posterior_class=ExactPosterior, seed=0, scale_up=1.0):
    problem = LinearGaussian.random(4, 2, seed)
    problem.bias = torch.zeros(4, dtype=torch.float64)
    problem.weight, problem.scale = problem.weight * scale_up, problem.scale * scale_up
    vae = problem.vae(posterior_class(problem))
    return problem, (vae.model, vae.guide)


def test_scores_are_those_of_the_exact_densities():
    problem, pair = problem_pair()
    wide, background = problem_pair(scale_up=2.0)
    x, train = problem.rows(30), problem.rows(200, 1)
    found = ood_scores(*pair, x, background=background, train=train, num_samples=30)
    exact = problem.log_px(x)
    torch.testing.assert_close(found.negative_log_px, -exact, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.likelihood_ratio, wide.log_px(x) - exact, rtol=0, atol=1e-9)
    usual = problem.log_px(train)
    torch.testing.assert_close(found.typicality, (exact - usual.mean()).abs(), rtol=0, atol=1e-9)
    # Nothing is left of the draws; the training rows are a sample.
    assert found.negative_log_px_standard_error.max() < 1e-9
    assert found.likelihood_ratio_standard_error.max() < 1e-9
    torch.testing.assert_close(
        found.typicality_standard_error, (usual.std() / math.sqrt(200)).expand(30), rtol=1e-9, atol=0
    )
    assert found.reliable.all()
    assert list(found.scores()) == ["negative_log_px", "likelihood_ratio", "typicality"]
    frame = found.to_frame()
    assert len(frame) == 30
    assert frame["typicality"].tolist() == found.typicality.tolist()


def test_a_row_is_reliable_where_both_models_are():
    problem, good = problem_pair()
    vae = problem.vae(ScaledPosterior(problem, widen=0.4, shift=0.5))
    poor, x = (vae.model, vae.guide), problem.rows(40)
    # The background has the draws of the next seed.
    theirs = compare_bounds(*poor, x, num_samples=400, seed=1).reliable
    own = compare_bounds(*poor, x, num_samples=400).reliable
    assert 0 < theirs.sum() < 40
    assert (own != theirs).any()
    for pair, background, expected in ((good, poor, theirs), (poor, good, own), (poor, poor, own & theirs)):
        assert torch.equal(ood_scores(*pair, x, background=background, num_samples=400).reliable, expected)


def test_the_error_of_a_typicality_is_that_of_the_row_and_of_the_training_rows():
    problem, pair = problem_pair(ScaledPosterior)
    train = problem.rows(200, 1)
    found = ood_scores(*pair, problem.rows(40), train=train, num_samples=50)
    of_train = compare_bounds(*pair, train, num_samples=50, seed=2).log_px
    expected = np.hypot(found.negative_log_px_standard_error.numpy(), of_train.std().item() / math.sqrt(200))
    np.testing.assert_allclose(found.typicality_standard_error, expected)
    # Both parts count.
    assert (found.negative_log_px_standard_error > 0.1 * found.typicality_standard_error).any()


def test_errors_cover_the_draws():
    problem, pair = problem_pair(ScaledPosterior)
    wide, background = problem_pair(ScaledPosterior, scale_up=2.0)
    x = problem.rows(40)
    found = ood_scores(*pair, x, background=background, num_samples=1000)
    exact = wide.log_px(x) - problem.log_px(x)
    z = (found.likelihood_ratio - exact) / found.likelihood_ratio_standard_error
    # 40 checks at 4 standard errors: a false alarm in about 1 of 400 seeds; the mean of z^2 is 1 +- 0.22.
    assert z.abs().max() <= 4
    assert 0.3 < z.square().mean() < 2.1
    assert found.typicality is None
    assert list(found.scores()) == ["negative_log_px", "likelihood_ratio"]


def test_two_gaussians_are_told_apart_as_the_closed_form_says():
    """Rows three times as wide: -log p is a chi-square of 4 degrees, and 9 times one for the strangers."""
    problem, pair = problem_pair()
    ins, outs = problem.rows(1500, 1), 3 * problem.rows(1000, 2)
    own = ood_scores(*pair, ins, train=problem.rows(300, 3), num_samples=30)
    strange = ood_scores(*pair, outs, train=problem.rows(300, 3), num_samples=30)
    grid = np.linspace(0, 400, 400_001)
    exact = (chi2.pdf(grid, 4) * chi2.sf(grid / 9, 4)).sum() * (grid[1] - grid[0])
    found = own.aurocs(strange)
    assert abs(found["negative_log_px"].value - exact) <= 4 * found["negative_log_px"].standard_error
    assert 0.8 < exact < 0.99
    assert found["typicality"].value > 0.8
    # And typical rows of too high a density pass -log p(x), as its documentation says, but not the typicality.
    inside = ood_scores(*pair, 0.01 * problem.rows(300, 4), train=problem.rows(300, 3), num_samples=30)
    missed = own.aurocs(inside)
    assert missed["negative_log_px"].value < 0.05
    assert missed["typicality"].value > 0.6


def test_the_same_pair_as_background_gives_a_ratio_of_zero_within_its_error():
    vae, x = small_vae(), bits(20)
    found = ood_scores(vae.model, vae.guide, x, background=(vae.model, vae.guide), num_samples=200)
    z = found.likelihood_ratio / found.likelihood_ratio_standard_error
    assert z.abs().max() <= 4
    # Draws of their own: not zero because they are the same ones.
    assert (z != 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_samples": 0}, "num_samples is 0"),
        ({"x": torch.zeros(0, 1, 8, 8)}, "x has shape"),
        ({"train": torch.zeros(0, 1, 8, 8)}, "train has shape"),
        ({"train": torch.full((2, 1, 8, 8), math.nan)}, "train has NaN"),
    ],
)
def test_bad_arguments(options, message):
    vae = small_vae()
    with pytest.raises(ValueError, match=message):
        ood_scores(vae.model, vae.guide, **({"x": bits(3)} | options))


def test_nothing_is_moved():
    vae, x = small_vae(), bits(5)
    vae.train()
    pyro.param("theirs", torch.tensor(3.0))
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    first = ood_scores(vae.model, vae.guide, x, background=(vae.model, vae.guide), train=x, num_samples=30)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()
    assert random.getstate() == states[2]
    assert all(module.training for module in vae.modules())
    assert dict(pyro.get_param_store().items()).keys() == {"theirs"}
    again = ood_scores(vae.model, vae.guide, x, background=(vae.model, vae.guide), train=x, num_samples=30)
    assert torch.equal(first.likelihood_ratio, again.likelihood_ratio)
