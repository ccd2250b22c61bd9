"""The loop: its terms, what it keeps, what it refuses, how it fails."""

import copy
import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from problems import bits, make_samplers, small_vae
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from torch import nn

from pyrovae import VAE, NonFiniteLossError, compare_bounds, fit_svi, likelihoods, networks, posteriors, priors
from pyrovae.objectives import Linear, as_objective
from pyrovae.objectives import TraceMeanField_ELBO as MeanField
from pyrovae.training import FitResult
from pyrovae.training.result import still_improving


def fit(vae, x, **options):
    options = {"epochs": 2, "batch_size": 20, "progress": False} | options
    return fit_svi(vae.model, vae.guide, x, **options)


def drawn_z(vae, x, seed):
    pyro.set_rng_seed(seed)
    return vae.encode(x).rsample()


@pytest.mark.parametrize("objective", ["TraceMeanField_ELBO", "Trace_ELBO"])
def test_terms_and_gradients_are_those_of_plain_torch(objective):
    vae, x = small_vae().double(), bits(7).double()
    sampler = make_samplers(vae.model, vae.guide, x)["vectorized"]
    pyro.set_rng_seed(3)
    terms = as_objective(objective).terms(sampler, x, 1.0)
    terms.loss.backward()
    ours = [p.grad.clone() for p in vae.parameters()]

    vae.zero_grad()
    z = drawn_z(vae, x, 3)
    q = vae.encode(x).base_dist
    reconstruction = -nn.functional.binary_cross_entropy_with_logits(vae.likelihood.decoder(z), x, reduction="sum")
    if objective == "TraceMeanField_ELBO":
        kl = 0.5 * (q.loc**2 + q.scale**2 - 1 - 2 * q.scale.log()).sum()
    else:
        kl = (q.log_prob(z) + 0.5 * z**2 + 0.5 * math.log(2 * math.pi)).sum()
    (kl - reconstruction).backward()
    torch.testing.assert_close(terms.reconstruction, reconstruction.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(terms.kl, kl.detach(), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(terms.elbo, (reconstruction - kl).detach(), rtol=1e-12, atol=0)
    for mine, parameter in zip(ours, vae.parameters(), strict=True):
        torch.testing.assert_close(mine, parameter.grad, rtol=1e-9, atol=1e-10)


def test_particles_are_averaged():
    vae, x = small_vae().double(), bits(7).double()
    samplers = make_samplers(vae.model, vae.guide, x)
    objective = as_objective("TraceMeanField_ELBO", num_particles=3)
    pyro.set_rng_seed(3)
    one_by_one = objective.terms(samplers["repeated"], x, 1.0)
    pyro.set_rng_seed(3)
    draws = [vae.decode(vae.encode(x).rsample()).log_prob(x).sum() for _ in range(3)]
    torch.testing.assert_close(one_by_one.reconstruction, torch.stack(draws).mean().detach())
    pyro.set_rng_seed(3)
    at_once = objective.terms(samplers["vectorized"], x, 1.0)
    pyro.set_rng_seed(3)
    draws = vae.decode(vae.encode(x).rsample((3,))).log_prob(x).mean(0).sum()
    torch.testing.assert_close(at_once.reconstruction, draws.detach())


def test_history_holds_the_terms_of_every_epoch():
    vae = small_vae()
    result = fit(vae, bits(50), validation=bits(10, seed=1), epochs=3)
    assert [terms["epoch"] for terms in result.history] == [1, 2, 3]
    for terms in result.history:
        for split in ("train", "validation"):
            assert terms[f"{split}_elbo"] == pytest.approx(terms[f"{split}_reconstruction"] - terms[f"{split}_kl"])
            assert -200 < terms[f"{split}_elbo"] < 0
            assert terms[f"{split}_kl"] >= 0
    without = fit(small_vae(), bits(50))
    assert not any(name.startswith("validation") for name in without.history[0])
    assert without.best_epoch == 2


def test_means_over_rows_are_not_means_of_batch_means():
    """Two kinds of rows in batches of 20 and 5; with a tiny step the model stands still."""
    x = torch.cat([torch.zeros(20, 1, 8, 8), torch.ones(5, 1, 8, 8)])
    vae = small_vae()
    with torch.no_grad():
        vae.likelihood.decoder.layers[-1].bias.fill_(-1.0)
    result = fit(vae, x, validation=x, epochs=1, lr=1e-12)
    exact = compare_bounds(vae.model, vae.guide, x, num_samples=4000)
    error = 5 * exact.elbo_standard_error.norm() * 4000**0.5 / 25
    for split in ("train", "validation"):
        assert abs(result.history[0][f"{split}_elbo"] - exact.elbo.mean()) < error
    # The mean of the two batch means would be off by more.
    assert abs(0.5 * (exact.elbo[:20].mean() + exact.elbo[20:].mean()) - exact.elbo.mean()) > error


def test_same_seed_same_fit_and_the_callers_generator_stays():
    x = bits(50)
    first, second, third = small_vae(), None, None
    second, third = copy.deepcopy(first), copy.deepcopy(first)
    state = torch.get_rng_state()
    a = fit(first, x, seed=5)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    b = fit(second, x, seed=5)
    fit(third, x, seed=6)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])
    assert [t["train_elbo"] for t in a.history] == [t["train_elbo"] for t in b.history]
    assert not torch.equal(first.likelihood.decoder.layers[0].weight, third.likelihood.decoder.layers[0].weight)


