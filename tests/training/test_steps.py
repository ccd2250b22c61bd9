"""Steps by recorded operations against steps that run the programs: the same losses, weights and draws."""

import gc
import weakref

import pyro
import pyro.distributions as dist
import pytest
import torch
from compilers import has_compiler
from kinds_of_pairs import PAIRS
from problems import bits, small_vae
from torch import nn
from users_parts import CorrelatedNormal, Gamma, StudentT

from pyrovae import VAE, NonFiniteLossError, fit_svi, likelihoods, log_weights, networks, posteriors, priors
from pyrovae.objectives import IWAE, Linear, TraceMeanField_ELBO
from pyrovae.objectives.named import OBJECTIVES
from pyrovae.recording import Replay
from pyrovae.semi_supervised import M1, M1M2, M2, PCVAE


def fit(pair, x, step, **options):
    options = {"epochs": 2, "batch_size": 16, "progress": False, "validation": x[:20]} | options
    return fit_svi(pair.model, pair.guide, x, step=step, **options)


def assert_same_fit(make, x, way="recorded", rtol=1e-6, **options):
    """Up to rounding: Pyro sums the value of its loss as Python numbers, and a recording as tensors.

    A KL that is the difference of two sums over rows is as exact as these, in single precision 5e-6 nats per row here.
    """
    pairs = {}
    for step in ("plain", way):
        torch.manual_seed(0)
        pairs[step] = make()
    results = {step: fit(pair, x, step, **options) for step, pair in pairs.items()}
    assert results["plain"].stepping == "plain"
    assert results[way].stepping == way
    for plain, recorded in zip(results["plain"].history, results[way].history, strict=True):
        for name in set(plain) - {"seconds"}:
            assert recorded[name] == pytest.approx(plain[name], rel=rtol, abs=1e-5), name
    state = pairs["plain"].state_dict() if isinstance(pairs["plain"], nn.Module) else results["plain"].params
    ours = pairs[way].state_dict() if isinstance(pairs[way], nn.Module) else results[way].params
    for name, value in state.items():
        torch.testing.assert_close(ours[name], value, rtol=rtol, atol=1e-6)


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_kinds_of_pairs(name):
    make, data = PAIRS[name]
    options = {"objective": "Trace_ELBO"} if name in ("a class beside", "two latents, the last one first") else {}
    assert_same_fit(make, data(50), **options)


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_objectives(name):
    assert_same_fit(small_vae, bits(60), objective=name)


# This one takes no beta.
@pytest.mark.parametrize("name", sorted(set(OBJECTIVES) - {"ReweightedWakeSleep"}))
def test_objectives_with_a_beta_that_moves(name):
    assert_same_fit(small_vae, bits(60), objective=name, beta=Linear(0.0, 2.0, length=0.7), epochs=3)


@pytest.mark.ci
def test_compiled_steps():
    """Where there is a C++ compiler; without one the recorded steps run, which a test of recording shows."""
    if not has_compiler():
        pytest.skip("no C++ compiler")
    assert_same_fit(small_vae, bits(60), way="compiled", rtol=1e-5)


@pytest.mark.parametrize(
    "objective",
    [
        TraceMeanField_ELBO(free_bits=0.1, num_particles=3, num_reconstructions=1),
        TraceMeanField_ELBO(capacity=Linear(0.0, 3.0, length=0.5)),
        TraceMeanField_ELBO(num_particles=2),
        IWAE(num_particles=7),
    ],
    ids=["free bits", "capacity", "particles", "seven draws"],
)
def test_options_of_objectives(objective):
    assert_same_fit(small_vae, bits(60), objective=objective)


@pytest.mark.parametrize("objective", ["DReG", "ReweightedWakeSleep"])
def test_draws_of_a_flow_that_are_scored_again(objective):
    def make():
        vae = small_vae()
        return VAE(vae.prior, vae.likelihood, posteriors.Flow(2, vae.posterior, hidden_dims=(8,)))

    assert_same_fit(make, bits(60), objective=objective, rtol=1e-5)


