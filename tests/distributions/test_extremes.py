"""Densities of large vectors in float32: 512 latents, images of 64x64x3, scales at their floors.

Each is compared with the same density in float64, of the same numbers: both are finite, and so are all gradients.
"""

import copy
import math
from functools import partial
from itertools import product

import pytest
import torch
from part_makers import LIKELIHOODS
from torch import nn
from torch.autograd.functional import jacobian
from torch.distributions import kl_divergence

from pyrovae import posteriors, priors

IMAGE, LATENT = (3, 64, 64), 512
# Of a log-density, and in nats for each of its entries.
RELATIVE = 1e-6
# Where a raw scale has its softplus at nothing, so that the scale is at its floor.
AT_FLOOR = -15.0


class Given(nn.Module):
    """A network that gives the same numbers whatever comes in, other ones for each of the first rows."""

    def __init__(self, output):
        super().__init__()
        self.output = nn.Parameter(output)

    def forward(self, x):
        return self.output.expand(len(x), *self.output.shape[1:])


def in_both_precisions(part, value):
    """For float32 and float64 the values and the gradients of all parameters, both as float64."""
    for dtype in (torch.float32, torch.float64):
        cast = copy.deepcopy(part).to(dtype)
        values = value(cast, dtype)
        parameters = [parameter for parameter in cast.parameters() if parameter.requires_grad]
        gradients = torch.autograd.grad(values.sum(), parameters, allow_unused=True) if parameters else ()
        yield values.detach().double(), [gradient.double() for gradient in gradients if gradient is not None]


def check(part, value, relative=RELATIVE, entries=LATENT, of_gradients=1e-4):
    (ours, gradients), (exact, exact_gradients) = in_both_precisions(part, value)
    assert exact.isfinite().all()
    torch.testing.assert_close(ours, exact, rtol=relative, atol=relative * entries)
    # Of all parameters together: that of a shared one is a sum of many terms, of both signs.
    gradient, wanted = (
        torch.cat([part.flatten() for part in [torch.zeros(1), *parts]]) for parts in (gradients, exact_gradients)
    )
    assert gradient.isfinite().all()
    assert (gradient - wanted).norm() <= of_gradients * wanted.norm()


IMAGES = {
    name: maker for name, maker in LIKELIHOODS.items() if " of a user" not in name and "normalisation" not in name
}


def large_likelihood(name, size):
    """A likelihood of large rows, its decoder's output normal numbers of this size."""
    event = (LATENT,) if "FullCovariance" in name else (60,) if "Columns" in name else IMAGE
    part = IMAGES[name].make(event).eval()
    inner = part.likelihood if name.startswith("PartlyObserved") else part
    shape = inner.decoder(torch.zeros(1, 3)).shape
    output = size * torch.randn(1, *shape[1:])
    if name == "FullCovarianceNormal, predicted":
        # A triangle of 512 rows of ones has no inverse in any precision.
        output[:, 1:] /= LATENT
    inner.decoder = Given(output)
    return part, inner


def log_prob_of(context, values, part, dtype):
    return part(context.to(dtype)).log_prob(values.to(dtype))


def draws(part, context, count=2):
    """Values in the support, not those that the distribution knows as its own draws."""
    with torch.no_grad():
        return part(context.expand(count, *context.shape[1:])).sample()


@pytest.mark.parametrize("name", IMAGES)
def test_likelihoods_of_large_rows(name):
    # Logarithms of means and of values grow by e.
    logarithms = any(kind in name for kind in ("Poisson", "NegativeBinomial", "LogNormal", "Columns"))
    for size in (1.0, 4.0 if logarithms else 30.0):
        part, _ = large_likelihood(name, size)
        z = torch.zeros(1, 3)
        x = draws(part, z)
        other = draws(large_likelihood(name, size)[0], z)
        # A rate of ten million is rounded to a half, which is small beside the 3,000 by which counts miss it.
        of_gradients = 1e-3 if "Poisson" in name else 1e-4
        for rows in (x, other):
            check(part, partial(log_prob_of, z, rows), entries=x[0].numel(), of_gradients=of_gradients)


SCALED = [name for name in IMAGES if any(kind in name for kind in ("scale", "Normal,", "Mixture", "concentration"))]


