"""compare_bounds on models whose log p(x) is known by other means than a Gaussian formula.

Statistical checks allow 4 standard errors of each row: a false alarm in 1 of 16,000 seeds for each.
"""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from problems import LinearGaussian
from torch import nn

from pyrovae import VAE, compare_bounds, likelihoods, networks, posteriors, priors


def agrees(bounds, exact):
    assert bounds.reliable.all()
    assert ((bounds.log_px - exact).abs() <= 4 * bounds.standard_error + 1e-9).all()
    assert (bounds.elbo <= exact + 4 * bounds.elbo_standard_error).all()


def widen(vae, scale=1.2):
    """Make the guide a little wider than the prior, whatever the row: its weights are bounded by the likelihood."""
    layer = vae.posterior.encoder.layers[-1]
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
        layer.bias[len(layer.bias) // 2 :] = math.log(math.expm1(scale))


def test_all_binary_images_have_probability_one_together():
    """Eight pixels, 256 images: the sum of p(x) is one, and its standard error that of independent rows."""
    vae = VAE(
        priors.StandardNormal(2),
        likelihoods.Bernoulli(networks.MLP(2, 8, (16,))),
        posteriors.DiagonalNormal(networks.MLP(8, 4, (16,))),
    ).double()
    with torch.no_grad():
        vae.likelihood.decoder.layers[-1].weight.mul_(4)
    widen(vae)
    x = torch.tensor([[float(i >> d & 1) for d in range(8)] for i in range(256)], dtype=torch.float64)
    bounds = compare_bounds(vae.model, vae.guide, x, num_samples=2000)
    p = bounds.log_px.exp()
    error = (p * bounds.standard_error).square().sum().sqrt()
    assert abs(p.sum() - 1) < 4 * error
    assert error < 0.01


@pytest.mark.parametrize("likelihood", ["Bernoulli", "Normal"])
def test_a_nonlinear_decoder_with_one_latent_by_quadrature(likelihood):
    decoder = networks.MLP(1, 6, (20,), "tanh")
    vae = VAE(
        priors.StandardNormal(1),
        getattr(likelihoods, likelihood)(decoder),
        posteriors.DiagonalNormal(networks.MLP(6, 2, (20,))),
    ).double()
    with torch.no_grad():
        decoder.layers[0].weight.mul_(3)
        decoder.layers[-1].weight.mul_(3)
    widen(vae)
    x = vae.sample(12).double()
    grid = torch.linspace(-9, 9, 20_001, dtype=torch.float64)[:, None]
    log_joint = vae.decode(grid[:, None]).log_prob(x) + vae.prior().log_prob(grid)[:, None]
    exact = torch.trapezoid(log_joint.exp(), grid[:, 0], dim=0).log().detach()
    agrees(compare_bounds(vae.model, vae.guide, x, num_samples=5000), exact)


def test_a_mixture_prior_with_a_linear_decoder():
    """p(x) is then a mixture of Gaussians."""
    problem = LinearGaussian.random(4, 2, 0)
    locs = torch.tensor([[-2.0, 0.0], [2.0, 1.0], [0.0, -1.0]], dtype=torch.float64)
    weights = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)

    class MixturePrior(nn.Module):
        def forward(self):
            components = dist.Normal(locs, 1.0).to_event(1)
            return dist.MixtureSameFamily(dist.Categorical(weights), components)

    class Wide(nn.Module):
        def forward(self, x):
            return dist.Normal(torch.zeros(len(x), 2, dtype=torch.float64), 2.5).to_event(1)

    vae = VAE(MixturePrior(), problem.likelihood(), Wide())
    x = problem.rows(20)
    shifted = [LinearGaussian(problem.weight, problem.bias + problem.weight @ loc, problem.scale) for loc in locs]
    exact = torch.logsumexp(torch.stack([p.log_px(x) for p in shifted]) + weights.log()[:, None], 0)
    agrees(compare_bounds(vae.model, vae.guide, x, num_samples=20_000), exact)


