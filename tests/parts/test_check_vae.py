"""check_vae names the first thing that is wrong, and changes nothing."""

import random

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from parts_to_check import Kept, X, make, with_weight_of_a_closure
from problems import ExactPosterior, LinearGaussian, bits, small_vae
from torch import nn

from pyrovae import VAE, check_vae, compare_bounds, fit_svi, likelihoods, networks, posteriors, priors


def test_the_table_of_a_sound_vae():
    check = check_vae(make(), X)
    assert check.ok
    assert check.problem is None
    assert check.notes == ()
    lines = {part.part: part for part in check.parts}
    assert list(lines) == [
        *("data", ".encoder", "posterior", "prior", ".decoder", "likelihood"),
        *("log q(z|x)", "log p(z)", "log p(x|z)"),
    ]
    assert {name: (line.batch_shape, line.event_shape) for name, line in lines.items()} == {
        "data": ((5,), (1, 8, 8)),
        ".encoder": ((5,), (4,)),
        "posterior": ((5,), (2,)),
        "prior": ((), (2,)),
        ".decoder": ((5,), (1, 8, 8)),
        "likelihood": ((5,), (1, 8, 8)),
        "log q(z|x)": ((5,), None),
        "log p(z)": ((5,), None),
        "log p(x|z)": ((5,), None),
    }
    assert lines["posterior"].parameters == 64 * 16 + 16 + 16 * 4 + 4
    assert lines["prior"].parameters == 0
    assert (lines["posterior"].module, lines["posterior"].returns) == ("DiagonalNormal", "Normal")
    assert {line.dtype for line in lines.values()} == {torch.float32}
    shown = str(check)
    assert shown == repr(check)
    assert shown.splitlines()[0].split()[:4] == ["part", "call", "module", "returns"]
    assert shown.endswith("\nok: nothing wrong was found")
    assert "\n  .encoder  posterior.encoder(x) " in shown
    assert "1,108" in shown


def vamp(posterior):
    return make(posterior=posterior, prior=priors.VampPrior(posterior, (1, 8, 8), num_pseudo_inputs=3))


SOUND = {
    "Normal": lambda: small_vae(likelihood="Normal"),
    "residual": lambda: make(
        networks.ResidualEncoder((1, 8, 8), 4, (4, 4)), networks.ResidualDecoder(2, (1, 8, 8), (4, 4))
    ),
    "batch normalisation": lambda: make(
        networks.MLP((1, 8, 8), 4, normalization="batch"), networks.MLP(2, (1, 8, 8), normalization="batch")
    ),
    "flow": lambda: make(prior=priors.Flow(2, num_layers=2, hidden_dims=(4,))),
    "VampPrior": lambda: vamp(make().posterior),
    "dropout": lambda: make(nn.Sequential(nn.Flatten(-3), nn.Linear(64, 8), nn.Dropout(), nn.ReLU(), nn.Linear(8, 4))),
}


@pytest.mark.parametrize("name", SOUND)
@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sound_ones_are_ok(name, rows, dtype):
    check = check_vae(SOUND[name]().to(dtype), X[:rows].to(dtype))
    assert check.ok, check
    assert check.notes == ()


def test_frozen_weights_may_be_anywhere():
    decoder = Kept([networks.MLP(2, (1, 8, 8)).requires_grad_(False)])
    for vae in (make(decoder=decoder), with_weight_of_a_closure(requires_grad=False)):
        check = check_vae(vae, X)
        assert check.ok, check


def test_parts_around_parts_and_missing_entries():
    vae = make(
        posterior=posteriors.PartlyObserved(SOUND["residual"]().posterior, (1, 8, 8)),
        likelihood=likelihoods.PartlyObserved(make().likelihood),
    )
    missing = torch.where(torch.rand(X.shape) < 0.3, torch.nan, X)
    for batch in (X, missing):
        check = check_vae(vae, batch)
        assert check.ok, check
        lines = {part.part: part for part in check.parts}
        assert [lines[name].event_shape for name in (".posterior.encoder", "posterior")] == [(4,), (2,)]
        assert lines[".likelihood.decoder"].event_shape == (1, 8, 8)


def test_exact_parts_without_parameters():
    problem = LinearGaussian.random(4, 2, seed=0)
    vae = problem.vae(ExactPosterior(problem)).requires_grad_(False)
    check = check_vae(vae, problem.rows(6))
    assert check.ok, check
    assert check.notes == ("no parameter is trained: the VAE has none, or none with requires_grad",)
    # The log-densities of the table are those of the parts: with the exact posterior they add up to log p(x).
    means = {part.part: float(part.returns.split()[1]) for part in check.parts if part.part.startswith("log")}
    expected = problem.log_px(problem.rows(6)).mean().item()
    assert means["log p(x|z)"] + means["log p(z)"] - means["log q(z|x)"] == pytest.approx(expected, abs=0.02)


def test_a_model_of_ones_own_is_checked_by_its_programs():
    class Doubled(VAE):
        def model(self, x):
            with pyro.poutine.scale(scale=2.0):
                return super().model(x)

    parts = make()
    check = check_vae(Doubled(parts.prior, parts.likelihood, parts.posterior), X)
    assert "has a scale of 2" in check.problem


def test_what_is_no_vae():
    vae = make()
    with pytest.raises(ValueError, match=r"got a tuple; expected a VAE.*use check_pair"):
        check_vae((vae.model, vae.guide), X)


