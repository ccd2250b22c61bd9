"""What annealing is not defined for, by name."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from annealed import bounded_pair, gamma_model, inner_plate_guide, inner_plate_model
from problems import bits, categorical_guide, categorical_model, small_vae

from pyrovae import ais, bdmc


def moving_model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Uniform(torch.zeros(len(x)), 1 + x.abs()))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def moving_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Uniform(torch.zeros(len(x)), 1 + x.abs()))


def real_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("rate", dist.Normal(5 + 0 * x, 0.1))


def regressing_model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.tensor(0.0), 1.0))
        pyro.sample("x", dist.Normal(z + x.roll(1), 1.0), obs=x)


def angle_model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.VonMises(torch.tensor(0.0), 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def angle_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.VonMises(x, 1.0))


def test_a_mixture_as_prior_has_a_path():
    """The same density by one component as by the two, equal ones, of PyTorch's mixture."""

    def model_with(prior):
        def model(x):
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", prior)
                pyro.sample("x", dist.Normal(z, 0.5).to_event(1), obs=x)

        return model

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.8 * x, 0.5).to_event(1))

    two = dist.Normal(torch.zeros(2, 3), 1.0).to_event(1)
    mixture, x = dist.MixtureSameFamily(dist.Categorical(torch.ones(2)), two), torch.tensor([[0.3, -1.0, 2.0]])
    estimate = ais(model_with(mixture), guide, x, num_temperatures=100, num_chains=32, progress=False)
    exact = dist.Normal(0.0, 1.25**0.5).log_prob(x).sum(-1).double()
    assert ((estimate.log_px - exact).abs() < 4 * estimate.standard_error).all()


@pytest.mark.parametrize(
    ("pair", "options", "message"),
    [
        ((categorical_model, categorical_guide), {}, "latent 'k' of the model is discrete"),
        ((moving_model, moving_guide), {}, "support of latent 'z' of the model differs from row to row"),
        (
            (gamma_model, real_guide),
            {"start": "guide"},
            "latent 'rate' has the support .* start from the prior",
        ),
        ((angle_model, angle_guide), {}, "latent 'z' of the model is an angle.*use compare_bounds"),
    ],
)
def test_latents_without_a_path_are_refused(pair, options, message):
    x = torch.tensor([0.1, 0.7, 0.2])
    with pytest.raises(ValueError, match=message):
        ais(*pair, x, num_temperatures=3, **options)
    if pair[0] is not moving_model:  # its support depends on x, so that it cannot be simulated either
        with pytest.raises(ValueError, match=message):
            bdmc(*pair, like=x, num_temperatures=3, **options)


def test_models_that_cannot_be_simulated_are_refused():
    with pytest.raises(ValueError, match="observes 'x', and rows can be simulated only where"):
        bdmc(inner_plate_model, inner_plate_guide, like=torch.randn(4, 3), num_rows=5)
    with pytest.raises(ValueError, match="uses the rows for more than to observe them"):
        bdmc(regressing_model, bounded_pair()[1], like=torch.randn(4), num_rows=5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_temperatures": 0}, "num_temperatures is 0; expected a positive integer"),
        ({"num_chains": -1}, "num_chains is -1"),
        ({"num_leapfrog": 0}, "num_leapfrog is 0"),
        ({"warm_up": 0}, "warm_up is 0"),
        ({"start": "encoder"}, "start is 'encoder'; expected one of 'prior', 'guide'"),
        ({"schedule": "cosine"}, "schedule is 'cosine'; expected one of 'sigmoid', 'linear'"),
        ({"x": torch.zeros(0, 1, 8, 8)}, "has shape"),
        ({"x": torch.full((3, 1, 8, 8), float("nan"))}, "NaN or infinite values in 3 of 3 rows"),
        ({"x": [1, 2]}, "is a list; expected a tensor"),
    ],
)
def test_bad_arguments(arguments, message):
    vae = small_vae()
    x = arguments.pop("x", bits(3))
    with pytest.raises(ValueError, match=message):
        ais(vae.model, vae.guide, x, **arguments)
    with pytest.raises(ValueError, match=message):
        bdmc(vae.model, vae.guide, like=x, **arguments)


def test_no_rows_to_simulate():
    vae = small_vae()
    with pytest.raises(ValueError, match="num_rows is 0"):
        bdmc(vae.model, vae.guide, like=bits(3), num_rows=0)
