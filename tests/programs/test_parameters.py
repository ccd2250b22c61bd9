"""Where parameters live, and that nothing passes through the global param store."""

import gc
from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from problems import bits, small_vae
from pyro.nn import PyroModule, PyroParam
from torch import nn

from pyrovae import compare_bounds, fit_svi
from pyrovae.programs import parameters

TARGETS = torch.randn(200, 3) * 0.1 + torch.tensor([5.0, -2.0, 1.0])


def module_pair():
    """Functions that register modules under names that every such pair has."""
    decoder, encoder = nn.Linear(2, 3), nn.Linear(3, 4)

    def model(x):
        pyro.module("decoder", decoder)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1).to_event(1))
            pyro.sample("x", dist.Normal(decoder(z), 1).to_event(1), obs=x)

    def guide(x):
        pyro.module("encoder", encoder)
        with pyro.plate("data", len(x)):
            loc, raw = encoder(x).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, nn.functional.softplus(raw)).to_event(1))

    return model, guide, decoder, encoder


def param_pair():
    """Functions whose parameters are pyro.param statements."""

    def model(x):
        mean = pyro.param("mean", torch.zeros(3))
        noise = pyro.param("noise", torch.ones(3), constraint=dist.constraints.positive)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(mean + 0 * z[..., None], noise).to_event(1), obs=x)

    def guide(x):
        scale = pyro.param("scale", torch.tensor(2.0), constraint=dist.constraints.positive)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(torch.tensor(0.0), scale))

    return model, guide


class PyroModulePair(PyroModule):
    """A module of Pyro's own kind, with a constrained parameter."""

    def __init__(self):
        super().__init__()
        self.decoder = PyroModule[nn.Linear](2, 3)
        self.encoder = PyroModule[nn.Linear](3, 4)
        self.noise = PyroParam(torch.tensor(1.0), constraint=dist.constraints.positive)

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), self.noise).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            loc, raw = self.encoder(x).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, nn.functional.softplus(raw)).to_event(1))


def fit(model, guide, x=TARGETS, epochs=40, **options):
    return fit_svi(model, guide, x, epochs=epochs, batch_size=50, lr=0.05, progress=False, **options)


def mean_log_px(model, guide, x=TARGETS):
    return compare_bounds(model, guide, x, num_samples=100).log_px.mean().item()


def test_two_pairs_with_the_same_module_names_both_train():
    for _ in range(2):
        model, guide, decoder, encoder = module_pair()
        before = [p.clone() for p in (*decoder.parameters(), *encoder.parameters())]
        at_start = mean_log_px(model, guide)
        fit(model, guide)
        for old, new in zip(before, (*decoder.parameters(), *encoder.parameters()), strict=True):
            assert not torch.equal(old, new)
        assert mean_log_px(model, guide) > at_start + 5
    assert not pyro.get_param_store().keys()


def test_a_pair_in_the_global_store_does_not_stand_in_for_another():
    """After plain Pyro has registered modules of the same names."""
    other = module_pair()
    other[0](TARGETS)
    other[1](TARGETS)
    keys = set(pyro.get_param_store().keys())
    model, guide, decoder, _ = module_pair()
    before = decoder.weight.clone()
    fit(model, guide)
    assert not torch.equal(before, decoder.weight)
    assert set(pyro.get_param_store().keys()) == keys


def test_values_of_pyro_param_stay_with_the_functions():
    model, guide = param_pair()
    result = fit(model, guide, epochs=150)
    assert not pyro.get_param_store().keys()
    assert result.params.keys() == {"mean", "noise", "scale"}
    torch.testing.assert_close(result.params["mean"], TARGETS.mean(0), rtol=0, atol=0.05)
    # The latent has no part in x: its posterior is the prior, scale 1.
    assert result.params["scale"].item() == pytest.approx(1, abs=0.1)
    exact = dist.Normal(result.params["mean"], result.params["noise"]).to_event(1).log_prob(TARGETS)
    bounds = compare_bounds(model, guide, TARGETS, num_samples=500)
    assert ((bounds.log_px - exact).abs() < 5 * bounds.standard_error + 1e-4).all()


@pytest.mark.parametrize("again", ["model", "guide"])
def test_a_program_written_again_has_no_values_and_is_warned_of(again):
    pair = dict(zip(("model", "guide"), param_pair(), strict=True))
    programs = {name: partial(program) for name, program in pair.items()}
    fit(*programs.values(), epochs=30)
    fitted = mean_log_px(*programs.values())
    name = {"model": "mean", "guide": "scale"}[again]
    with pytest.warns(UserWarning, match=rf"pyro\.param '{name}' of the {again} has its first value.*keep the first"):
        mean_log_px(*{**programs, again: partial(pair[again])}.values())
    assert mean_log_px(*programs.values()) == fitted
    # Neither where both are new, nor in a fit of a new program beside one that was fitted.
    mean_log_px(*param_pair())
    fit(*{**programs, again: partial(pair[again])}.values(), epochs=1)


