"""The ArviZ object, with whichever ArviZ is installed."""

from importlib.util import find_spec

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from problems import LinearGaussian, ScaledPosterior, bits, small_vae

from pyrovae import (
    ConditionalVAE,
    compare_bounds,
    likelihoods,
    log_weights,
    networks,
    posterior_samples,
    posteriors,
    priors,
    to_arviz,
)
from pyrovae.evaluation import sample_rows

GROUPS = {
    "posterior",
    "sample_stats",
    "log_likelihood",
    "prior",
    "prior_predictive",
    "posterior_predictive",
    "observed_data",
}


def names_of(result):
    """Group names of an InferenceData or a DataTree."""
    return set(result.groups()) if callable(getattr(result, "groups", None)) else set(result.children)


def test_groups_and_shapes():
    vae, x = small_vae(), bits(4)
    result = to_arviz(vae.model, vae.guide, x, num_draws=7)
    assert names_of(result) == GROUPS
    assert result["posterior"]["z"].dims == ("chain", "draw", "row", "z_dim_0")
    assert result["posterior"]["z"].shape == (1, 7, 4, 2)
    assert result["sample_stats"]["log_weight"].dims == ("chain", "draw", "row")
    assert result["log_likelihood"]["x"].dims == ("chain", "draw", "row")
    for group in ("prior_predictive", "posterior_predictive"):
        assert result[group]["x"].shape == (1, 7, 4, 1, 8, 8)
        assert set(np.unique(result[group]["x"])) <= {0.0, 1.0}
    np.testing.assert_array_equal(result["observed_data"]["x"], x)
    assert result["posterior"]["z"]["row"].to_numpy().tolist() == [0, 1, 2, 3]


def test_draws_of_rows_are_left_out_where_the_model_observes_a_part_of_them():
    vae = ConditionalVAE(
        priors.StandardNormal(2),
        likelihoods.Bernoulli(networks.MLP(2 + 3, 4)),
        posteriors.DiagonalNormal(networks.MLP(4 + 3, 2 * 2)),
        data_shape=(4,),
        covariate_dim=3,
    )
    rows = vae.join(torch.ones(5, 4), torch.tensor([0, 1, 2, 0, 1]))
    result = to_arviz(vae.model, vae.guide, rows, num_draws=7)
    assert names_of(result) == GROUPS - {"prior_predictive", "posterior_predictive"}
    np.testing.assert_array_equal(result["observed_data"]["x"], rows)
    z = torch.from_numpy(result["posterior"]["z"].to_numpy()[0])
    with torch.no_grad():
        exact = vae.likelihood(torch.cat([z, rows[:, 4:].expand(7, 5, 3)], -1)).log_prob(rows[:, :4])
    np.testing.assert_allclose(result["log_likelihood"]["x"].to_numpy()[0], exact, rtol=1e-5)
    with pytest.raises(ValueError, match=r"observe them as a whole, pyro\.sample.* by its sample and reconstruct"):
        sample_rows(vae.model, vae.guide, rows)


def test_values_are_those_of_the_model():
    problem = LinearGaussian.random(4, 2, 0)
    x = problem.rows(5)
    posterior = ScaledPosterior(problem)
    vae = problem.vae(posterior)
    result = to_arviz(vae.model, vae.guide, x, num_draws=4000)
    z = torch.from_numpy(result["posterior"]["z"].to_numpy()[0])
    log_likelihood = vae.decode(z).log_prob(x)
    log_weight = log_likelihood + vae.prior().log_prob(z) - vae.encode(x).log_prob(z)
    np.testing.assert_allclose(result["log_likelihood"]["x"].to_numpy()[0], log_likelihood.detach(), rtol=1e-10)
    np.testing.assert_allclose(result["sample_stats"]["log_weight"].to_numpy()[0], log_weight.detach(), atol=1e-10)
    # Moments of 4,000 draws at 5 standard errors: 60 checks, a false alarm in about 1 of 30,000 seeds.
    loc, scale = posterior.moments(x)
    covariance = problem.weight @ problem.weight.T + problem.scale**2 * torch.eye(4, dtype=torch.float64)
    predictive_loc = loc @ problem.weight.T + problem.bias
    for group, name, mean, sd in (
        ("posterior", "z", loc, scale),
        ("prior", "z", torch.zeros_like(loc), torch.ones_like(loc)),
        ("prior_predictive", "x", problem.bias.expand(5, 4), covariance.diagonal().sqrt().expand(5, 4)),
        (
            "posterior_predictive",
            "x",
            predictive_loc,
            (scale**2 @ (problem.weight**2).T + problem.scale**2).sqrt(),
        ),
    ):
        draws = result[group][name].to_numpy()[0]
        assert (np.abs(draws.mean(0) - mean.numpy()) < 5 * sd.numpy() / 4000**0.5).all(), group
        np.testing.assert_allclose(draws.std(0), sd.numpy(), rtol=5 / (2 * 4000) ** 0.5)