@pytest.mark.parametrize("name", SCALED)
def test_likelihoods_at_the_floor_of_their_scale(name):
    """Of rows that are drawn there, and of rows thousands of scales away."""
    part, inner = large_likelihood(name, 1.0)
    with torch.no_grad():
        for parameter_name, parameter in inner.named_parameters():
            if parameter_name in ("scaled_log_scale", "scaled_log_concentration"):
                parameter.fill_(AT_FLOOR)
            elif parameter_name == "raw_covariance":
                parameter.copy_(AT_FLOOR * torch.eye(LATENT) if "Full" in name else parameter)
                if "LowRank" in name:
                    parameter[0] = AT_FLOOR
        if name.endswith(("scale predicted", "concentration predicted")) and "Columns" not in name:
            inner.decoder.output[:, 1] = AT_FLOOR
        if "Mixture" in name:
            inner.decoder.output[:, -len(inner.decoder.output[0]) // 3 :] = AT_FLOOR
    z = torch.zeros(1, 3)
    x = draws(part, z)
    other = draws(large_likelihood(name, 1.0)[0], z)
    for rows in (x, other):
        check(part, partial(log_prob_of, z, rows), entries=x[0].numel())


def large_posterior(name, size, floor):
    kind, options = POSTERIORS[name]
    numbers = kind.encoder_shape(LATENT, **options)
    output = size * torch.randn(2, numbers)
    if floor:
        scales = slice(5 * (1 + LATENT), None) if "Mixture" in name else slice(LATENT, 2 * LATENT)
        output[:, scales] = AT_FLOOR
    return kind(Given(output), **options)


POSTERIORS = {
    "DiagonalNormal": (posteriors.DiagonalNormal, {}),
    "FullCovarianceNormal": (posteriors.FullCovarianceNormal, {}),
    "LowRankNormal": (posteriors.LowRankNormal, {"rank": 5}),
    "MixtureOfNormals": (posteriors.MixtureOfNormals, {"num_components": 5}),
}
ROWS = torch.zeros(2, 1)
CASES = [(1.0, False), (1.0, True), (30.0, False)]


@pytest.mark.parametrize(("size", "floor"), CASES)
@pytest.mark.parametrize("name", POSTERIORS)
def test_posteriors_of_512_latents(name, size, floor):
    part = large_posterior(name, size, floor)
    z = draws(part, ROWS)
    for values in (z, z.flip(0)):
        check(part, partial(log_prob_of, ROWS, values), 1e-5)
    drawn = part(ROWS).rsample()
    (gradient,) = torch.autograd.grad(drawn.square().sum(), part.encoder.output)
    assert drawn.isfinite().all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize(("size", "floor"), CASES)
@pytest.mark.parametrize("name", [name for name in POSTERIORS if "Mixture" not in name])
@pytest.mark.parametrize("prior", [priors.StandardNormal, priors.DiagonalNormal, priors.Laplace])
def test_kl_of_512_latents(prior, name, size, floor):
    pair = nn.ModuleList([large_posterior(name, size, floor), prior(LATENT)])
    check(pair, lambda cast, dtype: kl_divergence(cast[0](ROWS.to(dtype)), cast[1]()))


@pytest.mark.parametrize("floor", [False, True], ids=["", "at the floor"])
@pytest.mark.parametrize("kind", ["inverse_autoregressive", "coupling", "spline"])
def test_draws_of_flows_of_512_latents(kind, floor):
    """A draw's density is that of the base's draw less the logarithm of the volume, by automatic differentiation."""
    output = torch.randn(2, 2 * LATENT)
    if floor:
        output[:, LATENT:] = AT_FLOOR
    q = posteriors.Flow(LATENT, "DiagonalNormal", Given(output), kind, hidden_dims=(LATENT,))
    law, states = q(ROWS), torch.get_rng_state()
    z = law.rsample()
    log_q = law.log_prob(z)
    (gradient,) = torch.autograd.grad((z.square().sum(-1) - log_q).sum(), q.base.encoder.output)
    assert gradient.isfinite().all()
    torch.set_rng_state(states)
    start, layers = law.base_dist.rsample()[0].detach().double(), copy.deepcopy(q.flow).double().transforms()

    def through_layers(value):
        for layer in layers:
            value = layer._call(value)
        return value

    volume = torch.linalg.slogdet(jacobian(through_layers, start, vectorize=True)).logabsdet
    loc, scale = (
        number[0].detach().double() for number in (law.base_dist.base_dist.loc, law.base_dist.base_dist.scale)
    )
    expected = torch.distributions.Normal(loc, scale).log_prob(start).sum() - volume
    torch.testing.assert_close(z[0].detach().double(), through_layers(start), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(log_q[0].detach().double(), expected, rtol=RELATIVE, atol=0.01)


def vamp(posterior):
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(8, posterior.encoder_shape(LATENT)))
    return priors.VampPrior(posterior(encoder), (8,), num_pseudo_inputs=5)


PRIORS = {
    "StandardNormal": lambda: priors.StandardNormal(LATENT),
    "DiagonalNormal": lambda: priors.DiagonalNormal(LATENT),
    "Laplace": lambda: priors.Laplace(LATENT),
    "StudentT": lambda: priors.StudentT(LATENT),
    "GaussianMixture": lambda: priors.GaussianMixture(LATENT),
    "VampPrior": lambda: vamp(posteriors.DiagonalNormal),
    "VampPrior of full covariances": lambda: vamp(posteriors.FullCovarianceNormal),
    "Hierarchical": lambda: priors.Hierarchical(LATENT),
    "Flow, autoregressive": lambda: priors.Flow(LATENT, "autoregressive", hidden_dims=(LATENT,)),
    "Flow, coupling": lambda: priors.Flow(LATENT, "coupling"),
    "Flow, spline": lambda: priors.Flow(LATENT, "spline", hidden_dims=(16,)),
}


@pytest.mark.parametrize("name", PRIORS)
def test_priors_of_512_latents(name):
    """Of draws near their middle, and of ones 30 times as far."""
    part = PRIORS[name]()
    z = torch.randn(3, LATENT)
    for values in (z, 30 * z):
        check(part, lambda cast, dtype, values=values: cast().log_prob(values.to(dtype)), 1e-5)


@pytest.mark.parametrize("name", ["DiagonalNormal", "GaussianMixture"])
def test_priors_at_the_floor_of_their_scale(name):
    part = PRIORS[name]()
    with torch.no_grad():
        part.raw_scale.fill_(AT_FLOOR)
        z = part().sample((3,))
    # A mixture compares squares of 1e14 in float64: a few tenths of 6,200 nats.
    relative = 1e-4 if name == "GaussianMixture" else RELATIVE
    for values in (z, z + 1):
        check(part, lambda cast, dtype, values=values: cast().log_prob(values.to(dtype)), relative)


@pytest.mark.parametrize("raw", [-1e4, -100.0, 100.0, 1e4])
def test_no_scale_is_zero_or_infinite(raw):
    """Where raw scales run away, floors hold: log-densities and gradients are finite at every part that has one."""
    for name, (kind, options) in POSTERIORS.items():
        output = torch.randn(2, kind.encoder_shape(LATENT, **options))
        scales = slice(5 * (1 + LATENT), None) if "Mixture" in name else slice(LATENT, 2 * LATENT)
        output[:, scales] = raw
        part = kind(Given(output), **options)
        log_q = part(ROWS).log_prob(torch.zeros(LATENT))
        (gradient,) = torch.autograd.grad(log_q.sum(), part.encoder.output)
        assert log_q.isfinite().all()
        assert gradient.isfinite().all()


def test_binomial_of_large_counts_against_scipy():
    """Each entry to 1e-6 of itself, also where the logarithms of factorials are ten million."""
    from scipy.stats import binom

    from pyrovae.distributions import Binomial

    for total, probability in product((255, 1_000_000), (1e-4, 0.3, 0.999)):
        logit = torch.tensor(math.log(probability / (1 - probability)))
        count = torch.arange(0, total + 1, max(1, total // 50)).float()
        exact = binom(total, logit.double().sigmoid().item()).logpmf(count.numpy())
        ours = Binomial(total, logits=logit).log_prob(count)
        torch.testing.assert_close(ours.double(), torch.from_numpy(exact), rtol=1e-6, atol=1e-6)