def test_best_weights_are_kept_and_training_stops():
    x, validation = bits(30), bits(30, seed=1)  # noise: the fit learns the rows by heart
    vae = VAE(
        priors.StandardNormal(8),
        likelihoods.Bernoulli(networks.MLP(8, (1, 8, 8), (200,))),
        posteriors.DiagonalNormal(networks.MLP((1, 8, 8), 16, (200,))),
    )
    result = fit(vae, x, validation=validation, epochs=400, lr=3e-3, patience=5)
    scores = [terms["validation_elbo"] for terms in result.history]
    assert result.stopped_early
    assert len(scores) == result.best_epoch + 5 < 400
    assert scores[result.best_epoch - 1] == max(scores)
    # The model as it stands has the best epoch's score, not the last one's.
    again = fit(vae, x, validation=validation, epochs=1, lr=1e-12)
    assert again.history[0]["validation_elbo"] == pytest.approx(max(scores), abs=1e-3)
    assert scores[-1] < max(scores) - 1e-3
    assert fit(vae, x, validation=validation, epochs=8, lr=3e-3, patience=None).stopped_early is False


def test_training_modes_are_put_back_and_used():
    seen = []

    class Spy(nn.Module):
        def forward(self, x):
            seen.append(self.training)
            return x

    vae = small_vae()
    vae.posterior.encoder = nn.Sequential(Spy(), vae.posterior.encoder)
    vae.eval()
    fit(vae, bits(20), validation=bits(20), epochs=1)
    assert not vae.training
    assert True in seen
    assert seen[0] is False
    assert seen[-1] is False


def test_train_transform_sees_every_batch():
    grey = torch.rand(40, 1, 8, 8)
    batches = []

    def transform(x):
        batches.append(x)
        return torch.bernoulli(x)

    with pytest.raises(ValueError, match="Bernoulli at site 'x' is no density"):
        fit(small_vae(), grey)
    fit(small_vae(), grey, train_transform=transform, epochs=3)
    assert sum(len(batch) == 20 for batch in batches) == 6


def test_discrete_latents_train_by_the_score_function_only():
    probs = nn.Parameter(torch.zeros(3))
    locs = torch.tensor([-5.0, 0.0, 5.0])

    class Discrete(nn.Module):
        def __init__(self):
            super().__init__()
            self.logits = probs

        def model(self, x):
            with pyro.plate("data", len(x)):
                k = pyro.sample("k", dist.Categorical(torch.ones(3)))
                pyro.sample("x", dist.Normal(locs[k], 1.0), obs=x)

        def guide(self, x):
            with pyro.plate("data", len(x)):
                pyro.sample("k", dist.Categorical(logits=self.logits))

    pair, x = Discrete(), torch.full((20,), 5.0)
    with pytest.raises(ValueError, match="use objective='Trace_ELBO'"):
        fit(pair, x)
    fit(pair, x, objective="Trace_ELBO", epochs=200, lr=0.1)
    assert probs.softmax(0)[2] > 0.95