def test_two_pairs_with_the_same_param_names_do_not_meet():
    first, second = param_pair(), param_pair()
    fit(*first)
    score = mean_log_px(*first)
    result = fit(*second, x=TARGETS + 10)
    assert result.history[0]["train_elbo"] < -50
    assert mean_log_px(*first) == score
    # What was fitted before in this process has no part in a fit.
    again = fit(*param_pair(), x=TARGETS + 10)
    assert [terms["train_elbo"] for terms in again.history] == [terms["train_elbo"] for terms in result.history]


def test_a_second_fit_continues_the_first():
    model, guide = param_pair()
    first = fit(model, guide, epochs=30)
    second = fit(model, guide, epochs=1)
    assert second.history[0]["train_elbo"] > first.history[5]["train_elbo"]


def test_values_fitted_by_plain_pyro_are_evaluated():
    model, guide = param_pair()
    svi = pyro.infer.SVI(model, guide, pyro.optim.Adam({"lr": 0.1}), pyro.infer.Trace_ELBO())
    before = mean_log_px(model, guide)
    for _ in range(200):
        svi.step(TARGETS)
    values = {name: value.clone() for name, value in pyro.get_param_store().items()}
    assert mean_log_px(model, guide) > before + 5
    for name, value in pyro.get_param_store().items():
        assert torch.equal(value, values[name])


def test_pyro_modules_train_twice_in_one_process():
    for _ in range(2):
        pair = PyroModulePair()
        before = {name: value.clone() for name, value in pair.state_dict().items()}
        at_start = mean_log_px(pair.model, pair.guide)
        fit(pair.model, pair.guide, epochs=100)
        for name, value in pair.state_dict().items():
            assert not torch.equal(value, before[name]), name
        assert mean_log_px(pair.model, pair.guide) > at_start + 5
        assert pair.noise.item() < 0.5
    assert not pyro.get_param_store().keys()


class Scaled(PyroModule):
    def __init__(self, program, scale, name=""):
        super().__init__(name)
        self.program = program
        self.scale = PyroParam(torch.tensor(scale), constraint=dist.constraints.positive)

    def forward(self, x):
        with pyro.plate("data", len(x)):
            if self.program == "guide":
                pyro.sample("z", dist.Normal(x.mean(-1), self.scale))
            else:
                z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1))
                pyro.sample("x", dist.Normal(z.unsqueeze(-1).expand(*z.shape, 3), self.scale).to_event(1), obs=x)


def test_pyro_params_of_one_name_are_refused_and_those_of_named_modules_taken():
    model, guide = Scaled("model", 2.0), Scaled("guide", 0.5)
    for function in (lambda: mean_log_px(model, guide), lambda: fit(model, guide)):
        with pytest.raises(ValueError, match=r"two PyroParams are called 'scale'.*a name"):
            function()
    assert (model.scale.item(), guide.scale.item()) == (pytest.approx(2.0), pytest.approx(0.5))
    named = Scaled("model", 2.0, "model"), Scaled("guide", 0.5, "guide")
    x = torch.randn(5, 3)
    exact = torch.distributions.MultivariateNormal(torch.zeros(3), 4 * torch.eye(3) + torch.ones(3, 3)).log_prob(x)
    bounds = compare_bounds(*named, x, num_samples=2000)
    assert ((bounds.log_px - exact).abs() < 4 * bounds.standard_error + 1e-4).all()
    assert named[0].scale.item() == pytest.approx(2.0)


def test_a_module_and_a_param_statement_train_together():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Linear(3, 2)

        def model(self, x):
            mean = pyro.param("mean", torch.zeros(3))
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1).to_event(1))
                pyro.sample("x", dist.Normal(mean + z, 1).to_event(1), obs=x)

        def guide(self, x):
            with pyro.plate("data", len(x)):
                loc, raw = self.encoder(x).chunk(2, -1)
                pyro.sample("z", dist.Normal(loc, raw.exp()).to_event(1))

    pair = Mixed()
    before, start = pair.encoder.weight.clone(), mean_log_px(pair.model, pair.guide)
    result = fit(pair.model, pair.guide)
    assert not torch.equal(before, pair.encoder.weight)
    assert result.params.keys() == {"mean"}
    assert mean_log_px(pair.model, pair.guide) > start + 5


def test_separate_modules_for_model_and_guide_with_equal_parameter_names():
    vae = small_vae()

    class Half(nn.Module):
        def __init__(self, part, program):
            super().__init__()
            self.part, self.program = part, program

        def forward(self, x):
            return self.program(x)

    model, guide = Half(vae.likelihood, vae.model), Half(vae.posterior, vae.guide)
    before = [p.clone() for p in vae.parameters()]
    fit(model, guide, x=bits(100))
    assert all(not torch.equal(old, new) for old, new in zip(before, vae.parameters(), strict=True))


def test_kept_values_go_with_their_functions():
    gc.collect()
    before = len(parameters._kept)
    model, guide = param_pair()
    fit(model, guide, epochs=1)
    assert len(parameters._kept) == before + 2
    del model, guide
    gc.collect()
    assert len(parameters._kept) == before


def test_a_pair_without_parameters_is_refused():
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z[..., None].expand(*z.shape, 3), 1.0).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))

    with pytest.raises(ValueError, match=r"no trainable parameters: give an nn.Module.*pyro.module or pyro.param"):
        fit(model, guide)
