"""Weights that move over a fit: they reach their end, and what is judged and kept waits for them."""

import math

import pytest
import torch
from problems import bits, small_vae
from torch import nn

from pyrovae import NonFiniteLossError, compare_bounds, fit_svi
from pyrovae.objectives import Cosine, Cyclical, Linear, Schedule, Sigmoid, TraceMeanField_ELBO


class Recording(TraceMeanField_ELBO):
    """Notes beta at each step; with gradients it is a training step, without it is validation."""

    def __init__(self, **options):
        super().__init__(**options)
        self.training, self.validation = [], []

    def beta_at(self, progress):
        value = super().beta_at(progress)
        (self.training if torch.is_grad_enabled() else self.validation).append(value)
        return value


def fit(vae, x, **options):
    options = {"epochs": 4, "batch_size": 20, "progress": False} | options
    return fit_svi(vae.model, vae.guide, x, **options)


SCHEDULES = [Linear, Cosine, Sigmoid, Cyclical]


@pytest.mark.parametrize(
    ("epochs", "batch_size", "length"),
    [(1, 60, 1.0), (1, 60, 0.25), (1, 20, 1.0), (2, 60, 1.0), (3, 20, 1.0), (5, 7, 0.3), (4, 59, 1e-9)],
)
@pytest.mark.parametrize("kind", SCHEDULES)
def test_the_final_value_is_always_reached(kind, epochs, batch_size, length):
    objective = Recording(beta=kind(0.0, 2.0, length=length))
    result = fit(small_vae(), bits(60), validation=bits(30), objective=objective, epochs=epochs, batch_size=batch_size)
    assert len(objective.training) == epochs * math.ceil(60 / batch_size)
    assert objective.training[-1] == 2.0
    if len(objective.training) > 1:
        assert objective.training[0] == 0.0
    assert set(objective.validation) == {2.0}
    assert result.history[-1]["beta"] == 2.0


def test_the_history_has_the_values_at_the_last_step_of_each_epoch():
    capacity = Linear(0.0, 30.0, length=1.0)
    objective = TraceMeanField_ELBO(beta=Linear(0.0, 1.0, length=0.5), capacity=capacity)
    result = fit(small_vae(), bits(60), objective=objective, epochs=4)
    # Steps 2, 5, 8 and 11 of 0 to 11 end the epochs.
    assert [terms["beta"] for terms in result.history] == pytest.approx([4 / 11, 10 / 11, 1.0, 1.0])
    assert [terms["capacity"] for terms in result.history] == pytest.approx([60 / 11, 150 / 11, 240 / 11, 30.0])
    fixed = fit(small_vae(), bits(60), objective=TraceMeanField_ELBO(beta=2.0, capacity=3.0))
    assert not {"beta", "capacity"} & set(fixed.history[0])


def test_no_epoch_is_judged_while_a_weight_moves():
    """Noise, learnt by heart: the validation objective falls from early on, and patience runs out at once."""
    x, validation = bits(40), bits(40, seed=1)
    objective = TraceMeanField_ELBO(beta=Linear(0.0, 1.0, length=0.5))
    for patience in (2, 1000):
        vae = small_vae(latent_dim=8)
        result = fit(
            vae, x, validation=validation, objective=objective, epochs=60, batch_size=40, lr=0.02, patience=patience
        )
        judged = [terms["validation_objective"] for terms in result.history]
        # Steps are epochs here, from 0 to 59: half of the run is done from the 31st on.
        settled = next(terms["epoch"] for terms in result.history if terms["beta"] == 1.0)
        assert settled == 31
        assert max(judged[: settled - 1]) > max(judged[settled - 1 :])
        assert result.best_epoch >= settled
        assert judged[result.best_epoch - 1] == max(judged[settled - 1 :])
        assert result.stopped_early == (patience == 2)
        assert len(judged) == (result.best_epoch + 2 if patience == 2 else 60)