def test_parts_of_a_user():
    def make():
        torch.manual_seed(0)
        return VAE(CorrelatedNormal(2), Gamma(networks.MLP(2, 3, (8,))), StudentT(networks.MLP(3, 4, (8,))))

    x = dist.Gamma(2.0, 1.0).sample((60, 3))
    assert_same_fit(make, x, objective="Trace_ELBO", rtol=1e-5)


class WithParams:
    """Programs without a module, their parameters in ``pyro.param`` statements."""

    def model(self, x):
        scale = pyro.param("scale", torch.ones(()), constraint=dist.constraints.positive)
        with pyro.plate("rows", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z[:, None], scale).expand((len(x), 2)).to_event(1), obs=x)

    def guide(self, x):
        weight = pyro.param("weight", torch.zeros(2))
        with pyro.plate("rows", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x @ weight, 0.5))


def test_pyro_params():
    assert_same_fit(WithParams, torch.randn(64, 2, generator=torch.Generator().manual_seed(0)))


def test_networks_that_drop_units_and_normalise_batches():
    def make():
        torch.manual_seed(0)
        encoder = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 4)
        )
        decoder = networks.MLP(2, (1, 8, 8), (8,))
        return VAE(priors.StandardNormal(2), likelihoods.Bernoulli(decoder), posteriors.DiagonalNormal(encoder))

    assert_same_fit(make, bits(60))


@pytest.mark.parametrize("trained", ["guide", "model"])
def test_parameters_that_are_held(trained):
    assert_same_fit(small_vae, bits(60), trained=trained)