def test_elbo_objects_of_pyro_are_taken_and_left_alone():
    elbo = Trace_ELBO(num_particles=2)
    assert fit(small_vae(), bits(20), objective=elbo).best_epoch == 2
    assert vars(elbo) == vars(Trace_ELBO(num_particles=2))
    taken = as_objective(TraceMeanField_ELBO(num_particles=3), beta=2.0)
    assert (taken.name, taken.num_particles, taken.beta) == ("TraceMeanField_ELBO", 3, 2.0)


def test_different_orders_of_latents_are_refused_for_the_mean_field_estimator():
    scale = nn.Parameter(torch.tensor(1.0))

    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = scale

        def model(self, x):
            with pyro.plate("data", len(x)):
                a = pyro.sample("a", dist.Normal(0.0, 1.0))
                b = pyro.sample("b", dist.Normal(a, 1.0))
                pyro.sample("x", dist.Normal(b, 1.0), obs=x)

        def guide(self, x):
            with pyro.plate("data", len(x)):
                b = pyro.sample("b", dist.Normal(x, self.scale.exp()))
                pyro.sample("a", dist.Normal(b / 2, 1.0))

    with pytest.raises(ValueError, match=r"different orders \(a, b and b, a\).*Trace_ELBO"):
        fit(Pair(), torch.randn(20))
    fit(Pair(), torch.randn(20), objective="Trace_ELBO")


class Fails(nn.Module):
    """A decoder whose output turns into ``value`` at its nth call in training."""

    def __init__(self, call, value):
        super().__init__()
        self.layer, self.call, self.value, self.calls = nn.Linear(2, 3), call, value, 0

    def forward(self, z):
        self.calls += self.training
        return self.layer(z) * (self.value if self.calls >= self.call else 1.0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_a_loss_that_is_not_finite_stops_with_the_place(value):
    decoder = Fails(call=7, value=value)  # two calls of a check, then three steps an epoch
    vae = VAE(
        priors.StandardNormal(2),
        likelihoods.Normal(decoder, scale=1.0),
        posteriors.DiagonalNormal(networks.MLP(3, 4)),
    )
    x = torch.randn(50, 3)
    with pytest.raises(NonFiniteLossError, match=r"epoch 2, step 2; .* is 'x'.*lower learning rate") as caught:
        fit(vae, x, validation=x, epochs=5)
    error = caught.value
    assert (error.epoch, error.step, error.site) == (2, 2, "x")
    assert error.result.best_epoch == 1
    assert len(error.result.history) == 1
    assert all(torch.isfinite(p).all() for p in vae.parameters())
    # The weights are those at the end of epoch 1.
    decoder.value = 1.0
    again = fit(vae, x, validation=x, epochs=1, lr=1e-12)
    assert again.history[0]["validation_elbo"] == pytest.approx(error.result.history[0]["validation_elbo"], abs=1e-4)


def test_a_learning_rate_that_is_too_high_is_named_in_the_error():
    vae = VAE(
        priors.StandardNormal(2),
        likelihoods.Normal(networks.MLP(2, 3)),
        posteriors.DiagonalNormal(networks.MLP(3, 4)),
    )
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    with pytest.raises(NonFiniteLossError, match="first site that is not finite is 'z'"):
        fit(vae, torch.randn(100, 3), lr=1e30, epochs=50)
    for name, value in vae.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("with_validation", [True, False])
def test_a_gradient_that_is_not_finite_is_found_before_the_epoch_ends(with_validation):
    """A finite loss with a gradient of NaN, at the one step of the third epoch."""

    class Root(nn.Module):
        def __init__(self):
            super().__init__()
            self.loc, self.calls = nn.Parameter(torch.tensor(1.0)), 0

        def model(self, x):
            self.calls += self.training
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
                # sqrt has an infinite slope at zero, times zero.
                bad = torch.sqrt(self.loc * 0) if self.calls >= 5 else 0.0
                pyro.sample("x", dist.Normal(z + self.loc + bad, 1.0), obs=x)

        def guide(self, x):
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(x / 2, 1.0))

    pair, x = Root(), torch.randn(20)
    with pytest.raises(NonFiniteLossError) as caught:
        fit_svi(
            pair.model, pair.guide, x, validation=x if with_validation else None,
            epochs=6, batch_size=20, progress=False,
        )  # fmt: skip
    assert (caught.value.epoch, caught.value.result.best_epoch) == (3, 2)
    assert torch.isfinite(pair.loc)


