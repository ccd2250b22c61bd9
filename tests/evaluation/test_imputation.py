"""Imputation against the exact conditional distribution, and its options."""

import math

import pyro.distributions as dist
import pytest
import torch
from incomplete import DATA, LATENT, exact_vae, gaussian_vae, incomplete, rows
from problems import small_vae
from torch import nn

from pyrovae import VAE, compare_bounds, impute, likelihoods, networks, priors
from pyrovae.distributions import PartlyObserved
from pyrovae.programs import RepeatedSampler, VectorizedSampler, inspect_pair, make_sampler

NAN = math.nan


def conditional(problem, row):
    """Mean and covariance of the missing entries of a row given the others."""
    whole = problem.weight @ problem.weight.T + problem.scale**2 * torch.eye(DATA, dtype=torch.float64)
    away, there = row.isnan(), ~row.isnan()
    gain = whole[away][:, there] @ torch.linalg.inv(whole[there][:, there])
    return problem.bias[away] + gain @ (row - problem.bias)[there], whole[away][:, away] - gain @ whole[there][:, away]


@pytest.mark.parametrize("widen", [1.0, 1.4])
def test_draws_have_the_exact_conditional_mean_and_covariance(widen):
    problem, vae = exact_vae(widen)
    x = incomplete(problem, 8, seed=3)
    draws = 4000
    filled = impute(vae.model, vae.guide, x, num_samples=draws, num_proposals=20_000)
    assert filled.reliable.all()
    for row in range(len(x)):
        away = x[row].isnan()
        mean, covariance = conditional(problem, x[row])
        # Draws share proposals, of which there are as many as the effective number says.
        count = 1 / (1 / draws + 1 / filled.ess[row].item())
        found = filled.draws[:, row][:, away]
        # About 60 numbers within 4 standard errors: a false alarm in about 260 seeds for each of the two guides.
        assert ((found.mean(0) - mean).abs() < 4 * (covariance.diagonal() / count).sqrt()).all()
        spread = ((covariance.diagonal().outer(covariance.diagonal()) + covariance**2) / count).sqrt()
        assert ((found.T.cov().reshape(covariance.shape) - covariance).abs() < 4 * spread).all()
        # The weighted mean has no noise of its own in x, so the posterior's part of the spread is an upper limit.
        assert ((filled.mean[row, away] - mean).abs() < 4 * (covariance.diagonal() / filled.ess[row]).sqrt()).all()
    assert (filled.draws[:, ~x.isnan()] == x[~x.isnan()]).all()
    assert torch.equal(filled.mean[~x.isnan()], x[~x.isnan()])
    assert torch.equal(filled.missing, x.isnan())


def test_effective_proposals_and_k_hat_are_those_of_compare_bounds():
    problem, vae = exact_vae(widen=1.5)
    # More rows than a block has; of the last ten more proposals than some guides draw at once.
    x = incomplete(problem, 74)
    filled = impute(vae.model, vae.guide, x, num_samples=2, num_proposals=1000, seed=2)
    bounds = compare_bounds(vae.model, vae.guide, x, num_samples=1000, seed=2)
    torch.testing.assert_close(filled.ess, bounds.ess)
    torch.testing.assert_close(filled.k_hat, bounds.k_hat)
    assert filled.k_hat_limit == bounds.k_hat_limit


class Levels(nn.Module):
    """Categories whose log-odds depend on z."""

    def __init__(self):
        super().__init__()
        self.decoder = networks.MLP(LATENT, (DATA, 3), ())

    def forward(self, z):
        return PartlyObserved(dist.Categorical(logits=self.decoder(z)).to_event(1))


def test_the_mean_of_categories_is_the_most_probable_one():
    vae = gaussian_vae()
    vae.likelihood = Levels()
    with torch.no_grad():
        vae.likelihood.decoder.layers[0].weight.mul_(0.1)
        vae.likelihood.decoder.layers[0].bias.copy_(torch.tensor([[0.0, 1.0, 3.0]] * DATA).flatten())
        vae.likelihood.decoder.layers[0].bias[:3] = torch.tensor([3.0, 1.0, 0.0])
    x = torch.tensor([[NAN, 1.0, NAN, 0.0, 2.0]])
    filled = impute(vae.model, vae.guide, x, num_samples=400, num_proposals=400)
    assert filled.mean.tolist() == [[0, 1, 2, 0, 2]]
    for column, mode in ((0, 0.0), (2, 2.0)):
        assert filled.draws[:, 0, column].mode().values == mode
        assert set(filled.draws[:, 0, column].tolist()) == {0.0, 1.0, 2.0}


def test_columns_of_all_kinds():
    kinds = ["categorical(3)", "count", "binary", "categorical(3)", "real"]
    decoder = networks.MLP(LATENT, likelihoods.Columns.decoder_shape((DATA,), kinds), ())
    vae = gaussian_vae(likelihoods.Columns(decoder, kinds))
    x = torch.tensor([[NAN, 4.0, NAN, 2.0, NAN], [1.0, NAN, 0.0, NAN, 0.3], [1.0, 2.0, 0.0, 0.0, 0.3]])
    filled = impute(vae.model, vae.guide, x, num_samples=3000, num_proposals=6000)
    assert vae.likelihood.likelihood.column_kinds == tuple(kinds)
    for row, column in x.isnan().nonzero().tolist():
        draws, mean = filled.draws[:, row, column], filled.mean[row, column]
        if kinds[column].startswith("categorical"):
            # Ties aside, the category that is drawn most is the most probable one.
            counts = torch.bincount(draws.long(), minlength=3).sort(descending=True)
            assert mean == counts.indices[0] or counts.values[0] - counts.values[1] < 150
        else:
            # Five numbers within 5 standard errors of draws that share proposals.
            error = draws.std() * math.sqrt(1 / 3000 + 1 / filled.ess[row].item())
            assert (draws.mean() - mean).abs() < 5 * error
    assert torch.equal(filled.mean[2], x[2])


