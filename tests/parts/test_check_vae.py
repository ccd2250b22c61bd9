"""check_vae names the first thing that is wrong, and changes nothing."""

import random

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from problems import ExactPosterior, LinearGaussian, bits, small_vae
from torch import nn

from pyrovae import VAE, check_vae, compare_bounds, fit_svi, likelihoods, networks, posteriors, priors

X = bits(5)


def make(encoder=None, decoder=None, **parts):
    """A VAE of 8 x 8 binary images with some of its parts exchanged."""
    return VAE(
        parts.get("prior") or priors.StandardNormal(2),
        parts.get("likelihood") or likelihoods.Bernoulli(decoder or networks.MLP(2, (1, 8, 8), (16,))),
        parts.get("posterior") or posteriors.DiagonalNormal(encoder or networks.MLP((1, 8, 8), 4, (16,))),
    )


class Part(nn.Module):
    """A part with a network, from a function of the network's output."""

    def __init__(self, network, distribution):
        super().__init__()
        self.network, self.distribution = network, distribution

    def forward(self, context):
        return self.distribution(self.network(context))


def posterior(distribution, network=None):
    return make(posterior=Part(network or networks.MLP((1, 8, 8), 2, (8,)), distribution))


def likelihood(distribution, network=None):
    return make(likelihood=Part(network or networks.MLP(2, (1, 8, 8), (8,)), distribution))


class Network(nn.Module):
    """A network and a function of its output."""

    def __init__(self, network, function):
        super().__init__()
        self.network, self.function = network, function

    def forward(self, x):
        return self.function(self.network(x))


class FixedPrior(nn.Module):
    def __init__(self, distribution):
        super().__init__()
        self.distribution = distribution

    def forward(self):
        return self.distribution


def with_prior(prior):
    """A VAE whose prior was exchanged after it was made, past the check of its making."""
    vae = make()
    vae.prior = prior
    return vae


def with_weight(name, value):
    vae = make()
    with torch.no_grad():
        vae.get_parameter(name).view(-1)[3] = value
    return vae


def unused():
    vae = make()
    vae.likelihood.extra = nn.Linear(3, 3)
    return vae


class Kept(nn.Module):
    """A network inside a Python container, which no name leads to."""

    def __init__(self, container):
        super().__init__()
        self.container = container

    def forward(self, z):
        return next(iter(getattr(self.container, "values", lambda: self.container)()))(z)


def with_weight_of_a_closure(requires_grad):
    weight = torch.zeros(1, 8, 8, requires_grad=requires_grad)
    return make(decoder=Network(networks.MLP(2, (1, 8, 8)), lambda h: h + weight))


class NoDensity(dist.Normal):
    def log_prob(self, value):
        return super().log_prob(value) * float("nan")


class PerPixel(dist.Normal):
    def log_prob(self, value):
        return super().log_prob(value).unsqueeze(-1)


class Undrawn(dist.Normal):
    has_rsample = False

    def sample(self, sample_shape=()):
        raise NotImplementedError("no draws")


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


def independent(loc):
    return dist.Normal(loc, 1.0).to_event(1)


