"""The bounds of M2 against plain PyTorch, and against an exact linear-Gaussian model."""

import numpy as np
import pyro.distributions as dist
import pytest
import torch
import torch.nn.functional as F
from problems import LinearGaussian
from pyro.infer import TraceEnum_ELBO
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pyrovae import compare_bounds, likelihoods, networks, posteriors, priors
from pyrovae.semi_supervised import M2, M2Programs
from pyrovae.semi_supervised.batches import Batch

CLASSES, LATENT, DATA = 3, 2, 4
PROBS = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)


def programs():
    """Small networks in float64, without dropout."""
    return M2Programs(
        priors.StandardNormal(LATENT),
        likelihoods.Bernoulli(networks.MLP(LATENT + CLASSES, DATA, (5,), activation="tanh")),
        posteriors.DiagonalNormal(networks.MLP(DATA + CLASSES, 2 * LATENT, (5,), activation="tanh")),
        networks.MLP(DATA, CLASSES, (5,), activation="tanh"),
        PROBS,
    ).double()


def rows(count, seed=0):
    return torch.bernoulli(
        torch.full((count, DATA), 0.4, dtype=torch.float64), generator=torch.Generator().manual_seed(seed)
    )


def noise(*shape):
    return torch.normal(torch.zeros(shape, dtype=torch.float64), torch.ones(shape, dtype=torch.float64))


def labelled_by_hand(p, x, y, epsilon, closed=False):
    """log p(x|z, y) + log p(y) + log p(z) - log q(z|x, y) of each row at one z, without a distribution object.

    The last two terms are at that z, or in closed form, the negative KL.
    """
    code = torch.eye(CLASSES, dtype=torch.float64)[y]
    loc, _ = p.posterior.encoder(torch.cat([x, code], -1)).chunk(2, -1)
    scale = p.posterior(torch.cat([x, code], -1)).base_dist.scale
    z = loc + scale * epsilon
    logits = p.likelihood.decoder(torch.cat([z, code], -1))
    log_px = (x * F.logsigmoid(logits) + (1 - x) * F.logsigmoid(-logits)).sum(-1)
    log_pz_less_log_qz = (-0.5 * z**2 + 0.5 * epsilon**2 + scale.log()).sum(-1)
    negative_kl = 0.5 * (1 + 2 * scale.log() - scale**2 - loc**2).sum(-1)
    return log_px + PROBS.log()[y] + (negative_kl if closed else log_pz_less_log_qz)


def unlabelled_by_hand(p, x, epsilon, closed=False):
    """The sum over classes, one after the other."""
    q = p.classifier(x).softmax(-1)
    total = 0.0
    for k in range(CLASSES):
        y = torch.full((len(x),), k)
        total = total + q[:, k] * (labelled_by_hand(p, x, y, epsilon[k], closed) - q[:, k].log())
    return total


def test_enumeration_is_the_sum_over_classes():
    p, x = programs(), rows(6)
    torch.manual_seed(1)
    loss = TraceEnum_ELBO(max_plate_nesting=1).differentiable_loss(p.model, p.guide, x)
    torch.manual_seed(1)
    by_hand = unlabelled_by_hand(p, x, noise(CLASSES, 6, LATENT))
    torch.testing.assert_close(-loss, by_hand.sum(), rtol=0, atol=1e-10)
    ours = torch.autograd.grad(-loss, list(p.parameters()))
    plain = torch.autograd.grad(by_hand.sum(), list(p.parameters()))
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)
    torch.manual_seed(1)
    torch.testing.assert_close(p.unlabelled_bounds(x), by_hand, rtol=0, atol=1e-10)


def test_labelled_bounds_and_their_mean_over_draws():
    p, x, y = programs(), rows(6), torch.tensor([0, 1, 2, 2, 1, 0])
    torch.manual_seed(1)
    bounds = p.labelled_bounds(x, y, num_samples=4)
    torch.manual_seed(1)
    epsilon = noise(4, 6, LATENT)
    by_hand = torch.stack([labelled_by_hand(p, x, y, draw) for draw in epsilon]).mean(0)
    torch.testing.assert_close(bounds, by_hand, rtol=0, atol=1e-10)


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("unlabelled", [7, 0])
def test_loss_of_a_step_and_its_gradient(unlabelled, closed):
    """Bounds are weighted by the shares of all rows, 0.01 and 0.99, not by those of the batch."""
    p, weight, share = programs(), 3.0, 0.01 if unlabelled else 1.0
    x, y, others = rows(4), torch.tensor([0, 1, 2, 1]), rows(unlabelled, seed=1)
    torch.manual_seed(1)
    terms = M2(classification_weight=weight, closed_form_kl=closed)._step(p)[0](Batch(x, y, others, share))
    torch.manual_seed(1)
    labelled = labelled_by_hand(p, x, y, noise(4, LATENT), closed).mean()
    cross_entropy = -p.classifier(x).log_softmax(-1)[torch.arange(4), y].mean()
    by_hand = weight * cross_entropy - share * labelled
    if unlabelled:
        by_hand = by_hand - (1 - share) * unlabelled_by_hand(p, others, noise(CLASSES, 7, LATENT), closed).mean()
    torch.testing.assert_close(terms["loss"], by_hand, rtol=0, atol=1e-10)
    torch.testing.assert_close(terms["labelled_elbo"], labelled, rtol=0, atol=1e-10)
    ours = torch.autograd.grad(terms["loss"], list(p.parameters()))
    plain = torch.autograd.grad(by_hand, list(p.parameters()))
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


