"""Every objective against its formula in plain PyTorch, with the same noise, to 1e-10 in float64."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from plain_objectives import (
    Draws,
    assert_equals,
    bent,
    doubly_reparameterized,
    elbo,
    normal_log_prob,
    renyi,
    score_function,
    sticking_the_landing,
    wake,
)
from problems import make_samplers
from torch import nn

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
)
from pyrovae.programs import isolated_rng

ROWS, DATA, LATENT, SEED = 4, 3, 4, 11
BETAS = (0, 0.5, 1, 4)
PLATES = {"plain": None, "scaled": 700}
CASES = [*((beta, "plain") for beta in BETAS), (4, "scaled")]
X = torch.randn(ROWS, DATA, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def normal_noise(*shape):
    return torch.normal(torch.zeros(shape, dtype=torch.float64), torch.ones(shape, dtype=torch.float64))


class Gaussian(nn.Module):
    """z normal with learned moments, x normal around a network of z; the guide is linear in x."""

    def __init__(self, plate_size=None):
        super().__init__()
        torch.manual_seed(0)
        self.plate_size = plate_size
        self.prior_loc = nn.Parameter(0.3 * torch.randn(LATENT))
        self.prior_raw = nn.Parameter(0.3 * torch.randn(LATENT))
        self.decoder = nn.Sequential(nn.Linear(LATENT, 5), nn.Tanh(), nn.Linear(5, DATA))
        self.encoder = nn.Linear(DATA, 2 * LATENT)
        self.double()

    def plate(self, x):
        subsample = None if self.plate_size is None else torch.arange(len(x))
        return pyro.plate("data", self.plate_size or len(x), subsample=subsample, dim=-1)

    def model(self, x):
        with self.plate(x):
            z = pyro.sample("z", dist.Normal(self.prior_loc, self.prior_raw.exp()).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 0.7).to_event(1), obs=x)

    def guide(self, x):
        with self.plate(x):
            pyro.sample("z", dist.Normal(*self.moments(x)).to_event(1))

    def moments(self, x):
        loc, raw = self.encoder(x).chunk(2, -1)
        return loc, nn.functional.softplus(raw)

    def draw(self, x, count):
        loc, scale = self.moments(x)
        return (loc + scale * normal_noise(count, *loc.shape),)

    def log_prior(self, z):
        return normal_log_prob(z, self.prior_loc, self.prior_raw.exp()).sum(-1)

    def log_likelihood(self, x, z):
        return normal_log_prob(x, self.decoder(z), torch.tensor(0.7, dtype=torch.float64)).sum(-1)

    def log_guide(self, x, z):
        return normal_log_prob(z, *self.moments(x)).sum(-1)

    def kl(self, x):
        """In closed form, ``(rows, dimensions)``."""
        loc, scale = self.moments(x)
        ratio = scale / self.prior_raw.exp()
        return 0.5 * (ratio**2 + ((loc - self.prior_loc) / self.prior_raw.exp()) ** 2 - 1) - ratio.log()

    def drawn_kl(self, x, z):
        """Log q - log p at the draws, ``(draws, rows, dimensions)``."""
        log_q = normal_log_prob(z, *self.moments(x))
        return log_q - normal_log_prob(z, self.prior_loc, self.prior_raw.exp())

    @property
    def of_model(self):
        return [self.prior_loc, self.prior_raw, *self.decoder.parameters()]

    @property
    def of_guide(self):
        return list(self.encoder.parameters())


class StackedDraws(Draws):
    """Draws one run after the other, as Pyro's own estimators make them where runs cannot be stacked."""

    def __init__(self, pair, x, count, seed):
        pyro.set_rng_seed(seed)
        self.pair, self.x = pair, x
        self.z = (torch.cat([pair.draw(x, 1)[0] for _ in range(count)]),)
        self.still = (self.z[0].detach(),)


def check(objective, plain, way, plate="plain", progress=1.0, one_by_one=False):
    pair = Gaussian(PLATES[plate])
    sampler = make_samplers(pair.model, pair.guide, X)[way]
    with isolated_rng(0, X.device):
        objective.check(sampler, X)
    pyro.set_rng_seed(SEED)
    terms = objective.terms(sampler, X, progress)
    draws = (StackedDraws if one_by_one else Draws)(pair, X, objective.num_particles, SEED)
    assert_equals(terms, plain(draws), pair.of_model, pair.of_guide)


def mean_field(beta):
    return lambda draws: bent(draws, draws.pair.kl(X)[None], lambda kl: beta * kl.sum())


ways = pytest.mark.parametrize("way", ["vectorized", "repeated"])
plates = pytest.mark.parametrize("plate", PLATES)
cases = pytest.mark.parametrize(("beta", "plate"), CASES)


@ways
@cases
@pytest.mark.parametrize("count", [1, 3])
def test_elbos(count, beta, plate, way):
    one_by_one = way == "repeated"
    check(Trace_ELBO(count, beta), lambda draws: elbo(draws, beta), way, plate, one_by_one=one_by_one)
    check(TraceMeanField_ELBO(count, beta), mean_field(beta), way, plate, one_by_one=one_by_one)


