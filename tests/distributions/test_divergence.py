"""Which KL divergences of PyTorch's are taken for closed forms, against quadrature."""

import pyro.distributions as dist
import pytest
import torch
from scipy.integrate import quad
from torch.distributions import ExponentialFamily, kl

from pyrovae.distributions.divergence import closed_form_kl

ABS = torch.distributions.transforms.AbsTransform()


def folded(loc, scale=1.0):
    return dist.FoldedDistribution(dist.Normal(torch.tensor(loc), scale))


@pytest.mark.parametrize(
    ("q", "p"),
    [
        (folded(-1.0), folded(0.5)),
        (folded(-1.0), dist.HalfNormal(torch.tensor(1.0))),
        (dist.HalfNormal(torch.tensor(1.0)), folded(0.5)),
        (folded(-1.0).expand((2,)).to_event(1), folded(0.5).expand((2,)).to_event(1)),
        (folded(-1.0).mask(True), folded(0.5).mask(True)),
        (dist.TransformedDistribution(folded(-1.0), [dist.transforms.AffineTransform(0.0, 2.0)]), folded(0.5)),
        (
            dist.TransformedDistribution(dist.Normal(torch.tensor(1.0), 1.0), [ABS]),
            dist.TransformedDistribution(dist.Normal(torch.tensor(2.0), 1.0), [ABS]),
        ),
        (dist.ContinuousBernoulli(torch.tensor(0.3)), dist.Uniform(torch.tensor(0.0), 1.0)),
        (dist.Uniform(torch.tensor(0.0), 1.0), dist.ContinuousBernoulli(torch.tensor(0.3))),
        (dist.Uniform(torch.zeros(2), 1.0).to_event(1), dist.ContinuousBernoulli(torch.full((2,), 0.3)).to_event(1)),
        (dist.Wishart(torch.tensor(4.0), torch.eye(2)), dist.Wishart(torch.tensor(5.0), torch.eye(2))),
    ],
)
def test_wrong_rules_are_no_closed_forms(q, p):
    """Folded values whose KL is taken before folding, bounds taken for outside, and draws without q's gradient."""
    assert closed_form_kl(q, p) is None


@pytest.mark.parametrize("kind", [dist.HalfNormal, dist.HalfCauchy])
def test_folding_what_is_even_changes_no_kl(kind):
    q, p = (kind(torch.tensor(scale, dtype=torch.float64)) for scale in (0.7, 1.5))

    def integrand(z):
        z = torch.tensor(z, dtype=torch.float64)
        return float(q.log_prob(z).exp() * (q.log_prob(z) - p.log_prob(z)))

    expected = quad(integrand, 0, float("inf"), epsabs=1e-11)[0]
    assert float(closed_form_kl(q, p)) == pytest.approx(expected, abs=1e-8)


def test_no_other_family_has_the_rule_without_a_gradient():
    """The one that PyTorch falls back on differentiates by copies of the parameters of q."""
    families = {fn for name in dist.__all__ if isinstance(fn := getattr(dist, name), type)} - {dist.ExponentialFamily}
    families = {fn for fn in families if issubclass(fn, ExponentialFamily)}
    assert len(families) > 10
    fallback = {fn for fn in families if kl._dispatch_kl(fn, fn) is kl._kl_expfamily_expfamily}
    assert fallback == {dist.Wishart}
