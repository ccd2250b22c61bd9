"""latent_summary of programs with several sites, plates and discrete latents, and what it refuses."""

import math
import random

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from latent_pairs import pair, rows, two_sites
from problems import ExactPosterior, LinearGaussian, ScaledPosterior, bits, small_vae
from pyro.distributions import transforms
from torch import nn

from pyrovae import VAE, latent_summary, likelihoods, networks, posteriors, priors
from pyrovae.evaluation.aggregate import AggregatedPosterior
from pyrovae.evaluation.opening import open_sampler


@pytest.mark.parametrize("swapped", [False, True])
def test_two_latent_sites(swapped):
    programs, exact, (scale_a, scale_b) = two_sites(1.7, -0.4, swapped)
    x = torch.tensor([-0.8, 0.1, 1.1], dtype=torch.float64)
    latents = latent_summary(*programs, x, num_samples=3000)
    kl_a, kl_b = exact(x)
    assert ((latents.kl - kl_a - kl_b).abs() <= 4 * latents.kl_standard_error).all()
    a, b = latents.sites["a"], latents.sites["b"]
    if swapped:
        assert a.kl_method == b.kl_method == "Monte Carlo"
    else:
        assert (a.kl_method, b.kl_method) == ("closed form", "closed form given draws of the earlier sites")
        torch.testing.assert_close(a.kl, kl_a)
        assert ((b.kl - kl_b).abs() <= 4 * b.kl_standard_error).all()
        assert (b.kl_standard_error > 0).all()
    # The mean of b over the draws of a, and its variance over rows without the draws' part.
    assert ((b.posterior_mean[:, 0] - 1.3 * x).abs() <= 4 * b.posterior_mean_standard_error[:, 0]).all()
    torch.testing.assert_close(a.posterior_mean[:, 0], x)
    # Joint densities on a grid.
    grid = torch.linspace(-7, 7, 701, dtype=torch.float64)
    at_a, at_b = grid[:, None], grid[None, :]
    normal = torch.distributions.Normal
    log_q = torch.stack(
        [normal(v, scale_a).log_prob(at_a) + normal(1.7 * at_a - 0.4 * v, scale_b).log_prob(at_b) for v in x]
    )
    log_mixture = torch.logsumexp(log_q, 0) - math.log(3)
    information = (log_q.exp() * (log_q - log_mixture)).sum((1, 2)) * (grid[1] - grid[0]) ** 2
    assert ((latents.kl_to_aggregate - information).abs() <= 4 * latents.kl_to_aggregate_standard_error).all()


class Far(nn.Module):
    """Posteriors so narrow and far out that matrix products would lose their digits."""

    def forward(self, x):
        return dist.Normal(1e5 + x[..., :2], 1e-3).to_event(1)


@pytest.mark.parametrize("posterior_class", [ScaledPosterior, ExactPosterior, Far])
def test_the_aggregated_posterior_is_that_of_plain_torch(posterior_class):
    """Of more rows than a block holds."""
    problem = LinearGaussian.random(4, 2, 0)
    x = problem.rows(300)
    posterior = Far() if posterior_class is Far else posterior_class(problem)
    vae = problem.vae(posterior)
    z = posterior(x[::50]).sample()
    with open_sampler(vae.model, vae.guide, x, seed=0) as sampler:
        log_density = AggregatedPosterior(sampler, x).log_density({"z": z})
    by_hand = torch.logsumexp(posterior(x).log_prob(z[:, None]), 1) - math.log(300)
    torch.testing.assert_close(log_density, by_hand, rtol=1e-9, atol=1e-9)


def inner_plates(x):
    """Two latents for each row inside a plate of groups, the same as one of two dimensions."""

    def model(x):
        with pyro.plate("data", len(x), dim=-1), pyro.plate("groups", 2, dim=-2):
            z = pyro.sample("z", dist.Normal(torch.zeros((), dtype=x.dtype), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x.T)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1), pyro.plate("groups", 2, dim=-2):
            pyro.sample("z", dist.Normal(0.5 * x.T, 0.7))

    return model, guide


