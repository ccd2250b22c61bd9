"""The fast density of rows of bits against PyTorch's, one bit at a time."""

from typing import ClassVar

import pyro.distributions as dist
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pyrovae.distributions import IndependentBernoulli


def both(logits, event_dim):
    return IndependentBernoulli(dist.Bernoulli(logits=logits), event_dim), dist.Bernoulli(logits=logits).to_event(
        event_dim
    )


@pytest.mark.parametrize("event_shape", [(1,), (7,), (16,), (17,), (784,), (1, 28, 28), (3, 5, 7), (1, 600, 600)])
@pytest.mark.parametrize("batch_shape", [(), (3,), (4, 3)])
def test_equals_the_sum_over_bits(event_shape, batch_shape):
    torch.manual_seed(0)
    logits = 5 * torch.randn(*batch_shape, *event_shape, dtype=torch.float64)
    fast, plain = both(logits, len(event_shape))
    for x in (plain.sample(), plain.sample()[(0,) * len(batch_shape)]):
        assert fast.log_prob(x).shape == batch_shape
        torch.testing.assert_close(fast.log_prob(x), plain.log_prob(x), rtol=1e-12, atol=1e-12)


def test_float32_is_within_a_thousandth_of_a_nat_at_784_pixels():
    torch.manual_seed(0)
    logits = 20 * torch.randn(1000, 784)
    fast, _ = both(logits, 1)
    _, exact = both(logits.double(), 1)
    x = fast.sample()
    assert (fast.log_prob(x).double() - exact.log_prob(x.double())).abs().max() < 1e-3


@pytest.mark.parametrize("size", [100.0, 1e4, 1e30])
def test_extreme_logits(size):
    logits = torch.tensor([size, -size, size, -size, 0.0])
    fast, plain = both(logits, 1)
    for x in (torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0]), torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0])):
        torch.testing.assert_close(fast.log_prob(x), plain.log_prob(x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("event_shape", [(1,), (784,), (3, 5, 7)])
@pytest.mark.parametrize("batch_shape", [(), (3,), (4, 3)])
def test_with_a_gradient_it_is_the_plain_density_and_so_are_its_gradients(event_shape, batch_shape):
    torch.manual_seed(0)
    logits = torch.randn(*batch_shape, *event_shape, dtype=torch.float64, requires_grad=True)
    x = torch.bernoulli(torch.full(event_shape, 0.3, dtype=torch.float64)).requires_grad_()
    fast, plain = (bits.log_prob(x) for bits in both(logits, len(event_shape)))
    assert fast.shape == plain.shape == batch_shape
    torch.testing.assert_close(fast, plain, rtol=0, atol=0)
    gradients = [torch.autograd.grad(density.square().sum(), [logits, x]) for density in (fast, plain)]
    torch.testing.assert_close(*gradients)


def test_with_a_gradient_no_step_more_is_taken_for_each_bit_than_the_loss_takes():
    """The sign of each bit would be a pass over all of them, forward and backward."""

    class Sizes(TorchDispatchMode):
        negated: ClassVar[list[int]] = []

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func is torch.ops.aten.neg.default:
                self.negated.append(args[0].numel())
            return func(*args, **(kwargs or {}))

    bits, _ = both(torch.randn(50, 8, 784, requires_grad=True), 1)
    with Sizes():
        bits.log_prob(torch.ones(8, 784)).sum().backward()
    assert set(Sizes.negated) == {50 * 8}


def test_it_stays_itself_when_expanded_and_refuses_what_is_no_bit():
    fast, plain = both(torch.randn(1, 4), 1)
    expanded = fast.expand((3,))
    assert type(expanded) is IndependentBernoulli
    torch.testing.assert_close(expanded.log_prob(torch.ones(4)), plain.log_prob(torch.ones(4)).expand(3))
    for bits in (fast, both(torch.randn(4, requires_grad=True), 1)[0]):
        with pytest.raises(ValueError, match="support"):
            bits.log_prob(torch.full((4,), 0.5))


def test_nan_logits_give_nan():
    fast, _ = both(torch.randn(2, 20), 1)
    fast.base_dist.logits[1, 3] = float("nan")
    assert fast.log_prob(torch.ones(20)).isnan().tolist() == [False, True]
