"""Values outside a likelihood's support, where its bounds are numbers, differ by entry, or by row."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import nn

from pyrovae import compare_bounds
from pyrovae.distributions import MultivariateNormal, PartlyObserved, Reshaped
from pyrovae.programs import check_support
from pyrovae.programs.missing import _lacking


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


BITS_PAIR = pair(lambda x: dist.Bernoulli(torch.full(x.shape, 0.5)).to_event(x.dim() - 1))


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize(
    ("values", "said"),
    [
        (lambda u: (70 * u).floor(), "; use NegativeBinomial or Poisson for counts, or Columns for a table"),
        (lambda u: 0.01 + 0.98 * u, "; use Beta for proportions, or a likelihood for real values such as Normal"),
        (lambda u: (2 * u - 0.5).clamp(0, 1), "; binarise the grey values .* ContinuousBernoulli"),
        (lambda u: u - 0.5, r"; use a likelihood for real values such as Normal \("),
        (lambda u: u + 0.1, r"; use a likelihood for real values such as Normal, for positive ones such as LogNormal"),
        (
            lambda u: (u - 0.5) * torch.tensor([0.01, 0.1, 100.0]),
            "; columns have standard deviations from 0.003 to 3e[+]01: use Columns with networks.ColumnEncoder.*; "
            "--likelihood Columns --encoder ColumnEncoder --columns '{}' on the command line",
        ),
        (
            lambda u: u * torch.tensor([0.01, 0.1, 100.0]) + 1e-3,
            "; columns have standard deviations .*: use LogNormal for positive numbers, or Columns with networks",
        ),
        (lambda u: 9000 + u, "; columns have values of about 9e[+]03: use LogNormal for positive numbers, or Columns"),
    ],
    ids=["counts", "proportions", "unit interval", "real", "positive", "apart", "positive and apart", "large"],
)
def test_values_of_a_table_that_are_no_bits_choose_the_words(values, said, missing):
    x = values(torch.rand(500, 3, generator=torch.Generator().manual_seed(1)))
    programs = BITS_PAIR
    if missing:
        x[::5, 1] = torch.nan
        programs = pair(lambda x: PartlyObserved(dist.Bernoulli(torch.full(x.shape, 0.5)).to_event(1)))
    with pytest.raises(ValueError, match=f"Bernoulli at site 'x' is no density for these data: row 0 .*{said}"):
        check_support(*programs, x)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (torch.rand(9, 1, 4, 4), "; binarise the grey values .* such as LogNormal, or ContinuousBernoulli where they"),
        (torch.arange(144.0).reshape(9, 1, 4, 4), "; use a likelihood for real values such as Normal, for positive"),
    ],
    ids=["grey", "levels"],
)
def test_images_that_are_no_bits_keep_their_words(values, said):
    with pytest.raises(ValueError, match=said):
        check_support(*BITS_PAIR, values)


UNASKED = torch.tensor([[0.0, 1.0], [1.0, 1.0]]).repeat(32, 1)
UNASKED[10:, 0] = -1


def masked_pair(kind):
    """Entries of -1 are masked, and observed as zero in place of it, or as they are."""

    def model(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))
            if kind == "by column":
                for j in range(2):
                    with poutine.mask(mask=x[:, j] >= 0):
                        pyro.sample(f"x{j}", dist.Bernoulli(x.new_full((len(x),), 0.3)), obs=x[:, j].clamp(min=0))
                return
            value = x.clamp(min=0) if kind == "filled" else x
            pyro.sample("x", dist.Bernoulli(torch.full(x.shape, 0.3)).mask(x >= 0).to_event(1), obs=value)

    return model, pair(None)[1]


@pytest.mark.parametrize("kind", ["filled", "as they are", "by column"])
@pytest.mark.parametrize("from_end", [False, True])
def test_masked_values_may_be_any(kind, from_end):
    rows = UNASKED.flip(0) if from_end else UNASKED
    programs = masked_pair(kind)
    check_support(*programs, rows)
    grey = rows.clone()
    grey[20, 1] = 0.5
    with pytest.raises(ValueError, match=r"row 20 has the value 0\.5, outside its support"):
        check_support(*programs, grey)
    if kind != "as they are":
        exact = torch.where(rows == 1, 0.3, 0.7).log().where(rows >= 0, 0).sum(1)
        bounds = compare_bounds(*programs, rows, num_samples=2)
        torch.testing.assert_close(bounds.log_px, exact.double(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("advised", [True, False])
def test_missing_entries_in_a_program_of_ones_own(advised):
    rows = UNASKED.where(UNASKED >= 0, torch.nan)

    def likelihood(x):
        fn = dist.Bernoulli(torch.full(x.shape, 0.3))
        return PartlyObserved(fn.to_event(1)) if advised else fn.mask(~x.isnan()).to_event(1)

    if not advised:
        with pytest.raises(ValueError, match=r"distributions\.PartlyObserved\(distribution\) with obs=x"):
            compare_bounds(*pair(likelihood), rows, num_samples=2)
        return
    exact = torch.where(rows == 1, 0.3, 0.7).log().where(~rows.isnan(), 0).sum(1)
    bounds = compare_bounds(*pair(likelihood), rows, num_samples=2)
    torch.testing.assert_close(bounds.log_px, exact.double(), rtol=1e-5, atol=1e-5)


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


@pytest.mark.parametrize("encode", [nn.Embedding(5, 2), lambda x: nn.functional.one_hot(x, 5)[..., :2].float()])
def test_a_class_that_the_encoder_does_not_know_is_named(encode):
    def model(x):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(5), 1.0).to_event(1))
            pyro.sample("x", dist.Categorical(logits=z.unsqueeze(-2).expand(*z.shape[:-1], 3, 5)).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(encode(x).sum((-1, -2)).unsqueeze(-1).expand(len(x), 5), 1.0).to_event(1))

    x = torch.arange(60).reshape(20, 3) % 5
    check_support(model, guide, x)
    x[13, 1] = 5
    with pytest.raises(ValueError, match=r"Categorical at site 'x' .* row 13 has the value 5, .*upper_bound=4"):
        check_support(model, guide, x)


def test_a_row_is_kept_for_each_entry_that_is_missing_and_no_more(monkeypatch):
    monkeypatch.setattr("pyrovae.programs.missing.rows_at_once", lambda x: 2)
    x = torch.zeros(9, 3)
    x[1:, 0] = x[4, 2] = torch.nan
    x[7] = torch.nan
    first, empty = _lacking(x, x.isnan().any(1))
    assert first.tolist() == [1, 4, 7]
    assert empty.nonzero().flatten().tolist() == [7]


@pytest.mark.parametrize("from_end", [False, True], ids=["first", "last"])
def test_masks_of_values_of_several_numbers_leave_out_whole_values(from_end):
    """A row that is no one-hot vector is refused where it counts, and may be anything where it is masked."""
    x, bad = torch.eye(4)[torch.arange(30) % 4], 29 if from_end else 0
    x[bad, 3] = 2.0
    counts = torch.arange(30) != bad

    def model_with(mask):
        def model(x):
            with pyro.plate("rows", len(x)):
                z = pyro.sample("z", dist.Normal(x.new_zeros(4), 1.0).to_event(1))
                pyro.sample("x", dist.OneHotCategorical(logits=z).mask(mask(x)), obs=x)

        return model

    def guide(x):
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(x, 1.0).to_event(1))

    check_support(model_with(lambda x: x.sum(-1) == 1), guide, x)
    for mask in (lambda x: True, lambda x: x.sum(-1) > 0):
        with pytest.raises(ValueError, match=f"row {bad} has the value"):
            check_support(model_with(mask), guide, x)
    check_support(model_with(lambda x: True), guide, x[counts])


def words(num_rows, most=30):
    """Counts of four words in texts of different lengths."""
    totals = torch.arange(num_rows) % (most - 4) + 5
    return torch.stack([torch.bincount(torch.randint(4, (int(total),)), minlength=4).float() for total in totals])


SLOPES = torch.tensor([1.0, 0.5, -0.5, -1.0])


def topics(total_count):
    """One topic, and counts of words as in Pyro's ProdLDA."""

    def model(x):
        with pyro.plate("texts", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Multinomial(total_count(x), (z[..., None] * SLOPES).softmax(-1)), obs=x)

    def guide(x):
        share = (x * SLOPES).sum(-1) / x.sum(-1)
        with pyro.plate("texts", len(x)):
            pyro.sample("z", dist.Normal(2 * share, 0.6))

    return model, guide


