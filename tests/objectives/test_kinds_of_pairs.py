"""Objectives on pairs of many kinds: each equals its formula in plain PyTorch, to 1e-10 in float64."""

import pyro
import pytest
import torch
from kinds_of_pairs import PAIRS, DiscreteBeside, TwoLatents, data, normal
from plain_objectives import (
    Draws,
    assert_equals,
    bent,
    doubly_reparameterized,
    elbo,
    renyi,
    score_function,
    sticking_the_landing,
    wake,
)
from problems import make_samplers

from pyrovae.objectives import (
    IWAE,
    DReG,
    Renyi,
    ReweightedWakeSleep,
    ScoreFunction,
    StickingTheLanding,
    Trace_ELBO,
    TraceMeanField_ELBO,
)

SEED = 5

# Each with its formula, where all latents of the pair are reparameterised.
OBJECTIVES = {
    "Trace_ELBO": (Trace_ELBO(3, 0.5), lambda draws: elbo(draws, 0.5)),
    "IWAE": (IWAE(3, 0.5), lambda draws: renyi(draws, beta=0.5)),
    "Renyi": (Renyi(3, -1.0), lambda draws: renyi(draws, -1.0)),
    "DReG": (DReG(3, 0.5), lambda draws: doubly_reparameterized(draws, 0.5)),
    "StickingTheLanding": (StickingTheLanding(3, 4), lambda draws: sticking_the_landing(draws, 4)),
    "ReweightedWakeSleep": (ReweightedWakeSleep(3), wake),
    "ScoreFunction": (
        ScoreFunction(3, "other_draws", 0.5),
        lambda draws: score_function(draws, "other_draws", 0.5),
    ),
}
WAYS = ("vectorized", "repeated")
# Pyro's own estimator makes one draw after the other there.
PYRO = ("Trace_ELBO", "repeated")
ways = pytest.mark.parametrize("way", WAYS)


def compare(pair, x, objective, plain, way):
    sampler = make_samplers(pair.model, pair.guide, x)[way]
    objective.check(sampler, x)
    draws = Draws(pair, x, objective.num_particles, SEED, way=way)
    wanted = plain(draws)
    pyro.set_rng_seed(SEED)
    terms = objective.terms(sampler, x, 1.0)
    assert_equals(terms, wanted, pair.of_model, pair.of_guide)


@pytest.mark.parametrize(("name", "way"), [(name, way) for name in OBJECTIVES for way in WAYS if (name, way) != PYRO])
@pytest.mark.parametrize("kind", PAIRS)
def test_formulas(kind, name, way):
    make, rows = PAIRS[kind]
    compare(make(), rows(), *OBJECTIVES[name], way)


def kl_of_two(pair, z1):
    """In closed form given z1, ``(draws, rows, dimensions)`` of both latents."""
    x, first, second = data(), pair.q_first(data()), pair.q_second(data(), z1)
    standard = torch.distributions.Normal(torch.zeros(2, dtype=torch.float64), 1.0)
    of_first = torch.distributions.kl_divergence(first.base_dist, standard).expand(*z1.shape)
    of_second = torch.distributions.kl_divergence(second.base_dist, normal(pair.p["z2"](z1)).base_dist)
    assert of_second.shape == (*z1.shape[:1], len(x), 2)
    return torch.cat([of_first, of_second], -1)


@ways
@pytest.mark.parametrize("per", ["dimension", "site", 2])
@pytest.mark.parametrize("kept", [1, 3])
def test_free_bits_of_two_latents(per, kept, way):
    size = 1 if per == "dimension" else 2
    floor = kl_of_two(TwoLatents(), torch.zeros(1, 4, 2, dtype=torch.float64)).mean().item() * size

    def plain(draws):
        def bend(kl):
            return 0.5 * torch.stack([part.sum().clamp(min=floor) for part in kl.split(size)]).sum()

        return bent(draws, kl_of_two(draws.pair, draws.z[0]), bend, kept)

    options = {"free_bits": floor, "free_bits_per": per, "num_reconstructions": kept}
    compare(TwoLatents(), data(), TraceMeanField_ELBO(3, 0.5, **options), plain, way)


@pytest.mark.parametrize("beta", [0.5, 1, 4])
def test_closed_forms_given_a_draw(beta):
    """A second latent whose KL is known given the first; and one of a covariance matrix; and none, of a mixture."""

    def of_two(draws):
        return bent(draws, kl_of_two(draws.pair, draws.z[0]), lambda kl: beta * kl.sum())

    def of_vae(draws):
        q, p = (part.expand((4,)) for part in (draws.pair.vae.encode(draws.x), draws.pair.vae.prior()))
        # A Gaussian of any covariance from one of a diagonal one, by PyTorch.
        scales = torch.diag_embed(p.base_dist.scale)
        kl = torch.distributions.kl_divergence(
            q, torch.distributions.MultivariateNormal(p.base_dist.loc, scale_tril=scales)
        )
        return bent(draws, kl[None, :, None], lambda kl: beta * kl.sum())

    compare(TwoLatents(), data(), TraceMeanField_ELBO(3, beta), of_two, "vectorized")
    compare(PAIRS["full covariance"][0](), data(), TraceMeanField_ELBO(3, beta), of_vae, "vectorized")
    compare(PAIRS["mixture prior"][0](), data(), TraceMeanField_ELBO(3, beta), lambda d: elbo(d, beta), "vectorized")


def score_of_class(draws, beta):
    """The score function for the class, the gradient through the draw for the continuous latent."""
    log_class = draws.pair.log_guide_of_class(draws.x, draws.z[0])
    through = draws.log_weights(beta) + beta * log_class
    bound = (through + log_class * draws.log_weights(beta).detach()).mean(0).sum()
    return draws.plain(draws.log_weights(beta).mean(0).sum(), bound, bound)


@pytest.mark.parametrize("beta", [0, 0.5, 1, 4])
def test_a_discrete_latent_beside_a_continuous_one(beta):
    pair = DiscreteBeside()
    compare(pair, data(), Trace_ELBO(3, beta), lambda draws: score_of_class(draws, beta), "vectorized")
    for way in WAYS:
        objective = ScoreFunction(3, "other_rows", beta)
        compare(pair, data(), objective, lambda draws: score_function(draws, "other_rows", beta), way)
        compare(pair, data(), ReweightedWakeSleep(3), wake, way)
