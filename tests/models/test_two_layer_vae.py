"""Two stochastic layers, on a linear-Gaussian case whose log p(x) is known."""

import math

import pytest
import torch
from scipy.stats import multivariate_normal

from pyrovae import compare_bounds, fit_svi, latent_summary, likelihoods, networks, posteriors, priors
from pyrovae.models import TwoLayerVAE

F64 = torch.float64


def linear(inputs, outputs, seed):
    torch.manual_seed(seed)
    return networks.MLP(inputs, outputs, ()).double()


def linear_two_layers():
    return TwoLayerVAE(
        priors.StandardNormal(2).double(),
        likelihoods.Normal(linear(2, 3, 0), scale=0.5),
        likelihoods.Normal(linear(3, 5, 1), scale=0.7),
        posteriors.DiagonalNormal(linear(5, 6, 2)),
        posteriors.DiagonalNormal(linear(3, 4, 3)),
    ).double()


def exact_log_px(vae, x):
    top, bottom = vae.transition.decoder.layers[0], vae.likelihood.decoder.layers[0]
    with torch.no_grad():
        middle = top.weight @ top.weight.T + 0.5**2 * torch.eye(3, dtype=F64)
        covariance = bottom.weight @ middle @ bottom.weight.T + 0.7**2 * torch.eye(5, dtype=F64)
        mean = bottom.weight @ top.bias + bottom.bias
        return torch.as_tensor(multivariate_normal(mean.numpy(), covariance.numpy()).logpdf(x.numpy()))


def test_log_px_is_that_of_the_linear_model_before_and_after_a_fit():
    """Two means at 4 standard errors: a false alarm in 1 of 8,000 seeds."""
    vae, x = linear_two_layers(), torch.randn(100, 5, dtype=F64) * 2
    before = exact_log_px(vae, x).mean()
    for fitted in (False, True):
        if fitted:
            fit_svi(vae.model, vae.guide, x, epochs=60, batch_size=50, lr=0.02, objective="DReG", progress=False)
        bounds = compare_bounds(vae.model, vae.guide, x, num_samples=5000)
        exact = exact_log_px(vae, x)
        if fitted:
            error = bounds.standard_error.square().sum().sqrt() / len(x)
            assert (bounds.log_px.mean() - exact.mean()).abs() < 4 * error + 1e-3
            assert exact.mean() > before + 1
        assert bounds.elbo.mean() < exact.mean()


def test_the_parts_next_to_the_data_start_from_it():
    vae, x = linear_two_layers(), 3 + 2 * torch.randn(100, 5, dtype=F64)
    vae.initialize(x)
    torch.testing.assert_close(vae.likelihood(torch.zeros(3, dtype=F64)).mean, x.mean(0))
    given = {}
    for name, part in vae.named_children():
        part.initialize = lambda rows, name=name: given.update({name: rows})
    vae.initialize(x)
    assert given.keys() == {"likelihood", "posterior"}
    assert all(torch.equal(rows, x) for rows in given.values())


def test_draws_come_from_the_top():
    vae = linear_two_layers()
    draws = vae.sample(20_000)
    top, bottom = vae.transition.decoder.layers[0], vae.likelihood.decoder.layers[0]
    mean = (bottom.weight @ top.bias + bottom.bias).detach()
    # Five means at 4.5 standard errors: a false alarm in 1 of 30,000 seeds.
    assert ((draws.mean(0) - mean).abs() < 4.5 * draws.std(0) / 20_000**0.5).all()
    for wrong in (0, -1, 2.5):
        with pytest.raises(ValueError, match=f"num_samples is {wrong}; expected a positive integer"):
            vae.sample(wrong)
    assert vae.sample(4, mean=True).shape == vae.reconstruct(torch.zeros(4, 5, dtype=F64)).shape == (4, 5)