class CountingCalls(nn.Module):
    """Changes a buffer in evaluation mode, too, and draws random numbers of three kinds."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        torch.rand(2), np.random.rand(2), random.random()
        return x


@pytest.mark.parametrize("sound", [True, False])
def test_nothing_is_changed(sound):
    encoder = nn.Sequential(
        nn.Flatten(-3), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Dropout(), CountingCalls(), nn.Linear(8, 4)
    )
    vae = make(encoder, networks.MLP(2 if sound else 3, (1, 8, 8), normalization="batch"))
    vae.likelihood.eval()
    modes = {name: module.training for name, module in vae.named_modules()}
    state = {name: tensor.clone() for name, tensor in vae.state_dict().items()}
    pyro.param("a", torch.tensor(1.0))
    random_states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    with torch.no_grad():
        assert check_vae(vae, X).ok == sound
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), random_states[0])
    assert (np.random.get_state()[1] == random_states[1]).all()
    assert random.getstate() == random_states[2]
    assert {name: module.training for name, module in vae.named_modules()} == modes
    assert vae.state_dict().keys() == state.keys()
    for name, tensor in vae.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    assert all(parameter.grad is None for parameter in vae.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in vae.modules())
    assert set(pyro.get_param_store().keys()) == {"a"}


class Convolutions(nn.Module):
    """The encoder of someone who never thought of more than one batch dimension."""

    def __init__(self):
        super().__init__()
        self.convolution, self.linear = nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.Linear(4 * 4 * 4, 4)

    def forward(self, x):
        return self.linear(torch.relu(self.convolution(x)).view(len(x), -1))


class TransposedConvolutions(nn.Module):
    """Its decoder: z of leading shape (k, n) becomes k * n images."""

    def __init__(self):
        super().__init__()
        self.linear, self.convolution = nn.Linear(2, 4 * 4 * 4), nn.ConvTranspose2d(4, 1, 4, stride=2, padding=1)

    def forward(self, z):
        return self.convolution(torch.relu(self.linear(z)).view(-1, 4, 4, 4))


OWN_NETWORKS = {
    "Sequential": (
        lambda: nn.Sequential(nn.Flatten(-3), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 4)),
        lambda: nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 64), nn.Unflatten(-1, (1, 8, 8))),
        0,
    ),
    "Sequential of one batch dimension": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 4)),
        lambda: nn.Sequential(nn.Linear(2, 64), nn.Unflatten(1, (1, 8, 8))),
        2,
    ),
    "convolutions of one batch dimension": (Convolutions, TransposedConvolutions, 2),
}


@pytest.mark.parametrize("name", OWN_NETWORKS)
def test_networks_of_ones_own_are_fitted_and_evaluated(name):
    make_encoder, make_decoder, num_notes = OWN_NETWORKS[name]
    vae, x = make(make_encoder(), make_decoder()), bits(40)
    check = check_vae(vae, x)
    assert check.ok, check
    assert len(check.notes) == num_notes
    assert all("takes one batch dimension only" in note for note in check.notes)
    result = fit_svi(vae.model, vae.guide, x, epochs=5, batch_size=20, lr=1e-2, progress=False)
    assert result.history[-1]["train_elbo"] > result.history[0]["train_elbo"]
    bounds = compare_bounds(vae.model, vae.guide, x[:6], num_samples=4000, seed=1)
    # The same by plain PyTorch, one row at a time, from draws of its own.
    vae.eval()
    with torch.no_grad():
        for row in range(6):
            loc, raw_scale = vae.posterior.encoder(x[row : row + 1])[0].chunk(2)
            q_z = torch.distributions.Normal(loc, nn.functional.softplus(raw_scale) + 1e-6)
            z = q_z.sample((4000,))
            log_px_z = -nn.functional.binary_cross_entropy_with_logits(
                vae.likelihood.decoder(z), x[row].expand(4000, 1, 8, 8), reduction="none"
            ).sum((1, 2, 3))
            log_w = log_px_z + torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1) - q_z.log_prob(z).sum(-1)
            w = (log_w - log_w.max()).exp()
            error = (w.std() / w.mean() / 4000**0.5).item()
            log_px = (w.mean().log() + log_w.max()).item()
            # 18 comparisons at 5 standard errors of a difference: a false alarm in about 1 of 100,000 seeds.
            assert abs(bounds.log_px[row].item() - log_px) < 5 * 2**0.5 * error + 1e-4


def test_rounding_alone_is_nothing_wrong():
    """Rows far from zero: float32 leaves few digits beside the encoder's small scales, and other ones for one row."""
    rows = 100 + 20 * torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    for seed in range(3):
        torch.manual_seed(seed)
        vae = VAE(
            priors.StandardNormal(10),
            likelihoods.Normal(networks.MLP(10, 5)),
            posteriors.DiagonalNormal(networks.MLP(5, 20)),
        )
        report = check_vae(vae, rows)
        assert report.ok, report
        assert not report.notes


def test_a_part_for_float32_only_that_mixes_rows():
    class Mixing(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(()))

        def forward(self, x):
            assert x.dtype == torch.float32
            loc = x.mean(0).expand_as(x) + self.weight
            return dist.Normal(loc, 0.1).to_event(1)

    vae = VAE(priors.StandardNormal(3), likelihoods.Normal(networks.MLP(3, 3)), Mixing())
    report = check_vae(vae, torch.randn(8, 3, generator=torch.Generator().manual_seed(0)))
    assert "no row may depend on another" in report.problem
