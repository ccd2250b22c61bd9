"""Objectives that are refused: the error says what was given, what was expected, and the repair."""

import math
import re

import pyro
import pyro.distributions as dist
import pyro.infer
import pytest
import torch
from kinds_of_pairs import DiscreteBeside, Masked, TwoLatents, data, vae_of
from torch import nn

from pyrovae import fit_svi, networks, posteriors, priors
from pyrovae.objectives import (
    IWAE,
    DReG,
    Linear,
    Renyi,
    ReweightedWakeSleep,
    ScoreFunction,
    StickingTheLanding,
    Trace_ELBO,
    TraceMeanField_ELBO,
    as_objective,
)

WITH_BETA = (Trace_ELBO, TraceMeanField_ELBO, IWAE, Renyi, DReG, StickingTheLanding, ScoreFunction)
NUMBER = "expected a finite number of at least 0, or a schedule from pyrovae.objectives"


def refused(make, *parts):
    with pytest.raises(ValueError, match=re.escape(parts[0])) as caught:
        make()
    message = str(caught.value)
    for part in parts:
        assert part in message, message
    assert "\n" not in message


@pytest.mark.parametrize("kind", WITH_BETA)
@pytest.mark.parametrize("beta", [-1, -1e-9, math.nan, math.inf, True, "1", None, (0, 1), torch.tensor(1.0)])
def test_betas(kind, beta):
    refused(lambda: kind(beta=beta), f"beta is {beta!r}; {NUMBER}")


@pytest.mark.parametrize("beta", [-1, math.nan])
def test_betas_beside_a_name(beta):
    pair = vae()
    refused(lambda: fit(pair, beta=beta), f"beta is {beta!r}; {NUMBER}")
    refused(lambda: fit(pair, objective="IWAE", beta=beta), f"beta is {beta!r}; {NUMBER}")


@pytest.mark.parametrize("kind", [*WITH_BETA, ReweightedWakeSleep])
@pytest.mark.parametrize("count", [0, -3, 2.5, True, None, "2", math.nan])
def test_numbers_of_draws(kind, count):
    refused(lambda: kind(num_particles=count), f"num_particles is {count!r}; expected a positive integer")


