"""VAEs given a class or covariates: what they report is log p(x|c)."""

import pyro.distributions as dist
import pytest
import torch
from scipy.stats import multivariate_normal

from pyrovae import compare_bounds, fit_svi, likelihoods, load_data, networks, posteriors, priors
from pyrovae.models import ConditionalVAE, ProbabilisticPCA
from pyrovae.networks.channels import CovariateChannels

F64 = torch.float64


@pytest.mark.parametrize("missing", [False, True])
def test_log_px_given_c_is_exact_where_the_posterior_is(missing):
    """x = W z + V c + b + noise: given c a linear-Gaussian model of x - V c, of observed entries too."""
    generator = torch.Generator().manual_seed(0)
    weight, slope = (torch.randn(5, n, generator=generator, dtype=F64) for n in (2, 3))
    pca = ProbabilisticPCA(weight, torch.randn(5, generator=generator, dtype=F64), 0.4)
    decoder = networks.MLP(2 + 3, 5, ()).double()
    with torch.no_grad():
        decoder.layers[0].weight.copy_(torch.cat([weight, slope], 1))
        decoder.layers[0].bias.copy_(pca.bias)

    class Exact(torch.nn.Module):
        def forward(self, rows):
            observed = (~rows[..., :5].isnan()).double()
            difference = (rows[..., :5] - rows[..., 5:] @ slope.T - pca.bias).nan_to_num(nan=0.0)
            precision = torch.einsum("...d,di,dj->...ij", observed, weight, weight) / 0.4**2 + torch.eye(2, dtype=F64)
            mean = torch.linalg.solve(precision, difference @ weight / 0.4**2)
            return dist.MultivariateNormal(mean, precision_matrix=precision)

    likelihood = likelihoods.PartlyObserved(likelihoods.Normal(decoder, scale=0.4))
    vae = ConditionalVAE(priors.StandardNormal(2).double(), likelihood, Exact(), (5,), covariate_dim=3)
    x, c = (torch.randn(20, n, generator=generator, dtype=F64) for n in (5, 3))
    if missing:
        x[::2, 0] = x[::3, 4] = torch.nan
    bounds = compare_bounds(vae.model, vae.guide, vae.join(x, c), num_samples=10)
    mean, covariance = (pca.bias + c @ slope.T).numpy(), pca.covariance.numpy()
    exact = [
        multivariate_normal(mean[row, seen], covariance[seen][:, seen]).logpdf(x[row, seen].numpy())
        for row, seen in enumerate((~x.isnan()).numpy())
    ]
    torch.testing.assert_close(bounds.log_px, torch.tensor(exact, dtype=F64), rtol=0, atol=1e-9)
    assert bounds.gap.abs().max() < 1e-9


def test_missing_covariates_are_refused_beside_missing_entries_that_are_taken():
    vae = ConditionalVAE(
        priors.StandardNormal(2),
        likelihoods.PartlyObserved(likelihoods.Normal(networks.MLP(2 + 2, 3))),
        posteriors.PartlyObserved(posteriors.DiagonalNormal(networks.MLP(3 + 2, 2 * 2)), (5,)),
        data_shape=(3,),
        covariate_dim=2,
    )
    x, c = torch.randn(30, 3), torch.randn(30, 2)
    x[::3, 1] = torch.nan
    options = {"epochs": 1, "batch_size": 10, "progress": False}
    assert fit_svi(vae.model, vae.guide, vae.join(x, c), **options).history
    c[20, 1] = torch.nan
    with pytest.raises(
        ValueError, match=r"train has missing .* not only in what the model observes .*: remove or fill"
    ):
        fit_svi(vae.model, vae.guide, vae.join(x, c), **options)