# What is broken: the VAE, the batch, and what the report has to say.
BROKEN = {
    "batch is no tensor": (make, X.numpy(), "batch is a ndarray; expected a tensor"),
    "no rows": (make, X[:0], r"batch has shape \(0, 1, 8, 8\)"),
    "infinity in the batch": (make, X / 0, "NaN or infinite values in 5 of 5 rows"),
    "NaN in the batch": (
        make,
        torch.where(X > 0, torch.nan, X),
        "^batch has NaN or infinite values in 5 of 5 rows.*wrap the likelihood and the posterior in",
    ),
    "a batch without values": (make, X.to("meta"), "reading the batch raised"),
    "float64 data": (make, X.double(), r"weight is float32, the batch float64: give batch.to\(torch.float32\)"),
    "float64 network": (lambda: make().double(), X, "weight is float64, the batch float32"),
    "float64 decoder": (lambda: make(decoder=networks.MLP(2, (1, 8, 8)).double()), X, "^likelihood.decoder.*float64"),
    "integer data": (make, X.long(), "posterior.encoder.*Linear.*it was given int64 numbers and has float32 ones"),
    "another device": (lambda: make().to("meta"), X, r"^posterior.*is on meta, the batch on cpu.*vae.to\(device\)"),
    "prior on another device": (lambda: with_prior(priors.StandardNormal(2).to("meta")), X, "^prior.loc is on meta"),
    "lazy network": (lambda: make(nn.Sequential(nn.Flatten(), nn.LazyLinear(4))), X, "has no shape yet: run vae.guide"),
    "weights of NaN": (
        lambda: with_weight("posterior.encoder.layers.0.weight", float("nan")),
        X,
        r"^posterior.encoder.layers.0.weight has NaN or infinite values: start from fresh weights",
    ),
    "encoder for other data": (
        lambda: make(nn.Sequential(nn.Flatten(), nn.Linear(63, 4))),
        X,
        r"^posterior\(x\) raised RuntimeError in posterior.encoder.1 \(Linear\): "
        r".*5x64 and 63x4.*shape \(5, 1, 8, 8\)",
    ),
    "encoder gives NaN": (
        lambda: make(Network(networks.MLP((1, 8, 8), 4), torch.log)),
        X,
        r"^the output of posterior.encoder\(x\) has .* NaN or infinite values among 20, the first of them at \(\d",
    ),
    "encoder too wide": (
        lambda: make(networks.MLP((1, 8, 8), 6)),
        X,
        r"^posterior\(x\) has .* event shape \(3,\); expected \(5,\) and \(2,\): the prior is over \(2,\): give both "
        r"the same latent_dim.*posterior.encoder\(x\) gives shape \(6,\)",
    ),
    "encoder of odd width": (lambda: make(networks.MLP((1, 8, 8), 5)), X, "the encoder gave 5 numbers for each row"),
    "posterior returns a tensor": (
        lambda: posterior(lambda h: h),
        X,
        "returned a Tensor; expected a Pyro distribution",
    ),
    "posterior of torch": (
        lambda: posterior(lambda h: torch.distributions.Independent(torch.distributions.Normal(h, 1.0), 1)),
        X,
        "take the same class from pyro.distributions",
    ),
    "posterior is a function": (lambda: make(posterior=lambda x: dist.Normal(x, 1)), X, "expected an nn.Module"),
    "posterior without to_event": (lambda: posterior(lambda h: dist.Normal(h, 1.0)), X, r"^post.*add .to_event\(1\)"),
    "posterior, to_event(2)": (
        lambda: posterior(lambda h: dist.Normal(h, 1.0).to_event(2)),
        X,
        "^posterior.*only the last 1 dimensions are one value: give .to_event 1 less",
    ),
    "posterior forgets the rows": (
        lambda: posterior(lambda h: independent(h.mean(0))),
        X,
        r"^posterior\(x\) has batch shape \(\).*keep the leading dimensions of the input",
    ),
    "posterior cannot be drawn from": (
        lambda: posterior(lambda h: Undrawn(h, 1.0).to_event(1)),
        X,
        r"^posterior\(x\) cannot be drawn from, so there is no z",
    ),
    "prior has a batch shape": (
        lambda: with_prior(FixedPrior(dist.Normal(torch.zeros(2), 1.0))),
        X,
        r"^prior\(\) has batch shape \(2,\) and event shape \(\).*add .to_event\(1\)",
    ),
    "prior of another size": (lambda: with_prior(priors.StandardNormal(3)), X, r"^prior\(\).*make a new VAE with it"),
    "prior of other support": (
        lambda: with_prior(FixedPrior(dist.Exponential(torch.ones(2)).to_event(1))),
        X,
        "^prior.*log_prob.*raised ValueError.*prior and posterior need the same support",
    ),
    "decoder for another z": (
        lambda: make(decoder=networks.MLP(3, (1, 8, 8))),
        X,
        r"^likelihood\(z\) raised ValueError in likelihood.decoder \(MLP\): MLP got an input of shape \(5, 2\)",
    ),
    "decoder gives infinity": (
        lambda: make(decoder=Network(networks.MLP(2, (1, 8, 8)), lambda h: h / 0)),
        X,
        r"^the output of likelihood.decoder\(z\) has 320 NaN or infinite values",
    ),
    "decoder for other data": (
        lambda: make(decoder=networks.MLP(2, (1, 8, 7))),
        X,
        r"^likelihood.*expected \(5,\) and \(1, 8, 8\): build the decoder for the data, with output_shape .*8\)",
    ),
    "flat decoder": (lambda: make(decoder=networks.MLP(2, 64)), X, r"or reshape the data, x.reshape\(-1, 64\)$"),
    "likelihood without to_event": (
        lambda: likelihood(lambda h: dist.Bernoulli(logits=h)),
        X,
        r"^likelihood.*add .to_event\(3\)",
    ),
    "likelihood without one to_event": (
        lambda: likelihood(lambda h: dist.Bernoulli(logits=h).to_event(1)),
        X,
        r"^likelihood.*add .to_event\(2\)",
    ),
    "decoder mixes up the rows": (
        lambda: make(decoder=nn.Sequential(nn.Linear(2, 64), nn.Unflatten(1, (1, 8, 8)), nn.Flatten(0, 1))),
        X,
        r"^likelihood\(z\) has batch shape \(5,\) and event shape \(8, 8\)",
    ),
    "grey pixels": (make, X * 0.5, "Bernoulli at site 'x' is no density.*value 0.5"),
    "a density that is NaN": (
        lambda: likelihood(lambda h: NoDensity(h, 1.0).to_event(3)),
        X,
        r"^likelihood\(z\).log_prob\(x\) has 5 NaN or infinite values among 5",
    ),
    "a density for each pixel": (
        lambda: likelihood(lambda h: PerPixel(h, 1.0).to_event(3)),
        X,
        r"^likelihood\(z\).log_prob\(x\) has shape .*expected \(5,\), one number for each row",
    ),
    "parameter not used": (
        unused,
        X,
        r"the parameter 'likelihood.extra.weight' nor 1 more, so it would never be trained",
    ),
    "encoder detached": (
        lambda: make(Network(networks.MLP((1, 8, 8), 4), torch.detach)),
        X,
        "no gradient reaches the parameter 'posterior.encoder.network.layers.0.weight'",
    ),
    "a gradient that is NaN": (
        lambda: posterior(lambda h: independent(h + (h - h).sqrt())),
        X,
        "^the gradient of the parameter 'posterior.network.*NaN",
    ),
    "a decoder in a list": (
        lambda: make(decoder=Kept([networks.MLP(2, (1, 8, 8))])),
        X,
        r"^a Linear .* trainable weights \('weight'\) that would not be trained: .* nn.ModuleList or nn.ModuleDict",
    ),
    "a decoder in a dict": (
        lambda: make(decoder=Kept({"decoder": networks.MLP(2, (1, 8, 8))})),
        X,
        r"^a Linear .* trainable weights \('weight'\) that would not be trained: .* nn.ModuleList or nn.ModuleDict",
    ),
    "a weight of a closure": (
        lambda: with_weight_of_a_closure(requires_grad=True),
        X,
        r"^the programs use a parameter of shape \(1, 8, 8\) that is in none of their modules, and would",
    ),
    "rows that share a mean": (
        lambda: make(Network(networks.MLP((1, 8, 8), 4), lambda h: h - 3 * h.mean(0))),
        X,
        r"^posterior\(x\[:1\]\) gives the first row the log-density .*no row may depend on another",
    ),
    "noise in the decoder": (
        lambda: make(decoder=Network(networks.MLP(2, (1, 8, 8)), lambda h: h + torch.randn_like(h))),
        X,
        r"^likelihood\(z\[:1\]\) gives the first row .*nor on random numbers",
    ),
    "squeeze": (
        lambda: make(Network(networks.MLP((1, 8, 8), 4), torch.squeeze)),
        X,
        r"^posterior\(x\[:1\]\), one row alone, has batch shape \(\); expected \(1,\): keep the batch dimension",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_first_thing_wrong_is_named(name):
    factory, batch, message = BROKEN[name]
    check = check_vae(factory(), batch)
    assert not check.ok
    assert check.problem == check.problem.strip()
    assert "\n" not in check.problem
    with pytest.raises(ValueError, match=message):
        raise ValueError(check.problem)
    assert f"\nwrong: {check.problem}" in str(check)


def test_a_likelihood_that_cannot_be_drawn_from_is_a_note():
    check = check_vae(likelihood(lambda h: Undrawn(h, 1.0).to_event(3)), X)
    assert check.ok, check
    assert check.notes == (
        "likelihood(z) cannot be drawn from (NotImplementedError: no draws): what needs draws of it will fail",
    )


def test_parts_of_two_dtypes_are_a_note():
    check = check_vae(with_prior(priors.StandardNormal(2).double()), X)
    assert check.ok, check
    assert len(check.notes) == 1
    assert "different dtypes (posterior float32, prior float64)" in check.notes[0]


def test_a_model_of_ones_own_is_checked_by_its_programs():
    class Doubled(VAE):
        def model(self, x):
            with pyro.poutine.scale(scale=2.0):
                return super().model(x)

    parts = make()
    check = check_vae(Doubled(parts.prior, parts.likelihood, parts.posterior), X)
    assert "has a scale of 2" in check.problem


KINDS = ["real", "count", "binary", "real"]


def of_columns():
    decoder = networks.MLP(2, likelihoods.Columns.decoder_shape((4,), KINDS), (8,))
    return VAE(
        priors.StandardNormal(2),
        likelihoods.PartlyObserved(likelihoods.Columns(decoder, KINDS)),
        posteriors.DiagonalNormal(networks.ColumnEncoder(KINDS, 4, (8,))),
    )


@pytest.mark.parametrize(
    ("column", "change"),
    [(0, lambda v: v + 100), (0, lambda v: 1e-6 * v), (3, lambda v: 1e6 * v), (1, lambda v: 1e5 + 0 * v)],
    ids=["offset", "small unit", "large unit", "large counts"],
)
def test_parts_for_tables_that_were_not_started_are_a_note(column, change):
    noise = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    rows = torch.stack([noise[:, 0], noise[:, 1].abs().round(), (noise[:, 2] > 0).float(), noise[:, 3]], 1)
    rows[::5, 0] = torch.nan
    vae = of_columns()
    for few in (rows, rows[:5], rows[:1]):
        assert check_vae(vae, few).notes == ()
    far = rows.clone()
    far[:, column] = change(rows[:, column])
    check = check_vae(vae, far)
    assert check.ok, check
    (note,) = check.notes
    assert note.startswith("likelihood.likelihood and posterior.encoder would take")
    assert note.endswith("call vae.initialize(train) before the fit")
    vae.initialize(far)
    assert check_vae(vae, far).notes == ()


SPREADS = torch.tensor([1e-3, 1.0, 100.0])


def of_plain_networks(likelihood, encoder=None):
    return VAE(priors.StandardNormal(2), likelihood, posteriors.DiagonalNormal(encoder or networks.MLP(3, 4, (8,))))


def plain(name, **arguments):
    return getattr(likelihoods, name)(networks.MLP(2, 3, (8,)), **arguments)


@pytest.mark.parametrize(
    ("make_vae", "said"),
    [
        (lambda: of_plain_networks(plain("Normal")), "likelihood and encoder take them as they are: use likelihoods.C"),
        (
            lambda: of_plain_networks(plain("Laplace"), networks.ColumnEncoder(["real"] * 3, 4, (8,))),
            "likelihood takes them as they are: use likelihoods.Columns, and call vae.initialize",
        ),
        (
            lambda: of_plain_networks(likelihoods.Columns(networks.MLP(2, 3, (8,)), ["real"] * 3)),
            "encoder takes them as they are: use networks.ColumnEncoder, and call vae.initialize",
        ),
        (
            lambda: of_plain_networks(plain("Normal"), nn.Sequential(Scaled(), networks.MLP(3, 4, (8,)))),
            "likelihood takes them",
        ),
    ],
    ids=["both", "likelihood", "encoder", "a network of one's own"],
)
def test_columns_of_different_scales_are_a_note(make_vae, said):
    rows = torch.randn(60, 3, generator=torch.Generator().manual_seed(0)) * SPREADS
    vae = make_vae()
    vae.initialize(rows)
    least, most = (rows.numpy().std(0)[column] for column in (0, 2))
    (note,) = check_vae(vae, rows).notes
    assert note.startswith(f"columns have standard deviations from {least:.1g} to {most:.1g}, and {said}")
    assert check_vae(vae, rows / SPREADS).notes == ()


class Scaled(nn.Module):
    def forward(self, x):
        return x / SPREADS


@pytest.mark.parametrize("name", ["NegativeBinomial", "Poisson"])
def test_large_counts_are_a_note(name):
    rows = torch.poisson(torch.tensor([0.01, 300.0, 1500.0]).expand(60, 3), torch.Generator().manual_seed(0))
    (note,) = check_vae(of_plain_networks(plain(name)), rows).notes
    assert note.startswith(f"columns have counts up to {rows.max():,.0f}, and encoder takes them as they are: use netw")
    assert check_vae(of_plain_networks(plain(name), networks.ColumnEncoder(["count"] * 3, 4)), rows).notes == (
        "posterior.encoder would take the columns as they are, and some are far from mean 0 and standard deviation 1: "
        "call vae.initialize(train) before the fit",
    )
    assert check_vae(of_plain_networks(plain(name)), rows.clamp(max=900)).notes == ()


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
