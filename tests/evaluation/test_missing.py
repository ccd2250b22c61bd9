"""Rows with missing entries, through every number: against the exact answers for the entries that are there."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from incomplete import DATA, LATENT, ExactPosterior, exact_log_px, exact_vae, gaussian_vae, incomplete, rows
from torch import nn

from pyrovae import (
    VAE,
    ais,
    bdmc,
    bits_per_dim,
    check_vae,
    compare_bounds,
    fit_svi,
    impute,
    inference_gap,
    latent_summary,
    likelihoods,
    log_weights,
    networks,
    ood_scores,
    plots,
    posterior_samples,
    posteriors,
    prior_log_px,
    priors,
    to_arviz,
)
from pyrovae.distributions import PartlyObserved
from pyrovae.evaluation import reconstruct_rows, sample_rows

NAN = math.nan


def test_with_the_exact_posterior_both_numbers_are_the_exact_marginal():
    problem, vae = exact_vae()
    x = incomplete(problem, 70)
    bounds = compare_bounds(vae.model, vae.guide, x, num_samples=30)
    expected = exact_log_px(problem, x)
    torch.testing.assert_close(bounds.log_px, expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(bounds.elbo, expected, rtol=0, atol=1e-9)


def test_bounds_equal_plain_pytorch():
    problem, vae = exact_vae(widen=1.5)
    x = incomplete(problem, 7)
    bounds = compare_bounds(vae.model, vae.guide, x, num_samples=50, seed=4)
    torch.manual_seed(4)
    loc, scale_tril = (getattr(ExactPosterior(problem, 1.5)(x), name) for name in ("loc", "scale_tril"))
    # The same draws, found by undoing the guide's affine map, and all else by hand.
    z = log_weight_latents(vae, x)
    noise = torch.linalg.solve_triangular(scale_tril, (z - loc)[..., None], upper=False)[..., 0]
    log_q = -0.5 * (noise**2).sum(-1) - scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1) - math.log(2 * math.pi)
    log_prior = -0.5 * (z**2).sum(-1) - math.log(2 * math.pi)
    terms = (
        -0.5 * ((x - z @ problem.weight.T - problem.bias) / problem.scale) ** 2
        - math.log(problem.scale)
        - 0.5 * math.log(2 * math.pi)
    )
    log_w = log_prior + terms.nansum(-1) - log_q
    torch.testing.assert_close(log_weights(vae.model, vae.guide, x, 50, seed=4), log_w, rtol=0, atol=1e-9)
    torch.testing.assert_close(bounds.elbo, log_w.mean(0), rtol=0, atol=1e-9)
    torch.testing.assert_close(bounds.log_px, log_w.logsumexp(0) - math.log(50), rtol=0, atol=1e-9)


def log_weight_latents(vae, x):
    """The latents that ``log_weights(..., 50, seed=4)`` draws."""
    seen = []

    def guide(rows):
        with pyro.plate("data", len(rows), dim=-1):
            seen.append(pyro.sample("z", vae.encode(rows)))

    log_weights(vae.model, guide, x, 50, seed=4)
    (latents,) = [z for z in seen if z.shape == (50, len(x), LATENT)]
    return latents


@pytest.mark.parametrize("chunk_size", [1, 7, 1000])
def test_chunks_change_nothing(chunk_size):
    problem, vae = exact_vae(widen=1.5)
    x = incomplete(problem, 70)
    whole = log_weights(vae.model, vae.guide, x, 60)
    assert torch.equal(log_weights(vae.model, vae.guide, x, 60, chunk_size=chunk_size), whole)
    filled = impute(vae.model, vae.guide, x, num_samples=5, num_proposals=60)
    other = impute(vae.model, vae.guide, x, num_samples=5, num_proposals=60, chunk_size=chunk_size)
    assert torch.equal(other.draws, filled.draws)
    torch.testing.assert_close(other.mean, filled.mean, rtol=1e-12, atol=1e-12)


def test_annealing_and_prior_draws_agree_with_the_exact_marginal():
    problem, vae = exact_vae(widen=1.3)
    x = incomplete(problem, 6)
    expected = exact_log_px(problem, x)
    annealed = ais(vae.model, vae.guide, x, num_temperatures=50, num_chains=100, warm_up=50)
    # Six rows within 5 standard errors each, of weights that are a little skew: a false alarm in about 10^4 seeds.
    assert ((annealed.log_px - expected).abs() < 5 * annealed.standard_error + 1e-3).all()
    plain = prior_log_px(vae.model, vae.guide, x, num_samples=20_000)
    assert ((plain.log_px - expected).abs() < 5 * plain.standard_error).all()


def test_simulated_rows_lack_the_same_entries():
    problem, vae = exact_vae()
    like = incomplete(problem, 4)
    bracket = bdmc(vae.model, vae.guide, like=like, num_rows=8, num_temperatures=30, num_chains=20, warm_up=30)
    assert torch.equal(bracket.rows.isnan(), like.repeat(2, 1).isnan())
    expected = exact_log_px(problem, bracket.rows)
    error = (bracket.forward.standard_error**2 + bracket.reverse.standard_error**2).sqrt()
    # A bound may pass log p(x) by b nats with a probability of exp(-b); the mean of eight by much less.
    assert (bracket.lower - expected).mean() < 4 * error.mean()
    assert (expected - bracket.upper).mean() < 4 * error.mean()
    assert ((bracket.lower - expected).abs() < 1).all()


def test_everything_else_takes_missing_entries():
    vae, x = gaussian_vae(), rows(6)
    pair = (vae.model, vae.guide)
    result = fit_svi(*pair, rows(60, 1), validation=rows(20, 2), epochs=3, batch_size=16, progress=False)
    assert all(math.isfinite(value) for terms in result.history for value in terms.values())
    assert check_vae(vae, x).ok
    gap = inference_gap(*pair, x, steps=10, num_samples=50)
    assert gap.total.isfinite().all()
    assert latent_summary(*pair, x, num_samples=20).kl.isfinite().all()
    assert ood_scores(*pair, x, train=rows(20, 1), num_samples=30).typicality.isfinite().all()
    exported = to_arviz(*pair, x, num_draws=5)
    assert np.array_equal(exported["observed_data"]["x"].values, x.numpy(), equal_nan=True)
    assert np.isfinite(exported["posterior_predictive"]["x"].values).all()
    assert np.isfinite(exported["log_likelihood"]["x"].values).all()
    chains = posterior_samples(*pair, x, rows=[2], num_draws=10, warm_up=10)
    assert np.isfinite(chains["posterior"]["z"].values).all()
    means, (new, draws) = reconstruct_rows(*pair, x), sample_rows(*pair, x)
    assert means.isfinite().all()
    assert draws.isfinite().all()
    x[:, 3] = NAN
    plots.reconstructions(x, means).savefig("/dev/null", format="png")
    plots.samples(x, new, draws).savefig("/dev/null", format="png")


def test_pictures_of_images_with_missing_pixels():
    x = torch.rand(3, 1, 4, 4)
    x[0, 0, 1, 2] = NAN
    plots.reconstructions(x, torch.rand(3, 1, 4, 4)).savefig("/dev/null", format="png")


def test_bits_per_dimension_are_refused_for_missing_entries_and_given_without():
    vae = gaussian_vae(likelihoods.Bernoulli(networks.MLP(LATENT, DATA, (8,))))
    x = torch.bernoulli(torch.full((4, DATA), 0.5))
    bounds = compare_bounds(vae.model, vae.guide, x, num_samples=50)
    bits = bits_per_dim(vae.model, vae.guide, x, bounds)
    torch.testing.assert_close(bits.bits, -bounds.log_px / (DATA * math.log(2)))
    x[1, 2] = NAN
    with pytest.raises(ValueError, match=r"x has missing entries \(NaN\) in 1 of 4 rows, the first of them row 1"):
        bits_per_dim(vae.model, vae.guide, x, bounds)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda vae: setattr(vae, "likelihood", vae.likelihood.likelihood),
            "x has NaN or infinite values in 6 of 6 rows, .*wrap the likelihood and the posterior in",
        ),
        (
            lambda vae: setattr(vae, "posterior", vae.posterior.posterior),
            "latent 'z' of the guide is NaN for rows with missing entries: wrap the posterior",
        ),
    ],
)
def test_parts_that_do_not_take_missing_entries(change, message):
    vae, x = gaussian_vae(), rows(6)
    x[:, 0] = NAN
    change(vae)
    with pytest.raises(ValueError, match=message):
        compare_bounds(vae.model, vae.guide, x)
    with pytest.raises(ValueError, match=message.replace("x has", "train has")):
        fit_svi(vae.model, vae.guide, x, batch_size=3, progress=False)


class FillsTheFirst(nn.Module):
    """A guide of the user's that thinks of the first column only."""

    def __init__(self, posterior):
        super().__init__()
        self.posterior = posterior

    def forward(self, x):
        return self.posterior(torch.cat([x[..., :1].nan_to_num(), x[..., 1:]], -1))


