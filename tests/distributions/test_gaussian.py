"""Expectations of Gaussian vectors against PyTorch, symbolic integrals and quadrature."""

import math

import numpy as np
import pytest
import sympy
import torch
from torch.distributions import MultivariateNormal, kl_divergence

from pyrovae.distributions.gaussian import expected_log_density, gaussian_entropy, gaussian_kl


def random_gaussian(batch, dim, seed):
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(*batch, dim, dim, generator=generator, dtype=torch.float64)
    covariance = root @ root.mT + 0.1 * torch.eye(dim, dtype=torch.float64)
    return torch.randn(*batch, dim, generator=generator, dtype=torch.float64), covariance


@pytest.mark.parametrize("dim", [1, 2, 7])
@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_against_pytorch(dim, batch):
    q, p = random_gaussian(batch, dim, 0), random_gaussian(batch, dim, 1)
    of_q, of_p = MultivariateNormal(*q), MultivariateNormal(*p)
    torch.testing.assert_close(gaussian_entropy(q[1]), of_q.entropy(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gaussian_kl(*q, *p), kl_divergence(of_q, of_p), rtol=1e-10, atol=1e-10)
    assert gaussian_kl(*q, *q).abs().max() < 1e-9


def test_against_symbolic_integrals():
    """The formulas in one dimension, derived by integrating the densities."""
    z, m, mu = sympy.symbols("z m mu", real=True)
    s, sigma = sympy.symbols("s sigma", positive=True)
    density = sympy.exp(-((z - m) ** 2) / (2 * s**2)) / sympy.sqrt(2 * sympy.pi * s**2)
    log_q = -sympy.log(2 * sympy.pi * s**2) / 2 - (z - m) ** 2 / (2 * s**2)
    log_p = -sympy.log(2 * sympy.pi * sigma**2) / 2 - (z - mu) ** 2 / (2 * sigma**2)
    infinity = sympy.oo
    entropy = -sympy.integrate(density * sympy.expand(log_q), (z, -infinity, infinity))
    cross = sympy.integrate(density * sympy.expand(log_p), (z, -infinity, infinity))
    values = {m: 0.3, s: 0.7, mu: -1.1, sigma: 1.9}
    q = (torch.tensor([0.3], dtype=torch.float64), torch.tensor([[0.7**2]], dtype=torch.float64))
    p = (torch.tensor([-1.1], dtype=torch.float64), torch.tensor([[1.9**2]], dtype=torch.float64))
    assert gaussian_entropy(q[1]).item() == pytest.approx(float(entropy.subs(values)), abs=1e-12)
    assert expected_log_density(*q, *p).item() == pytest.approx(float(cross.subs(values)), abs=1e-12)
    assert gaussian_kl(*q, *p).item() == pytest.approx(float((-entropy - cross).subs(values)), abs=1e-12)


def test_against_quadrature_in_two_dimensions():
    q, p = random_gaussian((), 2, 3), random_gaussian((), 2, 4)
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    grid = torch.as_tensor(np.stack(np.meshgrid(nodes, nodes), -1).reshape(-1, 2))
    of_grid = torch.as_tensor(np.outer(weights, weights).reshape(-1)) / (2 * math.pi)
    points = q[0] + grid @ torch.linalg.cholesky(q[1]).T
    exact = (of_grid * MultivariateNormal(*p).log_prob(points)).sum()
    assert expected_log_density(*q, *p).item() == pytest.approx(exact.item(), abs=1e-10)
