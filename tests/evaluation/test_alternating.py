"""The guide with the model held, the model with the guide held."""

import math

import pytest
import torch
from problems import bits, small_vae

from pyrovae import VAE, fit_svi, likelihoods, networks, posteriors, priors
from pyrovae.evaluation import fit_alternating
from pyrovae.models import ProbabilisticPCA


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize(("trained", "moved"), [("guide", "posterior"), ("model", "likelihood")])
def test_only_the_parameters_of_one_program_move(trained, moved):
    vae = small_vae()
    before = state(vae)
    fit_svi(vae.model, vae.guide, bits(40), epochs=1, batch_size=20, trained=trained, progress=False)
    for name, value in vae.state_dict().items():
        assert torch.equal(value, before[name]) != name.startswith(moved), name
    assert all(parameter.requires_grad for parameter in vae.parameters())


def test_params_of_programs_are_held_too():
    import pyro
    import pyro.distributions as dist

    def model(x):
        weight = pyro.param("weight", torch.ones(2))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z * weight, 1.0).to_event(1), obs=x)

    def guide(x):
        loc = pyro.param("loc", torch.zeros(2))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, 1.0).to_event(1))

    x = torch.randn(40, 2) + 3
    of_guide = fit_svi(model, guide, x, epochs=2, batch_size=20, trained="guide", progress=False).params
    assert torch.equal(of_guide["weight"], torch.ones(2))
    assert (of_guide["loc"] != 0).all()
    of_model = fit_svi(model, guide, x, epochs=2, batch_size=20, trained="model", progress=False).params
    assert torch.equal(of_model["loc"], of_guide["loc"])
    assert (of_model["weight"] != 1).all()


@pytest.mark.slow
def test_alternating_reaches_the_maximum_that_em_reaches():
    """E steps leave log p(x) alone and close the gap; M steps raise the bound. The draws of all steps are the same, so
    steps are compared to what the last steps of Adam leave, 0.02 nats: with five seeds none was off by half of it."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(1, 4, generator=generator, dtype=torch.float64)
    x = torch.randn(300, 1, generator=generator, dtype=torch.float64) @ weight
    x = x + 0.6 * torch.randn(300, 4, generator=generator, dtype=torch.float64)
    vae = VAE(
        priors.StandardNormal(1),
        likelihoods.Normal(networks.MLP(1, 4, ())),
        posteriors.DiagonalNormal(networks.MLP(4, 2, ())),
    ).double()
    options = {"batch_size": 150, "num_particles": 4, "num_rows": 300, "num_samples": 200}
    steps = fit_alternating(vae.model, vae.guide, x, rounds=25, epochs_per_step=15, lr=0.02, **options)
    steps += fit_alternating(vae.model, vae.guide, x, rounds=1, epochs_per_step=20, lr=0.005, **options)
    previous = steps[0]
    assert previous.log_px - previous.bound < 0.1
    for half in steps[1:]:
        assert half.bound > previous.bound - 0.02
        if half.step == "E":
            assert abs(half.log_px - previous.log_px) < 0.02
        previous = half
    exact, _ = ProbabilisticPCA.fit_em(x, 1)
    maximum = exact.log_prob(x).mean().item()
    assert maximum - 0.02 < steps[-1].bound < maximum + 0.01


def test_the_numbers_are_of_the_rows_that_a_transform_gives():
    def alternating(x, **options):
        torch.manual_seed(0)
        vae = small_vae()
        return fit_alternating(vae.model, vae.guide, x, batch_size=20, rounds=2, epochs_per_step=2, **options)

    x = bits(40)
    assert alternating(100 + 10 * x, train_transform=lambda rows: (rows - 100) / 10) == alternating(x)
    # Bits are drawn once: the grey values themselves are no rows of a Bernoulli.
    drawn = alternating(torch.full_like(x, 0.4), train_transform=torch.bernoulli)
    assert all(math.isfinite(half.bound) for half in drawn)


def test_bad_input():
    vae, x = small_vae(), bits(20)
    with pytest.raises(ValueError, match="trained is 'encoder'; expected one of all, guide, model"):
        fit_svi(vae.model, vae.guide, x, batch_size=10, trained="encoder", progress=False)
    with pytest.raises(ValueError, match="rounds is 0"):
        fit_alternating(vae.model, vae.guide, x, rounds=0)
    for parameter in vae.posterior.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(ValueError, match="trained is 'guide', and the guide has no parameters of its own to move"):
        fit_svi(vae.model, vae.guide, x, batch_size=10, trained="guide", progress=False)
