"""Objectives where numbers are large, batches small, and modules change with their mode."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from kinds_of_pairs import OfVAE, data
from problems import bits, make_samplers, small_vae
from torch import nn

from pyrovae import VAE, fit_svi, likelihoods, networks, posteriors, priors
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
from pyrovae.objectives.importance_weighted import renyi_bound
from pyrovae.programs import evaluation_mode

OBJECTIVES = {
    "Trace_ELBO": Trace_ELBO(3),
    "TraceMeanField_ELBO": TraceMeanField_ELBO(3),
    "free bits": TraceMeanField_ELBO(3, free_bits=0.1, num_reconstructions=2),
    "capacity": Trace_ELBO(3, capacity=Linear(0, 2)),
    "IWAE": IWAE(3),
    "Renyi": Renyi(3, 0.5),
    "DReG": DReG(3),
    "StickingTheLanding": StickingTheLanding(3),
    "wake": ReweightedWakeSleep(3),
    "wake and sleep": ReweightedWakeSleep(3, insomnia=0.5),
    "ScoreFunction": ScoreFunction(3),
    "other draws": ScoreFunction(3, "other_draws"),
}
each = pytest.mark.parametrize("name", OBJECTIVES)


class Sharp(nn.Module):
    """A noise so small that log weights of one row lie thousands of nats apart."""

    def __init__(self, size=None):
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.decoder = nn.Linear(3, 4), nn.Linear(2, 3)
        self.size = size

    def plate(self, x):
        subsample = None if self.size is None else torch.arange(len(x))
        return pyro.plate("data", self.size or len(x), subsample=subsample, dim=-1)

    def model(self, x):
        with self.plate(x):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 0.01).to_event(1), obs=x)

    def guide(self, x):
        loc, raw = self.encoder(x).chunk(2, -1)
        with self.plate(x):
            pyro.sample("z", dist.Normal(loc, raw.exp()).to_event(1))


def terms_of(pair, x, objective, way, seed=3):
    sampler = make_samplers(pair.model, pair.guide, x)[way]
    pyro.set_rng_seed(seed)
    terms = objective.terms(sampler, x, 1.0)
    return terms, torch.autograd.grad(terms.loss, list(pair.parameters()), allow_unused=True, materialize_grads=True)


@pytest.mark.parametrize("way", ["vectorized", "repeated"])
@pytest.mark.parametrize("kind", [IWAE, DReG, ReweightedWakeSleep])
def test_weights_thousands_of_nats_apart(kind, way):
    """In float32 the bound and its gradient are those of the best draw, whose weight is all that is left."""
    pair, x = Sharp(), data(4).float()
    sampler = make_samplers(pair.model, pair.guide, x)[way]
    pyro.set_rng_seed(3)
    latents, log_guide = sampler.draw(x, 6)
    log_weights = sampler.log_joint(x, latents) - log_guide
    two = log_weights.sort(0, descending=True).values[:2]
    assert (two[0] - two[1]).min() > 100
    assert (log_weights.max(0).values - log_weights.min(0).values).min() > 1000
    terms, gradients = terms_of(pair, x, kind(6), way)
    best = two[0] - torch.tensor(6.0).log()
    torch.testing.assert_close(terms.objective, best.sum().detach(), rtol=1e-5, atol=0)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    of_decoder = torch.autograd.grad(two[0].sum(), list(pair.decoder.parameters()))
    for mine, wanted in zip(gradients[2:], of_decoder, strict=True):
        torch.testing.assert_close(mine, -wanted, rtol=1e-4, atol=1e-2)


@each
@pytest.mark.parametrize("way", ["vectorized", "repeated"])
def test_a_batch_of_one_row(name, way):
    terms, gradients = terms_of(Sharp(), data(1).float(), OBJECTIVES[name], way)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert any(gradient.abs().sum() > 0 for gradient in gradients)
    torch.testing.assert_close(terms.elbo, terms.reconstruction - terms.kl)


def test_the_other_rows_of_a_single_row_are_no_baseline():
    for count in (1, 3):
        one = terms_of(Sharp(), data(1).float(), ScoreFunction(count, "other_rows"), "vectorized")[1]
        none = terms_of(Sharp(), data(1).float(), ScoreFunction(count, "none"), "vectorized")[1]
        for mine, wanted in zip(one, none, strict=True):
            assert torch.equal(mine, wanted)


@each
def test_without_gradients_the_terms_are_the_same(name):
    """As in validation; and no graph is kept."""
    pair, x = small_vae().double(), bits(5).double()
    for way in ("vectorized", "repeated"):
        with_graph, _ = terms_of(pair, x, OBJECTIVES[name], way)
        sampler = make_samplers(pair.model, pair.guide, x)[way]
        pyro.set_rng_seed(3)
        with torch.no_grad(), evaluation_mode(pair.model, pair.guide):
            terms = OBJECTIVES[name].terms(sampler, x, 1.0)
        assert not terms.loss.requires_grad
        for part in ("objective", "elbo", "reconstruction", "kl"):
            torch.testing.assert_close(getattr(terms, part), getattr(with_graph, part), rtol=1e-12, atol=1e-12)


@each
@pytest.mark.parametrize("where", ["encoder", "decoder"])
def test_batch_normalisation(name, where):
    """Trains, puts its running means to use in validation, and comes back in the mode it was in."""
    torch.manual_seed(0)
    names = {"encoder": "none", "decoder": "none", where: "batch"}
    encoder = networks.MLP(3, 4, (8,), normalization=names["encoder"])
    decoder = networks.MLP(2, 3, (8,), normalization=names["decoder"])
    pair = OfVAE(VAE(priors.StandardNormal(2), likelihoods.Normal(decoder), posteriors.DiagonalNormal(encoder)))
    norm = next(module for module in pair.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm))
    pair.eval()
    before, x = norm.running_mean.clone(), 3 * data(40) + 1
    options = {"epochs": 4, "batch_size": 20, "lr": 0.05, "objective": OBJECTIVES[name], "progress": False}
    history = fit_svi(pair.model, pair.guide, x, validation=data(20, seed=2), **options).history
    assert history[-1]["train_objective"] > history[0]["train_objective"]
    assert all(torch.isfinite(torch.tensor(list(terms.values()))).all() for terms in history)
    assert not torch.equal(norm.running_mean, before)
    assert not any(part.training for part in pair.modules())


@each
def test_a_plate_larger_than_the_batch_gives_the_same_fit(name):
    """Bit by bit, with a scale of 700 / 20 that Pyro would put on every site."""
    fitted = []
    for size in (None, 700):
        pair = Sharp(size)
        options = {"epochs": 2, "batch_size": 20, "lr": 0.01, "objective": OBJECTIVES[name], "progress": False}
        result = fit_svi(pair.model, pair.guide, data(40).float(), validation=data(20, 2).float(), **options)
        terms = [[value for key, value in epoch.items() if key != "seconds"] for epoch in result.history]
        fitted.append((pair.state_dict(), terms))
    (plain, history), (scaled, scaled_history) = fitted
    assert history == scaled_history
    for key, value in plain.items():
        assert torch.equal(value, scaled[key])


class Bounded(nn.Module):
    """Rows within a distance of z: most draws have no density at all."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.distance = nn.Linear(1, 2), nn.Parameter(torch.tensor(2.7))

    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            within = dist.Uniform(z - self.distance, z + self.distance, validate_args=False)
            pyro.sample("x", within, obs=x[:, 0])

    def guide(self, x):
        loc, raw = self.encoder(x).unbind(-1)
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(loc, raw.exp()))


