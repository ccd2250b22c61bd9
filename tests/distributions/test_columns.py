"""Columns of different kinds: against each column alone."""

import math

import pyro.distributions as dist
import pytest
import torch

from pyrovae.distributions import CategoricalLevels, Columns, PartlyObserved

KINDS = ("binary", "categorical(3)", "real", "count", "categorical(2)", "real", "categorical(3)")
BATCH = 4


def groups(batch=(BATCH,)):
    generator = torch.Generator().manual_seed(0)

    def numbers(*shape):
        return torch.randn(*batch, *shape, generator=generator, dtype=torch.float64)

    return {
        "real": dist.Normal(numbers(2), numbers(2).exp()),
        "count": dist.NegativeBinomial(numbers(1).exp(), logits=numbers(1)),
        "binary": dist.Bernoulli(logits=numbers(1)),
        "categorical(2)": dist.Categorical(logits=numbers(1, 2)),
        "categorical(3)": dist.Categorical(logits=numbers(2, 3)),
    }


def alone(found):
    """The distribution of each column, in order."""

    def column(kind, number):
        whole = found[kind]
        names = {"count": ("total_count", "logits"), "real": ("loc", "scale")}.get(kind, ("logits",))
        step = (..., number) if not kind.startswith("categorical") else (..., number, slice(None))
        return type(whole)(**{name: getattr(whole, name)[step] for name in names})

    return [column(kind, KINDS[:position].count(kind)) for position, kind in enumerate(KINDS)]


def test_log_prob_is_the_sum_over_columns():
    found = groups()
    table = Columns(KINDS, found)
    assert (table.batch_shape, table.event_shape) == ((BATCH,), (len(KINDS),))
    x = table.sample()
    assert x.dtype == torch.float64
    terms = torch.stack([column.log_prob(x[:, d]) for d, column in enumerate(alone(found))], -1)
    torch.testing.assert_close(table.log_prob(x), terms.sum(-1))
    missing = torch.rand(x.shape) < 0.5
    torch.testing.assert_close(
        PartlyObserved(table).log_prob(x.masked_fill(missing, math.nan)), terms.masked_fill(missing, 0).sum(-1)
    )


def test_missing_entries_send_no_nan_through_gradients():
    found = groups()
    logits = torch.randn(BATCH, 2, 3, dtype=torch.float64, requires_grad=True)
    table = Columns(KINDS, {**found, "categorical(3)": dist.Categorical(logits=logits)})
    x = table.sample()
    x[:, 1] = math.nan
    (gradient,) = torch.autograd.grad(PartlyObserved(table).log_prob(x).sum(), logits)
    assert gradient[:, 0].eq(0).all()
    assert gradient[:, 1].ne(0).all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("value", [7.0, -1.0, 1.5])
def test_what_is_no_category_has_no_probability_where_nothing_is_validated(value):
    group = dist.Categorical(logits=torch.randn(1, 3, requires_grad=True))
    table = Columns(["categorical(3)"], {"categorical(3)": group}, validate_args=False)
    x = torch.tensor([[2.0], [value]])
    log_prob = table.log_prob(x)
    one_by_one = CategoricalLevels(logits=group.logits, validate_args=False).log_prob(x)[:, 0]
    assert log_prob.tolist() == one_by_one.tolist() == [group.logits[0, 2].item(), -math.inf]


def test_probabilities_of_discrete_columns_sum_to_one():
    found = groups(())
    discrete = ["binary", "categorical(3)", "categorical(2)", "categorical(3)"]
    table = Columns(discrete, {kind: found[kind] for kind in set(discrete)})
    assert table.support.is_discrete
    every = torch.cartesian_prod(torch.arange(2), torch.arange(3), torch.arange(2), torch.arange(3)).double()
    assert table.log_prob(every).exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_draws_and_means_are_those_of_the_columns():
    found = groups(())
    table = Columns(KINDS, found)
    draws = table.sample((40_000,))
    for d, (kind, column) in enumerate(zip(KINDS, alone(found), strict=True)):
        if kind.startswith("categorical"):
            frequencies = torch.stack([(draws[:, d] == level).double().mean() for level in range(len(column.probs))])
            error = (column.probs * (1 - column.probs) / 40_000).sqrt()
            distance, mean = frequencies - column.probs, column.probs.argmax()
        else:
            distance, error, mean = draws[:, d].mean() - column.mean, (column.variance / 40_000).sqrt(), column.mean
        # Twelve numbers within 4.5 standard errors: a false alarm in about 12,000 seeds.
        assert (distance.abs() < 4.5 * error).all(), kind
        assert table.mean[d] == mean


def test_expanded_tables_and_leading_dimensions():
    found = groups()
    table = Columns(KINDS, found)
    more = table.expand((3, BATCH))
    assert more.batch_shape == (3, BATCH)
    x = more.sample()
    assert x.shape == (3, BATCH, len(KINDS))
    torch.testing.assert_close(more.log_prob(x), table.log_prob(x))
    assert more.sample((2,)).shape == (2, 3, BATCH, len(KINDS))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (0, 2.0, "the value 2 is outside column 0, which is 'binary' and so takes 0 or 1"),
        (1, 3.0, r"the value 3 is outside column 1, which is 'categorical\(3\)' and so takes 0 to 2"),
        (3, 0.5, "the value 0.5 is outside column 3, which is 'count' and so takes 0, 1, 2"),
        (3, -1.0, "column 3"),
        (2, math.nan, "column 2, which is 'real' and so takes any number"),
        (6, -1.0, "column 6"),
    ],
)
def test_values_of_another_kind_are_named(column, value, message):
    table = Columns(KINDS, groups())
    x = table.sample()
    x[2, column] = value
    with pytest.raises(ValueError, match=message):
        table.log_prob(x)
    assert table.support.check(x).tolist() == [True, True, False, True]


def test_groups_have_to_fit_the_kinds():
    found = groups()
    with pytest.raises(ValueError, match="no distribution for the 1 columns of kind 'count'"):
        Columns(KINDS, {kind: group for kind, group in found.items() if kind != "count"})
    with pytest.raises(ValueError, match=r"for the 3 columns of kind 'real'; expected batch shape \(\*batch, 3\)"):
        Columns((*KINDS, "real"), found)
    with pytest.raises(ValueError, match="column_kinds has 'ordinal' for column 0; expected 'real', 'count'"):
        Columns(["ordinal"], {})
