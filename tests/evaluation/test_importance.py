"""The sampler: chunks, programs of several kinds, and what it must leave alone."""

import random

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from problems import LinearGaussian, ScaledPosterior, bits, small_vae
from torch import nn

from pyrovae import VAE, compare_bounds, likelihoods, log_weights, networks, posteriors, priors
from pyrovae.programs import RepeatedSampler, VectorizedSampler, inspect_pair, make_sampler


@pytest.mark.parametrize("chunk_size", [1, 7, 50, 64, 1000])
@pytest.mark.parametrize("rows", [1, 70])
def test_chunks_change_nothing(chunk_size, rows):
    problem = LinearGaussian.random(4, 2, 0)
    vae = problem.vae(ScaledPosterior(problem))
    x = problem.rows(rows)
    whole = log_weights(vae.model, vae.guide, x, 100)
    assert whole.shape == (100, rows)
    torch.testing.assert_close(
        log_weights(vae.model, vae.guide, x, 100, chunk_size=chunk_size), whole, rtol=1e-12, atol=1e-12
    )


def test_draws_differ_between_rows_samples_blocks_and_seeds():
    problem = LinearGaussian.random(4, 2, 0)
    vae = problem.vae(ScaledPosterior(problem))
    x = problem.rows(1).expand(130, 4)
    weights = log_weights(vae.model, vae.guide, x, 80)
    assert weights.unique().numel() == weights.numel()
    assert not torch.equal(weights, log_weights(vae.model, vae.guide, x, 80, seed=1))
    assert torch.equal(weights, log_weights(vae.model, vae.guide, x, 80))


def unflattened_pair():
    """Programs that take one batch dimension and no more, as convolutions do."""
    encoder = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 4))
    decoder = nn.Sequential(nn.Linear(2, 64), nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 1, 3, padding=1))

    def model(x):
        pyro.module("decoder", decoder)
        with pyro.plate("rows", len(x)):
            z = pyro.sample("code", dist.Normal(torch.zeros(len(x), 2), 1).to_event(1))
            pyro.sample("pixels", dist.Bernoulli(logits=decoder(z)).to_event(3), obs=x)

    def guide(x):
        pyro.module("encoder", encoder)
        with pyro.plate("rows", len(x)):
            loc, raw = encoder(x).chunk(2, -1)
            pyro.sample("code", dist.Normal(loc, raw.exp()).to_event(1))

    return model, guide


def mixing_pair():
    """Takes draws without complaint, and would mix them with rows: the mean over all but the last dimension."""
    decoder = nn.Linear(2, 5)

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1).to_event(1))
            spread = (z - z.mean(dim=tuple(range(z.dim() - 2)), keepdim=True)).abs().sum() * (z.dim() > 2)
            pyro.sample("x", dist.Normal(decoder(z) + spread, 1).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(torch.zeros(2), 1).to_event(1))

    return model, guide


def inner_plate_pair():
    """A latent for each of three groups within a row, and one for the row."""

    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            a = pyro.sample("a", dist.Normal(0.0, 1.0))
            with pyro.plate("groups", 3, dim=-2):
                b = pyro.sample("b", dist.Normal(a, 1.0))
                pyro.sample("x", dist.Normal(b, 0.5), obs=x.T)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("a", dist.Normal(x.mean(-1), 1.0))
            with pyro.plate("groups", 3, dim=-2):
                pyro.sample("b", dist.Normal(x.T, 0.7))

    return model, guide


def structure_of(pair, x):
    return inspect_pair(*pair, x)


def test_a_vae_is_scored_along_a_plate_of_draws():
    vae, x = small_vae(), bits(5)
    pair = (vae.model, vae.guide)
    assert isinstance(make_sampler(*pair, x, structure_of(pair, x)), VectorizedSampler)


@pytest.mark.parametrize(("make_pair", "x"), [(unflattened_pair, bits(5)), (mixing_pair, torch.randn(5, 5))])
def test_programs_not_written_for_draws_are_scored_by_repeated_rows(make_pair, x):
    pair = make_pair()
    assert isinstance(make_sampler(*pair, x, structure_of(pair, x)), RepeatedSampler)


@pytest.mark.parametrize("sampler_class", [VectorizedSampler, RepeatedSampler])
def test_both_samplers_give_the_densities_of_plain_traces(sampler_class):
    pair, x = inner_plate_pair(), torch.randn(4, 3)
    sampler = sampler_class(*pair, structure_of(pair, x))
    latents, log_q = sampler.draw(x, 6)
    log_joint = sampler.log_joint(x, latents)
    a, b = latents["a"].reshape(6, 4), latents["b"].reshape(6, 3, 4)

    def normal(value, loc, scale):
        return torch.distributions.Normal(loc, scale).log_prob(value)

    expected_q = normal(a, x.mean(-1), torch.tensor(1.0)) + normal(b, x.T, torch.tensor(0.7)).sum(1)
    expected_p = (
        normal(a, torch.tensor(0.0), torch.tensor(1.0))
        + normal(b, a[:, None], torch.tensor(1.0)).sum(1)
        + normal(x.T, b, torch.tensor(0.5)).sum(1)
    )
    torch.testing.assert_close(log_q, expected_q)
    torch.testing.assert_close(log_joint, expected_p)


