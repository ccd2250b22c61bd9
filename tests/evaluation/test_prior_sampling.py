"""Log p(x) from the prior: right for few latents, and seen to fail for many.

Statistical checks allow 4.5 standard errors for each row: a false alarm in 1 of 150,000 seeds for each, and the seeds
are fixed.
"""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from problems import LinearGaussian, ScaledPosterior, bits, small_vae

from pyrovae import prior_log_px


def linear_pair(data_dim, latent_dim, seed=0):
    problem = LinearGaussian.random(data_dim, latent_dim, seed)
    vae = problem.vae(ScaledPosterior(problem))
    return problem, (vae.model, vae.guide)


@pytest.mark.parametrize(("data_dim", "latent_dim"), [(1, 1), (3, 2)])
def test_agrees_with_the_exact_answer_where_latents_are_few(data_dim, latent_dim):
    problem, pair = linear_pair(data_dim, latent_dim)
    x = problem.rows(70)
    estimate = prior_log_px(*pair, x, num_samples=20_000)
    exact = problem.log_px(x)
    sound = estimate.reliable
    assert sound.double().mean() > 0.9
    error = ((estimate.log_px - exact) / estimate.standard_error)[sound]
    assert (error.abs() < 4.5).all()
    # The errors are of the right size: the mean of some 65 squares is 1 +- 0.18.
    assert 0.3 < error.square().mean() < 1.9


def test_fails_at_twenty_latents_and_shows_it():
    problem, pair = linear_pair(40, 20)
    x = problem.rows(10)
    estimate = prior_log_px(*pair, x, num_samples=5_000)
    # Each row is too low by more than 10 nats, which the standard error does not know of, but k-hat and ESS do.
    assert (problem.log_px(x) - estimate.log_px > 10).all()
    assert (estimate.standard_error <= 1.0001).all()
    assert (estimate.k_hat > 0.7).all()
    assert (estimate.ess < 20).all()
    assert not estimate.reliable.any()
    assert "in 10 rows" in estimate.summary()


def test_the_limit_of_k_hat_is_that_of_the_number_of_draws():
    problem, pair = linear_pair(3, 2)
    estimate = prior_log_px(*pair, problem.rows(200), num_samples=100)
    assert estimate.k_hat_limit == 0.5
    between = (estimate.k_hat > 0.5) & (estimate.k_hat < 0.7)
    assert between.any()
    assert not estimate.reliable[between].any()


def test_discrete_latents_by_enumeration():
    probs, locs = torch.tensor([0.2, 0.5, 0.3]), torch.tensor([-2.0, 0.0, 3.0])

    def model(x):
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(probs))
            pyro.sample("x", dist.Normal(locs[k], 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("k", dist.Categorical(torch.ones(len(x), 3)))

    x = torch.tensor([-3.0, 0.1, 2.0, 5.0])
    exact = torch.logsumexp(probs.log() + torch.distributions.Normal(locs, 1.0).log_prob(x[:, None]), -1)
    estimate = prior_log_px(model, guide, x, num_samples=20_000)
    assert ((estimate.log_px - exact).abs() < 4.5 * estimate.standard_error + 1e-5).all()


def test_many_draws_of_large_rows_are_taken_in_blocks(monkeypatch):
    """Not more than 8,192 rows of decoder output at a time, nor 2^23 numbers."""
    vae, largest = small_vae((1, 32, 64)), 0

    def model(x):
        nonlocal largest
        vae.model(x)
        largest = max(largest, vae.decode_rows)

    decoder = vae.likelihood.decoder
    decoder.register_forward_hook(lambda _module, _inputs, output: setattr(vae, "decode_rows", output.numel()))
    estimate = prior_log_px(model, vae.guide, bits(3, (1, 32, 64)), num_samples=6000)
    assert estimate.log_px.shape == (3,)
    assert 2**22 < largest <= 2**23


def test_same_seed_same_result_and_nothing_moves():
    vae, x = small_vae(), bits(5)
    vae.train()
    state = torch.get_rng_state()
    first = prior_log_px(vae.model, vae.guide, x, num_samples=50)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in vae.modules())
    assert all(parameter.grad is None for parameter in vae.parameters())
    assert not pyro.get_param_store().keys()
    torch.manual_seed(99)
    assert torch.equal(prior_log_px(vae.model, vae.guide, x, num_samples=50).log_px, first.log_px)
    assert not torch.equal(prior_log_px(vae.model, vae.guide, x, num_samples=50, seed=1).log_px, first.log_px)


def test_frame_means_and_one_draw():
    vae, x = small_vae(), bits(5)
    estimate = prior_log_px(vae.model, vae.guide, x, num_samples=100)
    frame = estimate.to_frame()
    np.testing.assert_array_equal(frame["log_px"], estimate.log_px.numpy())
    np.testing.assert_array_equal(frame["reliable"], estimate.reliable.numpy())
    assert estimate.means()["log_px"][1] == pytest.approx(frame["log_px"].std() / 5**0.5)
    one = prior_log_px(vae.model, vae.guide, x, num_samples=1)
    assert one.standard_error.isnan().all()
    assert not one.reliable.any()
    assert "log p(x) cannot be judged: k-hat needs at least 25 draws" in one.summary()
    assert "above" not in one.summary()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_samples": 0}, "num_samples is 0; expected a positive integer"),
        ({"num_samples": -3}, "num_samples is -3"),
        ({"x": torch.zeros(0, 1, 8, 8)}, "x has shape"),
        ({"x": torch.full((3, 1, 8, 8), float("nan"))}, "NaN or infinite values in 3 of 3 rows"),
    ],
)
def test_bad_arguments(arguments, message):
    vae = small_vae()
    with pytest.raises(ValueError, match=message):
        prior_log_px(vae.model, vae.guide, **({"x": bits(3)} | arguments))
