"""What the models learn: a constraint that is kept, and classes from a few labels."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from problems import bits
from sklearn.linear_model import LogisticRegression

from pyrovae import likelihoods, networks, posteriors, priors
from pyrovae.semi_supervised import M2, PCVAE, PCVAEPrograms
from pyrovae.semi_supervised.batches import Batch


def two_classes(count=400):
    """Rows of 16 bits: in class 0 the first half is on nine times of ten, in class 1 the second."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(count) % 2
    on = torch.where((torch.arange(16) < 8) == (y[:, None] == 0), 0.9, 0.1)
    return torch.bernoulli(on, generator=generator), y


def test_dual_ascent_meets_the_constraint():
    """The multiplier starts at zero, rises while the prediction loss is too high, and falls when it is not."""
    x, y = two_classes()
    known = torch.where(torch.arange(400) < 100, y, -1)
    model = PCVAE(
        latent_dim=2,
        hidden_dims=(16,),
        multiplier="dual",
        multiplier_start=0.0,
        multiplier_lr=1.0,
        epsilon=0.1,
        epochs=80,
        batch_size=150,
        lr=0.01,
        progress=False,
    ).fit(x, known)
    losses = [terms["train_cross_entropy"] for terms in model.history_]
    multipliers = [terms["train_multiplier"] for terms in model.history_]
    assert losses[0] > 0.5
    assert np.mean(losses[-20:]) <= 0.1
    assert 0 < model.multiplier_ < max(multipliers)
    assert model.score(x, y) > 0.9


def test_loss_and_multiplier_of_a_step():
    """The Lagrangian by hand, with the same noise: lambda is the one before the step."""
    model = PCVAE(multiplier="dual", multiplier_start=2.0, multiplier_lr=0.5, epsilon=0.3)
    programs = PCVAEPrograms(
        priors.StandardNormal(2),
        likelihoods.Bernoulli(networks.MLP(2, 4, (5,))),
        posteriors.DiagonalNormal(networks.MLP(4, 2 * 2, (5,))),
        networks.MLP(2, 3, ()),
    ).double()
    labelled, others = bits(6, (4,)).double(), bits(9, (4,), seed=1).double()
    y = torch.tensor([0, 1, 2, 0, 1, 2])

    def draw(x):
        q = programs.posterior(x).base_dist
        return q.loc, q.scale, q.loc + q.scale * torch.normal(torch.zeros_like(q.loc), torch.ones_like(q.loc))

    def elbo(x):
        loc, scale, z = draw(x)
        logits = programs.likelihood.decoder(z)
        kl = 0.5 * (scale**2 + loc**2 - 1 - 2 * scale.log()).sum(-1)
        return ((x * F.logsigmoid(logits) + (1 - x) * F.logsigmoid(-logits)).sum(-1) - kl).mean()

    torch.manual_seed(1)
    step, numbers = model._step(programs)
    terms = step(Batch(labelled, y, others, labelled_share=0.1))
    torch.manual_seed(1)
    mean = 0.9 * elbo(others) + 0.1 * elbo(labelled)
    log_p = programs.classifier(draw(labelled)[2]).log_softmax(-1)
    prediction_loss = -log_p[torch.arange(6), y].mean()
    torch.testing.assert_close(terms["loss"], 2.0 * prediction_loss - mean, rtol=0, atol=1e-10)
    assert numbers["multiplier"] == pytest.approx(2.0 + 0.5 * (prediction_loss.item() - 0.3), abs=1e-12)
    ours = torch.autograd.grad(terms["loss"], list(programs.parameters()))
    plain = torch.autograd.grad(2.0 * prediction_loss - mean, list(programs.parameters()))
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_a_constraint_that_is_met_without_it_leaves_no_multiplier():
    x, y = two_classes()
    model = PCVAE(
        latent_dim=2,
        hidden_dims=(16,),
        multiplier="dual",
        multiplier_start=1.0,
        multiplier_lr=0.1,
        epsilon=5.0,
        epochs=10,
        batch_size=100,
        progress=False,
    ).fit(x, torch.where(torch.arange(400) < 100, y, -1))
    assert model.multiplier_ == 0


def test_a_larger_fixed_multiplier_predicts_the_labels_better():
    x, y = two_classes()
    known = torch.where(torch.arange(400) < 100, y, -1)
    losses = [
        PCVAE(
            latent_dim=2, hidden_dims=(16,), multiplier_start=weight, epochs=20, batch_size=100, progress=False, lr=0.01
        )
        .fit(x, known)
        .history_[-1]["train_cross_entropy"]
        for weight in (0.3, 3.0, 30.0)
    ]
    assert losses == sorted(losses, reverse=True)


def mixture(seed, count=1000, num_classes=4, labelled=3):
    """Rows of 30 bits about a random pattern of each class, three of each labelled; and the best classifier's classes.

    A bit is that of the pattern three times of four, so that the most probable class has the pattern nearest to a row.
    """
    generator = torch.Generator().manual_seed(seed)
    patterns = torch.randint(2, (num_classes, 30), generator=generator).float()
    y = torch.arange(count) % num_classes
    x = torch.bernoulli(0.25 + 0.5 * patterns[y], generator=generator)
    known = torch.where(torch.arange(count) < num_classes * labelled, y, -1)
    best = torch.cdist(x, patterns, p=1).argmin(1)
    return x, y.numpy(), known.numpy(), best.numpy()


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.ci) for seed in (1, 2))])
def test_unlabelled_rows_help_m2(seed):
    """Twelve labelled rows leave logistic regression ten points behind the best classifier; M2 is between the two.

    A thousand rows give a standard error of one point to each accuracy, less to the difference on the same rows.
    """
    x, y, known, best = mixture(seed)
    rows = known >= 0
    raw = LogisticRegression(max_iter=1000).fit(x[rows], y[rows]).score(x, y)
    model = M2(
        1, hidden_dims=(16,), classification_weight=0.3, epochs=25, batch_size=100, lr=0.01, seed=seed, progress=False
    ).fit(x, known)
    assert raw + 0.01 < model.score(x, y) <= (best == y).mean() + 0.01