class OneBatch(nn.Module):
    """A decoder that takes one batch dimension and no more."""

    def __init__(self, decoder):
        super().__init__()
        self.decoder = decoder

    def forward(self, z):
        assert z.dim() == 2
        return self.decoder(z)


def test_programs_not_written_for_draws():
    problem, vae = exact_vae(widen=1.2)
    vae.likelihood.likelihood.decoder = OneBatch(vae.likelihood.likelihood.decoder)
    x = incomplete(problem, 3)
    pair = (vae.model, vae.guide)
    assert isinstance(make_sampler(*pair, x, inspect_pair(*pair, x)), RepeatedSampler)
    filled = impute(*pair, x, num_samples=2000, num_proposals=2000)
    plain_pair = exact_vae(widen=1.2)[1]
    plain_pair = (plain_pair.model, plain_pair.guide)
    assert isinstance(make_sampler(*plain_pair, x, inspect_pair(*plain_pair, x)), VectorizedSampler)
    for row in range(len(x)):
        mean, covariance = conditional(problem, x[row])
        error = (covariance.diagonal() * (1 / 2000 + 1 / filled.ess[row])).sqrt()
        # A handful of numbers within 4.5 standard errors: a false alarm in 10^4 seeds.
        assert ((filled.draws[:, row][:, x[row].isnan()].mean(0) - mean).abs() < 4.5 * error).all()
        assert ((filled.mean[row, x[row].isnan()] - mean).abs() < 4.5 * error).all()


def test_summary_and_table():
    problem, vae = exact_vae()
    x = incomplete(problem, 6)
    filled = impute(vae.model, vae.guide, x, num_samples=3, num_proposals=200)
    first, second = filled.summary().split("\n")
    assert first == (
        f"{int(x.isnan().sum())} of 30 entries filled in, in {int(x.isnan().any(1).sum())} of 6 rows; 3 draws from 200 "
        "proposals each"
    )
    assert second.endswith("they can be believed: k-hat is at most 0.57 in every row.")
    frame = filled.to_frame()
    assert list(frame.columns) == ["missing", "ess", "k_hat", "reliable"]
    assert frame["missing"].sum() == int(x.isnan().sum())
    poor = exact_vae(widen=0.2)[1]
    strange = impute(poor.model, poor.guide, x, num_samples=3, num_proposals=200)
    assert len(strange.unreliable_rows)
    assert f"unknown in {len(strange.unreliable_rows)} rows: draw more proposals" in strange.summary()
    few = impute(poor.model, poor.guide, x, num_samples=3, num_proposals=9).summary()
    assert "; they cannot be judged: k-hat needs at least 25 draws" in few
    assert "above" not in few
    whole = impute(vae.model, vae.guide, problem.rows(4), num_samples=3, num_proposals=10)
    assert whole.summary() == "0 of 20 entries filled in, in 0 of 4 rows; 3 draws from 10 proposals each"
    assert whole.reliable.all()


def test_nothing_of_the_caller_changes():
    vae, x = gaussian_vae(), rows(5)
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    torch.manual_seed(5)
    state = torch.get_rng_state()
    once = impute(vae.model, vae.guide, x, num_samples=3, num_proposals=50, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(impute(vae.model, vae.guide, x, num_samples=3, num_proposals=50, seed=1).draws, once.draws)
    assert not torch.equal(impute(vae.model, vae.guide, x, num_samples=3, num_proposals=50, seed=2).draws, once.draws)
    assert all(torch.equal(before[name], value) for name, value in vae.state_dict().items())
    assert vae.training


class Meanless(dist.Normal):
    @property
    def mean(self):
        raise NotImplementedError


class MeanlessLikelihood(nn.Module):
    def forward(self, z):
        return PartlyObserved(Meanless(z[..., :1].expand(*z.shape[:-1], DATA), 1.0).to_event(1))


@pytest.mark.parametrize(
    ("make", "x", "options", "message"),
    [
        (small_vae, torch.zeros(3, 1, 8, 8), {}, "observes the rows by Independent.*; missing entries can be drawn"),
        (gaussian_vae, rows(3), {"num_samples": 0}, "num_samples is 0; expected a positive integer"),
        (gaussian_vae, rows(3), {"num_proposals": 1.5}, "num_proposals is 1.5; expected a positive integer"),
        (gaussian_vae, rows(3), {"chunk_size": 0}, "chunk_size is 0"),
        (gaussian_vae, torch.full((3, DATA), NAN), {}, "x has no observed entry in 3 of 3 rows"),
        (lambda: exact_like(MeanlessLikelihood()), rows(3), {}, "Meanless has no mean"),
    ],
)
def test_what_is_refused(make, x, options, message):
    vae = make()
    with pytest.raises(ValueError, match=message):
        impute(vae.model, vae.guide, x, **options)


def exact_like(likelihood):
    return VAE(priors.StandardNormal(LATENT), likelihood, gaussian_vae().posterior)


def test_a_row_that_no_proposal_explains_is_named():
    vae = gaussian_vae()
    x = incomplete(exact_vae()[0], 5, seed=3).float()
    x[3, ~x[3].isnan()] = 1e20
    with pytest.raises(
        ValueError, match=r"proposals of 1 rows are all zero, infinite or NaN, the first is row 3: look"
    ):
        impute(vae.model, vae.guide, x, num_samples=3, num_proposals=50)
