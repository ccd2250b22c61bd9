"""M1 and M2 trained together: bounds, loss and gradient against plain PyTorch, and what a third stage changes."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from problems import bits
from pyro.infer import TraceEnum_ELBO
from sklearn.linear_model import LogisticRegression
from torch import nn

from pyrovae import NonFiniteLossError, likelihoods, networks, posteriors, priors
from pyrovae.checkpoints import Keeper
from pyrovae.semi_supervised import M1, M1M2, M2, CorruptedInput, M1M2Programs, M2Programs
from pyrovae.semi_supervised.batches import Batch
from pyrovae.semi_supervised.fine_tuning import joint_loop, joint_non_finite_site, joint_step
from pyrovae.semi_supervised.loop import TrainingPlan
from pyrovae.semi_supervised.m1 import posterior_latents
from pyrovae.semi_supervised.m1m2 import one_of_its_draws

CLASSES, UPPER, LATENT, DATA = 3, 2, 3, 5
PROBS = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
ROWS = torch.bernoulli(torch.full((6, DATA), 0.4, dtype=torch.float64), generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 1, 2, 2, 1, 0])


def network(inputs, outputs):
    return networks.MLP(inputs, outputs, (5,), activation="tanh")


@pytest.fixture
def programs():
    """Small networks in float64."""
    torch.manual_seed(0)
    second = M2Programs(
        priors.StandardNormal(UPPER),
        likelihoods.Normal(network(UPPER + CLASSES, LATENT), scale=0.7),
        posteriors.DiagonalNormal(network(LATENT + CLASSES, 2 * UPPER)),
        network(LATENT, CLASSES),
        PROBS,
    )
    q = posteriors.DiagonalNormal(network(DATA, 2 * LATENT))
    return M1M2Programs(likelihoods.Bernoulli(network(LATENT, DATA)), q, second).double()


def noise(*shape):
    return torch.normal(torch.zeros(shape, dtype=torch.float64), torch.ones(shape, dtype=torch.float64))


def gaussian(value, loc, scale):
    """Log-density of independent Gaussians, summed over the last dimension."""
    return (-0.5 * ((value - loc) / scale) ** 2 - torch.log(scale) - 0.5 * math.log(2 * math.pi)).sum(-1)


def draw(posterior, inputs, epsilon):
    """A draw of a mean-field Gaussian by its noise, and the log-density there."""
    q = posterior(inputs).base_dist
    return q.loc + q.scale * epsilon, gaussian(q.loc + q.scale * epsilon, q.loc, q.scale)


def of_row_by_hand(p, x, epsilon):
    """One draw of z1, and log p(x|z1) - log q(z1|x) there."""
    z1, log_q = draw(p.posterior, x, epsilon)
    logits = p.likelihood.decoder(z1)
    return z1, (x * F.logsigmoid(logits) + (1 - x) * F.logsigmoid(-logits)).sum(-1) - log_q


def of_latents_by_hand(p, z1, y, epsilon, closed=False):
    """log p(z1|y, z2) + log p(y) + log p(z2) - log q(z2|z1, y) at one draw of z2.

    The last two terms are at that z2, or in closed form, the negative KL.
    """
    code = torch.eye(CLASSES, dtype=torch.float64)[y]
    inputs = torch.cat([z1, code], -1)
    z2, log_q = draw(p.second.posterior, inputs, epsilon)
    loc = p.second.likelihood.decoder(torch.cat([z2, code], -1))
    one = torch.ones((), dtype=torch.float64)
    q = p.second.posterior(inputs).base_dist
    negative_kl = 0.5 * (1 + 2 * q.scale.log() - q.scale**2 - q.loc**2).sum(-1)
    of_z2 = negative_kl if closed else gaussian(z2, 0 * one, one) - log_q
    return gaussian(z1, loc, 0.7 * one) + PROBS.log()[y] + of_z2


def labelled_by_hand(p, x, y, lower, upper, closed=False):
    z1, of_row = of_row_by_hand(p, x, lower)
    return z1, of_row + of_latents_by_hand(p, z1, y, upper, closed)


def unlabelled_by_hand(p, x, lower, upper, closed=False):
    """One z1 for each row; the sum over classes, one after the other."""
    z1, total = of_row_by_hand(p, x, lower)
    q = p.second.classifier(z1).softmax(-1)
    for k in range(CLASSES):
        y = torch.full((len(x),), k)
        total = total + q[:, k] * (of_latents_by_hand(p, z1, y, upper[k], closed) - q[:, k].log())
    return total


def assert_same_with_gradient(ours, plain, module):
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-10)
    gradients = (torch.autograd.grad(value, list(module.parameters())) for value in (ours, plain))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_enumeration_is_the_sum_over_classes(programs):
    torch.manual_seed(1)
    loss = TraceEnum_ELBO(max_plate_nesting=1).differentiable_loss(programs.model, programs.guide, ROWS)
    torch.manual_seed(1)
    by_hand = unlabelled_by_hand(programs, ROWS, noise(6, LATENT), noise(CLASSES, 6, UPPER))
    assert_same_with_gradient(-loss / 6, by_hand.mean(), programs)
    torch.manual_seed(1)
    torch.testing.assert_close(programs.unlabelled_bounds(ROWS), by_hand, rtol=0, atol=1e-10)


def test_rows_are_decoded_once_not_once_for_each_class(programs):
    shapes = []
    programs.likelihood.decoder.register_forward_hook(lambda module, inputs, output: shapes.append(output.shape))
    TraceEnum_ELBO(max_plate_nesting=1).differentiable_loss(programs.model, programs.guide, ROWS)
    programs.unlabelled_bounds(ROWS)
    # The bounds look at three rows first, for what the likelihood is a density of.
    assert [shape.numel() for shape in shapes] == [6 * DATA, 3 * DATA, 6 * DATA]


def test_bounds_are_means_over_draws(programs):
    torch.manual_seed(1)
    labelled = programs.labelled_bounds(ROWS, Y, num_samples=4)
    torch.manual_seed(1)
    lower, upper = noise(4, 6, LATENT), noise(4, 6, UPPER)
    by_hand = torch.stack([labelled_by_hand(programs, ROWS, Y, lower[k], upper[k])[1] for k in range(4)])
    torch.testing.assert_close(labelled, by_hand.mean(0), rtol=0, atol=1e-10)
    torch.manual_seed(1)
    unlabelled = programs.unlabelled_bounds(ROWS, num_samples=4)
    torch.manual_seed(1)
    lower, upper = noise(4, 6, LATENT), noise(CLASSES, 4, 6, UPPER)
    by_hand = torch.stack([unlabelled_by_hand(programs, ROWS, lower[k], upper[:, k]) for k in range(4)])
    torch.testing.assert_close(unlabelled, by_hand.mean(0), rtol=0, atol=1e-10)


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("unlabelled", [2, 0])
def test_loss_of_a_step_and_its_gradient(programs, unlabelled, closed):
    """The cross-entropy is of the very z1 of the bound; bounds are weighted by the shares of all rows."""
    weight, share = 3.0, 0.01 if unlabelled else 1.0
    x, y, others = ROWS[:4], Y[:4], ROWS[4 : 4 + unlabelled]
    torch.manual_seed(1)
    terms = joint_step(programs, weight, closed)(Batch(x, y, others, share))
    torch.manual_seed(1)
    z1, labelled = labelled_by_hand(programs, x, y, noise(4, LATENT), noise(4, UPPER), closed)
    cross_entropy = -programs.second.classifier(z1).log_softmax(-1)[torch.arange(4), y].mean()
    by_hand = weight * cross_entropy - share * labelled.mean()
    if unlabelled:
        bounds = unlabelled_by_hand(programs, others, noise(2, LATENT), noise(CLASSES, 2, UPPER), closed)
        by_hand = by_hand - (1 - share) * bounds.mean()
    torch.testing.assert_close(terms["cross_entropy"], cross_entropy, rtol=0, atol=1e-10)
    torch.testing.assert_close(terms["labelled_elbo"], labelled.mean(), rtol=0, atol=1e-10)
    assert_same_with_gradient(terms["loss"], by_hand, programs)


@pytest.mark.parametrize(
    ("part", "site"),
    [("posterior", "z1"), ("likelihood", "x"), ("second.posterior", "z2"), ("second.classifier", "y")],
)
def test_the_site_that_is_not_finite_is_named(programs, part, site):
    batch = Batch(ROWS[:4], Y[:4], ROWS[4:], 0.5)
    assert joint_non_finite_site(programs, batch) is None
    nn.init.constant_(next(programs.get_submodule(part).parameters()), torch.nan)
    assert joint_non_finite_site(programs, batch) == site


SMALL = {"latent_dim": 3, "hidden_dims": (16,), "epochs": 2, "batch_size": 20, "progress": False}
X, TRUTH = bits(100), np.arange(100) % 3
KNOWN = np.where(np.arange(100) < 12, TRUTH, -1)
HELD_OUT = (bits(60, seed=1), np.where(np.arange(60) < 50, np.arange(60) % 3, -1))


def normal(inputs, shape):
    return likelihoods.Normal(networks.MLP(inputs, shape, (8,)))


def stacked(first=None, second=None, **options):
    return M1M2(M1(**SMALL | (first or {})), M2(likelihood=normal, **SMALL | (second or {})), num_draws=3, **options)


def test_the_first_two_stages_are_those_by_hand():
    """Bit for bit: without a third stage all of the model, and with one the history of the second."""
    first = M1(**SMALL).fit(X, KNOWN)
    draws = posterior_latents(first.vae_, X, "draws", 3, 0)
    second = M2(likelihood=normal, **SMALL, train_transform=one_of_its_draws).fit(draws.transpose(0, 1), KNOWN)
    second.train_transform = None
    model, tuned = stacked().fit(X, KNOWN), stacked(fine_tune_epochs=1).fit(X, KNOWN)
    by_hand = np.mean([second.programs_.classifier(z).double().softmax(1).detach().numpy() for z in draws], axis=0)
    np.testing.assert_array_equal(model.predict_proba(X), by_hand)
    np.testing.assert_array_equal(model.embed(X), draws.numpy())
    assert model.history_ is model.m2_.history_
    for fitted in (model, tuned):
        assert [t["train_loss"] for t in fitted.m2_.history_] == [t["train_loss"] for t in second.history_]
        assert [t["train_elbo"] for t in fitted.m1_.history_] == [t["train_elbo"] for t in first.history_]


def test_predictions_are_those_of_the_parts_as_they_are_at_the_end():
    before, model = stacked().fit(X, KNOWN), stacked(fine_tune_epochs=2).fit(X, KNOWN)
    for part in ("likelihood", "posterior", "second.likelihood", "second.posterior", "second.classifier"):
        old, new = (m.programs_.get_submodule(part) for m in (before, model))
        assert not any(torch.equal(p, q) for p, q in zip(old.parameters(), new.parameters(), strict=True)), part
    assert model.m1_.vae_.posterior is model.programs_.posterior
    assert not any(module.training for module in model.programs_.modules())
    draws = posterior_latents(model.m1_.vae_, X, "draws", 3, 0)
    np.testing.assert_array_equal(model.embed(X), draws.numpy())
    by_hand = np.mean([model.m2_.programs_.classifier(z).double().softmax(1).detach().numpy() for z in draws], axis=0)
    np.testing.assert_allclose(model.predict_proba(X), by_hand, rtol=0, atol=1e-12)
    classifier = LogisticRegression(C=0.1, max_iter=1000).fit(model.m1_.embed(X[:12]), TRUTH[:12])
    np.testing.assert_array_equal(model.m1_.predict_proba(X), classifier.predict_proba(model.m1_.embed(X)))


def test_history_of_the_third_stage_and_the_weights_that_are_kept():
    model = stacked(fine_tune_epochs=4, fine_tune_lr=0.01).fit(X, KNOWN, HELD_OUT)
    start = stacked().fit(X, KNOWN, HELD_OUT).score(*HELD_OUT)
    accuracies = [start] + [terms["validation_accuracy"] for terms in model.history_]
    assert len(accuracies) == 5
    assert accuracies[model.best_epoch_] == max(accuracies) == model.score(*HELD_OUT)
    for terms in model.history_:
        shares = 0.12 * terms["train_labelled_elbo"] + 0.88 * terms["train_unlabelled_elbo"]
        assert terms["train_elbo"] == pytest.approx(shares, rel=1e-5)
        assert terms["train_loss"] == pytest.approx(3 * terms["train_cross_entropy"] - terms["train_elbo"], rel=1e-5)


def test_weights_that_a_third_stage_does_not_improve_stay(programs):
    accuracies = iter([0.9, 0.5, 0.4])

    def judge():
        return {"validation_accuracy": next(accuracies), "validation_cross_entropy": 1.0}

    before = {name: value.clone() for name, value in programs.state_dict().items()}
    plan = TrainingPlan(epochs=2, batch_size=3, lr=0.1, seed=0, progress=False, step="plain", transform=None)
    loop = joint_loop(programs, ROWS, torch.where(torch.arange(6) < 4, Y, -1), 1.0, False, judge, plan)
    loop.run(Keeper(None, {}))
    assert loop.best_epoch == 0
    assert [terms["validation_accuracy"] for terms in loop.history] == [0.5, 0.4]
    for name, value in programs.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_networks_see_corrupted_inputs_and_transformed_rows_in_the_third_stage_too():
    transformed, corrupted = [], []

    def transform(rows):
        transformed.append(len(rows))
        return rows

    def corrupt(rows):
        corrupted.append(len(rows))
        return rows

    def posterior(shape, latent_dim):
        return posteriors.DiagonalNormal(CorruptedInput(networks.MLP(shape, 2 * latent_dim, ()), corrupt))

    first = {"train_transform": transform, "posterior": posterior}
    stacked(first).fit(X, KNOWN)
    before = len(transformed), len(corrupted)
    model = stacked(first, fine_tune_epochs=1).fit(X, KNOWN)
    # Beside the twelve labelled rows the 88 others, twenty in each step.
    steps = [12, 20] * 4 + [12, 8]
    assert corrupted[2 * before[1] :] == steps
    # Five rows show whether all weights would be trained. At the end the classifier of M1 learns from the labelled
    # rows again.
    assert transformed[2 * before[0] :] == [5, *steps, 12]
    model.predict(X)
    assert len(corrupted) == 2 * before[1] + 10


def test_training_that_diverges_says_so_and_keeps_the_last_good_weights():
    model = stacked(fine_tune_epochs=2, fine_tune_lr=1e30)
    with pytest.raises(NonFiniteLossError, match="the loss is not finite at epoch 1"):
        model.fit(X, KNOWN)
    assert all(bool(torch.isfinite(parameter).all()) for parameter in model.programs_.parameters())
    assert model.history_ == []
    assert model.best_epoch_ == 0
    np.testing.assert_array_equal(model.predict_proba(X), stacked().fit(X, KNOWN).predict_proba(X))


def test_all_rows_may_have_labels():
    model = stacked(fine_tune_epochs=2).fit(X, TRUTH)
    assert len(model.history_) == 2
    assert "train_unlabelled_elbo" not in model.history_[0]


def test_layers_of_two_types_are_trained_in_that_of_the_first():
    first = {
        "prior": lambda size: priors.StandardNormal(size).double(),
        "likelihood": lambda size, shape: likelihoods.Bernoulli(networks.MLP(size, shape, ())).double(),
        "posterior": lambda shape, size: posteriors.DiagonalNormal(networks.MLP(shape, 2 * size, ())).double(),
    }
    model = stacked(first, fine_tune_epochs=1).fit(X, KNOWN)
    assert {parameter.dtype for parameter in model.programs_.parameters()} == {torch.float64}
    assert model.predict_proba(X).shape == (100, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fine_tune_epochs": -1}, "fine_tune_epochs is -1; expected passes over the rows, a positive integer, or 0"),
        ({"fine_tune_epochs": 1.5}, "fine_tune_epochs is 1.5"),
        ({"fine_tune_epochs": True}, "fine_tune_epochs is True"),
        ({"fine_tune_weight": -1.0}, "fine_tune_weight is -1.0; expected a number, zero or positive"),
        ({"fine_tune_weight": math.nan}, "fine_tune_weight is nan"),
        ({"fine_tune_lr": 0.0}, "fine_tune_lr is 0.0; expected a positive number"),
    ],
    ids=str,
)
def test_arguments_are_refused_before_the_first_stage(options, message):
    model = stacked(**options)
    with pytest.raises(ValueError, match=message):
        model.fit(X, KNOWN)
    assert not hasattr(model, "m1_")


def test_a_third_stage_raises_the_bound_and_the_accuracy():
    """Four patterns of 30 bits, a bit right three times of four, three rows of each labelled, and a short first layer.

    The bounds are of the same rows before and after; ten standard errors of their difference are no chance.
    """
    generator = torch.Generator().manual_seed(0)
    patterns = torch.randint(2, (4, 30), generator=generator).float()
    y = torch.arange(600) % 4
    x = torch.bernoulli(0.25 + 0.5 * patterns[y], generator=generator)
    known = torch.where(torch.arange(600) < 12, y, -1)
    options = {"hidden_dims": (16,), "batch_size": 50, "lr": 0.01, "progress": False}
    first, second = M1(3, epochs=5, **options), M2(2, likelihood=normal, epochs=5, **options)
    bounds, scores = [], []
    for epochs in (0, 10):
        model = M1M2(first, second, num_draws=3, fine_tune_epochs=epochs, fine_tune_lr=0.01).fit(x, known)
        torch.manual_seed(1)
        bounds.append(model.programs_.unlabelled_bounds(x, 10).detach())
        scores.append(model.score(x, y))
    difference = bounds[1] - bounds[0]
    assert difference.mean() > 10 * difference.std() / len(x) ** 0.5
    assert scores[1] > scores[0]