def of_the_longest(x):
    return int(x.sum(-1).max())


def test_a_total_count_of_the_longest_row_of_a_batch():
    """The longest text comes last. 60 rows at 5 standard errors: a false alarm in 1 of 30,000 seeds."""
    x = words(60)
    x = x[x.sum(-1).argsort()]
    bounds = compare_bounds(*topics(of_the_longest), x, num_samples=5000)
    z = torch.linspace(-8, 8, 2001, dtype=torch.float64)
    log_shares = (z[:, None] * SLOPES).log_softmax(-1)
    counts = x.double()
    ways = (counts.sum(-1) + 1).lgamma() - (counts + 1).lgamma().sum(-1)
    inside = counts @ log_shares.T + dist.Normal(0.0, 1.0).log_prob(z)
    exact = ways + inside.logsumexp(-1) + math.log(16 / 2000)
    assert ((bounds.log_px - exact).abs() < 5 * bounds.standard_error + 1e-4).all()


@pytest.mark.parametrize("row", [20, 1200])
def test_counts_outside_of_a_total_count_of_the_rows_are_refused(row):
    x = words(1300)
    check_support(*topics(of_the_longest), x)
    repair = r"give a total_count that no row exceeds, int\(x.sum\(-1\).max\(\)\)"
    with pytest.raises(ValueError, match=f"^Multinomial at site 'x' .* row 6 has the value .*{repair}"):
        check_support(*topics(lambda x: 10), x)
    x[row] = torch.tensor([-1.0, 3.0, 1.0, 2.0])
    with pytest.raises(ValueError, match=rf"row {row} has the value \[-1.0, 3.0, 1.0, 2.0\].*{repair}"):
        check_support(*topics(of_the_longest), x)


def test_a_largest_count_of_the_batch():
    x = torch.tensor([[1.0, 0.0], [2.0, 1.0], [0.0, 0.0], [1.0, 9.0]])
    check_support(*pair(lambda x: dist.Binomial(x.max(), torch.full((len(x), 2), 0.5)).to_event(1)), x)
    with pytest.raises(ValueError, match="row 3 has the value 9, outside"):
        check_support(*pair(lambda x: dist.Binomial(x[:, 0].max(), torch.full((len(x), 2), 0.5)).to_event(1)), x)
