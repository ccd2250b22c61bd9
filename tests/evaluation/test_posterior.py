"""NUTS against the closed-form posterior, beside the guide's draws, as an ArviZ object."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from problems import LinearGaussian, ScaledPosterior, bits, categorical_guide, categorical_model, small_vae
from pyro import poutine
from scipy.stats import gamma

from pyrovae import posterior_samples
from pyrovae.evaluation.arviz_interface import convergence, make_arviz, pareto_k


def test_moments_of_a_linear_gaussian_posterior():
    """Means, variances and the covariance of a row within 4.5 Monte Carlo errors.

    NUTS's are those of the effective draws that ArviZ counts, of the values and of their products: five checks, and
    four of the guide's independent draws, a false alarm in 1 of 16,000 seeds.
    """
    problem = LinearGaussian.random(3, 2, 2)
    guide = ScaledPosterior(problem)
    vae = problem.vae(guide)
    x = problem.rows(9)
    result = posterior_samples(vae.model, vae.guide, x, rows=[7], num_draws=250, warm_up=100)
    assert result["posterior"]["z"].dims == ("chain", "draw", "row", "z_dim_0")
    assert result["posterior"]["row"].values.tolist() == [7]
    exact_mean, covariance = (moment.numpy() for moment in problem.posterior_moments(x[[7]]))
    centred = result["posterior"]["z"].values - exact_mean
    assert centred.shape == (2, 250, 1, 2)
    products = np.stack([centred[..., i] * centred[..., j] for i, j in ((0, 0), (1, 1), (0, 1))], -1)
    targets = np.stack([covariance[i, j] for i, j in ((0, 0), (1, 1), (0, 1))])
    for draws, target in ((centred, 0.0), (products, targets)):
        error = draws.std((0, 1)) / np.sqrt(convergence(draws)[1])
        assert (np.abs(draws.mean((0, 1)) - target) < 4.5 * error).all()
        assert (error < 0.1).all()
    assert (result["r_hat"]["z"].values < 1.05).all()
    assert (result["ess"]["z"].values > 100).all()
    assert result["ess"]["z"].dims == ("row", "z_dim_0")
    assert not result["sample_stats"]["diverging"].values.any()
    loc, scale = (moment.detach().numpy() for moment in guide.moments(x[[7]]))
    of_guide = result["guide"]["z"].values
    assert (np.abs(of_guide.mean((0, 1)) - loc) < 4.5 * scale / 500**0.5).all()
    assert (np.abs(of_guide.std((0, 1)) / scale - 1) < 4.5 / 1000**0.5).all()
    np.testing.assert_array_equal(result["observed_data"]["x"].values, x[[7]].numpy())


def test_a_constrained_latent_and_an_inner_plate():
    """Gamma(2, 1) and three Poisson counts: the posterior is Gamma(2 + sum, 4)."""

    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            rate = pyro.sample("rate", dist.Gamma(torch.tensor(2.0), 1.0))
            with pyro.plate("groups", 3, dim=-2):
                shift = pyro.sample("shift", dist.Normal(torch.tensor(0.0), 1.0))
                pyro.sample("x", dist.Poisson(rate), obs=x.T)
                pyro.sample("y", dist.Normal(shift, 1.0), obs=x.T)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("rate", dist.Gamma(3.0 + 0 * x[:, 0], 1.0))
            with pyro.plate("groups", 3, dim=-2):
                pyro.sample("shift", dist.Normal(0 * x.T, 1.0))

    x = torch.tensor([[1.0, 0.0, 3.0], [0.0, 0.0, 0.0]])
    result = posterior_samples(model, guide, x, num_draws=100, warm_up=50, num_chains=1)
    assert result["posterior"]["rate"].dims == ("chain", "draw", "row")
    assert result["posterior"]["shift"].shape == result["guide"]["shift"].shape == (1, 100, 2, 3)
    for name, mean, sd in (
        ("rate", gamma.mean([6, 2], scale=1 / 4), gamma.std([6, 2], scale=1 / 4)),
        ("shift", x.numpy() / 2, math.sqrt(0.5)),
    ):
        error = sd / np.sqrt(result["ess"][name].values)
        assert (np.abs(result["posterior"][name].values.mean((0, 1)) - mean) < 4.5 * error).all()
        assert (error < 0.25).all()


def test_masked_numbers_are_drawn_from_their_prior():
    """Of the second row w is masked. Moments within 4.5 Monte Carlo errors: a false alarm in 1 of 15,000 seeds.

    z and w of the first row have the precision [[2, 1], [1, 2]] and so variances of 2/3, z of the second 1/2.
    """

    def split(x):
        return x[:, 0], x[:, 1] > 0

    def model(x):
        x, there = split(x)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(()).double(), 1.0))
            with poutine.mask(mask=there):
                w = pyro.sample("w", dist.Normal(torch.tensor(3.0).double(), 2.0))
            pyro.sample("x", dist.Normal(z + torch.where(there, (w - 3) / 2, 0.0), 1.0), obs=x)

    def guide(x):
        x, there = split(x)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 2, 0.9))
            pyro.sample("w", dist.Normal(x / 3, 0.9).mask(there))

    x = torch.tensor([[0.6, 1.0], [0.6, 0.0]]).double()
    result = posterior_samples(model, guide, x, num_draws=300, warm_up=100, num_chains=2)
    for name, mean, variance in (("z", [0.2, 0.3], [2 / 3, 1 / 2]), ("w", [3.4, 3.0], [4 * 2 / 3, 4.0])):
        centred = result["posterior"][name].values - mean
        for draws, target in ((centred, 0.0), (centred**2, np.array(variance))):
            error = draws.std((0, 1)) / np.sqrt(convergence(draws)[1])
            assert (np.abs(draws.mean((0, 1)) - target) < 4.5 * error).all()
            assert (error < 0.2 * np.array(variance)).all()


def test_same_seed_same_draws_and_nothing_moves():
    vae, x = small_vae(), bits(4)
    vae.train()
    pyro.param("theirs", torch.tensor(3.0))
    state = torch.get_rng_state()
    options = {"rows": [3, 1], "num_draws": 6, "warm_up": 4, "num_chains": 3}
    first = posterior_samples(vae.model, vae.guide, x, **options)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in vae.modules())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in vae.parameters())
    assert dict(pyro.get_param_store().items()).keys() == {"theirs"}
    torch.manual_seed(99)
    again = posterior_samples(vae.model, vae.guide, x, **options)
    other = posterior_samples(vae.model, vae.guide, x, seed=1, **options)
    draws = first["posterior"]["z"].values
    assert draws.shape == (3, 6, 2, 2)
    np.testing.assert_array_equal(again["posterior"]["z"].values, draws)
    assert (other["posterior"]["z"].values != draws).any()
    assert len(np.unique(draws[:, -1, :, 0])) == 6
    assert first["posterior"]["row"].values.tolist() == [3, 1]


def test_discrete_latents_are_refused():
    with pytest.raises(ValueError, match="latent 'k' of the model is discrete"):
        posterior_samples(categorical_model, categorical_guide, torch.zeros(2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_draws": 0}, "num_draws is 0; expected a positive integer"),
        ({"warm_up": -1}, "warm_up is -1"),
        ({"num_chains": 0}, "num_chains is 0"),
        ({"rows": []}, r"rows is \[\]; expected one or more indices from 0 to 2"),
        ({"rows": [1, 3]}, r"rows is \[1, 3\]"),
        ({"rows": [-1]}, r"rows is \[-1\]"),
        (
            {"rows": torch.tensor([True, False, True])},
            r"rows is tensor\(\[ True, False,  True\]\); expected one or more",
        ),
        ({"rows": [1.7]}, r"rows is \[1.7\]"),
        ({"rows": 2}, "rows is 2"),
        ({"x": torch.zeros(0, 1, 8, 8)}, "x has shape"),
        ({"x": torch.full((3, 1, 8, 8), float("nan"))}, "NaN or infinite values in 3 of 3 rows"),
    ],
)
def test_bad_arguments(arguments, message):
    vae = small_vae()
    with pytest.raises(ValueError, match=message):
        posterior_samples(vae.model, vae.guide, **({"x": bits(3)} | arguments))


def test_arviz_objects_have_the_same_layout_in_both_versions():
    draws = np.random.default_rng(0).normal(size=(2, 50, 3, 2))
    result = make_arviz(
        {
            "posterior": {"z": draws},
            "log_likelihood": {"x": draws[..., 0]},
            "observed_data": {"x": draws[0, 0]},
            "guide": {"z": draws[:1]},
        },
        {"z": ["row", "z_dim_0"], "x": ["row"]},
        {"row": [5, 6, 7]},
    )
    assert result["posterior"]["z"].dims == ("chain", "draw", "row", "z_dim_0")
    assert result["log_likelihood"]["x"].dims == ("chain", "draw", "row")
    assert result["observed_data"]["x"].dims[0] == "row"
    np.testing.assert_array_equal(result["guide"]["z"].sel(row=6).values, draws[:1, :, 1])


def test_r_hat_and_ess_of_independent_and_of_separated_chains():
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(4, 500, 2))
    draws[:, :, 1] += np.arange(4)[:, None]
    r_hat, ess = convergence(draws)
    assert r_hat[0] < 1.02 < 1.5 < r_hat[1]
    assert ess[0] > 1500 > 50 > ess[1]


def test_a_tail_longer_than_floating_point_is_no_short_one():
    """Log weights hundreds of nats apart: one draw has all the weight, and k-hat may not look like a good fit."""
    log_w = np.random.default_rng(0).normal(size=(20, 5000)) * 1000
    assert (pareto_k(log_w, 1e-12) > 5).all()