def test_plates_within_a_row_are_dimensions():
    x = rows(80, 2)
    plated = latent_summary(*inner_plates(x), x, num_samples=200)
    plain = latent_summary(*pair(lambda x: dist.Normal(0.5 * x, 0.7).to_event(1)), x, num_samples=200)
    torch.testing.assert_close(plated.sites["z"].kl_per_dim, plain.sites["z"].kl_per_dim)
    torch.testing.assert_close(plated.sites["z"].activity, plain.sites["z"].activity)
    difference = (plated.mutual_information - plain.mutual_information).abs()
    assert difference <= 4 * math.sqrt(2) * plain.mutual_information_standard_error


def test_plates_and_several_sites():
    """The same pair with its two groups as two sites, one of them in a plate of its own."""

    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            a = pyro.sample("a", dist.Normal(torch.zeros((), dtype=x.dtype), 1.0))
            with pyro.plate("groups", 1, dim=-2):
                b = pyro.sample("b", dist.Normal(torch.zeros((), dtype=x.dtype), 1.0))
                pyro.sample("x", dist.Normal(a + b, 1.0), obs=x[:, :1].T)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("a", dist.Normal(0.5 * x[:, 0], 0.7))
            with pyro.plate("groups", 1, dim=-2):
                pyro.sample("b", dist.Normal(0.5 * x[:, 1:].T, 0.7))

    x = rows(80, 2)
    split = latent_summary(model, guide, x, num_samples=200)
    plain = latent_summary(*pair(lambda x: dist.Normal(0.5 * x, 0.7).to_event(1)), x, num_samples=200)
    torch.testing.assert_close(split.kl, plain.kl)
    difference = (split.mutual_information - plain.mutual_information).abs()
    assert difference <= 4 * math.sqrt(2) * plain.mutual_information_standard_error


def test_programs_not_written_for_draws():
    """An encoder of one batch dimension gives the numbers of its MLP twin."""
    encoder = nn.Sequential(nn.Conv2d(1, 4, 8), nn.Flatten())
    decoder = nn.Sequential(nn.Linear(2, 64), nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 1, 3, padding=1))

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=decoder(z)).to_event(3), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            loc, raw = encoder(x).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, raw.exp()).to_event(1))

    x = bits(70)
    latents = latent_summary(model, guide, x, num_samples=50)
    with torch.no_grad():
        loc, raw = (x.flatten(1) @ encoder[0].weight.flatten(1).T + encoder[0].bias).chunk(2, -1)
    kl = (0.5 * (loc**2 + raw.exp() ** 2 - 1) - raw).sum(-1)
    torch.testing.assert_close(latents.kl.float(), kl, rtol=1e-5, atol=1e-6)
    assert 0 < latents.mutual_information < math.log(70)


def test_discrete_latents():
    """Categorical: KL in closed form, I(x; z) by enumeration, no posterior mean."""
    prior_probs = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)

    def model(x):
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(prior_probs))
            pyro.sample("x", dist.Normal(k.to(x.dtype), 1.0), obs=x)

    def probs(x):
        return torch.softmax(torch.stack([x, 0 * x, -x], -1), -1)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("k", dist.Categorical(probs(x)))

    x = rows(5)[:, 0]
    latents = latent_summary(model, guide, x, num_samples=3000)
    q = probs(x)
    torch.testing.assert_close(latents.kl, (q * (q / prior_probs).log()).sum(-1))
    exact = (q * (q / q.mean(0)).log()).sum(-1)
    assert ((latents.kl_to_aggregate - exact).abs() <= 4 * latents.kl_to_aggregate_standard_error).all()
    assert latents.active_units is None
    assert latents.sites["k"].activity_missing == "Categorical has no mean"
    assert "cannot be counted: of latent 'k', Categorical has no mean" in latents.summary()
    assert latents.to_frame()["activity"].isna().all()


def test_without_the_aggregate():
    x = rows(5, 2)
    latents = latent_summary(*pair(lambda x: dist.Normal(x, 1.0).to_event(1)), x, aggregate=False)
    assert latents.mutual_information is latents.mutual_information_standard_error is latents.marginal_kl is None
    assert "KL(q(z) ||" not in latents.summary()
    torch.testing.assert_close(latents.kl, 0.5 * x.square().sum(-1))


