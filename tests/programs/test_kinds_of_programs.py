"""Programs in all the forms that Python allows: modules are found, put in evaluation mode, and trained or refused."""

import functools
from dataclasses import dataclass

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import config_enumerate
from torch import nn

from pyrovae import compare_bounds, fit_svi
from pyrovae.programs import parameters

X = torch.randn(40, 3) + 4.0


def make_encoder():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))


def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1).to_event(1))
        pyro.sample("x", dist.Normal(z.expand(*z.shape[:-1], 3), 1).to_event(1), obs=x)


def guide_with(encoder, x):
    pyro.module("encoder", encoder)
    with pyro.plate("data", len(x)):
        loc, raw = encoder(x).chunk(2, -1)
        pyro.sample("z", dist.Normal(loc, nn.functional.softplus(raw)).to_event(1))


class Plain:
    """An object that is no module and holds one."""

    def __init__(self, encoder):
        self.nets = {"encoder": encoder}

    def guide(self, x):
        guide_with(self.nets["encoder"], x)

    def __call__(self, x):
        guide_with(self.nets["encoder"], x)


@dataclass
class Unhashable:
    encoder: nn.Module

    def __call__(self, x):
        scale = pyro.param("scale", torch.tensor(1.0), constraint=dist.constraints.positive)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encoder(x)[..., :1], scale).to_event(1))


FORMS = {
    "partial": lambda encoder: functools.partial(guide_with, encoder),
    "lambda": lambda encoder: lambda x: guide_with(encoder, x),
    "bound method of an object": lambda encoder: Plain(encoder).guide,
    "callable object": Plain,
}


@pytest.mark.parametrize("form", FORMS)
def test_evaluation_moves_nothing_and_dropout_is_off(form):
    encoder = make_encoder()
    guide = FORMS[form](encoder)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    first = compare_bounds(model, guide, X, num_samples=30)
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(part.training for part in encoder.modules())
    encoder.eval()
    assert torch.equal(compare_bounds(model, guide, X, num_samples=30).log_px, first.log_px)


@pytest.mark.parametrize("form", FORMS)
def test_registered_modules_train_and_their_buffers_are_kept(form):
    encoder = make_encoder()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    fit_svi(model, FORMS[form](encoder), X, validation=X, epochs=3, batch_size=20, progress=False)
    for name, value in encoder.state_dict().items():
        assert not torch.equal(value, before[name]), name
    assert all(part.training for part in encoder.modules())


def unregistered(encoder, x):
    with pyro.plate("data", len(x)):
        loc, raw = encoder(x).chunk(2, -1)
        pyro.sample("z", dist.Normal(loc, nn.functional.softplus(raw)).to_event(1))


class Guide(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = make_encoder()

    def forward(self, x):
        unregistered(self.encoder, x)


@pytest.mark.parametrize("wrap", [config_enumerate, lambda guide: pyro.poutine.mask(guide, mask=True)])
def test_a_module_is_found_behind_handlers(wrap):
    """Its weights are trained, and where it is looked at it runs in evaluation mode."""
    guide, modes = Guide(), list[bool]()
    guide.encoder.register_forward_hook(lambda module, *_: modes.append(guide.training))
    before = {name: value.clone() for name, value in guide.named_parameters()}
    fit_svi(model, wrap(guide), X, epochs=1, batch_size=20, progress=False)
    assert all(not torch.equal(value, before[name]) for name, value in guide.named_parameters())
    modes.clear()
    compare_bounds(model, lambda x: guide(x), X[:5], num_samples=2)
    assert modes
    assert not any(modes)
    assert guide.training


def test_weights_that_would_not_be_trained_are_refused():
    decoder = nn.Parameter(torch.zeros(3))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.loc = decoder

        def forward(self, x):
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1).to_event(1))
                pyro.sample("x", dist.Normal(z + self.loc, 1).to_event(1), obs=x)

    guide, options = Guide(), {"epochs": 1, "batch_size": 20, "progress": False}
    with pytest.raises(ValueError, match=r"a Linear that the programs call has trainable weights \('weight'\)"):
        fit_svi(Model(), lambda x: guide(x), X, **options)
    before = decoder.clone()
    guide.requires_grad_(False)
    fit_svi(Model(), lambda x: guide(x), X, **options)
    assert not torch.equal(before, decoder)


