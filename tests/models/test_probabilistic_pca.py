"""Expectation-maximisation beside the eigenvalues and beside SVI."""

import itertools
import math
from functools import partial

import pytest
import torch
from scipy.stats import multivariate_normal, norm

from pyrovae import VAE, compare_bounds, fit_svi, likelihoods, networks, posteriors, priors
from pyrovae.models import MixtureOfProbabilisticPCA, ProbabilisticPCA


def linear_rows(count=500, data_dim=6, latent_dim=2, noise=0.5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(latent_dim, data_dim, generator=generator, dtype=torch.float64)
    z = torch.randn(count, latent_dim, generator=generator, dtype=torch.float64)
    return z @ weight + noise * torch.randn(count, data_dim, generator=generator, dtype=torch.float64) + 1


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("latent_dim", [1, 2, 4])
def test_em_reaches_the_eigenvalue_solution(seed, latent_dim):
    x = linear_rows(seed=seed)
    exact = ProbabilisticPCA.maximum_likelihood(x, latent_dim)
    fitted, history = ProbabilisticPCA.fit_em(x, latent_dim, seed=seed)
    assert (fitted.log_prob(x).mean() - exact.log_prob(x).mean()).abs() < 1e-10
    torch.testing.assert_close(fitted.covariance, exact.covariance, rtol=0, atol=1e-8)
    assert fitted.scale == pytest.approx(exact.scale, abs=1e-8)
    assert history[-1].log_px == pytest.approx(fitted.log_prob(x).mean().item(), abs=1e-12)


def rows_of_units(kind):
    generator = torch.Generator().manual_seed(0)
    draws = [torch.randn(500, 2, generator=generator).double(), torch.randn(500, 5, generator=generator).double()]
    weight = torch.randn(2, 5, generator=generator).double()
    if kind == "small noise":
        return draws[0] @ weight + 1e-5 * draws[1]
    units = {"one large column": [1e4, 1, 1, 1, 1], "other units": [1e-3, 1e-1, 1, 10, 1e3]}[kind]
    return (draws[0][:, :1] @ weight[:1] + draws[1]) * torch.tensor(units, dtype=torch.float64)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["one large column", "other units", "small noise"])
def test_em_reaches_it_where_noise_is_small_beside_the_signal(kind, seed):
    """Rounding leaves log p(x) at most six digits there."""
    x = rows_of_units(kind)
    exact = ProbabilisticPCA.maximum_likelihood(x, 2).log_prob(x).mean().item()
    for fitted, history in (
        ProbabilisticPCA.fit_em(x, 2, seed=seed),
        MixtureOfProbabilisticPCA.fit_em(x, 2, 1, seed=seed),
    ):
        assert history.converged
        assert fitted.log_prob(x).mean().item() == pytest.approx(exact, abs=1e-4)


def test_the_history_says_whether_max_steps_ended_the_climb():
    x = linear_rows()
    for fit in (ProbabilisticPCA.fit_em, partial(MixtureOfProbabilisticPCA.fit_em, num_components=2)):
        _, cut = fit(x, 2, max_steps=3)
        assert len(cut) == 6
        assert not cut.converged
        _, whole = fit(x, 2)
        assert whole.converged


def test_every_half_step_raises_the_bound_and_the_e_step_closes_the_gap():
    # From this start the first step goes far.
    _, history = ProbabilisticPCA.fit_em(linear_rows(), 2, seed=3)
    assert [half.step for half in history[:4]] == ["E", "M", "E", "M"]
    for before, after in itertools.pairwise(history):
        # Rounding of a number near 10.
        assert after.bound >= before.bound - 1e-13
        assert after.log_px >= before.log_px - 1e-13
    for half in history:
        assert half.bound <= half.log_px + 1e-13
        if half.step == "E":
            assert half.bound == pytest.approx(half.log_px, abs=1e-13)
    assert history[1].log_px - history[1].bound > 0.1  # after an M step the gap is open


