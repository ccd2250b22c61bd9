"""The scale of a Normal at its analytic optimum: running means, floors and fits."""

import numpy as np
import pytest
import torch
from problems import Bias

from pyrovae import VAE, compare_bounds, fit_svi, likelihoods, networks, objectives, posteriors, priors

NORMAL_ROWS = torch.randn(5000, 3, generator=torch.Generator().manual_seed(1)) * torch.tensor([0.5, 1.0, 2.0]) + 1


def small_vae(likelihood, data_dim=3, latent_dim=2):
    return VAE(
        priors.StandardNormal(latent_dim),
        likelihood,
        posteriors.DiagonalNormal(networks.MLP(data_dim, 2 * latent_dim, (8,))),
    )


def optimal_vae():
    return small_vae(likelihoods.Normal(networks.MLP(2, 3, (8,)), scale="optimal"))


def test_the_optimal_scale_follows_the_batches_and_stays_in_evaluation():
    part = likelihoods.Normal(Bias(torch.zeros(3)), scale="optimal", initial_scale=7.0)
    assert part.scale.item() == 7.0
    z, seen = torch.zeros(4, 5, 2), []
    for batch in range(30):
        x = torch.randn(5, 3) + batch
        mean_square = x.square().mean()
        seen.append(mean_square.item())
        expected = torch.distributions.Normal(0.0, mean_square.sqrt()).log_prob(x).sum(-1).expand(4, 5)
        torch.testing.assert_close(part(z).log_prob(x), expected)
        if batch == 9:
            assert part.mean_squared_error.item() == pytest.approx(np.mean(seen), rel=1e-5)
    running = np.mean(seen[:10])
    for value in seen[10:]:
        running += 0.1 * (value - running)
    assert part.mean_squared_error.item() == pytest.approx(running, rel=1e-5)
    part.eval()
    before = {name: value.clone() for name, value in part.state_dict().items()}
    assert set(before) == {"decoder.value", "mean_squared_error", "num_batches"}
    x = torch.randn(4, 5, 3)
    expected = torch.distributions.Normal(0.0, running**0.5).log_prob(x).sum(-1)
    torch.testing.assert_close(part(z).log_prob(x), expected)
    assert all(torch.equal(value, before[name]) for name, value in part.state_dict().items())
    other = likelihoods.Normal(Bias(torch.zeros(3)), scale="optimal").eval()
    other.load_state_dict(before)
    assert torch.equal(other.scale, part.scale)


def test_the_optimal_scale_has_a_floor():
    part = likelihoods.Normal(Bias(torch.zeros(3)), scale="optimal", scale_floor=0.1)
    expected = torch.distributions.Normal(0.0, 0.1).log_prob(torch.zeros(3)).sum()
    torch.testing.assert_close(part(torch.zeros(5, 2)).log_prob(torch.zeros(5, 3)), expected.expand(5))
    torch.testing.assert_close(part.eval().scale, torch.tensor(0.1))


def test_the_optimal_scale_in_a_fit():
    """In the end it is near the root mean squared error, and evaluation leaves it alone."""
    vae, x = optimal_vae(), 3 * NORMAL_ROWS[:400]
    fit_svi(vae.model, vae.guide, x, epochs=30, batch_size=100, lr=0.01, num_particles=2, seed=1, progress=False)
    assert vae.likelihood.num_batches > 100
    error = (vae.decode(vae.encode(x).sample()).mean - x).square().mean().sqrt().item()
    assert vae.likelihood.scale.item() == pytest.approx(error, rel=0.15)
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    bounds = compare_bounds(vae.model, vae.guide, x[:20], num_samples=20)
    assert torch.isfinite(bounds.log_px).all()
    assert vae.training
    assert all(torch.equal(value, before[name]) for name, value in vae.state_dict().items())


@pytest.mark.parametrize("insomnia", [0.0, 0.5, 1.0])
def test_the_optimal_scale_is_that_of_the_data_though_the_model_dreams(insomnia):
    """Dreams are no data: at weights that hardly move the scale is the root mean squared error of draws."""
    torch.manual_seed(0)
    vae = optimal_vae()
    objective = objectives.ReweightedWakeSleep(num_particles=5, insomnia=insomnia)
    fit_svi(
        *(vae.model, vae.guide, NORMAL_ROWS), objective=objective, epochs=2, batch_size=500, lr=1e-6, progress=False
    )
    with torch.no_grad():
        means = vae.eval().decode(vae.encode(NORMAL_ROWS).sample()).mean
    # Of 15,000 entries it is known to a hundredth.
    assert vae.likelihood.scale.item() == pytest.approx((NORMAL_ROWS - means).square().mean().sqrt().item(), rel=0.02)
