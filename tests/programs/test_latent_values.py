"""Latents whose values or kind differ between model and guide, which would be scored too low without a sign of it."""

import math
from functools import partial

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae import ais, check_pair, compare_bounds, fit_svi, latent_summary, log_weights
from pyrovae.fit import main
from pyrovae.objectives import Trace_ELBO

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


scored_or_checked = pytest.mark.parametrize(
    "use",
    [
        lambda model, guide: compare_bounds(model, guide, X, num_samples=5),
        lambda model, guide: ais(model, guide, X, num_temperatures=5, num_chains=2, start="guide"),
        lambda model, guide: check_pair(model, guide, X),
    ],
    ids=["compare_bounds", "ais", "check_pair"],
)


@every_way_in
@pytest.mark.parametrize(
    ("prior", "posterior", "said"),
    [
        (dist.Categorical(torch.ones(4)), dist.Categorical(torch.ones(3)), "0 to 3 in the model and from 0 to 2 in"),
        (dist.Binomial(9, 0.5), dist.Binomial(8, 0.5), "0 to 9 in .* from 0 to 8 in"),
        (dist.Poisson(2.0), dist.Bernoulli(0.5), "0 to inf in the model and from 0 to 1 in"),
        (dist.Poisson(2.0).mask(True), dist.Categorical(torch.ones(9)), "0 to inf in the model and from 0 to 8 in"),
    ],
    ids=["Categorical", "Binomial", "Bernoulli", "Poisson"],
)
def test_a_discrete_guide_that_lacks_values_is_refused(use, prior, posterior, said):
    with pytest.raises(ValueError, match=rf"latent 'z' has values from {said} the guide, and draws have to"):
        use(*pair(prior, lambda x: posterior.expand((len(x),))))


INSIDE = {
    "Beta": lambda x: dist.Beta(torch.full((len(x),), 2.0), 2.0),
    "Uniform": lambda x: dist.Uniform(torch.zeros(len(x)), 1.0),
    "of one row": lambda x: dist.Uniform(torch.zeros(len(x)), torch.where(torch.arange(len(x)) == 1, 2.9, 3.0)),
    "from below": lambda x: dist.Uniform(torch.full((len(x),), 0.1), 3.0),
}


@scored_or_checked
@pytest.mark.parametrize("kind", INSIDE)
def test_bounds_inside_those_of_the_model_are_refused_in_scores(use, kind):
    with pytest.raises(ValueError, match=r"from 0 to 3 in the model and from .* in the guide.*a fit and an ELBO take"):
        use(*pair(dist.Uniform(0.0, 3.0), INSIDE[kind]))


def test_what_takes_no_weights_of_draws_takes_bounds_inside_those_of_the_model():
    programs = pair(dist.Uniform(0.0, 3.0), INSIDE["Uniform"])
    summary = latent_summary(*programs, X, num_samples=50)
    torch.testing.assert_close(summary.kl, torch.full((len(X),), math.log(3.0), dtype=torch.float64))
    estimate = ais(*programs, X, num_temperatures=200, num_chains=64, start="prior")
    normal = dist.Normal(X[:, 0].double(), 1.0)
    exact = ((normal.cdf(torch.tensor(3.0)) - normal.cdf(torch.tensor(0.0))) / 3).log()
    # Four rows at 5 standard errors: a false alarm in 1 of 400,000 seeds.
    assert ((estimate.log_px - exact).abs() < 5 * estimate.standard_error).all()


@pytest.mark.parametrize(
    ("prior", "classes"),
    [(dist.Poisson(2.0), 40), (dist.Geometric(0.6), 40), (dist.Binomial(60, 0.1), 40)],
    ids=["Poisson", "Geometric", "Binomial"],
)
def test_counts_may_end_where_the_model_hardly_ever_goes(prior, classes):
    """Four rows at 5 standard errors: a false alarm in 1 of 400,000 seeds."""
    programs = pair(prior, lambda x: dist.Categorical(0.8 ** torch.arange(classes).expand(len(x), -1)))
    bounds = compare_bounds(*programs, X, num_samples=5000)
    counts = torch.arange(61.0).double()
    exact = (dist.Normal(counts, 1.0).log_prob(X.double()) + prior.log_prob(counts)).logsumexp(1)
    assert ((bounds.log_px - exact).abs() < 5 * bounds.standard_error).all()


def test_a_guide_may_keep_off_zero_by_a_little():
    def guide(x):
        positive = [dist.transforms.SoftplusTransform(), dist.transforms.AffineTransform(1e-6, 1.0)]
        return dist.TransformedDistribution(dist.Normal(x[:, 0], 1.0), positive)

    check_pair(*pair(dist.Gamma(1.0, 1.0), guide), X)