def test_a_guide_is_tried_on_every_entry_that_may_be_missing():
    vae, x = gaussian_vae(), torch.randn(50, DATA)
    vae.posterior = FillsTheFirst(vae.posterior.posterior)
    x[:40, 0] = NAN
    assert compare_bounds(vae.model, vae.guide, x, num_samples=5).log_px.isfinite().all()
    x[45, 3] = NAN
    with pytest.raises(ValueError, match="latent 'z' of the guide is NaN for rows with missing entries"):
        compare_bounds(vae.model, vae.guide, x)


def test_rows_that_are_refused():
    vae, x = gaussian_vae(), rows(6)
    x[4] = NAN
    with pytest.raises(ValueError, match="x has no observed entry in 1 of 6 rows, the first of them row 4: remove"):
        compare_bounds(vae.model, vae.guide, x)
    x[4] = 1.0
    x[5, 0] = math.inf
    with pytest.raises(ValueError, match="x has NaN or infinite values in 1 of 6 rows, the first of them row 5"):
        compare_bounds(vae.model, vae.guide, x)
    counts = gaussian_vae(likelihoods.Bernoulli(networks.MLP(LATENT, DATA, (8,))))
    bits = torch.ones(3, DATA)
    bits[0, 0], bits[2, 1] = NAN, 0.5
    with pytest.raises(ValueError, match=r"Bernoulli at site 'x' is no density .* row 2 has the value 0\.5"):
        compare_bounds(counts.model, counts.guide, bits)
    kinds = ["real", "count", "binary", "categorical(3)", "real"]
    decoder = networks.MLP(LATENT, likelihoods.Columns.decoder_shape((DATA,), kinds))
    table = gaussian_vae(likelihoods.Columns(decoder, kinds))
    for column, value, kind in ((1, -1.0, "'count'"), (2, 0.5, "'binary'"), (3, 3.0, r"'categorical\(3\)'")):
        x = torch.ones(4, DATA)
        x[0], x[3, column] = torch.tensor([NAN, 1, 1, NAN, 2]), value
        with pytest.raises(ValueError, match=f"row 3 has the value {value:g}, in column {column}, which is {kind}"):
            compare_bounds(table.model, table.guide, x)