def test_one_draw_has_no_error_bar():
    x = rows(5)
    latents = latent_summary(*pair(lambda x: dist.StudentT(5.0, x, 0.5).to_event(1)), x, num_samples=1)
    assert latents.kl_standard_error.isnan().all()
    assert latents.mutual_information_standard_error.isnan()


def test_an_inverse_free_flow_has_kl_but_no_aggregate():
    flow = transforms.Planar(2).double()
    for parameter in flow.parameters():
        parameter.requires_grad_(False)
    programs = pair(lambda x: dist.TransformedDistribution(dist.Normal(x, 0.5).to_event(1), [flow]))
    x = rows(4, 2)
    with pytest.raises(ValueError, match=r"cannot give the density of a draw.*aggregate=False"):
        latent_summary(*programs, x)
    latents = latent_summary(*programs, x, num_samples=50, aggregate=False)
    assert torch.isfinite(latents.kl_standard_error).all()
    site = latents.sites["z"]
    assert site.kl_per_dim_missing.startswith("TransformedDistribution is over 2 dimensions")
    # No mean in closed form: that of the draws, with its error.
    assert (site.posterior_mean_standard_error > 0).all()


def test_a_prior_that_depends_on_the_rows_has_no_aggregate():
    programs = pair(lambda x: dist.Normal(x, 0.5).to_event(1), prior=lambda x: dist.Normal(x, 1.0).to_event(1))
    x = rows(4, 2)
    with pytest.raises(ValueError, match=r"the prior depends on the rows.*aggregate=False"):
        latent_summary(*programs, x)
    kl = latent_summary(*programs, x, aggregate=False).kl
    torch.testing.assert_close(kl, torch.full((4,), 2 * (math.log(2) + 0.125 - 0.5), dtype=torch.float64))


@pytest.mark.parametrize("sort", [True, False], ids=["sorted", "every second row"])
def test_a_prior_of_a_condition_is_found_in_any_order_of_the_rows(sort):
    condition = torch.arange(160) % 2
    condition = (condition.sort().values if sort else condition)[:, None]
    programs = pair(
        lambda x: dist.Normal(x, 0.5).to_event(1), prior=lambda x: dist.Normal((x > 0.5).to(x), 1.0).to_event(1)
    )
    x = condition + 0.1 * rows(160, 1)
    with pytest.raises(ValueError, match="the prior depends on the rows"):
        latent_summary(*programs, x)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_samples": 0}, "num_samples is 0; expected a positive integer"),
        ({"num_samples": -1}, "num_samples is -1"),
        ({"threshold": -0.1}, "threshold is -0.1; expected a variance"),
        ({"threshold": math.nan}, "threshold is nan"),
        ({"x": torch.zeros(0, 1, 8, 8)}, "x has shape"),
        ({"x": bits(1)}, "x has one row"),
        ({"x": torch.full((3, 1, 8, 8), math.nan)}, "NaN or infinite values in 3 of 3 rows"),
    ],
)
def test_bad_arguments(arguments, message):
    vae = small_vae()
    arguments = {"x": bits(3)} | arguments
    with pytest.raises(ValueError, match=message):
        latent_summary(vae.model, vae.guide, **arguments)


def test_a_point_mass_is_refused():
    with pytest.raises(ValueError, match=r"latent 'z' of the guide is a point mass \(Delta\)"):
        latent_summary(*pair(lambda x: dist.Delta(x).to_event(1)), rows(3, 2))


def test_nothing_is_moved():
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 4))
    vae = VAE(
        priors.StandardNormal(2),
        likelihoods.Bernoulli(networks.MLP(2, (1, 8, 8))),
        posteriors.DiagonalNormal(encoder),
    )
    vae.train()
    pyro.param("theirs", torch.tensor(3.0))
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    first = latent_summary(vae.model, vae.guide, bits(20))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()
    assert random.getstate() == states[2]
    assert all(torch.equal(value, before[name]) for name, value in vae.state_dict().items())
    assert all(module.training for module in vae.modules())
    assert dict(pyro.get_param_store().items()).keys() == {"theirs"}
    assert torch.equal(first.kl_to_aggregate, latent_summary(vae.model, vae.guide, bits(20)).kl_to_aggregate)
    assert not torch.equal(
        first.kl_to_aggregate, latent_summary(vae.model, vae.guide, bits(20), seed=1).kl_to_aggregate
    )