def test_a_lower_bound_inside_that_of_the_model_is_refused_in_scores():
    programs = pair(dist.Exponential(1.0), lambda x: dist.Pareto(torch.ones(len(x)), 1.0))
    with pytest.raises(ValueError, match="from 0 to inf in the model and from 1 to inf in the guide"):
        compare_bounds(*programs, X, num_samples=5)


@pytest.mark.parametrize("kind", ["Beta", "Uniform"])
def test_bounds_inside_those_of_the_model_have_an_elbo(kind):
    programs = pair(dist.Uniform(0.0, 3.0), INSIDE[kind], lambda z: pyro.param("slope", torch.tensor(1.0)) * z)
    result = fit_svi(*programs, X, epochs=1, batch_size=4, objective=Trace_ELBO(num_particles=20_000), progress=False)
    law = INSIDE[kind](X[:1])
    share = torch.linspace(0, 1, 20_001, dtype=torch.float64)[1:-1]
    weight = law.log_prob(share).exp() / 20_000
    log_ratio = -math.log(3.0) + dist.Normal(share, 1.0).log_prob(X.double()) - law.log_prob(share)
    # The term of a draw varies by less than 3 nats: one row mean of 20,000 draws is 0.1 off in 1 of 400,000 seeds.
    assert result.history[-1]["train_elbo"] == pytest.approx((weight * log_ratio).sum(1).mean().item(), abs=0.1)


TO_THREE = {
    "Uniform": lambda x: dist.Uniform(torch.zeros(len(x)), 3.0),
    "Beta": lambda x: dist.TransformedDistribution(
        dist.Beta(torch.ones(len(x)), 1.0), [dist.transforms.AffineTransform(0.0, 3.0)]
    ),
    "logit-normal": lambda x: dist.TransformedDistribution(
        dist.Normal(x[:, 0], 2.0), [dist.transforms.SigmoidTransform(), dist.transforms.AffineTransform(0.0, 3.0)]
    ),
}


@pytest.mark.parametrize("kind", TO_THREE)
def test_the_same_bounds_have_the_log_px_of_the_integral(kind):
    """Four rows at 5 standard errors: a false alarm in 1 of 400,000 seeds."""
    bounds = compare_bounds(*pair(dist.Uniform(0.0, 3.0), TO_THREE[kind]), X, num_samples=20_000)
    normal = dist.Normal(X[:, 0].double(), 1.0)
    exact = ((normal.cdf(torch.tensor(3.0)) - normal.cdf(torch.tensor(0.0))) / 3).log()
    assert ((bounds.log_px - exact).abs() < 5 * bounds.standard_error).all()


def test_all_classes_have_the_log_px_of_the_enumeration():
    """Four rows at 5 standard errors: a false alarm in 1 of 400,000 seeds."""
    programs = pair(dist.Categorical(torch.ones(4)), lambda x: dist.Categorical(torch.ones(len(x), 4)))
    bounds = compare_bounds(*programs, X, num_samples=5000)
    exact = dist.Normal(torch.arange(4.0), 1.0).log_prob(X).double().logsumexp(1) - math.log(4)
    assert ((bounds.log_px - exact).abs() < 5 * bounds.standard_error).all()


@pytest.mark.parametrize("use", [latent_summary, check_pair, partial(compare_bounds, num_samples=5)])
@pytest.mark.parametrize("prior", [dist.Beta(2.0, 2.0), dist.Exponential(1.0), dist.Uniform(0.0, 3.0)], ids=str)
def test_draws_outside_of_the_prior_are_said_in_one_line(use, prior):
    programs = pair(prior, lambda x: dist.Normal(torch.full((len(x),), -9.0), 1.0))
    with pytest.raises(
        ValueError, match=r"^site 'z' has a value outside the support .* of its .*: draws of a"
    ) as raised:
        use(*programs, X)
    assert "\n" not in str(raised.value)


def test_a_run_is_refused_before_its_fit_where_its_scores_would_be(tmp_path, capsys):
    (tmp_path / "uniform.py").write_text(
        """
import pyro, torch
import pyro.distributions as dist
from torch import nn

class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(3, 1)

    def model(self, x):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Uniform(0.0, 3.0))
            pyro.sample("x", dist.Normal(z[..., None].expand(*z.shape, 3), 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Uniform(torch.zeros(len(x)), 1 + self.encoder(x)[:, 0].sigmoid()))

def make():
    pair = Pair()
    return pair.model, pair.guide
"""
    )
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(40, 3)))
    options = ["--data", str(tmp_path / "x.npy"), "--model", f"{tmp_path}/uniform.py:make", "--epochs", "1", "--quiet"]
    assert main([*options, "--output-dir", str(tmp_path / "run")]) == 2
    assert "latent 'z' has values from 0 to 3 in the model and from 0 to 1." in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
