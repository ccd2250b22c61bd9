"""A discrete latent: the gradient of every value it may have, weighted by its probability, is the exact gradient."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from plain_objectives import normal_log_prob
from problems import make_samplers
from torch import nn

from pyrovae.objectives import ReweightedWakeSleep, ScoreFunction, Trace_ELBO

CLASSES = 3
ROW = torch.tensor([[0.4, -1.1]], dtype=torch.float64)


class Classes(nn.Module):
    """A class of three, and a normal row around a location of its own."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.prior, self.locs = nn.Parameter(torch.randn(CLASSES)), nn.Parameter(torch.randn(CLASSES, 2))
        self.encoder = nn.Linear(2, CLASSES)
        self.double()

    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            k = pyro.sample("k", dist.Categorical(logits=self.prior))
            pyro.sample("x", dist.Normal(self.locs[k], 0.8).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("k", dist.Categorical(logits=self.encoder(x)))

    def of_each_class(self):
        """log q, log p(k) and log p(x|k) of the row for every class."""
        scale = torch.tensor(0.8, dtype=torch.float64)
        likelihood = normal_log_prob(ROW, self.locs, scale).sum(-1)
        return self.encoder(ROW)[0].log_softmax(-1), self.prior.log_softmax(-1), likelihood


def by_draw(pair, sampler, objective, num_draws):
    """The terms and gradients of an objective for each way in which the draws may fall."""
    found = {}
    for seed in range(400):
        pyro.set_rng_seed(seed)
        key = tuple(sampler.draw(ROW, num_draws)[0]["k"].flatten().tolist())
        if key not in found:
            pyro.set_rng_seed(seed)
            terms = objective.terms(sampler, ROW, 1.0)
            found[key] = terms, torch.autograd.grad(-terms.loss, list(pair.parameters()))
        if len(found) == CLASSES**num_draws:
            return found
    raise AssertionError(f"only {found.keys()} were drawn")


@pytest.mark.parametrize("way", ["vectorized", "repeated"])
@pytest.mark.parametrize("beta", [0, 0.5, 1, 4])
@pytest.mark.parametrize(
    ("make", "num_draws"),
    [
        (lambda beta: Trace_ELBO(1, beta), 1),
        (lambda beta: ScoreFunction(1, "none", beta), 1),
        (lambda beta: ScoreFunction(2, "other_draws", beta), 2),
        (lambda beta: ScoreFunction(2, "none", beta), 2),
    ],
)
def test_the_bound_and_its_gradient(make, num_draws, beta, way):
    pair = Classes()
    log_q, log_prior, likelihood = pair.of_each_class()
    q = log_q.exp()
    bound = (q * (likelihood + beta * (log_prior - log_q))).sum()
    exact = torch.autograd.grad(bound, list(pair.parameters()), retain_graph=True)
    sampler = make_samplers(pair.model, pair.guide, ROW)[way]
    found = by_draw(pair, sampler, make(beta), num_draws)
    shares = {key: q[list(key)].prod().detach() for key in found}
    means = {
        "objective": bound,
        "elbo": (q * (likelihood + log_prior - log_q)).sum(),
        "reconstruction": (q * likelihood).sum(),
        "kl": (q * (log_q - log_prior)).sum(),
    }
    for name, wanted in means.items():
        mean = sum(share * getattr(found[key][0], name) for key, share in shares.items())
        torch.testing.assert_close(mean, wanted.detach(), rtol=1e-10, atol=1e-10)
    for number, wanted in enumerate(exact):
        mean = sum(share * found[key][1][number] for key, share in shares.items())
        torch.testing.assert_close(mean, wanted, rtol=1e-10, atol=1e-10)


def test_the_wake_phase():
    """The model's gradient is that of the mean bound of two draws; the guide's weighs the slopes of log q."""
    pair = Classes()
    log_q, log_prior, likelihood = pair.of_each_class()
    log_w = likelihood + log_prior - log_q.detach()
    pairs = torch.cartesian_prod(torch.arange(CLASSES), torch.arange(CLASSES))
    shares = log_q.detach()[pairs].sum(-1).exp()
    bound = (shares * (log_w[pairs].logsumexp(-1) - torch.tensor(2.0).double().log())).sum()
    guide = (shares * (log_w[pairs].detach().softmax(-1) * log_q[pairs]).sum(-1)).sum()
    exact = [
        *torch.autograd.grad(bound, [pair.prior, pair.locs]),
        *torch.autograd.grad(guide, list(pair.encoder.parameters())),
    ]
    sampler = make_samplers(pair.model, pair.guide, ROW)["vectorized"]
    found = by_draw(pair, sampler, ReweightedWakeSleep(2), 2)
    objective = sum(share * found[tuple(key.tolist())][0].objective for key, share in zip(pairs, shares, strict=True))
    torch.testing.assert_close(objective, bound.detach(), rtol=1e-10, atol=1e-10)
    for number, wanted in enumerate(exact):
        mean = sum(share * found[tuple(key.tolist())][1][number] for key, share in zip(pairs, shares, strict=True))
        torch.testing.assert_close(mean, wanted, rtol=1e-10, atol=1e-10)