ARGUMENTS = [
    (lambda: Trace_ELBO(free_bits=-0.1), "free_bits is -0.1; expected a finite number of at least 0"),
    (lambda: Trace_ELBO(free_bits=math.nan), "free_bits is nan; expected a finite number of at least 0"),
    (lambda: Trace_ELBO(free_bits_per="pair"), "free_bits_per is 'pair'; expected 'dimension', 'site', or a positive"),
    (lambda: Trace_ELBO(free_bits_per=0), "free_bits_per is 0; expected"),
    (lambda: Trace_ELBO(free_bits_per=2.0), "free_bits_per is 2.0; expected"),
    (lambda: Trace_ELBO(free_bits_per=True), "free_bits_per is True; expected"),
    (lambda: Trace_ELBO(free_bits=0.1, capacity=1), "free_bits and capacity both bend the KL term", "drop one"),
    (lambda: Trace_ELBO(capacity=-1), f"capacity is -1; {NUMBER}"),
    (lambda: Trace_ELBO(capacity=math.inf), f"capacity is inf; {NUMBER}"),
    *(
        (
            lambda number=number: TraceMeanField_ELBO(2, num_reconstructions=number),
            f"num_reconstructions is {number!r}; expected a whole number from 1 to num_particles, which is 2",
        )
        for number in (0, 3, 1.5, True, "1", -1)
    ),
    (lambda: Renyi(alpha=1), "alpha is 1, where the bound is the ELBO: use objective='Trace_ELBO'"),
    (lambda: Renyi(alpha=1.0), "alpha is 1, where the bound is the ELBO"),
    *(
        (lambda alpha=alpha: Renyi(alpha=alpha), f"alpha is {alpha!r}; expected a finite number other than 1")
        for alpha in (math.nan, -math.inf, True, "0", None)
    ),
    *(
        (
            lambda share=share: ReweightedWakeSleep(insomnia=share),
            f"insomnia is {share!r}; expected a number from 0 (only sleep) to 1 (only wake)",
        )
        for share in (-0.1, 1.1, math.nan, True, "1", None)
    ),
    *(
        (
            lambda name=name: ScoreFunction(2, name),
            f"baseline is {name!r}; expected one of none, other_draws, other_rows",
        )
        for name in ("mean", None, True, ["none"])
    ),
    (
        lambda: ScoreFunction(1, "other_draws"),
        "baseline is 'other_draws' with 1 particle",
        "num_particles of at least 2",
    ),
    (
        lambda: as_objective("IWAE2"),
        "objective is 'IWAE2'; expected one of TraceMeanField_ELBO",
        "or an object of these",
    ),
    (lambda: as_objective("iwae"), "objective is 'iwae'; expected one of", "IWAE"),
    (lambda: as_objective(IWAE), "expected one of", "or an object of these classes"),
    (lambda: as_objective(None), "objective is None; expected one of"),
    (lambda: as_objective("ReweightedWakeSleep", beta=1.0), "ReweightedWakeSleep takes no beta: leave it out"),
    (lambda: as_objective(IWAE(), num_particles=3), "IWAE brings its own num_particles", "not beside it"),
    (lambda: as_objective(IWAE(), beta=0.0), "IWAE brings its own beta", "not beside it"),
    (lambda: as_objective(IWAE(), 3, Linear()), "IWAE brings its own num_particles and beta"),
    (lambda: as_objective(pyro.infer.Trace_ELBO(), 3), "Trace_ELBO brings its own num_particles", "not beside it"),
    (lambda: as_objective(pyro.infer.RenyiELBO()), "objective is a RenyiELBO of Pyro; expected", "Renyi"),
    (lambda: as_objective("IWAE", 0), "num_particles is 0; expected a positive integer"),
]


@pytest.mark.parametrize("case", ARGUMENTS, ids=[case[1] for case in ARGUMENTS])
def test_arguments(case):
    refused(*case)


def vae(**parts):
    return vae_of(lambda: posteriors.DiagonalNormal(networks.MLP(3, 4, ())), **parts)


def fit(pair, **options):
    return fit_svi(pair.model, pair.guide, data(20), epochs=1, batch_size=10, progress=False, **options)


class PlanarPosterior(nn.Module):
    """A flow without an inverse, on a Gaussian."""

    def __init__(self):
        super().__init__()
        self.encoder, self.flow = nn.Linear(3, 2), dist.transforms.Planar(2)

    def forward(self, x):
        return dist.TransformedDistribution(dist.Normal(self.encoder(x), 1.0).to_event(1), [self.flow])


class Empty(nn.Module):
    """A latent of no dimensions."""

    def __init__(self):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(3, dtype=torch.float64))

    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x.new_zeros(0), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.loc, 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x.new_zeros(0), 1.0).to_event(1))


class Squared(nn.Module):
    """Observes a function of the rows, or the rows at two sites."""

    def __init__(self, sites=1):
        super().__init__()
        self.sites, self.encoder = sites, nn.Linear(3, 4).double()

    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            for site in range(self.sites):
                observed = x**2 if self.sites == 1 else x
                pyro.sample(
                    f"x{site}",
                    dist.Normal(z.sum(-1, keepdim=True).expand(*z.shape[:-1], 3), 1.0).to_event(1),
                    obs=observed,
                )

    def guide(self, x):
        loc, raw = self.encoder(x).chunk(2, -1)
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(loc, raw.exp()).to_event(1))


def full_covariance():
    encoder = networks.MLP(3, posteriors.FullCovarianceNormal.encoder_shape(2), ())
    return vae_of(lambda: posteriors.FullCovarianceNormal(encoder))


