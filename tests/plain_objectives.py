"""The formulas of the objectives in plain PyTorch, by routes other than those of the package.

A pair gives ``draw(x, count)``, with a leading dimension of draws, and ``log_prior``, ``log_likelihood`` and
``log_guide`` of draws, each ``(draws, rows)``. Where a gradient leaves the guide's density out, that density is taken
from a copy of the pair whose parameters are held fixed.
"""

import copy
import math
from dataclasses import dataclass

import pyro
import torch
from torch import Tensor


@dataclass
class Plain:
    """What an objective is on one batch, and what it climbs: one surrogate for each program's parameters."""

    objective: Tensor
    elbo: Tensor
    reconstruction: Tensor
    kl: Tensor
    for_model: Tensor
    for_guide: Tensor


class Draws:
    """Log-densities of the draws of one seed."""

    def __init__(self, pair, x, count, seed, **how):
        pyro.set_rng_seed(seed)
        self.pair, self.x = pair, x
        self.z = pair.draw(x, count, **how)
        self.still = tuple(z.detach() for z in self.z)

    def log_weights(self, beta=1.0):
        """With all gradients."""
        return self._weights(self.pair, self.pair, self.z, beta)

    def of_model(self, beta=1.0):
        """With the gradient of the model's parameters alone."""
        return self._weights(self.pair, _fixed(self.pair), self.still, beta)

    def by_path(self, beta=1.0):
        """With the gradient through the draws alone."""
        return self._weights(_fixed(self.pair), _fixed(self.pair), self.z, beta)

    def log_guide(self):
        """Of the draws held fixed."""
        return self.pair.log_guide(self.x, *self.still)

    def _weights(self, model, guide, z, beta):
        log_ratio = model.log_prior(*z) - guide.log_guide(self.x, *z)
        return model.log_likelihood(self.x, *z) + beta * log_ratio

    def plain(self, objective, for_model, for_guide):
        reconstruction = self.pair.log_likelihood(self.x, *self.z).mean(0).sum()
        elbo = self.log_weights().mean(0).sum()
        values = (value.detach() for value in (objective, elbo, reconstruction, reconstruction - elbo))
        return Plain(*values, for_model, for_guide)


def _fixed(pair):
    return copy.deepcopy(pair).requires_grad_(False)


def elbo(draws, beta=1.0):
    bound = draws.log_weights(beta).mean(0).sum()
    return draws.plain(bound, bound, bound)


def sticking_the_landing(draws, beta=1.0):
    bound = draws.log_weights(beta).mean(0).sum()
    return draws.plain(bound, draws.of_model(beta).mean(0).sum(), draws.by_path(beta).mean(0).sum())


def renyi(draws, alpha=0.0, beta=1.0):
    powers = (1 - alpha) * draws.log_weights(beta)
    bound = (torch.log(torch.exp(powers - powers.max()).mean(0)) + powers.max()).sum() / (1 - alpha)
    return draws.plain(bound, bound, bound)


def doubly_reparameterized(draws, beta=1.0):
    weights = _normalized(draws.of_model(beta))
    factors = (1 - beta) * weights + beta * weights**2
    for_model = (weights * draws.of_model(beta)).sum()
    return draws.plain(_log_mean(draws.of_model(beta)).sum(), for_model, (factors * draws.by_path(beta)).sum())


def wake(draws, insomnia=1.0, dreams=None):
    """``dreams`` are rows and the latents behind them, one for each row."""
    weights = _normalized(draws.of_model())
    for_guide = insomnia * (weights * draws.log_guide()).sum()
    if dreams is not None:
        for_guide = for_guide + (1 - insomnia) * draws.pair.log_guide(*dreams).sum()
    return draws.plain(_log_mean(draws.of_model()).sum(), (weights * draws.of_model()).sum(), for_guide)


def score_function(draws, baseline="none", beta=1.0):
    log_weights = draws.of_model(beta).detach()
    count, rows = log_weights.shape
    held = torch.zeros_like(log_weights)
    for k in range(count):
        for row in range(rows):
            if baseline == "other_draws":
                held[k, row] = torch.stack([log_weights[other, row] for other in range(count) if other != k]).mean()
            if baseline == "other_rows" and rows > 1:
                held[k, row] = torch.stack([log_weights[k, other] for other in range(rows) if other != row]).mean()
    for_guide = ((log_weights - held) * draws.log_guide()).sum() / count
    return draws.plain(log_weights.mean(0).sum(), draws.of_model(beta).sum() / count, for_guide)


def bent(draws, kl, bend, kept=None):
    """Reconstruction less a function of the KL ``(draws, rows, groups)``; only ``kept`` draws are decoded."""
    likelihood = draws.pair.log_likelihood(draws.x, *draws.z)[:kept]
    reconstruction = likelihood.mean(0).sum()
    bound = reconstruction - len(draws.x) * bend(kl.mean((0, 1)))
    total = kl.mean(0).sum()
    values = (value.detach() for value in (bound, reconstruction - total, reconstruction, total))
    return Plain(*values, bound, bound)


def _normalized(log_weights):
    weights = torch.exp(log_weights.detach() - log_weights.detach().max(0).values)
    return weights / weights.sum(0)


def _log_mean(log_weights):
    return torch.logsumexp(log_weights.detach(), 0) - math.log(len(log_weights))


def normal_log_prob(value, loc, scale):
    return -0.5 * ((value - loc) / scale) ** 2 - scale.log() - 0.5 * math.log(2 * math.pi)


def assert_equals(terms, plain, model_parameters, guide_parameters, tolerance=1e-10):
    """An objective's terms, and the gradient of its loss, against the plain ones; ``terms`` is not used before."""
    for name in ("objective", "elbo", "reconstruction", "kl"):
        ours, theirs = getattr(terms, name), getattr(plain, name)
        assert not ours.requires_grad
        torch.testing.assert_close(
            ours, theirs, rtol=tolerance, atol=tolerance, msg=lambda m, name=name: f"{name}: {m}"
        )
    ours = gradients(terms.loss, [*model_parameters, *guide_parameters])
    theirs = [
        *gradients(plain.for_model, model_parameters),
        *gradients(plain.for_guide, guide_parameters),
    ]
    for mine, wanted in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, -wanted, rtol=tolerance, atol=tolerance)


def gradients(value, parameters):
    parameters = list(parameters)
    if not value.requires_grad:
        return [torch.zeros_like(parameter) for parameter in parameters]
    return torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True, materialize_grads=True)