class Decides(nn.Module):
    """A program that looks at a value: the last batch is not the first."""

    def __init__(self):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(()))

    def model(self, x):
        with pyro.plate("rows", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            loc = z if x.mean() > 0 else -z
            pyro.sample("x", dist.Normal(loc[:, None], 1.0).expand((len(x), 2)).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("rows", len(x), dim=-1):
            pyro.sample("z", dist.Normal(self.loc.expand(len(x)), 1.0))


def test_programs_that_decide_by_values_run_plainly_and_it_is_said_once(capsys):
    x = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    plain, recorded = (fit(Decides(), x, step, epochs=3, progress=step != "plain") for step in ("plain", "recorded"))
    assert recorded.stepping == "plain: it reads values of tensors, to decide what to do for example"
    assert [t["train_elbo"] for t in recorded.history] == [t["train_elbo"] for t in plain.history]
    assert capsys.readouterr().err.count("Each step runs the Pyro programs") == 1


class Classes(nn.Module):
    """A class of each row, as a number or as a vector of zeros and a one."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.encoder = kind, nn.Linear(2, 3)

    def model(self, x):
        with pyro.plate("rows", len(x), dim=-1):
            k = pyro.sample("k", self.kind(x.new_ones(3)))
            ones = k if self.kind is dist.OneHotCategorical else (k[..., None] == torch.arange(3)).float()
            pyro.sample("x", dist.Normal(ones[..., :2], 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("rows", len(x), dim=-1):
            pyro.sample("k", self.kind(logits=self.encoder(x)))


@pytest.mark.parametrize(
    ("kind", "way"),
    [
        (dist.OneHotCategorical, "plain: it reads values of tensors, to decide what to do for example"),
        (dist.Categorical, "recorded"),
    ],
    ids=["vectors", "numbers"],
)
def test_draws_of_vectors_read_values_and_those_of_numbers_do_not(kind, way):
    assert fit(Classes(kind), torch.randn(64, 2), "recorded", objective="ScoreFunction").stepping == way


def test_a_long_fit_records_by_itself_and_gives_what_it_gave():
    x, results = bits(60), {}
    for step in ("plain", "auto"):
        torch.manual_seed(0)
        results[step] = fit(small_vae(), x, step, epochs=120, batch_size=20, patience=None)
    assert results["auto"].stepping == "recorded"
    for name in ("train_elbo", "validation_elbo"):
        plain, auto = ([terms[name] for terms in results[step].history] for step in ("plain", "auto"))
        assert auto == pytest.approx(plain, rel=1e-7)


def test_a_loss_that_is_not_finite_is_found_in_recorded_steps():
    with pytest.raises(NonFiniteLossError, match="the loss is not finite at epoch"):
        fit(small_vae(), bits(60), "recorded", lr=1e20, epochs=20)


def test_the_callers_random_state_stays():
    vae, state = small_vae(), torch.get_rng_state()
    fit(vae, bits(60), "recorded")
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("step", ["plain", "recorded"])
def test_a_fit_keeps_nothing_of_the_model(step):
    vae = small_vae()
    gone = weakref.ref(vae)
    gc.collect()
    gc.disable()
    try:
        fit(vae, bits(60), step)
        log_weights(vae.model, vae.guide, bits(60), 10)
        del vae
        assert gone() is None
    finally:
        gc.enable()


def test_another_step_is_refused():
    with pytest.raises(ValueError, match="step is 'fast'; expected one of auto, plain, recorded, compiled"):
        fit(small_vae(), bits(60), "fast")


SMALL = {"latent_dim": 3, "hidden_dims": (16,), "epochs": 3, "batch_size": 20, "progress": False}
LABELS = torch.where(torch.arange(100) < 12, torch.arange(100) % 3, -1)


def normal(inputs, shape):
    return likelihoods.Normal(networks.MLP(inputs, shape, (16,)))


@pytest.mark.parametrize(
    "make",
    [
        lambda step: M1(**SMALL, step=step),
        lambda step: M2(**SMALL, step=step),
        lambda step: PCVAE(**SMALL, step=step),
        lambda step: M1M2(M1(**SMALL), M2(**SMALL, likelihood=normal, step=step), fine_tune_epochs=3),
    ],
    ids=["M1", "M2", "PC-VAE", "M1+M2"],
)
def test_semi_supervised_models(make, monkeypatch):
    replays, init = [], Replay.__init__

    def noted(self, *arguments, **options):
        replays.append(self)
        init(self, *arguments, **options)

    monkeypatch.setattr(Replay, "__init__", noted)
    plain, recorded = (make(step).fit(bits(100), LABELS) for step in ("plain", "recorded"))
    assert any(replay.way == "recorded" for replay in replays)
    for ours, theirs in zip(recorded.history_, plain.history_, strict=True):
        for name in set(theirs) - {"seconds"}:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-5, abs=1e-6), name


class Counting(nn.Module):
    """Lowers a temperature by a count of its own, every so often."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(3, 2)
        self.count = 0

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z.sum(-1, keepdim=True), 1.0).expand([len(x), 3]).to_event(1), obs=x)

    def guide(self, x):
        self.count += self.training
        with pyro.plate("data", len(x)):
            scale = 1.0 if self.count < 150 else 0.5
            pyro.sample("z", dist.Normal(self.encoder(x), scale).to_event(1))


def test_a_program_that_counts_in_python_runs_plainly():
    """Its recorded operations would keep the count, and agree with it at each check, as it stands still."""
    x, results = torch.randn(20, 3, generator=torch.Generator().manual_seed(0)), []
    for step in ("auto", "plain"):
        torch.manual_seed(0)
        module = Counting()
        result = fit_svi(
            module.model, module.guide, x, epochs=100, batch_size=5, objective="Trace_ELBO", step=step, progress=False
        )
        results.append([terms["train_elbo"] for terms in result.history])
        assert module.count >= 400
        reason = ": it changes 'count', which is no tensor: make it a buffer" if step == "auto" else ""
        assert result.stepping == f"plain{reason}"
    assert results[0] == results[1]