def test_conjugate_pairs():
    """Gamma and Poisson, Beta and Bernoulli: log p(x) in closed form, latents with constraints."""

    def poisson_model(x):
        with pyro.plate("data", len(x)):
            rate = pyro.sample("rate", dist.Gamma(x.new_tensor(2.0), x.new_tensor(0.5)))
            pyro.sample("x", dist.Poisson(rate), obs=x)

    def poisson_guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("rate", dist.Gamma(2.0 + 0.7 * x, x.new_tensor(1.2)))

    x = torch.tensor([0.0, 1.0, 3.0, 7.0, 12.0], dtype=torch.float64)
    # A negative binomial: failures 2, success probability 1 / (1 + 0.5).
    exact = torch.distributions.NegativeBinomial(
        torch.tensor(2.0, dtype=torch.float64), probs=torch.tensor(1 / 1.5, dtype=torch.float64)
    ).log_prob(x)
    agrees(compare_bounds(poisson_model, poisson_guide, x, num_samples=5000), exact)

    def coin_model(x):
        with pyro.plate("data", len(x)):
            p = pyro.sample("p", dist.Beta(x.new_tensor(2.0), x.new_tensor(3.0)))
            pyro.sample("x", dist.Bernoulli(p[..., None]).expand([*p.shape, 5]).to_event(1), obs=x)

    def coin_guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("p", dist.Beta(2.5 + x.sum(-1), 7.5 - x.sum(-1)))

    x = torch.bernoulli(torch.full((10, 5), 0.5, dtype=torch.float64))
    heads = x.sum(-1)

    def log_beta(a, b):
        return torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)

    exact = log_beta(2 + heads, 8 - heads) - log_beta(torch.tensor(2.0), torch.tensor(3.0))
    agrees(compare_bounds(coin_model, coin_guide, x, num_samples=5000), exact.double())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_784_pixels_by_plain_torch(dtype):
    """The package's draws, scored by hand in float64 with the weights of the layers: within 1e-3 nats."""
    vae = VAE(
        priors.StandardNormal(20),
        likelihoods.Bernoulli(networks.MLP(20, (1, 28, 28), (50,))),
        posteriors.DiagonalNormal(networks.MLP((1, 28, 28), 40, (50,))),
    ).to(dtype)
    first, last = (layer for layer in vae.likelihood.decoder.layers if isinstance(layer, nn.Linear))
    with torch.no_grad():
        last.weight.mul_(10)
    x = torch.bernoulli(torch.full((8, 1, 28, 28), 0.3)).to(dtype)
    seen = []
    vae.likelihood.decoder.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    bounds = compare_bounds(vae.model, vae.guide, x, num_samples=200, keep_log_weights=True)
    z = seen[-1].double()
    assert z.shape == (200, 8, 20)
    with torch.no_grad():
        q = vae.posterior(x).base_dist
        loc, scale = q.loc.double(), q.scale.double()
        hidden = (z @ first.weight.double().T + first.bias.double()).relu()
        logits = hidden @ last.weight.double().T + last.bias.double()
    likelihood = (x.double().flatten(1) * logits - logits.clamp(min=0) - (1 + (-logits.abs()).exp()).log()).sum(-1)
    prior = -0.5 * (z**2 + math.log(2 * math.pi)).sum(-1)
    log_q = (-0.5 * ((z - loc) / scale) ** 2 - scale.log() - 0.5 * math.log(2 * math.pi)).sum(-1)
    weights = likelihood + prior - log_q
    tolerance = 1e-3 if dtype == torch.float32 else 1e-9
    assert (weights - bounds.log_weights).abs().max() < tolerance
    assert (weights.mean(0) - bounds.elbo).abs().max() < tolerance
    assert (weights.logsumexp(0) - math.log(200) - bounds.log_px).abs().max() < tolerance
    assert (bounds.log_px < -400).all()