def test_arviz_can_summarise_it():
    vae, x = small_vae(), bits(3)
    result = to_arviz(vae.model, vae.guide, x, num_draws=200)
    mean = result["posterior"]["z"].mean(("chain", "draw"))
    assert mean.dims == ("row", "z_dim_0")
    q = vae.encode(x).base_dist
    # 6 means of 200 draws at 5 standard errors: a false alarm in about 1 of 300,000 seeds.
    assert (np.abs(mean.to_numpy() - q.loc.detach().numpy()) < 5 * q.scale.detach().numpy() / 200**0.5).all()


def test_state_is_left_alone_and_bad_numbers_are_refused():
    vae, x = small_vae(), bits(3)
    state = torch.get_rng_state()
    first, second = (to_arviz(vae.model, vae.guide, x, num_draws=5) for _ in range(2))
    np.testing.assert_array_equal(first["prior_predictive"]["x"], second["prior_predictive"]["x"])
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(ValueError, match="num_draws is 0"):
        to_arviz(vae.model, vae.guide, x, num_draws=0)


def test_a_comparison_of_bounds_exports_its_numbers():
    vae, x = small_vae(), bits(4)
    bounds = compare_bounds(vae.model, vae.guide, x, num_samples=100)
    result = bounds.to_arviz()
    assert names_of(result) == {"constant_data"}
    for name in ("elbo", "log_px", "standard_error", "gap", "ess", "k_hat"):
        assert result["constant_data"][name].dims == ("row",)
        np.testing.assert_array_equal(result["constant_data"][name], getattr(bounds, name))
    assert (
        result["constant_data"]["sweep_bounds"].sel(num_draws=10).to_numpy().tolist() == bounds.sweep_bounds[1].tolist()
    )

    kept = compare_bounds(vae.model, vae.guide, x, num_samples=100, keep_log_weights=True)
    weights = log_weights(vae.model, vae.guide, x, 100).double()
    assert kept.log_weights is not None
    assert kept.log_weights.equal(weights)
    stats = kept.to_arviz()["sample_stats"]["log_weight"]
    assert stats.dims == ("chain", "draw", "row")
    np.testing.assert_array_equal(stats.to_numpy()[0], weights)
    assert kept.to_frame().equals(bounds.to_frame())


def test_a_latent_called_x():
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("x", dist.Normal(0.0, 1.0))
            pyro.sample("rows", dist.Normal(z.unsqueeze(-1), torch.ones(2)).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(x.mean(1), 0.5))

    x = torch.randn(4, 2)
    result = to_arviz(model, guide, x, num_draws=5)
    assert result["posterior"]["x"].shape == (1, 5, 4)
    assert result["posterior_predictive"]["x_observed"].shape == (1, 5, 4, 2)
    assert result["log_likelihood"]["x_observed"].shape == (1, 5, 4)
    np.testing.assert_array_equal(result["observed_data"]["x_observed"], x)