def test_the_class_of_a_digit_helps_and_its_samples_look_like_the_class():
    data = load_data("digits", binarize="threshold")

    def make(covariate_dim):
        torch.manual_seed(0)
        return ConditionalVAE(
            priors.StandardNormal(2),
            likelihoods.Bernoulli(networks.MLP(2 + covariate_dim, (1, 8, 8), (100,))),
            posteriors.DiagonalNormal(networks.MLP(64 + covariate_dim, 4, (100,))),
            (1, 8, 8),
            covariate_dim,
        )

    log_px = {}
    for name, classes in (("class", 10), ("nothing", 1)):
        vae = make(classes)
        known = [torch.as_tensor(labels) % classes for labels in (data.train_labels, data.test_labels)]
        train, test = vae.join(data.train, known[0]), vae.join(data.test, known[1])
        fit_svi(vae.model, vae.guide, train, epochs=30, lr=3e-3, progress=False)
        log_px[name] = compare_bounds(vae.model, vae.guide, test, num_samples=100).log_px
        if name == "class":
            digits = vae.sample(torch.arange(10).repeat_interleave(50), mean=True)
            zeros = vae.variants(data.test[:5], known[1][:5], torch.zeros(5, dtype=torch.long))
            assert vae.reconstruct(data.test[:5], known[1][:5]).shape == zeros.shape == (5, 1, 8, 8)
    gain = log_px["class"] - log_px["nothing"]
    assert gain.mean() > 4 * gain.std() / len(gain) ** 0.5
    means = torch.stack([data.train[torch.as_tensor(data.train_labels) == k].mean(0) for k in range(10)])
    nearest = torch.cdist(digits.flatten(1), means.flatten(1)).argmin(1)
    assert (nearest == torch.arange(10).repeat_interleave(50)).float().mean() > 0.85


