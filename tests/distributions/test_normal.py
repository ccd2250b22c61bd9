"""The fast density of normal vectors against PyTorch's, one value at a time."""

import pyro.distributions as dist
import pytest
import torch

from pyrovae.distributions import IndependentNormal


@pytest.mark.parametrize("batch_shape", [(), (3,), (4, 3)])
@pytest.mark.parametrize("latent_dim", [1, 5])
def test_equals_the_sum_over_values(batch_shape, latent_dim):
    torch.manual_seed(0)
    loc = torch.randn(*batch_shape, latent_dim, dtype=torch.float64, requires_grad=True)
    for scale in (torch.rand_like(loc) + 0.1, torch.tensor(0.7, dtype=torch.float64)):
        scale.requires_grad_()
        for expand in (batch_shape, (6, *batch_shape)):
            fast = IndependentNormal(dist.Normal(loc, scale), 1).expand(expand)
            plain = dist.Normal(loc, scale).to_event(1).expand(expand)
            z = plain.sample()
            assert type(fast) is IndependentNormal
            assert fast.log_prob(z).shape == expand
            torch.testing.assert_close(fast.log_prob(z), plain.log_prob(z), rtol=1e-12, atol=1e-12)
            gradients = [torch.autograd.grad(vector.log_prob(z).sum(), (loc, scale)) for vector in (fast, plain)]
            torch.testing.assert_close(*gradients)


def test_nan_gives_nan():
    vector = IndependentNormal(dist.Normal(torch.zeros(2, 3), 1.0), 1)
    assert vector.log_prob(torch.tensor([[0.0, 0.0, 0.0], [0.0, torch.nan, 0.0]])).isnan().tolist() == [False, True]
