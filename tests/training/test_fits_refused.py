"""What ``fit_svi`` refuses before it changes anything."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from problems import bits, small_vae
from short_fits import fit
from torch import nn

from pyrovae import fit_svi


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