class Exact(nn.Module):
    """x = W z + B_y + b + noise: the density and the posterior of x with B_y taken off are those of the problem."""

    def __init__(self):
        super().__init__()
        self.problem = LinearGaussian.random(DATA, LATENT, seed=3)
        self.shifts = torch.randn(CLASSES, DATA, generator=torch.Generator().manual_seed(4), dtype=torch.float64)

    def log_joint(self, x):
        """log p(x, y) for each row and class."""
        return torch.stack([self.problem.log_px(x - shift) for shift in self.shifts], 1) + PROBS.log()


class ExactLikelihood(Exact):
    def forward(self, inputs):
        z, code = inputs.split([LATENT, CLASSES], -1)
        return dist.Normal(
            z @ self.problem.weight.T + self.problem.bias + code @ self.shifts, self.problem.scale
        ).to_event(1)


class ExactPosterior(Exact):
    def forward(self, inputs):
        x, code = inputs.split([DATA, CLASSES], -1)
        loc, covariance = self.problem.posterior_moments(x - code @ self.shifts)
        return dist.MultivariateNormal(loc, covariance)


class ExactClassifier(Exact):
    def forward(self, x):
        return self.log_joint(x)


@pytest.fixture
def exact():
    return M2Programs(
        priors.StandardNormal(LATENT).double(), ExactLikelihood(), ExactPosterior(), ExactClassifier(), PROBS
    )


def test_bounds_of_the_exact_guide_are_log_densities(exact):
    """Every single draw gives them."""
    x = exact.likelihood.problem.rows(7)
    joint = exact.likelihood.log_joint(x)
    y = torch.arange(7) % CLASSES
    torch.testing.assert_close(exact.labelled_bounds(x, y), joint[torch.arange(7), y], rtol=0, atol=1e-10)
    torch.testing.assert_close(exact.unlabelled_bounds(x), joint.logsumexp(1), rtol=0, atol=1e-10)
    loss = TraceEnum_ELBO(max_plate_nesting=1).loss(exact.model, exact.guide, x)
    assert loss == pytest.approx(-joint.logsumexp(1).sum().item(), abs=1e-9)


def test_bounds_of_many_draws_are_taken_in_parts(exact):
    """A few thousand evaluations of the likelihood at a time, and the mean is over all draws."""
    model, x, y, evaluations = M2(), exact.likelihood.problem.rows(7), torch.arange(7) % CLASSES, []
    model.programs_, model.classes_, model.data_shape_ = exact, np.arange(CLASSES), (DATA,)
    exact.likelihood.register_forward_hook(lambda part, inputs, output: evaluations.append(output.batch_shape.numel()))
    joint = exact.likelihood.log_joint(x)
    for num_samples in (1, 600, 5000):
        bounds = model.labelled_bounds(x, y, 2 * num_samples)
        torch.testing.assert_close(bounds, joint[torch.arange(7), y], rtol=0, atol=1e-10)
        torch.testing.assert_close(model.unlabelled_bounds(x, num_samples), joint.logsumexp(1), rtol=0, atol=1e-10)
    assert 7500 < max(evaluations) <= 8192


def test_a_class_that_is_excluded_adds_nothing(exact):
    x = exact.likelihood.problem.rows(7)
    sure = torch.full((7, CLASSES), -torch.inf, dtype=torch.float64)
    sure[:, 1] = 0.0
    exact.classifier.forward = lambda x: sure[: len(x)]
    joint = exact.likelihood.log_joint(x)
    torch.testing.assert_close(exact.unlabelled_bounds(x), joint[:, 1], rtol=0, atol=1e-10)


def test_a_row_is_encoded_once_for_all_classes():
    """A network of another class is given row and class as one vector, and the same comes out."""
    p, x, y = programs(), rows(6), torch.arange(CLASSES)[:, None]

    class Derived(networks.MLP):
        pass

    joined = Derived(DATA + CLASSES, 2 * LATENT, (5,), activation="tanh").double()
    joined.load_state_dict(p.posterior.encoder.state_dict())
    other = M2Programs(p.prior, p.likelihood, posteriors.DiagonalNormal(joined), p.classifier, PROBS)
    with FlopCounterMode(display=False) as once:
        apart = p.encode(x, y).base_dist
    with FlopCounterMode(display=False) as for_each:
        together = other.encode(x, y).base_dist
    torch.testing.assert_close(apart.loc, together.loc, rtol=0, atol=1e-12)
    torch.testing.assert_close(apart.scale, together.scale, rtol=0, atol=1e-12)
    second_layer = 2 * CLASSES * 6 * 5 * 2 * LATENT
    assert once.get_total_flops() == 2 * 5 * (6 * DATA + CLASSES * CLASSES) + second_layer
    assert for_each.get_total_flops() == 2 * 5 * CLASSES * 6 * (DATA + CLASSES) + second_layer


def test_the_pair_is_one_for_every_estimate_of_log_px(exact):
    x = exact.likelihood.problem.rows(7)
    bounds = compare_bounds(exact.model, exact.guide, x, num_samples=5)
    torch.testing.assert_close(bounds.log_px.double(), exact.likelihood.log_joint(x).logsumexp(1), rtol=0, atol=1e-6)