FREE_BITS = Trace_ELBO(free_bits=0.1)
AT_FIXED_DRAWS = (StickingTheLanding(), DReG(), ReweightedWakeSleep(), ReweightedWakeSleep(insomnia=0), ScoreFunction())
NEEDS = "needs latents drawn by reparameterisation, and the guide has some that are not ('k')"
PAIRS = [
    *((DiscreteBeside, kind(), f"{kind.__name__} {NEEDS}", "use objective='") for kind in (IWAE, Renyi, DReG)),
    (DiscreteBeside, StickingTheLanding(), f"StickingTheLanding {NEEDS}", "'ScoreFunction'"),
    (DiscreteBeside, TraceMeanField_ELBO(), f"TraceMeanField_ELBO {NEEDS}", "use objective='Trace_ELBO'"),
    (DiscreteBeside, FREE_BITS, f"Trace_ELBO with free_bits {NEEDS}", "objective='Trace_ELBO' without it"),
    (DiscreteBeside, Trace_ELBO(capacity=1), f"Trace_ELBO with capacity {NEEDS}", "without it"),
    (
        DiscreteBeside,
        Trace_ELBO(2, num_reconstructions=1),
        f"Trace_ELBO with num_reconstructions {NEEDS}",
        "without it",
    ),
    (full_covariance, FREE_BITS, "free_bits_per is 'dimension'", "'z' does not factorise", "use free_bits_per='site'"),
    (
        full_covariance,
        TraceMeanField_ELBO(free_bits=0.1, free_bits_per=2),
        "free_bits_per is 2",
        "free_bits_per='site'",
    ),
    (lambda: vae(prior=priors.GaussianMixture(2)), FREE_BITS, "does not factorise", "in the model", "'site'"),
    (Masked, FREE_BITS, "'z' does not factorise", "use free_bits_per='site'"),
    (vae, Trace_ELBO(free_bits=0.1, free_bits_per=3), "free_bits_per is 3, and the 2 dimensions of latent 'z' cannot"),
    (Empty, FREE_BITS, "free_bits: latent 'z' has no dimensions to put a floor under"),
    (Empty, Trace_ELBO(free_bits=0.1, free_bits_per="site"), "free_bits: latent 'z' has no dimensions"),
    (lambda: TwoLatents("z2"), FREE_BITS, "free_bits: model and guide draw", "(z1, z2 and z2, z1)", "same order"),
    (Squared, ReweightedWakeSleep(insomnia=0.5), "has to observe the rows as they are", "'x0'", "use insomnia 1"),
    *(
        (
            lambda: vae_of(PlanarPosterior),
            objective,
            "the guide cannot give the density of a draw that it has not just made (a flow without an inverse?)",
            f"so {objective.name} cannot score its draws again: use",
            "objective='Trace_ELBO'",
        )
        for objective in AT_FIXED_DRAWS
    ),
    (lambda: Squared(2), ReweightedWakeSleep(insomnia=0), "at one site (it observes 'x0', 'x1')", "use insomnia 1"),
]


@pytest.mark.parametrize("case", PAIRS, ids=[f"{case[1].name}: {case[2]}" for case in PAIRS])
def test_pairs(case):
    make, objective, *parts = case
    pair = make()
    before = {name: value.clone() for name, value in pair.state_dict().items()}
    refused(lambda: fit(pair, objective=objective), *parts)
    for name, value in pair.state_dict().items():
        assert torch.equal(value, before[name])


def test_what_the_repairs_name_works():
    fit(full_covariance(), objective=Trace_ELBO(free_bits=0.1, free_bits_per="site"))
    fit(Masked(), objective=TraceMeanField_ELBO(free_bits=0.1, free_bits_per="site"))
    fit(DiscreteBeside(), objective="ScoreFunction", num_particles=2, beta=Linear())
    fit(Squared(), objective=ReweightedWakeSleep(insomnia=1))
    fit(Squared(2), objective=ReweightedWakeSleep())
    fit(Empty(), objective="Trace_ELBO")
    fit(vae_of(PlanarPosterior), objective="Trace_ELBO")