@ways
@cases
@pytest.mark.parametrize("count", [1, 3])
def test_path_gradients(count, beta, plate, way):
    check(StickingTheLanding(count, beta), lambda draws: sticking_the_landing(draws, beta), way, plate)
    check(DReG(count, beta), lambda draws: doubly_reparameterized(draws, beta), way, plate)


@ways
@cases
@pytest.mark.parametrize("alpha", [-2, 0, 0.5, 0.999, 1.5, 3.0])
def test_renyi_and_importance_weighted(alpha, beta, plate, way):
    check(Renyi(4, alpha, beta), lambda draws: renyi(draws, alpha, beta), way, plate)
    if alpha == 0:
        check(IWAE(4, beta), lambda draws: renyi(draws, 0.0, beta), way, plate)


@ways
@cases
@pytest.mark.parametrize("baseline", ["none", "other_draws", "other_rows"])
def test_score_function(baseline, beta, plate, way):
    check(ScoreFunction(3, baseline, beta), lambda draws: score_function(draws, baseline, beta), way, plate)


@ways
@plates
@pytest.mark.parametrize("insomnia", [1, 0.3, 0])
def test_wake_and_sleep(insomnia, plate, way):
    def plain(draws):
        if insomnia == 1:
            return wake(draws)
        pair = draws.pair
        pyro.set_rng_seed(SEED)
        pair.draw(X, 3)
        with torch.no_grad():
            z = pair.prior_loc + pair.prior_raw.exp() * normal_noise(1, ROWS, LATENT)
            dreams = pair.decoder(z) + 0.7 * normal_noise(1, ROWS, DATA)
        return wake(draws, insomnia, (dreams[0], z))

    check(ReweightedWakeSleep(3, insomnia), plain, way, plate)


FLOORS = {"dimension": 1, "site": LATENT, 2: 2, 4: 4}


@ways
@pytest.mark.parametrize(("beta", "plate"), CASES[1:])
@pytest.mark.parametrize("per", FLOORS)
def test_free_bits(per, beta, plate, way):
    """At floors under, between and over the KL of the groups."""
    pair, size = Gaussian(), FLOORS[per]
    grouped = pair.kl(X).mean(0).unflatten(0, (-1, size)).sum(-1)
    for floor in (0.5 * grouped.min().item(), grouped.mean().item(), 2 * grouped.max().item()):

        def bend(kl, floor=floor):
            return beta * torch.stack([part.sum().clamp(min=floor) for part in kl.split(size)]).sum()

        options = {"num_particles": 3, "beta": beta, "free_bits": floor, "free_bits_per": per}
        check(TraceMeanField_ELBO(**options), lambda d, b=bend: bent(d, d.pair.kl(X)[None], b), way, plate)
        check(Trace_ELBO(**options), lambda d, b=bend: bent(d, d.pair.drawn_kl(X, *d.z), b), way, plate)


@ways
@plates
@pytest.mark.parametrize("capacity", [0, 1.5, 40.0])
def test_capacity(capacity, plate, way):
    def bend(kl):
        return 4 * (kl.sum() - capacity).abs()

    options = {"num_particles": 2, "beta": 4, "capacity": capacity}
    check(TraceMeanField_ELBO(**options), lambda d: bent(d, d.pair.kl(X)[None], bend), way, plate)
    check(Trace_ELBO(**options), lambda d: bent(d, d.pair.drawn_kl(X, *d.z), bend), way, plate)


@ways
@cases
@pytest.mark.parametrize("kept", [1, 3])
def test_fewer_reconstructions(kept, beta, plate, way):
    options = {"num_particles": 4, "beta": beta, "num_reconstructions": kept}

    def bend(kl):
        return beta * kl.sum()

    check(TraceMeanField_ELBO(**options), lambda d: bent(d, d.pair.kl(X)[None], bend, kept), way, plate)
    check(Trace_ELBO(**options), lambda d: bent(d, d.pair.drawn_kl(X, *d.z), bend, kept), way, plate)


@ways
def test_weights_that_move(way):
    """Beta at 3/8 of its way, the capacity at 3/4 of its own."""
    beta, capacity = Linear(1, 3, length=0.8), Linear(0, 8, length=0.4)
    for kind, plain in ((StickingTheLanding, sticking_the_landing), (DReG, doubly_reparameterized)):
        check(kind(2, beta), lambda draws, plain=plain: plain(draws, 1.75), way, progress=0.3)
    for kind, plain in ((IWAE, renyi), (ScoreFunction, score_function)):
        options = {"baseline": "none"} if kind is ScoreFunction else {}
        objective = kind(num_particles=2, beta=beta, **options)
        check(objective, lambda draws, plain=plain: plain(draws, beta=1.75), way, progress=0.3)

    def bend(kl):
        return 1.75 * (kl.sum() - 6).abs()

    objective = TraceMeanField_ELBO(beta=beta, capacity=capacity)
    check(objective, lambda d: bent(d, d.pair.kl(X)[None], bend), way, progress=0.3)