def test_an_object_without_a_hash_keeps_its_values():
    guide = Unhashable(nn.Linear(3, 2).requires_grad_(False))
    kept = len(parameters._kept)
    result = fit_svi(model, guide, X, epochs=20, batch_size=20, lr=0.1, progress=False)
    assert result.params["scale"] != 1.0
    bounds = compare_bounds(model, guide, X, num_samples=2000)
    # The ELBO is that of the fitted scale: closed form for a diagonal Gaussian q.
    loc, scale = guide.encoder(X)[:, 0].double(), result.params["scale"].double()
    reconstruction = dist.Normal(loc[:, None], 1.0).log_prob(X).sum(-1) - 1.5 * scale**2
    elbo = reconstruction - 0.5 * (scale**2 + loc**2 - 1 - 2 * scale.log())
    assert ((bounds.elbo - elbo).abs() < 5 * bounds.elbo_standard_error).all()
    del guide
    assert len(parameters._kept) == kept


def test_one_object_with_two_programs_keeps_the_values_of_both():
    class Both:
        def model(self, x):
            loc = pyro.param("b", torch.zeros(3))
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1).to_event(1))
                pyro.sample("x", dist.Normal(loc + 0 * z, 1).to_event(1), obs=x)

        def guide(self, x):
            scale = pyro.param("c", torch.tensor(2.0), constraint=dist.constraints.positive)
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(x.new_zeros(1), scale).to_event(1))

    pair = Both()
    result = fit_svi(pair.model, pair.guide, X, epochs=100, batch_size=20, lr=0.1, progress=False)
    assert result.params.keys() == {"b", "c"}
    exact = dist.Normal(result.params["b"], 1.0).log_prob(X).sum(-1)
    bounds = compare_bounds(pair.model, pair.guide, X, num_samples=200)
    assert ((bounds.log_px - exact).abs() < 5 * bounds.standard_error + 1e-4).all()


def test_a_statement_may_have_the_name_of_a_modules_weight():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.loc = nn.Parameter(torch.zeros(3))

        def forward(self, x):
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1).to_event(1))
                pyro.sample("x", dist.Normal(self.loc + z, 1).to_event(1), obs=x)

    def guide(x):
        loc = pyro.param("loc", torch.zeros(1))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, 0.5).to_event(1))

    pair = Model()
    result = fit_svi(pair, guide, X, epochs=50, batch_size=20, lr=0.1, progress=False)
    assert result.params["loc"].shape == (1,)
    assert result.params["loc"] != 0
    elbo = compare_bounds(pair, guide, X, num_samples=2000).elbo.mean().item()
    assert elbo == pytest.approx(result.history[-1]["train_elbo"], abs=0.5)


def test_the_newer_value_counts():
    """fit_svi, then plain SVI on the same functions: evaluation sees what plain SVI left in the store."""

    def guide(x):
        loc = pyro.param("loc", torch.zeros(1))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, 0.5).to_event(1))

    fit_svi(model, guide, X, epochs=1, batch_size=20, progress=False)
    kept = compare_bounds(model, guide, X, num_samples=200).elbo.mean()
    pyro.get_param_store()["loc"] = torch.full((1,), 2.0)
    changed = compare_bounds(model, guide, X, num_samples=200).elbo.mean()
    assert changed > kept + 1
    pyro.clear_param_store()
    assert compare_bounds(model, guide, X, num_samples=200).elbo.mean() == kept


def test_masked_observations_count_neither_way():
    mask = torch.rand(40, 3) > 0.5

    def masked(x):
        rows = torch.arange(len(x)) % 40
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1).to_event(1))
            fn = dist.Normal(z.expand(*z.shape[:-1], 3), 1).mask(mask[rows]).to_event(1)
            pyro.sample("x", fn, obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.new_zeros(1), 1).to_event(1))

    bounds = compare_bounds(masked, guide, X[:3], num_samples=20_000)
    seen = mask[:3].sum(1).double()
    # Observed entries of a row are Gaussian with covariance I + 1 1^T.
    total, square = (X[:3] * mask[:3]).sum(1).double(), (X[:3] ** 2 * mask[:3]).sum(1).double()
    exact = -0.5 * (seen * torch.log(torch.tensor(2 * torch.pi)) + torch.log1p(seen) + square - total**2 / (1 + seen))
    assert ((bounds.log_px - exact).abs() < 4 * bounds.standard_error + 1e-4).all()