def test_covariates_may_be_channels_of_an_image():
    torch.manual_seed(0)
    vae = ConditionalVAE(
        priors.StandardNormal(2),
        likelihoods.Normal(networks.MLP(2 + 3, (1, 4, 4), (8,))),
        posteriors.DiagonalNormal(
            CovariateChannels(networks.ConvEncoder((1 + 3, 4, 4), 4, channels=(4,)), (1, 4, 4), covariate_dim=3)
        ),
        (1, 4, 4),
        covariate_dim=3,
    )
    x, c = torch.rand(6, 1, 4, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    # Each covariate is one more channel, the same at all pixels.
    images = torch.cat([x, torch.nn.functional.one_hot(c, 3)[..., None, None].expand(6, 3, 4, 4)], 1)
    parameters = vae.posterior.encoder.encoder(images)
    torch.testing.assert_close(vae.posterior(vae.join(x, c)).mean, parameters[:, :2])


@pytest.mark.parametrize("num_rows", [5, 3000])
def test_values_of_x_that_the_likelihood_is_no_density_for_are_refused(num_rows):
    torch.manual_seed(0)
    vae = ConditionalVAE(
        priors.StandardNormal(2),
        likelihoods.Bernoulli(networks.MLP(2 + 1, 300, ())),
        posteriors.DiagonalNormal(networks.MLP(300 + 1, 2 * 2, ())),
        (300,),
        covariate_dim=1,
    )
    # Covariates are of any values.
    x, c = torch.ones(num_rows, 300), 7 * torch.randn(num_rows, 1)
    rows = vae.join(x, c)
    compare_bounds(vae.model, vae.guide, rows[:5], num_samples=2)
    rows[-1, 9] = 0.5
    said = rf"Bernoulli at site 'x' .* row {num_rows - 1} has the value 0.5.*binarise.*entry \[9\] of the row"
    with pytest.raises(ValueError, match=said):
        compare_bounds(vae.model, vae.guide, rows, num_samples=2)
    with pytest.raises(ValueError, match=said):
        fit_svi(vae.model, vae.guide, rows, epochs=1, batch_size=5, progress=False)


def test_a_posterior_without_a_mean_is_decoded_by_draws():
    torch.manual_seed(0)
    vae = ConditionalVAE(
        priors.StandardNormal(2),
        likelihoods.Normal(networks.MLP(2 + 3, 4, (8,))),
        posteriors.Flow(2, encoder=networks.MLP(4 + 3, 4, (8,))),
        (4,),
        covariate_dim=3,
    )
    x, c = torch.rand(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    for looked in (lambda: vae.reconstruct(x, c), lambda: vae.variants(x, c, c.flip(0))):
        with pytest.raises(ValueError, match=r"a Flow, has no mean in closed form: decode draws.*num_samples"):
            looked()
    assert vae.reconstruct(x, c, num_samples=3).shape == vae.variants(x, c, c.flip(0), num_samples=3).shape == (3, 6, 4)
    with pytest.raises(ValueError, match="new is of 1 rows, and x has 6"):
        vae.variants(x, c, c[:1], 3)
    with pytest.raises(ValueError, match="covariate_dim is 0; expected a positive integer"):
        ConditionalVAE(vae.prior, vae.likelihood, vae.posterior, (4,), 0)


def test_parts_start_from_the_rows_that_they_see():
    torch.manual_seed(0)
    likelihood = likelihoods.Normal(networks.MLP(2 + 1, 3, ()))
    posterior = posteriors.DiagonalNormal(networks.ColumnEncoder(["real"] * 4, 2 * 2))
    vae = ConditionalVAE(priors.StandardNormal(2), likelihood, posterior, (3,), covariate_dim=1)
    x, c = 5 + 2 * torch.randn(200, 3), 7 + torch.randn(200, 1)
    vae.initialize(vae.join(x, c))
    torch.testing.assert_close(likelihood.decoder.layers[0].bias.detach(), x.mean(0))
    torch.testing.assert_close(posterior.encoder.center.flatten(), torch.cat([x, c], 1).mean(0))
    with pytest.raises(ValueError, match="rows is a ndarray; expected a tensor"):
        vae.initialize(vae.join(x, c).numpy())


def test_joining_is_undone_by_splitting_and_bad_input_is_refused():
    vae = ConditionalVAE(priors.StandardNormal(2), torch.nn.Identity(), torch.nn.Identity(), (1, 2, 2), 3)
    x, c = torch.rand(4, 1, 2, 2), torch.rand(4, 3)
    assert all(torch.equal(a, b) for a, b in zip(vae.split(vae.join(x, c)), (x, c), strict=True))
    assert vae.split(vae.join(x, torch.tensor([0, 1, 2, 0])))[1].argmax(1).tolist() == [0, 1, 2, 0]
    for rows, known, message in (
        (x[:, 0], c, r"x has rows of shape \(2, 2\); expected data_shape, \(1, 2, 2\)"),
        (x, c[:3], "c is of 3 rows, and x has 4"),
        (x, torch.tensor([0, 1, 2, 3]), "c has class numbers from 0 to 3; expected 0 to 2"),
        (x, torch.rand(4, 2), r"c has shape \(4, 2\).*expected covariates \(rows, 3\)"),
    ):
        with pytest.raises(ValueError, match=message):
            vae.join(rows, known)
    with pytest.raises(ValueError, match=r"rows have shape \(4, 4\); expected \(rows, 7\), as join"):
        vae.model(x.flatten(1))


def test_covariates_beside_whole_numbers_stay_as_they_are():
    vae = ConditionalVAE(
        priors.StandardNormal(2),
        likelihoods.Bernoulli(networks.MLP(2 + 1, 6)),
        posteriors.DiagonalNormal(networks.MLP(6 + 1, 2 * 2)),
        data_shape=(6,),
        covariate_dim=1,
    )
    c = torch.rand(4, 1)
    for dtype in (torch.uint8, torch.int64, torch.bool):
        assert torch.equal(vae.join(torch.ones(4, 6, dtype=dtype), c)[:, -1:], c)


@pytest.mark.parametrize("outputs", [12, (3, 4), (1, 3, 3)])
def test_a_likelihood_over_other_rows_is_refused(outputs):
    vae = ConditionalVAE(
        priors.StandardNormal(2),
        likelihoods.Bernoulli(networks.MLP(2 + 1, outputs)),
        posteriors.DiagonalNormal(networks.MLP(12 + 1, 2 * 2)),
        data_shape=(1, 3, 4),
        covariate_dim=1,
    )
    rows = vae.join(torch.zeros(5, 1, 3, 4), torch.zeros(5, 1))
    with pytest.raises(
        ValueError, match=r"Bernoulli is over rows of shape \(.*\), the data have rows of shape \(1, 3, 4"
    ):
        fit_svi(vae.model, vae.guide, rows, epochs=1, batch_size=5, progress=False)