def test_an_error_in_the_middle_leaves_the_best_weights():
    class Breaks(nn.Module):
        def __init__(self):
            super().__init__()
            self.calls = 0

        def forward(self, x):
            self.calls += self.training
            if self.calls == 7:
                raise ValueError("a fault of the user's own")
            return x

    vae, x = small_vae(), bits(40)
    vae.posterior.encoder = nn.Sequential(Breaks(), vae.posterior.encoder)
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    with pytest.raises(ValueError, match="a fault of the user's own"):
        fit(vae, x, epochs=1, batch_size=5)
    for name, value in vae.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("name", ["TraceEnum_ELBO", "RenyiELBO", "TraceGraph_ELBO", "JitTrace_ELBO"])
def test_other_objectives_of_pyro_are_refused_by_name(name):
    with pytest.raises(
        ValueError, match=f"objective is a {name} of Pyro; expected its Trace_ELBO or TraceMeanField_ELBO"
    ):
        fit(small_vae(), bits(20), objective=getattr(pyro.infer, name)())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs is 0; expected a positive integer"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 21}, "batch_size is 21, more than the 20 training rows"),
        ({"patience": 0}, "patience is 0"),
        ({"lr": -1.0}, "lr is -1.0; expected a positive number"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"num_particles": 0}, "num_particles is 0"),
        ({"objective": "ELBO"}, "objective is 'ELBO'; expected one of TraceMeanField_ELBO, Trace_ELBO, IWAE"),
        ({"train": torch.full((20, 1, 8, 8), 0.5)}, "row 0 has the value 0.5.*binarise the grey values.*Normal"),
        ({"train": torch.full((20, 1, 8, 8), 255.0)}, "use a likelihood for real values such as Normal"),
        ({"train": torch.full((20, 1, 8, 8), math.inf)}, "train has NaN or infinite values in 20 of 20 rows"),
        ({"train": bits(20).double()}, r"train is torch.float64 and the parameter .* is torch.float32: give train.to"),
        ({"train": bits(20).numpy()}, "train is a ndarray; expected a tensor"),
        ({"train": bits(0)}, "train has shape"),
        ({"train": bits(1), "batch_size": 1}, "train has 1 row; a model needs several"),
        ({"batch_size": True}, "batch_size is True; expected a positive integer"),
        ({"validation": torch.full((20, 1, 8, 8), 0.5)}, "binarise the grey values"),
        ({"validation": bits(20) * math.nan}, "validation has NaN"),
    ],
)
def test_bad_input_changes_nothing(options, message):
    vae = small_vae()
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    train = options.pop("train", None)
    with pytest.raises(ValueError, match=message):
        fit(vae, bits(20) if train is None else train, **options)
    for name, value in vae.state_dict().items():
        assert torch.equal(value, before[name])


def test_the_result_says_how_the_kl_was_found():
    x = torch.randn(20, 3)
    for prior, objective, form in (
        (priors.StandardNormal(2), "TraceMeanField_ELBO", "analytic"),
        (priors.StandardNormal(2), "Trace_ELBO", "Monte Carlo"),
        (priors.GaussianMixture(2), "TraceMeanField_ELBO", "Monte Carlo"),
    ):
        vae = VAE(prior, likelihoods.Normal(networks.MLP(2, 3, ())), posteriors.DiagonalNormal(networks.MLP(3, 4, ())))
        result = fit_svi(vae.model, vae.guide, x, epochs=1, batch_size=10, objective=objective, progress=False)
        assert result.kl_forms == {"z": form}


def test_a_discrete_latent_whose_probabilities_become_nan_is_named():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.logits = nn.Parameter(torch.zeros(3))
            self.loc = nn.Parameter(torch.tensor([-1e30, 0.0, 1e30]))

        def model(self, x):
            with pyro.plate("data", len(x)):
                k = pyro.sample("k", dist.Categorical(torch.ones(3) / 3))
                pyro.sample("x", dist.Normal(self.loc[k], 1.0), obs=x)

        def guide(self, x):
            with pyro.plate("data", len(x)):
                pyro.sample("k", dist.Categorical(logits=self.logits + 0 * self.logits.exp()))

    pair = Pair()
    with pytest.raises(NonFiniteLossError, match=r"the first site that is not finite is '[kx]'"):
        fit(pair, torch.randn(20), objective="Trace_ELBO", lr=1e3, epochs=5)


