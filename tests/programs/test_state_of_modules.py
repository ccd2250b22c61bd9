"""Buffers, modes and values of ``pyro.param``: what a fit moves, what it leaves, and what looking puts back."""

import os
import signal
from dataclasses import dataclass

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyrovae import (
    ais,
    bits_per_dim,
    check_pair,
    compare_bounds,
    compare_gradients,
    fit_svi,
    inference_gap,
    kl_forms,
    latent_summary,
    log_weights,
    posterior_samples,
    prior_log_px,
)
from pyrovae.programs import buffers_put_back

X = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)) + 3.0


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(3, 2), nn.Linear(2, 3)

    def forward(self, x, program):
        return program(self, x)

    def encode(self, x):
        return self.encoder(x)

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 0.5).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encode(x), 0.5).to_event(1))


class Centred(Pair):
    """It takes off a running mean, kept in one of the ways that there are."""

    def __init__(self, persistent, in_place):
        super().__init__()
        self.register_buffer("mean", torch.zeros(3), persistent=persistent)
        self.in_place = in_place

    def encode(self, x):
        if self.training:
            new = torch.lerp(self.mean, x.mean(0), 0.05)
            if self.in_place:
                self.mean.copy_(new)
            else:
                self.mean = new
        return self.encoder(x - self.mean)


@pytest.mark.parametrize("step", ["plain", "recorded"])
def test_a_running_mean_is_that_of_the_best_epoch_however_it_is_kept(step):
    """The means that a plain loop would keep: after as many batches as there were until the best epoch."""
    found = {}
    for persistent in (True, False):
        for in_place in (True, False):
            torch.manual_seed(0)
            pair, seen = Centred(persistent, in_place), []
            result = fit_svi(
                *(pair.model, pair.guide, X),
                validation=X[:10] - 2.0,
                train_transform=lambda rows, seen=seen: (seen.append(rows.mean(0)), rows)[1],
                epochs=30,
                batch_size=10,
                lr=0.1,
                patience=3,
                step=step,
                progress=False,
            )
            assert result.best_epoch < len(result.history)
            mean = torch.zeros(3)
            # The first is of the rows that the fit looks at before it begins.
            for batch in seen[1 : 1 + 4 * result.best_epoch]:
                mean = torch.lerp(mean, batch, 0.05)
            torch.testing.assert_close(pair.mean, mean)
            found[persistent, in_place] = [terms["validation_elbo"] for terms in result.history]
    assert len({tuple(elbos) for elbos in found.values()}) == 1


class Counting(Pair):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    shift = 0.0

    def encode(self, x):
        self.calls += 1
        return self.encoder(x) + self.shift * self.calls


def programs_of(pair, kind):
    """The programs of a pair as its methods, as functions of Pyro's idiom, and as functions that no name leads from."""
    if kind == "methods":
        return pair.model, pair.guide
    # Larger collections are not searched.
    place = dict.fromkeys(range(200)) | {"pair": pair} if kind == "hidden" else {"pair": pair}

    def model(x):
        pyro.module("pair", place["pair"])
        return place["pair"](x, Pair.model)

    def guide(x):
        pyro.module("pair", place["pair"])
        return place["pair"](x, Pair.guide)

    return model, guide


@pytest.mark.parametrize("kind", ["methods", "functions", "hidden"])
@pytest.mark.parametrize(
    "look",
    [
        lambda *pair: log_weights(*pair, X, 3),
        lambda *pair: compare_bounds(*pair, X, num_samples=3),
        lambda *pair: latent_summary(*pair, X, num_samples=3),
        lambda *pair: ais(*pair, X[:3], num_temperatures=3, num_chains=2, progress=False),
        lambda *pair: kl_forms(*pair, X),
        lambda *pair: compare_gradients(*pair, X, num_repeats=3, progress=False),
        lambda *pair: inference_gap(*pair, X[:3], steps=2, num_samples=3),
        lambda *pair: bits_per_dim(*pair, X, compare_bounds(*pair, X, num_samples=3), bin_width=0.1),
        lambda *pair: prior_log_px(*pair, X[:3], num_samples=100),
        lambda *pair: posterior_samples(*pair, X[:1], num_draws=2, warm_up=2),
        lambda *pair: check_pair(*pair, X),
    ],
)
def test_looking_leaves_buffers_that_programs_count_in(look, kind):
    pair = Counting()
    look(*programs_of(pair, kind))
    assert pair.calls == 0


@pytest.mark.parametrize("kind", ["methods", "functions", "hidden"])
def test_the_same_call_gives_the_same_number_where_programs_count(kind):
    torch.manual_seed(0)
    pair = Counting()
    pair.shift = 0.1
    first, second = (compare_bounds(*programs_of(pair, kind), X, num_samples=20).elbo for _ in range(2))
    assert torch.equal(first, second)


