"""Mean and standard deviation of q(z|x) against closed forms."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyrovae import VAE, likelihoods, networks, posterior_moments, posteriors, priors
from pyrovae.data import StreamedRows

ROWS = torch.tensor([[-1.0], [0.5], [2.0]])


def pair(guide_latents, model_latents=None):
    """Programs whose latents are drawn by a function of x, and whose x does not depend on them."""

    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            (model_latents or guide_latents)(torch.zeros_like(x))
            pyro.sample("x", dist.Normal(torch.zeros(1), 1.0).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            guide_latents(x)

    return model, guide


def test_a_normal_posterior_is_in_closed_form():
    vae = VAE(
        priors.StandardNormal(3),
        likelihoods.Normal(networks.MLP(3, 4)),
        posteriors.DiagonalNormal(networks.MLP(4, 6)),
    )
    x = torch.randn(130, 4)
    site = posterior_moments(vae.model, vae.guide, x).sites["z"]
    q = vae.encode(x)
    torch.testing.assert_close(site.mean, q.mean.detach().double(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(site.standard_deviation, q.stddev.detach().double(), rtol=1e-6, atol=1e-6)
    assert not site.mean_standard_error.any()


def test_a_latent_given_another_has_the_variance_of_both():
    a, s, b, t = 0.7, 0.5, -2.0, 0.3

    def latents(x):
        z1 = pyro.sample("z1", dist.Normal(a * x, s).to_event(1))
        pyro.sample("z2", dist.Normal(b * z1, t).to_event(1))

    num_samples = 4000
    moments = posterior_moments(*pair(latents), ROWS, num_samples=num_samples)
    above, below = moments.sites["z1"], moments.sites["z2"]
    torch.testing.assert_close(above.mean, a * ROWS.double(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(above.standard_deviation, torch.full((3, 1), s, dtype=torch.float64))
    # The error of the mean is that of b z1. False alarms: 3 rows above 4 errors, 2e-4; of the variances, whose relative
    # error is at most sqrt(2 / 4000), 2e-4 too.
    error = abs(b) * s / math.sqrt(num_samples)
    torch.testing.assert_close(
        below.mean_standard_error, torch.full((3, 1), error, dtype=torch.float64), rtol=0.06, atol=0
    )
    assert ((below.mean - a * b * ROWS).abs() < 4 * below.mean_standard_error).all()
    variance = t**2 + (b * s) ** 2
    assert ((below.standard_deviation.square() / variance - 1).abs() < 4 * math.sqrt(2 / num_samples)).all()


def test_a_later_latent_that_depends_on_no_other_is_as_exact():
    def latents(x):
        pyro.sample("z1", dist.Normal(x, 1.0).to_event(1))
        pyro.sample("z2", dist.Gamma(2 + x.square(), 3.0).to_event(1))

    below = posterior_moments(*pair(latents), ROWS).sites["z2"]
    shape = 2 + ROWS.double().square()
    torch.testing.assert_close(below.mean, shape / 3, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(below.standard_deviation, shape.sqrt() / 3, rtol=1e-6, atol=1e-6)
    assert (below.mean_standard_error < 1e-9).all()
    x = torch.linspace(-2, 2, 70, dtype=torch.float64)[:, None]
    frame = posterior_moments(*pair(latents), x).to_frame()
    assert list(frame) == ["z1[0]", "z1[0]_standard_deviation", "z2[0]", "z2[0]_standard_deviation"]


def test_a_flow_is_known_by_its_draws():
    def latents(x):
        base = dist.Normal(x, 0.4)
        pyro.sample("z", dist.TransformedDistribution(base, [dist.transforms.ExpTransform()]).to_event(1))

    num_samples = 20_000
    moments = posterior_moments(*pair(latents), ROWS, num_samples=num_samples)
    site, exact = moments.sites["z"], dist.LogNormal(ROWS.double(), 0.4)
    # 3 rows above 4 errors: 2e-4 of false alarms.
    assert ((site.mean - exact.mean).abs() < 4 * site.mean_standard_error).all()
    torch.testing.assert_close(site.mean_standard_error * math.sqrt(num_samples), site.standard_deviation)
    torch.testing.assert_close(site.standard_deviation, exact.stddev, rtol=0.05, atol=0)
    assert "z[0]_standard_error" in moments.to_frame()


def test_the_dimensions_of_plates_and_events_stand_side_by_side():
    grid = torch.arange(6.0).reshape(2, 3)

    def latents(x):
        with pyro.plate("parts", 2, dim=-2):
            pyro.sample("z", dist.Normal(x[:, 0, None] + grid[:, None], 1.0 + grid[:, None]).to_event(1))

    moments = posterior_moments(*pair(latents), ROWS)
    site = moments.sites["z"]
    torch.testing.assert_close(site.mean, (ROWS + grid.flatten()).double())
    torch.testing.assert_close(site.standard_deviation, (1 + grid.flatten()).double().expand(3, 6))
    frame = moments.to_frame()
    assert frame.index.name == "row"
    assert list(frame)[:6] == [f"z[{dim}]" for dim in range(6)]
    assert frame["z[4]_standard_deviation"].tolist() == [5.0] * 3


def test_latents_without_a_mean_are_named():
    def latents(x):
        pyro.sample("k", dist.Categorical(torch.ones(len(x), 2)))
        pyro.sample("wide", dist.Cauchy(x, 1.0).to_event(1))
        pyro.sample("angle", dist.VonMises(x, 4.0).to_event(1))
        pyro.sample("z", dist.Normal(x, 1.0).to_event(1))

    moments = posterior_moments(*pair(latents), ROWS)
    assert moments.missing == {
        "angle": "its values are angles, whose mean depends on where they are cut",
        "k": "its values are labels, without a mean",
        "wide": "Cauchy has no mean or no variance",
    }
    torch.testing.assert_close(moments.sites["z"].mean, ROWS.double())


def test_a_variance_that_rounding_makes_negative_is_drawn():
    def latents(x):
        large = torch.full_like(x, 5000.0)
        pyro.sample("z", dist.Kumaraswamy(large, large).to_event(1))

    model, guide = pair(latents)
    site = posterior_moments(model, guide, ROWS, num_samples=1000).sites["z"]
    exact = dist.Kumaraswamy(torch.tensor(5000.0).double(), torch.tensor(5000.0).double())
    # 3 rows above 4 errors: 2e-4 of false alarms.
    assert ((site.mean - exact.mean).abs() < 4 * site.mean_standard_error + 1e-6).all()
    torch.testing.assert_close(site.standard_deviation, exact.stddev.expand(3, 1), rtol=0.2, atol=0)


def test_streamed_rows_have_the_codes_of_rows_in_memory(tmp_path):
    encoder = nn.Linear(5, 4)
    vae = VAE(priors.StandardNormal(2), likelihoods.Normal(networks.MLP(2, 5)), posteriors.DiagonalNormal(encoder))
    x = np.random.default_rng(0).normal(size=(150, 5)).astype(np.float32)
    np.save(tmp_path / "rows.npy", x)
    state = torch.get_rng_state()
    streamed = posterior_moments(vae.model, vae.guide, StreamedRows(tmp_path / "rows.npy"))
    memory = posterior_moments(vae.model, vae.guide, torch.from_numpy(x))
    assert torch.equal(streamed.sites["z"].mean, memory.sites["z"].mean)
    assert torch.equal(torch.get_rng_state(), state)
    assert not memory.sites["z"].mean.requires_grad


def test_what_cannot_be_computed_is_refused():
    model, guide = pair(lambda x: pyro.sample("z", dist.Normal(x, 1.0).to_event(1)))
    with pytest.raises(ValueError, match="one draw says nothing of a standard deviation: give two or more"):
        posterior_moments(model, guide, ROWS, num_samples=1)
    with pytest.raises(ValueError, match="NaN"):
        posterior_moments(model, guide, ROWS * math.nan)