def test_the_mean_field_estimator_is_refused_and_sizes_are_checked():
    vae = linear_two_layers()
    with pytest.raises(ValueError, match=r"different orders \(z2, z1 and z1, z2\).*objective='Trace_ELBO'"):
        fit_svi(vae.model, vae.guide, torch.randn(20, 5, dtype=F64), epochs=1, batch_size=10, progress=False)
    with pytest.raises(ValueError, match=r"upper_posterior is over \(1,\), the prior over \(2,\)"):
        TwoLayerVAE(
            priors.StandardNormal(2),
            likelihoods.Normal(networks.MLP(2, 3, ())),
            likelihoods.Normal(networks.MLP(3, 5, ())),
            posteriors.DiagonalNormal(networks.MLP(5, 6, ())),
            posteriors.DiagonalNormal(networks.MLP(3, 2, ())),
        )


def test_making_one_draws_nothing_and_counts_nothing():
    parts = (
        priors.StandardNormal(2),
        likelihoods.Normal(networks.MLP(2, 3, (8,), normalization="batch")),
        likelihoods.Normal(networks.MLP(3, 5)),
        posteriors.DiagonalNormal(networks.MLP(5, 6)),
        posteriors.DiagonalNormal(networks.MLP(3, 4)),
    )
    state = torch.get_rng_state()
    vae = TwoLayerVAE(*parts)
    assert torch.equal(torch.get_rng_state(), state)
    assert [value.item() for name, value in vae.named_buffers() if name.endswith("num_batches_tracked")] == [0]
    assert vae.transition.training


def test_the_terms_of_single_latents_are_no_kl_and_are_not_shown_as_such():
    """Guide and model draw in opposite orders: the terms of the exact posterior add up, and one may be negative."""
    vae = linear_two_layers()
    summary = latent_summary(vae.model, vae.guide, torch.randn(30, 5, dtype=F64), num_samples=50)
    assert all(site.kl_per_dim is None for site in summary.sites.values())
    text = summary.summary()
    assert "latent 'z1': term of the KL" in text
    assert "different orders, so that the term of one is no KL" in text
    torch.testing.assert_close(sum(site.kl for site in summary.sites.values()), summary.kl)


@pytest.mark.parametrize("scale", [0.5, 0.2])
def test_only_all_latents_together_can_be_said_to_be_unused(scale):
    """Where q(z1, z2) is p(z1, z2), at a scale of 0.5; free bits, which are refused here, are not advised."""
    vae = linear_two_layers()
    with torch.no_grad():
        for network, scales in (
            (vae.posterior.encoder, [0.0] * 3 + [math.log(math.expm1(scale))] * 3),
            (vae.upper_posterior.encoder, [0.0] * 2 + [math.log(math.expm1(1.0))] * 2),
            (vae.transition.decoder, [0.0] * 3),
        ):
            network.layers[0].weight.zero_()
            network.layers[0].bias.copy_(torch.tensor(scales))
    options = {"objective": "Trace_ELBO", "epochs": 1, "batch_size": 20, "lr": 1e-9, "progress": False}
    said = fit_svi(vae.model, vae.guide, torch.randn(20, 5, dtype=F64), **options).signs_of_trouble
    assert ("Posterior collapse" in str(said)) == (scale == 0.5)
    assert "free bits" not in str(said)


def test_sizes_of_z1_are_checked():
    with pytest.raises(ValueError, match=r"posterior is over \(4,\), the transition over \(3,\)"):
        TwoLayerVAE(
            priors.StandardNormal(2),
            likelihoods.Normal(networks.MLP(2, 3, ())),
            likelihoods.Normal(networks.MLP(3, 5, ())),
            posteriors.DiagonalNormal(networks.MLP(5, 8, ())),
            posteriors.DiagonalNormal(networks.MLP(3, 4, ())),
        ).guide(torch.zeros(2, 5))


@pytest.mark.parametrize("outputs", [1, 4])
def test_a_likelihood_over_other_rows_is_refused(outputs):
    vae = linear_two_layers()
    vae.likelihood = likelihoods.Normal(linear(3, outputs, 1), scale=0.7)
    with pytest.raises(
        ValueError, match=rf"Normal is over rows of shape \({outputs},\), the data have rows of shape \(5,"
    ):
        compare_bounds(vae.model, vae.guide, torch.zeros(3, 5, dtype=F64), num_samples=5)
