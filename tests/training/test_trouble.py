"""Warm-ups that do not end, gradients that explode, and fits without any sign of trouble."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from problems import LinearGaussian, bits, small_vae
from torch import nn
from troubled_fits import fit, gaussian_vae

from pyrovae import VAE, NonFiniteLossError, likelihoods, networks, posteriors, priors
from pyrovae.data import load_data
from pyrovae.objectives import Cosine, Cyclical, Linear, ScoreFunction, TraceMeanField_ELBO
from pyrovae.programs import inspect_pair, make_sampler
from pyrovae.training.gradient_norms import GradientNorms
from pyrovae.training.trouble import SignsOfTrouble


@pytest.mark.parametrize(
    ("beta", "expected"),
    [
        (Linear(0, 1, 1.0), True),
        (Cosine(0, 1, 0.95), True),
        (Linear(0, 1, 0.9), False),
        (Linear(), False),
        (Cyclical(), False),
        (4.0, False),
    ],
)
def test_a_warm_up_that_fills_the_run(beta, expected):
    result = fit(small_vae(), bits(100), objective=TraceMeanField_ELBO(beta=beta))
    assert [sign.startswith("The warm-up fills the run: beta ") for sign in result.signs_of_trouble] == [
        True
    ] * expected


def test_the_capacity_is_named_where_it_is_the_slower():
    objective = TraceMeanField_ELBO(beta=Linear(), capacity=Linear(0, 5, 1.0))
    (sign,) = fit(small_vae(), bits(100), objective=objective).signs_of_trouble
    assert "capacity has its final value only from 100% of the run on" in sign


class Stops(nn.Module):
    """A layer that gives NaN, or raises, at its nth call in training."""

    def __init__(self, call, error=None):
        super().__init__()
        self.call, self.error, self.calls = call, error, 0

    def forward(self, x):
        self.calls += self.training
        if self.calls < self.call:
            return x
        if self.error is not None:
            raise self.error
        return x * float("nan")


def stopping_vae(**options):
    vae = small_vae()
    vae.posterior.encoder = nn.Sequential(vae.posterior.encoder, Stops(**options))
    return vae


def test_a_run_that_fails_before_the_warm_up_ends():
    """The 23rd call, after two of a check, is step 21 of 80."""
    warm_up = TraceMeanField_ELBO(beta=Linear(0, 1, 0.5))
    with pytest.raises(NonFiniteLossError) as caught:
        fit(stopping_vae(call=24), bits(500), objective=warm_up, max_skipped_steps=0)
    (sign,) = caught.value.result.signs_of_trouble
    assert sign.startswith("The fit ended after 26% of the run, and beta would have had its final value from 50% on")
    with pytest.raises(NonFiniteLossError) as caught:
        fit(stopping_vae(call=70), bits(500), objective=warm_up)
    assert caught.value.result.signs_of_trouble == ()


def test_an_interrupt_before_the_warm_up_ends(capsys):
    vae = stopping_vae(call=24, error=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        fit(vae, bits(500), objective=TraceMeanField_ELBO(beta=Linear(0, 1, 0.5)), progress=True)
    assert capsys.readouterr().err.count("The fit ended after 26% of the run, and beta") == 1


def norms_of(values):
    found, parameter = GradientNorms(), nn.Parameter(torch.zeros(4))
    for step, value in enumerate(values, start=1):
        parameter.grad = torch.full((4,), value / 2)
        found.note([parameter], step)
    return found.explosion()


def test_an_explosion_is_the_first_norm_above_a_thousand_medians():
    assert norms_of([1.0] * 10 + [999.0]) is None
    found = norms_of([1.0, 2.0, 3.0] * 5 + [2001.0, 1e6])
    assert (found.step, found.norm, found.usual) == (16, 2001.0, 2.0)
    assert norms_of([1.0] * 5 + [float("inf")]).norm == float("inf")
    # A learning rate far too high shows at the second step; growth that is slow moves the median along.
    assert norms_of([1.0, 1e9, 1e9]).step == 2
    assert norms_of([1.01**step for step in range(2000)]) is None
    # From the fiftieth step on every tenth is measured.
    assert norms_of([1.0] * 54 + [1e9] + [1.0] * 20) is None
    assert norms_of([1.0] * 59 + [1e9]).step == 60


def test_the_norm_is_that_of_all_gradients_together():
    parameters = [nn.Parameter(torch.randn(3, 2)), nn.Parameter(torch.randn(5).double()), nn.Parameter(torch.ones(1))]
    parameters[0].grad, parameters[1].grad = torch.randn(3, 2), torch.randn(5).double()
    norms = GradientNorms()
    norms.note(parameters, 1)
    expected = torch.cat([p.grad.flatten() for p in parameters[:2]]).norm()
    assert norms._pending[0][1].item() == pytest.approx(expected.item(), rel=1e-6)


def test_exploding_gradients_are_said_once(capsys):
    """Rows of a thousand millions among rows of one, in the second epoch's batches."""
    x = torch.randn(500, 3)
    calls = []

    def transform(rows):
        calls.append(rows)
        return rows * 1e6 if len(calls) in (16, 18) else rows

    result = fit(gaussian_vae(3, scale=1.0), x, train_transform=transform, epochs=4, lr=1e-5, progress=True)
    (sign,) = [sign for sign in result.signs_of_trouble if sign.startswith("The gradient exploded")]
    # One call is the probe's.
    assert "at step 15 its norm was" in sign
    assert "Lower lr" in sign
    assert capsys.readouterr().err.count("The gradient exploded") == 1


