"""Latents whose values or kind differ between model and guide, which would be scored too low without a sign of it."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae import ais, check_pair, compare_bounds, fit_svi, latent_summary, log_weights

X = torch.tensor([[-1.5], [-0.2], [0.4], [2.0]])
TEMPERATURE = torch.tensor(0.5)


def pair(prior, posterior, loc=lambda z: z):
    """x is normal around a number made of z."""

    def model(x):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", prior)
            pyro.sample("x", dist.Normal(loc(z)[..., None], 1.0).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("rows", len(x)):
            pyro.sample("z", posterior(x))

    return model, guide


every_way_in = pytest.mark.parametrize(
    "use",
    [
        lambda model, guide: compare_bounds(model, guide, X, num_samples=5),
        lambda model, guide: log_weights(model, guide, X, num_samples=5),
        lambda model, guide: latent_summary(model, guide, X),
        lambda model, guide: ais(model, guide, X, num_temperatures=5, num_chains=5),
        lambda model, guide: check_pair(model, guide, X),
        lambda model, guide: fit_svi(model, guide, X, epochs=1, batch_size=4, progress=False),
    ],
    ids=["compare_bounds", "log_weights", "latent_summary", "ais", "check_pair", "fit_svi"],
)


def first_of_two(z):
    return z[..., 0]


@every_way_in
@pytest.mark.parametrize(
    ("prior", "relaxed", "loc", "said"),
    [
        (
            dist.Bernoulli(0.3),
            lambda x: dist.RelaxedBernoulliStraightThrough(TEMPERATURE, logits=x[:, 0]),
            lambda z: z,
            r"discrete in the model \(Bernoulli\) and continuous in the guide \(RelaxedBernoulliStraightThrough\).* "
            "from a Bernoulli too, .*'ReweightedWakeSleep'; or relax it in both",
        ),
        (
            dist.OneHotCategorical(torch.tensor([0.3, 0.7])),
            lambda x: dist.RelaxedOneHotCategoricalStraightThrough(TEMPERATURE, logits=x * torch.tensor([1.0, 0.0])),
            first_of_two,
            r"discrete in the model \(OneHotCategorical\) and .* from a OneHotCategorical too",
        ),
        (
            dist.Normal(0.0, 1.0),
            lambda x: dist.Poisson(x[:, 0].exp()).mask(True),
            lambda z: z,
            r"continuous in the model \(Normal\) and discrete in the guide \(Poisson\).* a density, such as Normal",
        ),
    ],
    ids=["Bernoulli", "OneHotCategorical", "Normal"],
)
def test_a_probability_over_a_density_is_refused(use, prior, relaxed, loc, said):
    with pytest.raises(ValueError, match=f"latent 'z' is {said}"):
        use(*pair(prior, relaxed, loc))


def of_two_values(share):
    """log p(x) where z is 1 with this probability, and 0 otherwise."""
    return torch.logaddexp(
        math.log(share) + dist.Normal(1.0, 1.0).log_prob(X[:, 0].double()),
        math.log1p(-share) + dist.Normal(0.0, 1.0).log_prob(X[:, 0].double()),
    )


def test_a_discrete_guide_has_the_log_px_of_the_enumeration():
    """With the exact posterior every draw has the weight p(x)."""
    logits = math.log(0.3 / 0.7) - 0.5
    bits = compare_bounds(
        *pair(dist.Bernoulli(0.3), lambda x: dist.Bernoulli(logits=x[:, 0] + logits)), X, num_samples=5
    )
    torch.testing.assert_close(bits.log_px, of_two_values(0.3), rtol=0, atol=1e-5)

    def of_classes(x):
        return dist.OneHotCategorical(logits=torch.cat([x + logits, 0 * x], -1))

    prior = dist.OneHotCategorical(torch.tensor([0.3, 0.7]))
    classes = compare_bounds(*pair(prior, of_classes, first_of_two), X, num_samples=5)
    torch.testing.assert_close(classes.log_px, of_two_values(0.3), rtol=0, atol=1e-5)


def test_a_latent_relaxed_in_both_has_the_log_px_of_the_integral():
    """Four rows at 5 standard errors: a false alarm in 1 of 400,000 seeds."""
    relaxed = dist.RelaxedBernoulli(TEMPERATURE, probs=torch.tensor(0.3))
    bounds = compare_bounds(
        *pair(relaxed, lambda x: dist.RelaxedBernoulli(TEMPERATURE, logits=x[:, 0] - 1)), X, num_samples=20_000
    )
    # In the logits, at equal distances, the integrand vanishes at both ends.
    logit = torch.linspace(-25, 25, 20_001, dtype=torch.float64)
    share = logit.sigmoid()
    density = dist.RelaxedBernoulli(TEMPERATURE.double(), probs=torch.tensor(0.3).double()).log_prob(share)
    inside = density + share.log() + (1 - share).log() + dist.Normal(share, 1.0).log_prob(X.double())
    exact = inside.logsumexp(1) + math.log(50 / 20_000)
    assert ((bounds.log_px - exact).abs() < 5 * bounds.standard_error + 1e-5).all()


def test_a_point_mass_in_the_model_may_have_a_discrete_guide():
    """Its log-density is 0 at the point, as if it had all the probability."""
    programs = pair(dist.Delta(torch.tensor(1.0)), lambda x: dist.Bernoulli(torch.full((len(x),), 0.5)))
    bounds = compare_bounds(*programs, X, num_samples=2000)
    exact = dist.Normal(1.0, 1.0).log_prob(X[:, 0]).double()
    # One share of draws at the point for each row: a false alarm in 1 of 400,000 seeds.
    assert ((bounds.log_px - exact).abs() < 5 * bounds.standard_error).all()


def test_shifted_counts_are_counts():
    """Some of n are seen, x of n at probability a half: n - x is Poisson, and each draw has the weight p(x)."""
    x = torch.tensor([[0.0], [2.0], [5.0]])

    def model(x):
        with pyro.plate("rows", len(x)):
            n = pyro.sample("n", dist.Poisson(3.0))
            pyro.sample("x", dist.Binomial(n[..., None], 0.5).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("rows", len(x)):
            unseen = dist.Poisson(x.new_full((len(x),), 1.5))
            pyro.sample("n", dist.TransformedDistribution(unseen, [dist.transforms.AffineTransform(x[:, 0], 1.0)]))

    bounds = compare_bounds(model, guide, x, num_samples=5)
    torch.testing.assert_close(bounds.log_px, dist.Poisson(1.5).log_prob(x[:, 0]).double(), rtol=0, atol=1e-5)