def test_discrete_latents_by_enumeration():
    """A latent of three values: log p(x) is a sum over them; a uniform guide is within 4 standard errors."""
    probs, locs = torch.tensor([0.2, 0.5, 0.3]), torch.tensor([-2.0, 0.0, 3.0])

    def model(x):
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(probs))
            pyro.sample("x", dist.Normal(locs[k], 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("k", dist.Categorical(torch.ones(len(x), 3)))

    x = torch.tensor([-3.0, 0.1, 2.0, 5.0])
    exact = torch.logsumexp(probs.log() + torch.distributions.Normal(locs, 1.0).log_prob(x[:, None]), -1).double()
    bounds = compare_bounds(model, guide, x, num_samples=20_000)
    assert ((bounds.log_px - exact).abs() <= 4 * bounds.standard_error + 1e-5).all()
    # Bounded weights, the largest of them drawn often: no tail.
    assert (bounds.k_hat == 0).all()


def dropout_vae():
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 4))
    return VAE(
        priors.StandardNormal(2),
        likelihoods.Bernoulli(networks.MLP(2, (1, 8, 8))),
        posteriors.DiagonalNormal(encoder),
    )


def test_evaluation_moves_nothing():
    vae, x = dropout_vae(), bits(20)
    vae.train()
    vae.posterior.encoder[3].eval()
    pyro.param("theirs", torch.tensor(3.0))
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    modes = [module.training for module in vae.modules()]
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    first = compare_bounds(vae.model, vae.guide, x, num_samples=30)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()
    assert random.getstate() == states[2]
    for name, value in vae.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert [module.training for module in vae.modules()] == modes
    assert dict(pyro.get_param_store().items()).keys() == {"theirs"}
    assert all(parameter.grad is None for parameter in vae.parameters())
    # Dropout is off: the same numbers from a copy that was in evaluation mode all along.
    vae.eval()
    assert torch.equal(compare_bounds(vae.model, vae.guide, x, num_samples=30).log_px, first.log_px)


def test_modules_that_a_function_refers_to_are_evaluated_too():
    vae, x = dropout_vae(), bits(20)

    def model(x):
        return vae.model(x)

    def guide(x):
        return vae.guide(x)

    vae.train()
    running = vae.posterior.encoder[2].running_mean.clone()
    bounds = compare_bounds(model, guide, x, num_samples=30)
    assert torch.equal(vae.posterior.encoder[2].running_mean, running)
    assert torch.equal(bounds.log_px, compare_bounds(vae.model, vae.guide, x, num_samples=30).log_px)


def test_a_stale_entry_in_the_param_store_is_not_used():
    """Another model's pyro.module of the same name lies in the global store."""
    other = nn.Linear(2, 64)
    pyro.module("decoder", other)
    pair, x = unflattened_pair(), bits(4)
    bounds = compare_bounds(*pair, x, num_samples=30)
    pyro.clear_param_store()
    assert torch.equal(bounds.log_px, compare_bounds(*pair, x, num_samples=30).log_px)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_samples": 0}, "num_samples is 0; expected a positive integer"),
        ({"num_samples": -3}, "num_samples is -3"),
        ({"num_samples": 2.5}, "num_samples is 2.5"),
        ({"chunk_size": 0}, "chunk_size is 0"),
        ({"x": torch.zeros(0, 1, 8, 8)}, "x has shape"),
        ({"x": torch.full((3, 1, 8, 8), float("nan"))}, "NaN or infinite values in 3 of 3 rows"),
        ({"x": [1, 2]}, "x is a list; expected a tensor"),
    ],
)
def test_bad_arguments(arguments, message):
    vae = small_vae()
    arguments = {"x": bits(3), "num_samples": 10} | arguments
    with pytest.raises(ValueError, match=message):
        compare_bounds(vae.model, vae.guide, **arguments)


def test_one_draw_has_no_error_bar_and_says_so():
    vae = small_vae()
    bounds = compare_bounds(vae.model, vae.guide, bits(3), num_samples=1)
    assert bounds.standard_error.isnan().all()
    assert bounds.k_hat.isnan().all()
    assert not bounds.reliable.any()
    torch.testing.assert_close(bounds.elbo, bounds.log_px)
    assert "cannot be judged" in bounds.summary()


def test_summary_and_frame():
    vae = small_vae()
    bounds = compare_bounds(vae.model, vae.guide, bits(5), num_samples=200)
    frame = bounds.to_frame()
    assert len(frame) == 5
    np.testing.assert_array_equal(frame["log_px"], bounds.log_px.numpy())
    mean, over_rows, over_draws = bounds.means()["log_px"]
    assert f"{mean:.3f}" in bounds.summary()
    assert over_rows == pytest.approx(frame["log_px"].std() / 5**0.5)
    assert over_draws == pytest.approx((frame["standard_error"] ** 2).sum() ** 0.5 / 5)