def test_densities_are_those_of_scipy_and_of_the_vae():
    x = linear_rows()
    model, _ = ProbabilisticPCA.fit_em(x, 2, max_steps=5)
    exact = multivariate_normal(model.bias.numpy(), model.covariance.numpy()).logpdf(x.numpy())
    torch.testing.assert_close(model.log_prob(x), torch.as_tensor(exact), rtol=0, atol=1e-10)
    vae = model.vae()
    bounds = compare_bounds(vae.model, vae.guide, x, num_samples=10)
    torch.testing.assert_close(bounds.log_px, torch.as_tensor(exact), rtol=0, atol=1e-9)
    assert bounds.gap.abs().max() < 1e-9


@pytest.mark.parametrize("noise", [1e-3, 1e-6])
def test_densities_keep_their_digits_where_noise_is_small_beside_the_signal(noise):
    directions = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))).Q
    z, e = linear_rows(count=50, data_dim=2), noise * linear_rows(count=50, data_dim=4, seed=1)
    model = ProbabilisticPCA(directions[:, :2] * torch.tensor([3.0, 1.0]), torch.zeros(6, dtype=torch.float64), noise)
    variances = torch.tensor([9.0, 1.0], dtype=torch.float64) + noise**2
    exact = norm.logpdf(z, scale=variances.sqrt()).sum(1) + norm.logpdf(e, scale=noise).sum(1)
    log_prob = model.log_prob(torch.cat([z, e], 1) @ directions.T)
    torch.testing.assert_close(log_prob, torch.as_tensor(exact), rtol=0, atol=1e-7)


def test_the_history_is_exact_where_noise_is_small_beside_the_signal():
    x = linear_rows(count=300, noise=1e-6)
    fitted, history = ProbabilisticPCA.fit_em(x, 2)
    assert history[-1].log_px == pytest.approx(fitted.log_prob(x).mean().item(), abs=1e-8)
    assert all(half.log_px == pytest.approx(half.bound, abs=1e-8) for half in history[-10:] if half.step == "E")
    assert all(after.log_px > before.log_px - 1e-8 for before, after in itertools.pairwise(history))


def test_the_linear_vae_reaches_the_maximum_that_em_reaches():
    x = linear_rows(count=400)
    fitted, _ = ProbabilisticPCA.fit_em(x, 2)
    maximum = fitted.log_prob(x).mean().item()
    vae = VAE(
        priors.StandardNormal(2),
        likelihoods.Normal(networks.MLP(2, 6, ()), scale="shared"),
        posteriors.DiagonalNormal(networks.MLP(6, 4, ())),
    ).double()
    for lr, epochs in ((0.02, 120), (0.002, 60)):
        fit_svi(vae.model, vae.guide, x, epochs=epochs, batch_size=100, lr=lr, num_particles=4, progress=False)
    decoder = vae.likelihood.decoder.layers[0]
    learned = ProbabilisticPCA(decoder.weight.detach(), decoder.bias.detach(), vae.likelihood.scale.item())
    assert maximum - 1e-2 < learned.log_prob(x).mean().item() <= maximum + 1e-12


def test_mixture_climbs_and_its_bound_touches_log_px_after_each_e_step():
    x = torch.cat([linear_rows(300), linear_rows(200, noise=0.2, seed=1) - 4])
    mixture, history = MixtureOfProbabilisticPCA.fit_em(x, 2, 2)
    for before, after in itertools.pairwise(history):
        assert after.bound >= before.bound - 1e-12
    for half in history:
        # At the start both are thousands of nats below 0, and the last digit of a float64 is 9e-13 there.
        assert half.bound <= half.log_px + max(1e-12, 4 * math.ulp(half.log_px))
        if half.step == "E":
            assert half.bound == pytest.approx(half.log_px, abs=1e-11)
    exact = sum(
        share.item() * multivariate_normal(part.bias.numpy(), part.covariance.numpy()).pdf(x.numpy())
        for share, part in zip(mixture.weights, mixture.components, strict=True)
    )
    torch.testing.assert_close(mixture.log_prob(x), torch.as_tensor(exact).log(), rtol=0, atol=1e-9)
    one, _ = ProbabilisticPCA.fit_em(x, 2)
    assert mixture.log_prob(x).mean() > one.log_prob(x).mean() + 0.1
    assert sorted(round(part.scale, 1) for part in mixture.components) == [0.2, 0.5]


