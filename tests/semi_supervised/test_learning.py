"""What the models learn: a constraint that is kept, and digits from ten labels of each."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from pyrovae import likelihoods, load_data, networks
from pyrovae.semi_supervised import M1, M1M2, M2, PCVAE


def two_classes(count=400):
    """Rows of 16 bits: in class 0 the first half is on nine times of ten, in class 1 the second."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(count) % 2
    on = torch.where((torch.arange(16) < 8) == (y[:, None] == 0), 0.9, 0.1)
    return torch.bernoulli(on, generator=generator), y


def test_dual_ascent_meets_the_constraint_and_no_more():
    """The multiplier starts at zero, rises while the loss is too high, and settles where the loss is epsilon."""
    x, y = two_classes()
    known = torch.where(torch.arange(400) < 100, y, -1)
    epsilon = 0.3
    model = PCVAE(
        latent_dim=2,
        hidden_dims=(16,),
        multiplier="dual",
        multiplier_start=0.0,
        multiplier_lr=0.2,
        epsilon=epsilon,
        epochs=120,
        batch_size=100,
        lr=0.01,
        progress=False,
    ).fit(x, known)
    last = model.history_[-20:]
    assert model.history_[0]["train_multiplier"] < model.history_[9]["train_multiplier"]
    assert np.mean([terms["train_cross_entropy"] for terms in last]) == pytest.approx(epsilon, abs=0.05)
    assert model.multiplier_ > 0
    assert model.score(x, y) > 0.9


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


def normal(inputs, shape):
    return likelihoods.Normal(networks.MLP(inputs, shape, (32,)))


COMMON = {"batch_size": 100, "lr": 3e-3, "progress": False}
DIGITS = {
    "M1": lambda seed: M1(10, hidden_dims=(64,), epochs=40, seed=seed, **COMMON),
    "M2": lambda seed: M2(5, hidden_dims=(64,), classification_weight=3.0, epochs=40, seed=seed, **COMMON),
    "PCVAE": lambda seed: PCVAE(10, hidden_dims=(64,), epochs=40, seed=seed, **COMMON),
    "M1M2": lambda seed: M1M2(
        M1(10, hidden_dims=(64,), epochs=40, seed=seed, **COMMON),
        M2(5, likelihood=normal, hidden_dims=(32,), classification_weight=3.0, epochs=40, seed=seed, **COMMON),
    ),
}


def digits(seed):
    """Digits as bits, ten rows of each class labelled."""
    data = load_data("digits", binarize="threshold")
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed))
    known = torch.full_like(data.train_labels, -1)
    for label in range(10):
        rows = order[data.train_labels[order] == label][:10]
        known[rows] = label
    return data, known


def raw_score(data, known):
    rows = known >= 0
    classifier = LogisticRegression(max_iter=1000).fit(data.train[rows].flatten(1), known[rows])
    return classifier.score(data.test.flatten(1), data.test_labels)


if __name__ == "__main__":
    import time

    for seed in range(3):
        data, known = digits(seed)
        print(seed, "raw", round(raw_score(data, known), 3), flush=True)
        for name, make in DIGITS.items():
            start = time.process_time()
            score = make(seed).fit(data.train, known).score(data.test, data.test_labels)
            print(seed, name, round(score, 3), f"{time.process_time() - start:.1f} s", flush=True)