def test_a_learning_rate_far_too_high():
    vae = gaussian_vae(3)
    try:
        result = fit(vae, torch.randn(500, 3), lr=30.0, epochs=20)
    except NonFiniteLossError as error:
        result = error.result
    assert any(sign.startswith("The gradient exploded") for sign in result.signs_of_trouble)


def digits_vae():
    data = load_data("digits", binarize="dynamic")
    return data, VAE(
        priors.StandardNormal(4),
        likelihoods.Bernoulli(networks.MLP(4, data.data_shape, (50,))),
        posteriors.DiagonalNormal(networks.MLP(data.data_shape, 8, (50,))),
    )


@pytest.mark.parametrize(
    "objective",
    [TraceMeanField_ELBO(), TraceMeanField_ELBO(beta=Linear()), ScoreFunction(baseline="none"), "ReweightedWakeSleep"],
)
def test_digits_have_none(objective):
    data, vae = digits_vae()
    result = fit(vae, data.train[:500], train_transform=data.train_transform, objective=objective, epochs=15, lr=3e-3)
    assert result.signs_of_trouble == ()


@pytest.mark.parametrize("scale", ["shared", "per_dimension", "predicted", "optimal"])
def test_a_table_has_none(scale):
    x = LinearGaussian.random(6, 2, seed=0).rows(300).float()
    assert fit(gaussian_vae(6, scale=scale), x, epochs=40, lr=0.01).signs_of_trouble == ()


def test_programs_of_a_user_without_such_parts():
    loc = nn.Parameter(torch.tensor(0.5))

    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.loc = loc

        def model(self, x):
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
                pyro.sample("x", dist.Normal(z + self.loc, 1e-7), obs=x)

        def guide(self, x):
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(x - self.loc, 1e-7))

    assert fit(Pair(), torch.randn(100), epochs=4).signs_of_trouble == ()


def test_a_look_changes_neither_random_numbers_nor_weights():
    vae = VAE(
        priors.StandardNormal(2),
        likelihoods.Normal(networks.MLP(2, 3, (8,), normalization="batch"), scale="optimal"),
        posteriors.DiagonalNormal(networks.MLP(3, 4, (8,), normalization="batch")),
    ).train()
    x = torch.randn(60, 3)
    sampler = make_sampler(vae.model, vae.guide, x, inspect_pair(vae.model, vae.guide, x))
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    state = torch.get_rng_state()
    signs = SignsOfTrouble(sampler, [vae], TraceMeanField_ELBO(), GradientNorms(), seed=0, aloud=False)
    signs.after_epoch(5, [x], part=0.5, progress=0.5)
    signs.at_end(5, [x], part=1.0, progress=1.0, failed=False)
    assert torch.equal(torch.get_rng_state(), state)
    assert vae.training
    for name, value in vae.state_dict().items():
        assert torch.equal(value, before[name])