@pytest.mark.parametrize("way", ["vectorized", "repeated"])
@pytest.mark.parametrize("kind", [IWAE, DReG, ReweightedWakeSleep])
def test_draws_without_density_have_no_weight(kind, way):
    """The bound stays finite, and the slope of log p(x|z) by the distance is that of minus log of it: 1 / 2.7 a row."""
    pair, x = Bounded(), torch.linspace(0, 3, 4)[:, None]
    sampler = make_samplers(pair.model, pair.guide, x)[way]
    pyro.set_rng_seed(1)
    latents, log_guide = sampler.draw(x, 8)
    log_weights = sampler.log_joint(x, latents) - log_guide
    assert log_weights.isinf().any()
    terms, gradients = terms_of(pair, x, kind(8), way, seed=1)
    torch.testing.assert_close(terms.objective, (log_weights.logsumexp(0) - torch.tensor(8.0).log()).sum().detach())
    assert torch.isfinite(terms.loss)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    of_distance = dict(zip(dict(pair.named_parameters()), gradients, strict=True))["distance"]
    assert of_distance.item() == pytest.approx(4 / 2.7, rel=1e-5)


def test_bounds_at_infinity_do_not_move():
    """A logit-normal guide has the support of its last transform, whatever its parameters are."""

    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Linear(3, 1)

        def model(self, x):
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Beta(torch.full((1,), 2.0), 2.0).to_event(1))
                pyro.sample("x", dist.Normal(z.expand(*z.shape[:-1], 3), 1.0).to_event(1), obs=x)

        def guide(self, x):
            with pyro.plate("data", len(x)):
                loc = self.encoder(x)
                moved = [dist.transforms.AffineTransform(loc, 0.5), dist.transforms.SigmoidTransform()]
                pyro.sample(
                    "z", dist.TransformedDistribution(dist.Normal(torch.zeros_like(loc), 1.0), moved).to_event(1)
                )

    pair, x = Pair(), torch.randn(20, 3)
    for objective in ("StickingTheLanding", "DReG"):
        fit_svi(pair.model, pair.guide, x, objective=objective, epochs=1, batch_size=10, progress=False)


@pytest.mark.parametrize("alpha", [0.99, 0.9999, 1 - 1e-6, 1 + 1e-6, 1 - 1e-9])
@pytest.mark.parametrize("spread", [3.0, 1e5])
def test_the_renyi_bound_close_to_the_elbo(alpha, spread):
    """In float32 it has the digits of its weights, however small the power that they are taken to."""
    noise = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    log_weights = (-100 + spread * noise).requires_grad_()
    exact = log_weights.detach().double().requires_grad_()
    middle = exact.detach().mean(0)
    log_mean = ((1 - alpha) * (exact - middle)).logsumexp(0) - math.log(len(exact))
    wanted = middle + log_mean / (1 - alpha)
    bound = renyi_bound(log_weights, alpha)
    torch.testing.assert_close(bound.double(), wanted, rtol=0, atol=1e-6 * exact.abs().max().item())
    (slopes,), (expected,) = (torch.autograd.grad(b.sum(), w) for b, w in ((bound, log_weights), (wanted, exact)))
    torch.testing.assert_close(slopes.double(), expected, rtol=1e-4, atol=1e-6)