def test_every_part_starts_from_incomplete_rows_and_a_vamp_prior_has_none():
    encoder = networks.MLP(DATA, 2 * LATENT, (8,))
    posterior = posteriors.PartlyObserved(posteriors.DiagonalNormal(encoder), (DATA,))
    vae = gaussian_vae()
    vae = VAE(priors.VampPrior(posterior, (DATA,), num_pseudo_inputs=5), vae.likelihood, posterior)
    x = rows(40)
    vae.initialize(x)
    assert torch.equal(vae.posterior.fill, x.nanmean(0))
    torch.testing.assert_close(vae.likelihood(torch.zeros(LATENT)).mean, x.nanmean(0), rtol=0, atol=2.0)
    assert vae.prior.pseudo_inputs.isfinite().all()
    fit_svi(vae.model, vae.guide, x, epochs=2, batch_size=20, progress=False)
    assert compare_bounds(vae.model, vae.guide, x, num_samples=30).log_px.isfinite().all()


def test_a_program_of_ones_own():
    """An inner function with its own names, observing flattened rows, and an encoder that counts missing entries."""
    weight = torch.randn(LATENT, 6, generator=torch.Generator().manual_seed(0))

    def model(x):
        with pyro.plate("rows", len(x), dim=-1):
            z = pyro.sample("code", dist.Normal(torch.zeros(LATENT), 1.0).to_event(1))
            pyro.sample("pixels", PartlyObserved(dist.Normal(z @ weight, 0.5).to_event(1)), obs=x.flatten(1))

    def guide(x):
        with pyro.plate("rows", len(x), dim=-1):
            loc = x.flatten(1).nan_to_num() @ weight.T / 6
            pyro.sample("code", dist.Normal(loc, 0.7).to_event(1))

    x = torch.randn(5, 2, 3)
    x[1, 0, 2] = NAN
    filled = impute(model, guide, x, num_samples=4, num_proposals=100)
    assert filled.draws.shape == (4, 5, 2, 3)
    assert filled.mean[1, 0, 2].isfinite()
    assert compare_bounds(model, guide, x, num_samples=20).log_px.isfinite().all()