def test_a_capacity_that_moves_is_waited_for_too():
    objective = TraceMeanField_ELBO(capacity=Linear(0.0, 5.0, length=0.8))
    x, validation = bits(40), bits(40, seed=1)
    result = fit(
        small_vae(), x, validation=validation, objective=objective, epochs=20, batch_size=40, lr=0.02, patience=1
    )
    assert result.best_epoch >= 17


class Breaks(nn.Module):
    """A layer that stops a fit at its nth call in training."""

    def __init__(self, call, error):
        super().__init__()
        self.call, self.error, self.calls = call, error, 0

    def forward(self, x):
        self.calls += self.training
        if self.calls < self.call:
            return x
        if self.error is None:
            return x * math.nan
        raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), None])
def test_the_newest_weights_are_kept_where_a_fit_ends_in_the_warm_up(error):
    """Step 8 of 12 is the second of the third epoch, after two calls of a check; the weights are those of epoch 2."""
    # Rows unlike those of training: each epoch is worse on them.
    beta, x, validation = Linear(0.0, 1.0, length=1.0), bits(60), 1 - bits(60, seed=1)
    vae = small_vae(latent_dim=8)
    state = {name: value.clone() for name, value in vae.state_dict().items()}
    vae.posterior.encoder = nn.Sequential(vae.posterior.encoder, Breaks(10, error))
    options = {"validation": validation, "lr": 0.1, "objective": TraceMeanField_ELBO(beta=beta)}
    with pytest.raises(KeyboardInterrupt if error else NonFiniteLossError) as caught:
        fit(vae, x, **options)
    if error is None:
        assert (caught.value.epoch, caught.value.result.best_epoch) == (3, 2)

    whole = small_vae(latent_dim=8)
    whole.load_state_dict(state)
    kept = []

    class Copying(torch.optim.Adam):
        def step(self, closure=None):
            super().step(closure)
            kept.append([value.clone() for value in whole.state_dict().values()])

    result = fit(whole, x, optimizer=lambda parameters: Copying(parameters, lr=0.1, fused=True), **options)
    judged = [terms["validation_objective"] for terms in result.history]
    assert judged[1] < judged[0]  # so that newest is not best
    for ours, expected in zip(vae.state_dict().values(), kept[5], strict=True):
        assert torch.equal(ours, expected)


@pytest.mark.parametrize("beta", [0.0, 4.0, Linear(0.0, 1.0, length=1.0)])
def test_the_elbo_of_the_history_is_the_true_one_whatever_beta(beta):
    """Against compare_bounds of the same weights, the step being tiny; 5 standard errors of one draw for each row,

    a false alarm in 1 of 1.7 million.
    """
    vae, x = small_vae(), bits(200)
    result = fit(vae, x, validation=x, epochs=2, lr=1e-12, objective=TraceMeanField_ELBO(beta=beta))
    exact = compare_bounds(vae.model, vae.guide, x, num_samples=1000)
    error = 5 * exact.elbo_standard_error.norm() * 1000**0.5 / 200
    for terms in result.history:
        for split in ("train", "validation"):
            assert abs(terms[f"{split}_elbo"] - exact.elbo.mean()) < error
    final = beta.end if isinstance(beta, Schedule) else beta
    last = result.history[-1]
    assert last["validation_objective"] == pytest.approx(
        last["validation_reconstruction"] - final * last["validation_kl"], rel=1e-5
    )


def test_one_objective_serves_two_fits():
    objective, x = TraceMeanField_ELBO(beta=Linear(0.0, 1.0, length=0.5)), bits(60)
    vaes = [small_vae()]
    vaes += [small_vae(), small_vae()]
    for vae in vaes[1:]:
        vae.load_state_dict(vaes[0].state_dict())
    first = fit(vaes[0], x, objective=objective)
    fit(vaes[1], x, objective=objective, epochs=2, batch_size=7)
    again = fit(vaes[2], x, objective=objective)
    for terms in (*first.history, *again.history):
        del terms["seconds"]
    assert first.history == again.history
    for ours, expected in zip(vaes[0].parameters(), vaes[2].parameters(), strict=True):
        assert torch.equal(ours, expected)