def two_latents(first, second):
    """The first has one number for each row, the second two."""

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample(first, dist.Normal(0.0, 1.0))
            w = pyro.sample(second, dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("rows", dist.Normal(w + z.unsqueeze(-1), 1.0).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample(first, dist.Normal(x.mean(1), 0.5))
            pyro.sample(second, dist.Normal(x, 0.5).to_event(1))

    return model, guide


@pytest.mark.parametrize("names", [("row", "z"), ("draw", "z"), ("chain", "z"), ("z", "row"), ("z_dim_0", "z")])
def test_latents_with_the_name_of_a_dimension_are_refused(names):
    """ArviZ drops them without a word."""
    pair, x = two_latents(*names), torch.randn(3, 2)
    taken = "z_dim_0" if "z_dim_0" in names else (set(names) - {"z"}).pop()
    message = f"latent '{taken}' has the name of a dimension.* another name in model and guide"
    with pytest.raises(ValueError, match=message):
        to_arviz(*pair, x, num_draws=5)
    with pytest.raises(ValueError, match=message):
        posterior_samples(*pair, x, num_draws=100_000)


def test_a_slash_in_the_name_of_a_latent_is_kept_or_refused_before_anything_is_drawn():
    """Pyro's scopes write such names."""
    pair, x = two_latents("scope/z", "w"), torch.randn(3, 2)
    if find_spec("arviz_stats") is None:
        assert to_arviz(*pair, x, num_draws=5)["posterior"]["scope/z"].shape == (1, 5, 3)
        return
    message = "latent 'scope/z' has a slash in its name, which ArviZ 1 takes for a path: give its pyro.sample another"
    with pytest.raises(ValueError, match=message):
        to_arviz(*pair, x, num_draws=5)
    with pytest.raises(ValueError, match=message):
        posterior_samples(*pair, x, num_draws=100_000)


@pytest.mark.parametrize("names", [("x", "x_observed"), ("log_weight", "diverging"), ("diverging", "log_weight")])
def test_latents_with_the_name_of_another_variable_are_kept(names):
    x = torch.randn(3, 2)
    rows = "x_observed_observed" if "x" in names else "x"
    exported = to_arviz(*two_latents(*names), x, num_draws=5)
    assert exported["sample_stats"]["log_weight"].dims == ("chain", "draw", "row")
    sampled = posterior_samples(*two_latents(*names), x, num_draws=4, warm_up=4, num_chains=2)
    assert sampled["sample_stats"]["diverging"].dims == ("chain", "draw", "row")
    for result in (exported, sampled):
        assert result["posterior"][names[0]].dims == ("chain", "draw", "row")
        assert result["posterior"][names[1]].dims == ("chain", "draw", "row", f"{names[1]}_dim_0")
        np.testing.assert_array_equal(result["observed_data"][rows], x)


def of_cells(x):
    """A latent for each number of a row, in a second plate."""
    with pyro.plate("data", len(x), dim=-1):
        with pyro.plate("cells", x.shape[1], dim=-2):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
        z = z.transpose(-1, -2) if z.dim() == 2 else z.transpose(-1, -2).unsqueeze(-3)
        pyro.sample("x", dist.Normal(z, 0.5).to_event(1), obs=x)


def guide_of_cells(x):
    with pyro.plate("data", len(x), dim=-1), pyro.plate("cells", x.shape[1], dim=-2):
        pyro.sample("z", dist.Normal(x.T, 0.1))


def beside_cells(x):
    """A latent of each row, and one of each of its numbers, seen a second time in a plate."""
    with pyro.plate("data", len(x), dim=-1):
        w = pyro.sample("w", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(w.sum(-1, keepdim=True), torch.ones(x.shape[1])).to_event(1), obs=x)
        with pyro.plate("cells", x.shape[1], dim=-2):
            pyro.sample("again", dist.Normal(w.sum(-1), 1.0), obs=x.T)


def guide_beside_cells(x):
    with pyro.plate("data", len(x), dim=-1):
        pyro.sample("w", dist.Normal(x[:, :2], 0.1).to_event(1))


@pytest.mark.parametrize("num_rows", [3, 4, 7])
def test_a_latent_in_a_second_plate_belongs_to_its_row(num_rows):
    """As many rows as numbers in them, fewer and more: the means of q are the rows."""
    x = torch.arange(4.0 * num_rows).reshape(num_rows, 4)
    z = to_arviz(of_cells, guide_of_cells, x, num_draws=200)["posterior"]["z"]
    assert z.dims == ("chain", "draw", "row", "z_dim_0")
    # At most 28 means of 200 draws at 5 standard errors: a false alarm in about 1 of 60,000 seeds.
    np.testing.assert_allclose(z.mean(("chain", "draw")).to_numpy(), x, rtol=0, atol=5 * 0.1 / 200**0.5)
    prior = to_arviz(of_cells, guide_of_cells, x, num_draws=5)["prior"]["z"]
    assert prior.shape == (1, 5, num_rows, 4)


def test_a_latent_beside_a_second_plate_has_no_dimension_of_it():
    x = torch.arange(15.0).reshape(3, 5)
    w = to_arviz(beside_cells, guide_beside_cells, x, num_draws=200)["posterior"]["w"]
    assert w.shape == (1, 200, 3, 2)
    # 6 means of 200 draws at 5 standard errors: a false alarm in about 1 of 300,000 seeds.
    np.testing.assert_allclose(w.mean(("chain", "draw")).to_numpy(), x[:, :2], rtol=0, atol=5 * 0.1 / 200**0.5)


def test_rows_with_a_gradient_are_exported_as_those_without():
    vae, x = small_vae((4,)), bits(5, (4,))
    plain, tracked = (to_arviz(vae.model, vae.guide, rows, num_draws=3) for rows in (x, x.clone().requires_grad_()))
    for group in ("observed_data", "log_likelihood"):
        np.testing.assert_array_equal(getattr(plain, group)["x"].values, getattr(tracked, group)["x"].values)
