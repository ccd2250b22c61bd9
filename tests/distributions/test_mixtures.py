"""Mixtures against those of PyTorch, and derivatives of draws against derivatives of expectations.

Statistical checks allow 4 standard errors: for one Gaussian estimate a false alarm in 1 of 16,000 seeds, and the seeds
are fixed.
"""

import math

import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from pyrovae.distributions.mixture import SharedMixture
from pyrovae.distributions.mixture_of_normals import MixtureOfNormals


def parts(components, dim, batch=(), dtype=torch.float64):
    loc = torch.randn(*batch, components, dim, dtype=dtype)
    scale = torch.rand(*batch, components, dim, dtype=dtype) + 0.2
    return loc, scale, torch.randn(*batch, components, dtype=dtype)


def by_torch(loc, scale, logits):
    return torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=logits),
        torch.distributions.Independent(torch.distributions.Normal(loc, scale), 1),
    )


@pytest.mark.parametrize("batch", [(), (5,), (4, 5)])
@pytest.mark.parametrize("kind", ["diagonal", "full", "low rank", "Laplace"])
def test_a_shared_mixture_is_that_of_torch(batch, kind):
    loc, scale, logits = parts(6, 3)
    factor = torch.randn(6, 3, 3, dtype=torch.float64)
    components = {
        "diagonal": lambda: dist.Normal(loc, scale).to_event(1),
        "full": lambda: dist.MultivariateNormal(loc, factor @ factor.mT + 0.1 * torch.eye(3, dtype=torch.float64)),
        "low rank": lambda: dist.LowRankMultivariateNormal(loc, factor[..., :2], scale),
        "Laplace": lambda: dist.Laplace(loc, scale).to_event(1),
    }[kind]()
    expected = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(logits=logits), components)
    mixture = SharedMixture(logits, components).expand(batch)
    z = mixture.sample((2,))
    assert z.shape == (2, *batch, 3)
    torch.testing.assert_close(mixture.log_prob(z), expected.log_prob(z), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(mixture.mean, expected.mean.expand(*batch, 3))
    torch.testing.assert_close(mixture.variance, expected.variance.expand(*batch, 3))


def test_a_shared_mixture_draws_each_component_by_its_weight():
    logits = torch.tensor([0.1, 0.2, 0.7], dtype=torch.float64).log()
    loc = torch.tensor([[-100.0], [0.0], [100.0]], dtype=torch.float64)
    z = SharedMixture(logits, dist.Normal(loc, torch.ones_like(loc)).to_event(1)).sample((20_000,))
    for weight, center in zip((0.1, 0.2, 0.7), (-100, 0, 100), strict=True):
        near = (z[:, 0] - center).abs() < 50
        assert abs(near.double().mean().item() - weight) < 4 * math.sqrt(weight * (1 - weight) / len(z))
        own = z[near, 0] - center
        assert abs(own.mean().item()) < 4 / math.sqrt(len(own))
        assert len(own.unique()) == len(own)
    # Draws do not come in order of their components.
    assert (z[:100, 0] < 50).any()
    assert (z[-100:, 0] < 50).any()


class LargestTensor(TorchDispatchMode):
    """The size of the largest tensor that an operation gives."""

    size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        tensors = [tensor for tensor in pytree.tree_leaves(result) if isinstance(tensor, torch.Tensor)]
        self.size = max([self.size, *(tensor.numel() for tensor in tensors)])
        return result


def test_a_shared_mixture_takes_the_draws_of_each_component_in_turn_and_makes_few_numbers():
    loc, scale, logits = parts(50, 2)
    mixture = SharedMixture(logits, dist.Normal(loc, scale).to_event(1))
    torch.manual_seed(0)
    with LargestTensor() as largest:
        z = mixture.sample((3000,))
    torch.manual_seed(0)
    which = torch.distributions.Categorical(logits=logits).sample((3000,))
    draws = mixture.components.sample((int(which.bincount().max()),))
    seen = [0] * 50
    for row, k in zip(z, which.tolist(), strict=True):
        assert torch.equal(row, draws[seen[k], k])
        seen[k] += 1
    assert largest.size == draws.numel() < 3000 * 50


def test_a_shared_mixture_in_float32_keeps_its_digits_where_scales_are_small():
    loc, scale = 3 * torch.randn(50, 20), torch.full((50, 20), 0.01)
    z = loc + scale * torch.randn(50, 20)
    mixture = SharedMixture(torch.zeros(50), dist.Normal(loc, scale).to_event(1))
    exact = by_torch(loc.double(), scale.double(), torch.zeros(50).double()).log_prob(z.double())
    assert mixture.log_prob(z).dtype == torch.float32
    torch.testing.assert_close(mixture.log_prob(z).double(), exact, rtol=1e-6, atol=1e-5)


def test_gradients_of_a_shared_mixture_are_those_of_torch():
    leaves = [nn.Parameter(value) for value in parts(6, 3)]
    z = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    loc, scale, logits = leaves
    ours = SharedMixture(logits, dist.Normal(loc, scale).to_event(1)).log_prob(z).sum()
    theirs = by_torch(loc, scale, logits).log_prob(z).sum()
    for a, b in zip(*(torch.autograd.grad(v, [*leaves, z]) for v in (ours, theirs)), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("batch", [(), (5,), (4, 5)])
@pytest.mark.parametrize("dim", [1, 3])
def test_the_mixture_of_the_posterior_is_that_of_torch(batch, dim):
    loc, scale, logits = parts(4, dim, batch)
    mixture, expected = MixtureOfNormals(loc, scale, logits), by_torch(loc, scale, logits)
    z = mixture.rsample((2,))
    assert z.shape == (2, *batch, dim)
    torch.testing.assert_close(mixture.log_prob(z), expected.log_prob(z))
    torch.testing.assert_close(mixture.mean, expected.mean)
    torch.testing.assert_close(mixture.variance, expected.variance)
    wide = mixture.expand((3, *batch))
    assert type(wide) is MixtureOfNormals
    assert wide.rsample().shape == (3, *batch, dim)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_derivatives_of_draws_are_those_of_the_expectation(dim):
    """The mean of f(z) = (a . z)^2 + b . z in closed form, and its derivatives by autograd."""
    leaves = [nn.Parameter(value) for value in parts(3, dim)]
    a, b = torch.randn(2, dim, dtype=torch.float64)
    loc, scale, logits = leaves
    weights = logits.softmax(-1)
    mean = weights @ ((loc @ a) ** 2 + (scale**2) @ a**2 + loc @ b)
    expected = torch.autograd.grad(mean, leaves)
    count = 40_000
    rows = [leaf.detach().expand(count, *leaf.shape).clone().requires_grad_() for leaf in leaves]
    z = MixtureOfNormals(*rows).rsample()
    single = torch.autograd.grad(((z @ a) ** 2 + z @ b).sum(), rows)
    for truth, draws in zip(expected, single, strict=True):
        assert torch.isfinite(draws).all()
        error = draws.std(0) / math.sqrt(count)
        assert (error > 0).all()
        assert ((draws.mean(0) - truth).abs() < 4 * error).all()


def test_derivatives_are_finite_in_many_dimensions_and_float32():
    """Pyro's own are not: its densities overflow here."""
    torch.manual_seed(0)
    loc, scale = 0.05 * torch.randn(20, 5, 64), torch.full((20, 5, 64), 0.01)
    leaves = [value.requires_grad_() for value in (loc, scale, torch.zeros(20, 5))]
    gradients = torch.autograd.grad(MixtureOfNormals(*leaves).rsample().square().sum(), leaves)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    pyros = torch.autograd.grad(dist.MixtureOfDiagNormals(*leaves).rsample().square().sum(), leaves)
    assert not all(torch.isfinite(gradient).all() for gradient in pyros)


def test_equal_components_have_derivatives_too():
    leaves = [torch.zeros(2, 3), torch.ones(2, 3), torch.zeros(2)]
    leaves = [leaf.requires_grad_() for leaf in leaves]
    gradients = torch.autograd.grad(MixtureOfNormals(*leaves).rsample().sum(), leaves)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    torch.testing.assert_close(gradients[0].sum(0), torch.ones(3))


def test_far_components_do_not_round_the_weights_of_near_ones():
    """At scales of 0.001 a distance of 10 is worth 50 million nats, of which float32 keeps steps of 4."""
    loc = torch.tensor([[0.0, 10.0, 0.0], [0.0, 0.0, 0.0], [0.0, -10.0, 0.0]])
    mixture = MixtureOfNormals(loc, torch.full_like(loc, 0.001), torch.tensor([0.0, 1.0, 2.0]))
    _, weights, _ = mixture._conditional_terms(torch.zeros(3))
    start = torch.tensor([0.0, 1.0, 2.0]).softmax(0)
    torch.testing.assert_close(weights[:, :2], start[:, None].expand(3, 2))
    torch.testing.assert_close(weights[:, 2], torch.tensor([0.0, 1.0, 0.0]))


def test_no_draws_of_a_shared_mixture():
    loc, scale, logits = parts(3, 2)
    assert SharedMixture(logits, dist.Normal(loc, scale).to_event(1)).sample((0,)).shape == (0, 2)