def test_a_fit_counts_its_own_calls_alone():
    pair = Counting()
    fit_svi(pair.model, pair.guide, X, validation=X, epochs=2, batch_size=10, step="plain", progress=False)
    assert pair.calls == 2 * 4


def test_buffers_that_were_replaced_are_put_back():
    module = nn.BatchNorm1d(3)
    mean = module.running_mean
    with buffers_put_back(nn.Sequential(module), module):
        module.running_mean = torch.ones(3)
        module.running_var.add_(1)
    assert module.running_mean is mean
    assert torch.equal(module.running_var, torch.ones(3))


class WithNorm(Pair):
    def __init__(self, frozen):
        super().__init__()
        self.norm, self.frozen = nn.BatchNorm1d(3), frozen

    def train(self, mode=True):
        super().train(mode)
        if self.frozen:
            self.norm.eval()
        return self

    def encode(self, x):
        return self.encoder(self.norm(x))


@pytest.mark.parametrize("how", ["by train", "by eval", "not"])
def test_parts_that_are_held_in_evaluation_mode_stay_there(how):
    pair = WithNorm(frozen=how == "by train")
    pair.eval() if how == "by train" else pair.train()
    if how == "by eval":
        pair.norm.eval()
    modes = [part.training for part in pair.modules()]
    fit_svi(pair.model, pair.guide, X, epochs=2, batch_size=10, progress=False)
    assert [part.training for part in pair.modules()] == modes
    assert bool((pair.norm.running_mean == 0).all()) == (how != "not")


@pytest.mark.parametrize("without", [torch.no_grad, torch.inference_mode])
def test_a_fit_where_gradients_are_off(without):
    pair = Pair()
    with without():
        fit_svi(pair.model, pair.guide, X, epochs=1, batch_size=10, progress=False)


class WithParams(Pair):
    """Its values of ``pyro.param`` are met in another order than that of their names."""

    def model(self, x):
        shift = sum(number * pyro.param(name, torch.zeros(3)) for name, number in (("b", 10), ("a", 1), ("c", 5)))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z) + shift, 0.5).to_event(1), obs=x)


@pytest.mark.usefixtures("interrupts_are_taken")
def test_a_fit_goes_on_with_the_programs_that_were_interrupted(tmp_path):
    """Their values of ``pyro.param`` are in the store before the programs run."""

    def fit(pair, stop_at=None, **options):
        steps = []

        def interrupt(rows):
            steps.append(rows)
            if len(steps) == stop_at:
                os.kill(os.getpid(), signal.SIGINT)
            return rows

        options = {"epochs": 8, "batch_size": 10, "lr": 0.01, "step": "plain", "progress": False} | options
        return fit_svi(pair.model, pair.guide, X, train_transform=interrupt, **options)

    torch.manual_seed(0)
    whole, ours = WithParams(), WithParams()
    ours.load_state_dict(whole.state_dict())
    expected = fit(whole)
    with pytest.raises(KeyboardInterrupt):
        fit(ours, stop_at=15, checkpoints=tmp_path)
    result = fit(ours, checkpoints=tmp_path, resume=True)
    assert [terms["train_elbo"] for terms in result.history] == [terms["train_elbo"] for terms in expected.history]
    for name, value in expected.params.items():
        assert torch.equal(result.params[name], value)


@dataclass(slots=True)
class Slotted:
    encoder: nn.Module

    def guide(self, x):
        pyro.module("encoder", self.encoder)
        scale = pyro.param("scale", torch.tensor(1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encoder(x), scale).to_event(1))


def test_an_object_that_no_values_can_be_kept_with_is_refused_before_the_fit():
    with pytest.raises(ValueError, match=r"pyro.param cannot be kept with a Slotted.*weakref_slot=True"):
        fit_svi(Pair().model, Slotted(nn.Linear(3, 2)).guide, X, epochs=1, batch_size=10, progress=False)


def test_buffers_and_parameters_of_all_kinds_are_left_alone():
    pair = Pair()
    pair.chosen = nn.Parameter(torch.zeros(3, dtype=torch.long), requires_grad=False)
    with torch.inference_mode():
        made_there = torch.zeros(2)
    for name, buffer in (
        ("expanded", torch.zeros(1).expand(3)),
        ("sparse", torch.eye(3).to_sparse()),
        ("meta", torch.zeros(2, device="meta")),
        ("of_inference", made_there),
    ):
        pair.register_buffer(name, buffer, persistent=False)
    fit_svi(pair.model, pair.guide, X, epochs=2, batch_size=10, step="recorded", progress=False)
    compare_bounds(pair.model, pair.guide, X, num_samples=3)
    assert not pair.chosen.any()


def test_a_graph_of_the_callers_outlives_an_evaluation():
    pair = Pair()
    nn.init.zeros_(pair.decoder.weight)
    loss = pair.decoder(torch.randn(4, 2, requires_grad=True)).sum()
    compare_bounds(pair.model, pair.guide, X, num_samples=3)
    loss.backward()
    assert not pair.decoder.weight.any()
