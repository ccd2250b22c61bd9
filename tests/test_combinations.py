"""Priors, likelihoods and posteriors of a representative set, together: trained, evaluated, and checked.

Every two of them are together in one of the default tests, every three in these and the slow ones.

log p(x) has to be that of a plain PyTorch loop over the same draws, to rounding; and, as the draws themselves could be
wrong, that of a loop over draws of its own within 4 standard errors of the difference, which would fail for one in 90
seeds of the whole file; the seeds are fixed.
"""

import math
from itertools import product

import pytest
import torch

from pyrovae import VAE, compare_bounds, fit_svi, likelihoods, networks, posteriors, priors
from pyrovae.evaluation.opening import open_sampler
from pyrovae.programs import isolated_rng

LATENT, ROWS, DRAWS = 2, 12, 300
KINDS = ("real", "count", "binary", "categorical(3)")
DATA = (len(KINDS),)


def encoder(output_size):
    return networks.MLP(DATA, output_size, (8,))


def posterior(kind, **options):
    return kind(encoder(kind.encoder_shape(LATENT, **options)), **options)


def likelihood(kind, sized=False, shape_options=None, **options):
    chosen = shape_options or {}
    shape = kind.decoder_shape(DATA, **chosen) if hasattr(kind, "decoder_shape") else DATA
    decoder = networks.MLP(LATENT, shape, (8,))
    return kind(decoder, **({"data_shape": DATA} if sized else {}), **options, **chosen)


PRIORS = {
    "StandardNormal": lambda _: priors.StandardNormal(LATENT),
    "GaussianMixture": lambda _: priors.GaussianMixture(LATENT, num_components=3),
    "VampPrior": lambda posterior: priors.VampPrior(posterior, DATA, num_pseudo_inputs=4),
    "Flow": lambda _: priors.Flow(LATENT, num_layers=2, hidden_dims=(8,)),
    "Hierarchical": lambda _: priors.Hierarchical(LATENT, hidden_dims=(8,)),
}
NOISE = torch.randn(ROWS, *DATA, generator=torch.Generator().manual_seed(0))
# Each with rows of its own support.
LIKELIHOODS = {
    "Bernoulli": (lambda: likelihood(likelihoods.Bernoulli), (NOISE > 0).float()),
    "Normal": (lambda: likelihood(likelihoods.Normal), NOISE),
    "Normal, predicted": (lambda: likelihood(likelihoods.Normal, shape_options={"scale": "predicted"}), NOISE),
    "NegativeBinomial": (lambda: likelihood(likelihoods.NegativeBinomial), (1 + NOISE).exp().floor()),
    "DiscretizedLogistic": (
        lambda: likelihood(likelihoods.DiscretizedLogistic, num_levels=16),
        (NOISE.sigmoid() * 15).round() / 15,
    ),
    "Columns": (
        lambda: likelihood(likelihoods.Columns, shape_options={"column_kinds": KINDS}),
        torch.stack(
            [NOISE[:, 0], NOISE[:, 1].exp().floor(), (NOISE[:, 2] > 0).float(), (3 * NOISE[:, 3].sigmoid()).floor()], 1
        ),
    ),
    "LowRankNormal": (lambda: likelihood(likelihoods.LowRankNormal, sized=True, rank=1), NOISE),
}
POSTERIORS = {
    "DiagonalNormal": lambda: posterior(posteriors.DiagonalNormal),
    "FullCovarianceNormal": lambda: posterior(posteriors.FullCovarianceNormal),
    "LowRankNormal": lambda: posterior(posteriors.LowRankNormal, rank=1),
    "MixtureOfNormals": lambda: posterior(posteriors.MixtureOfNormals, num_components=2),
    "Flow": lambda: posteriors.Flow(LATENT, encoder=encoder(2 * LATENT), hidden_dims=(8,)),
}


@torch.no_grad()
def plain_log_weights(vae, x, z=None):
    """log p(z) + log p(x|z) - log q(z|x) by the three parts alone, ``(draws, rows)``; of new draws without z."""
    q = vae.posterior(x)
    # As numbers, not as draws whose noise a flow remembers.
    z = q.expand((DRAWS, ROWS)).sample().clone() if z is None else z.clone()
    return vae.prior().log_prob(z) + vae.likelihood(z).log_prob(x) - q.log_prob(z)


def log_mean(log_weights):
    return log_weights.double().logsumexp(0) - math.log(DRAWS)


def standard_error(log_weights):
    """That of ``log_mean``, by the delta method."""
    weights = (log_weights.double() - log_mean(log_weights)).exp()
    return weights.std(0) / math.sqrt(DRAWS)


def combinations():
    """The posteriors in turn, so that each meets each prior and each likelihood in a default test."""
    for (i, p), (j, l), (k, q) in product(*map(enumerate, (PRIORS, LIKELIHOODS, POSTERIORS))):  # noqa: E741
        in_turn = (i + j) % len(POSTERIORS) == k
        yield pytest.param(p, l, q, marks=() if in_turn else pytest.mark.slow)


@pytest.mark.parametrize(("p", "l", "q"), list(combinations()))
def test_trains_and_evaluates_as_plain_pytorch(p, l, q):  # noqa: E741
    make, x = LIKELIHOODS[l]
    q_z = POSTERIORS[q]()
    vae = VAE(PRIORS[p](q_z), make(), q_z)
    vae.initialize(x)
    before = {name: value.clone() for name, value in vae.named_parameters()}
    fit = fit_svi(vae.model, vae.guide, x, epochs=10, batch_size=6, lr=0.01, progress=False)
    assert all(math.isfinite(value) for epoch in fit.history for value in epoch.values())
    for name, value in vae.named_parameters():
        assert not torch.equal(value, before[name]), name

    bounds = compare_bounds(vae.model, vae.guide, x, num_samples=DRAWS, seed=1)
    assert torch.isfinite(bounds.log_px).all()
    vae.eval()
    with open_sampler(vae.model, vae.guide, x, seed=1) as sampler, isolated_rng(1, x.device):
        z = sampler.draw(x, DRAWS)[0]["z"]
    same = plain_log_weights(vae, x, z)
    torch.testing.assert_close(bounds.log_px, log_mean(same), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(bounds.elbo, same.double().mean(0), rtol=1e-4, atol=1e-4)

    torch.manual_seed(2)
    other = plain_log_weights(vae, x)
    difference = bounds.log_px - log_mean(other)
    variance = bounds.standard_error.square() + standard_error(other).square()
    # Where weights have heavy tails their standard errors say little.
    rows = bounds.reliable
    assert rows.any()
    assert difference[rows].sum().abs() < 4 * variance[rows].sum().sqrt()
