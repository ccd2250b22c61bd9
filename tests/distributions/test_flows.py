"""Layers of flows, and the caches of Pyro's transforms."""

import gc
import weakref

import pyro.distributions as dist
import pytest
import torch
from torch.autograd.functional import jacobian

from pyrovae.distributions.flows import FlowLayers

KINDS = ["autoregressive", "coupling", "spline"]


def flow(kind, latent_dim=4, num_layers=3, seed=0):
    """Layers far from their start."""
    torch.manual_seed(seed)
    layers = FlowLayers(latent_dim, kind, num_layers, (16,)).double()
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return layers


def forward(layers, x):
    for layer in layers.transforms():
        x = layer(x)
    return x


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("latent_dim", [2, 3, 5])
def test_inverse_and_jacobian(kind, latent_dim):
    layers = flow(kind, latent_dim)
    for x in 2 * torch.randn(5, latent_dim, dtype=torch.float64):
        chain = layers.transforms()
        y, log_det = x, 0.0
        for layer in chain:
            y, before = layer(y), y
            log_det = log_det + layer.log_abs_det_jacobian(before, y)
        torch.testing.assert_close(log_det, torch.linalg.slogdet(jacobian(lambda v: forward(layers, v), x))[1])
        back = y.clone()
        for layer in reversed(layers.transforms()):
            back, after = layer.inv(back), back
            log_det = log_det - layer.log_abs_det_jacobian(back, after)
        # Pyro's splines look for their bin with a tolerance of 1e-6.
        torch.testing.assert_close(back, x, rtol=1e-6, atol=1e-6)
        assert abs(log_det.item()) < 1e-5
        assert (y - x).abs().max() > 1e-2


@pytest.mark.parametrize("kind", KINDS)
def test_every_dimension_depends_on_every_other(kind):
    """The permutations reach all of them."""
    matrix = jacobian(
        lambda v: forward(flow(kind, 5, num_layers=5), v), torch.full((5,), 0.3, dtype=torch.float64)
    ).abs()
    assert (matrix > 1e-9).sum() >= 23


@pytest.mark.parametrize("kind", KINDS)
def test_the_start_is_near_the_identity(kind):
    torch.manual_seed(0)
    x = torch.randn(1000, 5)
    layers = FlowLayers(5, kind, 4, (64, 64))
    assert (forward(layers, x) - x).abs().max() < 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_values_far_outside_have_finite_gradients(kind):
    layers = flow(kind)
    x = torch.tensor([[50.0, -50.0, 0.0, 5.0], [5.0, -5.0, 5.0, -5.0]], dtype=torch.float64, requires_grad=True)
    base = dist.Normal(torch.zeros(4, dtype=torch.float64), 1.0).to_event(1)
    log_prob = dist.TransformedDistribution(base, layers.transforms()).log_prob(x)
    gradients = torch.autograd.grad(log_prob.sum(), [x, *layers.parameters()])
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("kind", KINDS)
def test_no_graph_is_held_when_the_distribution_is_gone(kind):
    layers = flow(kind)
    base = dist.Normal(torch.zeros(4, dtype=torch.float64), 1.0).to_event(1)
    gc.disable()
    try:
        q = dist.TransformedDistribution(base, layers.transforms()).expand((3,))
        z = q.rsample()
        q.log_prob(z)
        q.log_prob(z.detach().clone())
        alive = [weakref.ref(z), weakref.ref(q.transforms[0])]
        del q, z
        assert [reference() for reference in alive] == [None, None]
    finally:
        gc.enable()


@pytest.mark.parametrize("kind", KINDS)
def test_the_density_of_other_values_after_a_draw_is_that_before_any(kind):
    layers = flow(kind)
    base = dist.Normal(torch.zeros(4, dtype=torch.float64), 1.0).to_event(1)
    z = torch.randn(3, 4, dtype=torch.float64)
    before = dist.TransformedDistribution(base, layers.transforms()).log_prob(z)
    drawn = dist.TransformedDistribution(base, layers.transforms())
    drawn.rsample((3,))
    torch.testing.assert_close(drawn.log_prob(z), before, rtol=1e-12, atol=1e-12)


def test_nothing_random_is_stored_outside_of_the_state():
    for kind in KINDS:
        one, other = flow(kind, seed=0), flow(kind, seed=1)
        other.load_state_dict(one.state_dict())
        x = torch.randn(3, 4, dtype=torch.float64)
        assert torch.equal(forward(one, x), forward(other, x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((4, "radial", 2, (16,)), "kind is 'radial'; expected one of autoregressive, coupling, spline"),
        ((1, "coupling", 2, (16,)), "latent_dim is 1, and its layers need two"),
        ((0, "coupling", 2, (16,)), "latent_dim is 0; expected a positive integer"),
        ((4, "coupling", 0, (16,)), "num_layers is 0"),
        ((4, "coupling", 2, (16, -1)), "hidden_dims is -1"),
        ((4, "coupling", 2, ()), "hidden_dims is empty"),
        ((4, "autoregressive", 2, (16, 3)), "at least latent_dim units in each"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        FlowLayers(*arguments)