def test_a_mixture_of_one_is_probabilistic_pca():
    x = linear_rows()
    mixture, _ = MixtureOfProbabilisticPCA.fit_em(x, 2, 1)
    exact = ProbabilisticPCA.maximum_likelihood(x, 2)
    assert mixture.log_prob(x).mean().item() == pytest.approx(exact.log_prob(x).mean().item(), abs=1e-9)


@pytest.mark.parametrize(
    ("x", "latent_dim", "message"),
    [
        (torch.randn(10, 1, 3, 3), 2, r"x has shape \(10, 1, 3, 3\); expected rows of vectors: use x.flatten\(1\)"),
        (torch.randn(10, 3), 3, "latent_dim is 3 for rows of 3 numbers; expected fewer"),
        (torch.randn(10, 3), 0, "latent_dim is 0"),
        (torch.tensor([[1.0, float("nan")], [2.0, 3.0]]), 1, "missing entries"),
    ],
)
def test_bad_input(x, latent_dim, message):
    for fit in (ProbabilisticPCA.fit_em, ProbabilisticPCA.maximum_likelihood):
        with pytest.raises(ValueError, match=message):
            fit(x, latent_dim)
    with pytest.raises(ValueError, match=message):
        MixtureOfProbabilisticPCA.fit_em(x, latent_dim, 2)


FLAT = [
    torch.zeros(20, 3),
    torch.full((20, 3), 0.1),
    torch.randn(20, 1) @ torch.ones(1, 3),
    torch.randn(3, 3).repeat(20, 1),
]


@pytest.mark.parametrize("x", FLAT, ids=["zero", "equal", "a line", "three rows again and again"])
def test_rows_without_noise_are_refused(x):
    for fit in (ProbabilisticPCA.fit_em, ProbabilisticPCA.maximum_likelihood):
        with pytest.raises(ValueError, match="the noise is zero and log p\\(x\\) has no maximum"):
            fit(x.double(), 2)
    with pytest.raises(ValueError, match="log p\\(x\\) has no maximum: give"):
        MixtureOfProbabilisticPCA.fit_em(x, 2, 2)


def test_a_component_of_repeated_rows_is_refused():
    x = torch.cat([torch.randn(60, 3), torch.full((20, 3), 30.0)])
    with pytest.raises(ValueError, match=r"shrunk to 20 rows that lie in 1 or fewer dimensions.*fewer components"):
        MixtureOfProbabilisticPCA.fit_em(x, 1, 2)
    with pytest.raises(ValueError, match="num_components is 5 for 4 rows"):
        MixtureOfProbabilisticPCA.fit_em(torch.randn(4, 3), 1, 5)


@pytest.mark.parametrize("offset", [1e4, 1e8])
def test_a_mixture_far_from_zero_is_the_same_mixture(offset):
    x = torch.cat([linear_rows(200, 3, 1), linear_rows(200, 3, 1, seed=1) + 10])
    # As far away as they are after rounding.
    far = x + offset
    near, near_history = MixtureOfProbabilisticPCA.fit_em(far - offset, 1, 2)
    fitted, history = MixtureOfProbabilisticPCA.fit_em(far, 1, 2)
    assert history[-1].log_px == pytest.approx(near_history[-1].log_px, abs=1e-6)
    for one, other in zip(fitted.components, near.components, strict=True):
        torch.testing.assert_close(one.bias - offset, other.bias, rtol=0, atol=1e-6)
        torch.testing.assert_close(one.covariance, other.covariance, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("data_dim", "latent_dim"), [(5, 2), (7, 4), (20, 13), (29, 22)])
def test_rows_of_the_same_variance_in_all_directions(data_dim, latent_dim):
    """There is nothing for W, whatever rounding says of equal eigenvalues."""
    x = 3.3 * torch.cat([torch.eye(data_dim), -torch.eye(data_dim)])
    model = ProbabilisticPCA.maximum_likelihood(x, latent_dim)
    variance = 3.3**2 / data_dim
    assert float(model.weight.abs().max()) < 1e-2 * variance**0.5
    expected = torch.distributions.Normal(0.0, variance**0.5).log_prob(x).sum(-1).mean()
    assert model.log_prob(x).mean().item() == pytest.approx(expected.item(), rel=1e-4)
