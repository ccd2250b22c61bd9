"""Values outside a likelihood's support, where its bounds are numbers, differ by entry, or by row."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae.distributions import MultivariateNormal, Reshaped
from pyrovae.programs import check_support
from pyrovae.programs.support import _lacking


def pair(likelihood):
    def model(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", likelihood(x), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))

    return model, guide


@pytest.mark.parametrize(
    ("likelihood", "fits"),
    [
        (dist.Gamma(torch.tensor([2.0, 0.5]), 1.0), False),
        (dist.Gamma(torch.tensor([1.0, 0.5]), 1.0), False),
        (dist.Chi2(torch.tensor([3.0, 3.0])), False),
        (dist.Gamma(torch.ones(2), 1.0), True),
        (dist.Exponential(torch.ones(2)), True),
    ],
    ids=str,
)
def test_zero_under_a_gamma_distribution_has_no_density_but_where_it_is_exponential(likelihood, fits):
    programs = pair(lambda x: likelihood.expand((len(x), 2)).to_event(1))
    x = torch.tensor([[1.0, 2.0], [0.5, 0.0], [3.0, 1.0]])
    if fits:
        check_support(*programs, x)
        return
    said = r"row 1 has the value 0, .*at 0 its density is 0 or infinite.*\(it is entry \[1\] of the row, and rows"
    with pytest.raises(ValueError, match=said):
        check_support(*programs, x)


def test_values_that_are_no_bits_are_sent_to_a_likelihood_for_them():
    programs = pair(lambda x: dist.Bernoulli(torch.full((len(x), 2), 0.5)).to_event(1))
    with pytest.raises(ValueError, match="for real values such as Normal, for positive ones such as LogNormal"):
        check_support(*programs, torch.rand(9, 2) + 0.5)


COUNTS = torch.tensor([[0.0, 3.0], [1.0, 5.0], [2.0, 4.0], [0.0, 0.0], [2.0, 5.0]])


@pytest.mark.parametrize("total_count", [5, torch.tensor([2.0, 5.0])])
def test_bounds_that_all_rows_share(total_count):
    programs = pair(lambda x: dist.Binomial(total_count, torch.full((len(x), 2), 0.5)).to_event(1))
    check_support(*programs, COUNTS)
    outside = COUNTS.clone()
    outside[4, 1] = 6.0
    with pytest.raises(ValueError, match=r"Binomial at site 'x' .* row 4 has the value 6, outside .*total_count"):
        check_support(*programs, outside)


def test_bounds_by_entry_are_looked_at_by_entry():
    programs = pair(lambda x: dist.Binomial(torch.tensor([2.0, 5.0]), torch.full((len(x), 2), 0.5)).to_event(1))
    outside = COUNTS.clone()
    outside[3, 0] = 3.0
    with pytest.raises(ValueError, match="row 3 has the value 3, outside"):
        check_support(*programs, outside)


def test_bounds_by_row_are_left_to_each_step():
    def likelihood(x):
        total = 5.0 + torch.arange(len(x))[:, None].expand(len(x), 2)
        return dist.Binomial(total, torch.full((len(x), 2), 0.5)).to_event(1)

    check_support(*pair(likelihood), COUNTS + 90)


def test_bounds_by_row_that_the_first_rows_share():
    x = torch.cat([COUNTS, torch.tensor([[9.0, 9.0]])])
    programs = pair(lambda x: dist.Binomial(x.amax(1, keepdim=True).clamp(min=5), torch.full((2,), 0.5)).to_event(1))
    check_support(*programs, x)


def test_bounds_of_flattened_rows():
    images = COUNTS.reshape(5, 1, 2)
    for total_count, refused in ((5.0, True), (torch.tensor([2.0, 5.0]), False)):

        def model(x, total_count=total_count):
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(0.0, 1.0))
                pyro.sample("x", dist.Binomial(total_count, torch.full((2,), 0.5)).to_event(1), obs=x.flatten(1))

        guide = pair(None)[1]
        check_support(model, guide, images)
        if refused:
            with pytest.raises(ValueError, match="value 6, outside"):
                check_support(model, guide, images + 1)


def test_names_of_distributions_with_a_base():
    outside = COUNTS - 0.5
    for likelihood, name in (
        (lambda x: dist.LogNormal(torch.zeros(2), 1.0).to_event(1), "LogNormal"),
        (lambda x: dist.ZeroInflatedPoisson(torch.ones(2), gate=torch.tensor(0.5)).to_event(1), "ZeroInflatedPoisson"),
        (
            lambda x: dist.ZeroInflatedDistribution(
                dist.NegativeBinomial(torch.ones(2), torch.tensor(0.5)), gate=torch.tensor(0.5)
            ).to_event(1),
            "ZeroInflatedNegativeBinomial",
        ),
        (lambda x: dist.Poisson(torch.ones(2)).mask(torch.tensor(True)).to_event(1), "Poisson"),
        (
            lambda x: dist.MixtureSameFamily(
                dist.Categorical(torch.ones(2, 3)), dist.Poisson(torch.ones(2, 3))
            ).to_event(1),
            "Poisson",
        ),
    ):
        with pytest.raises(ValueError, match=f"^{name} at site 'x' is no density"):
            check_support(*pair(likelihood), outside)


def test_a_gaussian_over_whole_rows():
    programs = pair(lambda x: Reshaped(MultivariateNormal(torch.zeros(2), torch.eye(2)), (1, 2)))
    check_support(*programs, COUNTS[:, None])
    nothing = COUNTS[:, None].clone()
    nothing[3, 0, 1] = torch.nan
    with pytest.raises(ValueError, match=r"MultivariateNormal at site 'x' .* row 3 has the value nan"):
        check_support(*programs, nothing)


def test_a_row_is_kept_for_each_entry_that_is_missing_and_no_more(monkeypatch):
    monkeypatch.setattr("pyrovae.programs.support.rows_at_once", lambda x: 2)
    x = torch.zeros(9, 3)
    x[1:, 0] = x[4, 2] = torch.nan
    x[7] = torch.nan
    first, empty = _lacking(x, x.isnan().any(1))
    assert first.tolist() == [1, 4, 7]
    assert empty.nonzero().flatten().tolist() == [7]