@pytest.mark.parametrize(
    ("best_epoch", "epochs", "settled", "expected"),
    [(100, 100, 0.0, True), (91, 100, 0.0, True), (90, 100, 0.0, False), (2, 2, 0.0, True), (100, 100, 1.0, False)],
)
def test_still_improving_means_that_the_best_epoch_is_among_the_last_tenth(best_epoch, epochs, settled, expected):
    objective = MeanField(beta=Linear(0, 1, settled) if settled else 1.0)
    result = FitResult([], best_epoch, False, {}, {})
    assert still_improving(result, epochs, objective) is expected


@pytest.mark.parametrize(
    ("transform", "said"),
    [
        (
            lambda rows: torch.cat([rows, rows]),
            r"gave rows of shape \(10, 1, 8, 8\) for a batch of shape \(5, 1, 8, 8\)",
        ),
        (lambda rows: rows[::2], "gave rows of shape"),
        (lambda rows: None, "gave a NoneType"),
    ],
)
def test_a_transform_that_changes_the_number_of_rows_is_refused(transform, said):
    with pytest.raises(ValueError, match=f"train_transform {said}.*; it has to return a tensor of as many rows"):
        fit(small_vae(), bits(60), train_transform=transform)


def test_a_transform_with_weights_that_nothing_would_train_is_refused():
    network = nn.Linear(8, 8)
    fit(small_vae(likelihood="Normal"), bits(60), train_transform=torch.no_grad()(network), epochs=1)
    with pytest.raises(ValueError, match=r"in none of their modules.*train_transform belongs under torch.no_grad\(\)"):
        fit(small_vae(likelihood="Normal"), bits(60), train_transform=network)


@pytest.mark.parametrize(
    ("optimizer", "said"),
    [
        (pyro.optim.Adam({"lr": 1e-3}), "optimizer made a NoneType, as those of pyro.optim do"),
        (
            lambda p: torch.optim.lr_scheduler.StepLR(torch.optim.SGD(p, lr=0.1), 10),
            r"optimizer made a StepLR, a schedule .* as lr=objectives.Cosine\(1e-3, 0, length=1\), or .* as "
            r"lr=objectives.Stages\(",
        ),
        (torch.optim.LBFGS, "optimizer made an LBFGS, whose steps need the loss of one batch several times"),
    ],
)
def test_optimisers_of_another_kind_are_refused(optimizer, said):
    with pytest.raises(ValueError, match=f"{said}.*expected a maker of a torch optimiser"):
        fit(small_vae(), bits(60), optimizer=optimizer)


@pytest.mark.parametrize("value", ["1e-3", True, math.inf])
@pytest.mark.parametrize("option", ["lr", "clip_norm"])
def test_texts_and_truth_values_are_no_numbers(option, value):
    with pytest.raises(ValueError, match=f"{option} is {value!r}; expected a positive n"):
        fit(small_vae(), bits(60), **{option: value})


def test_parameters_that_nothing_would_train_are_refused():
    weight = nn.Parameter(torch.ones(4))
    encoder = nn.Linear(4, 4)

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(4), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z * weight, 1.0).to_event(1), obs=x)

    def guide(x):
        pyro.module("encoder", encoder)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(encoder(x), 1.0).to_event(1))

    with pytest.raises(
        ValueError, match=r"parameter of shape \(4,\) that is in none of their modules, and would not be"
    ):
        fit_svi(model, guide, torch.randn(40, 4), epochs=1, batch_size=20, progress=False)
    weight.requires_grad_(False)
    fit_svi(model, guide, torch.randn(40, 4), epochs=1, batch_size=20, progress=False)


@pytest.mark.parametrize("seed", [None, "a", 1.5, True, 2**70, -(2**70)])
def test_a_seed_that_no_generator_takes_is_refused(seed):
    vae = small_vae()
    with pytest.raises(ValueError, match=f"seed is {seed!r}; expected a whole number"):
        fit_svi(vae.model, vae.guide, bits(20), batch_size=10, seed=seed)
