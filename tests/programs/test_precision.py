"""Layers in bfloat16, the rest in single precision."""

import pytest
import torch
import torch.nn.functional as F
from problems import bits, small_vae
from pyro.distributions import MultivariateNormal
from torch import nn

from pyrovae import compare_bounds, fit_svi
from pyrovae.programs import precision_of_layers

CPU = torch.device("cpu")


def mixed(function, *arguments):
    with precision_of_layers("bf16-mixed", CPU):
        return function(*arguments)


# With the sums that are rounded to eight bits on the way to a number: a transposed convolution may add nine of them.
LAYERS = {
    "linear": (nn.Linear(50, 20), (4, 50), 1),
    "convolution": (nn.Conv2d(3, 8, 3), (2, 3, 9, 9), 1),
    "transposed convolution": (nn.ConvTranspose2d(3, 8, 3), (2, 3, 9, 9), 9),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_multiply_numbers_of_eight_bits_and_give_single_precision(name):
    layer, shape, roundings = LAYERS[name]
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    inputs = {key: value.detach().bfloat16().double() for key, value in layer.named_parameters()}
    exact = torch.func.functional_call(layer.double(), inputs, (x.bfloat16().double(),))
    layer.float()
    ours = mixed(layer, x)
    assert ours.dtype == torch.float32
    # Half of the last of eight bits each time, of a number no larger than twice the largest result.
    assert float((ours - exact).detach().abs().max()) <= roundings * 2**-8 * float(exact.detach().abs().max())
    assert not torch.equal(ours, layer(x))


def test_densities_stay_as_they_are():
    generator = torch.Generator().manual_seed(0)
    factor = torch.randn(6, 6, generator=generator).tril() + 3 * torch.eye(6)
    x = torch.randn(5, 6, generator=generator)
    density = MultivariateNormal(torch.zeros(6), scale_tril=factor).log_prob
    assert torch.equal(mixed(density, x), density(x))
    assert torch.equal(mixed(torch.matmul, x, factor), x @ factor)
    logits = torch.randn(5, 6, generator=generator)
    assert torch.equal(mixed(F.softplus, logits), F.softplus(logits))


def test_double_precision_stays():
    layer = nn.Linear(3, 2).double()
    x = torch.randn(4, 3, dtype=torch.float64)
    assert torch.equal(mixed(layer, x), layer(x))


def test_gradients_are_in_single_precision_and_close():
    layer, x = nn.Linear(50, 20), torch.randn(64, 50, generator=torch.Generator().manual_seed(0))
    exact, ours = (torch.autograd.grad(out.square().mean(), layer.weight)[0] for out in (layer(x), mixed(layer, x)))
    assert ours.dtype == torch.float32
    assert float((ours - exact).norm()) < 0.01 * float(exact.norm())


@pytest.mark.parametrize("step", ["plain", "recorded"])
def test_a_fit_in_mixed_precision_comes_to_the_same_bound(step):
    x, elbos = bits(200), {}
    for precision in ("32", "bf16-mixed"):
        torch.manual_seed(0)
        vae = small_vae()
        options = {"epochs": 20, "batch_size": 20, "lr": 0.01, "progress": False, "step": step}
        result = fit_svi(vae.model, vae.guide, x, validation=x, precision=precision, **options)
        assert all(parameter.dtype == torch.float32 for parameter in vae.parameters())
        elbos[precision] = float(compare_bounds(vae.model, vae.guide, x, num_samples=5, progress=False).elbo.mean())
        assert result.stepping == step
    assert elbos["32"] != elbos["bf16-mixed"]
    # Of 43 nats.
    assert elbos["bf16-mixed"] == pytest.approx(elbos["32"], abs=0.2)


def test_another_precision_is_refused():
    vae = small_vae()
    with pytest.raises(ValueError, match="precision is '16'; expected one of 32, bf16-mixed"):
        fit_svi(vae.model, vae.guide, bits(40), batch_size=20, precision="16", progress=False)
