"""What the processes draw for their rows together is what one process draws for all of them."""

import pyro
import pytest
import torch
from pyro import distributions as dist
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

from pyrovae.processes import draws_of_all_rows

ROWS = 7


class OneOf:
    """One of three processes, without the others."""

    several, world_size = True, 3

    def __init__(self, rank):
        self.rank = rank

    @property
    def rows(self):
        return [range(3), range(3, 5), range(5, 7)][self.rank]


def in_shares(draw, x):
    """What each of three processes draws for its rows, and the state of the generator afterwards."""
    drawn = []
    for rank in range(3):
        process = OneOf(rank)
        torch.manual_seed(5)
        with draws_of_all_rows(process, process.rows, len(x)):
            drawn.append(draw(x[process.rows.start : process.rows.stop]))
    return drawn, torch.get_rng_state()


DRAWS = {
    "standard normal": lambda x: torch.randn(len(x), 4),
    "like another": lambda x: torch.rand_like(x),
    "in place": lambda x: torch.empty(len(x), 4).normal_(),
    "in place, uniform": lambda x: torch.zeros(len(x)).uniform_(2, 3),
    "exponential": lambda x: torch.empty_like(x).exponential_(),
    "bits with probabilities": lambda x: torch.bernoulli(x.sigmoid()),
    "bits in place": lambda x: torch.empty_like(x).bernoulli_(0.3),
    "whole numbers": lambda x: torch.randint(0, 100, (len(x), 2)),
    "dropout": lambda x: nn.functional.dropout(x.exp(), 0.5, training=True),
    "Normal": lambda x: dist.Normal(x, x.exp()).rsample(),
    "several draws of Normal": lambda x: dist.Normal(x, 1.0).rsample((4,)),
    "MultivariateNormal": lambda x: dist.MultivariateNormal(x, torch.eye(5)).rsample((4,)),
    "LowRankMultivariateNormal": lambda x: dist.LowRankMultivariateNormal(
        x, x[..., None].expand(-1, -1, 2), x.exp()
    ).rsample(),
    "Laplace": lambda x: dist.Laplace(x, 1.0).rsample(),
    "Categorical": lambda x: dist.Categorical(logits=x).sample(),
    "several draws of Categorical": lambda x: dist.Categorical(logits=x).sample((4,)),
    "Bernoulli": lambda x: dist.Bernoulli(logits=x).sample(),
    "RelaxedBernoulli": lambda x: dist.RelaxedBernoulli(torch.tensor(0.5), logits=x).rsample(),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_as_one_process(draw):
    x = torch.randn(ROWS, 5)
    torch.manual_seed(5)
    whole = draw(x)
    after = torch.get_rng_state()
    dim = whole.shape.index(ROWS)
    drawn, after_share = in_shares(draw, x)
    # Functions of the draws may round otherwise at the end of a tensor.
    torch.testing.assert_close(torch.cat(drawn, dim), whole, rtol=1e-5, atol=1e-6)
    assert torch.equal(after, after_share)


# As many draws, or entries, as there are rows in a share.
STATEMENTS = {
    "several draws": lambda x: dist.Normal(x, 1.0).expand([2, len(x), 5]).to_event(1),
    "entries": lambda x: dist.Normal(x[:, :2], 1.0).to_event(1),
    "both, without an event": lambda x: dist.Normal(x[:, 0], 1.0).expand([2, len(x)]),
    "low rank": lambda x: dist.LowRankMultivariateNormal(x, x[..., None].expand(-1, -1, 2), x.exp()).expand(
        [2, len(x)]
    ),
    "mixture": lambda x: dist.MixtureSameFamily(
        dist.Categorical(logits=x[:, :2]), dist.Normal(x[:, :4].reshape(-1, 2, 2), 1.0).to_event(1)
    ),
}


@pytest.mark.parametrize("distribution", STATEMENTS.values(), ids=STATEMENTS)
def test_the_rows_of_a_statement_are_those_of_its_plate(distribution):
    def draw(x):
        with pyro.plate("rows", len(x), dim=-1):
            return pyro.sample("z", distribution(x))

    test_as_one_process(draw)


@pytest.mark.parametrize("entries", [5, 9])
@pytest.mark.parametrize("copies_of_rows", [False, True], ids=["draws apart", "copies of rows"])
def test_draws_for_flattened_latents_are_those_of_one_process(copies_of_rows, entries):
    """As decoders have them that take one batch dimension; nine are as many entries as three draws of a share."""
    x = torch.randn(ROWS, entries)

    def draw(x):
        # A program runs with a dimension of draws, or on copies of the rows.
        shape = [3 * len(x)] if copies_of_rows else [3, len(x)]
        z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([*shape, entries]).to_event(1))
        pyro.plate("entries", entries)
        kept = nn.functional.dropout(z.reshape(-1, entries).exp(), 0.5, training=True)
        noise = torch.randn(3 * len(x), 2)
        return torch.cat([kept, noise], 1).reshape(3, len(x), -1)

    torch.manual_seed(5)
    whole = draw(x)
    after = torch.get_rng_state()
    drawn, after_share = in_shares(draw, x)
    torch.testing.assert_close(torch.cat(drawn, 1), whole, rtol=1e-5, atol=1e-6)
    assert torch.equal(after, after_share)


# Their samplers take as many numbers as they need for the values that they are given.
TRIED_AND_DRAWN_AGAIN = {
    "Gamma": lambda x: dist.Gamma(x.exp(), 1.0).rsample(),
    "Poisson": lambda x: dist.Poisson(x.exp()).sample(),
}


@pytest.mark.parametrize("draw", TRIED_AND_DRAWN_AGAIN.values(), ids=TRIED_AND_DRAWN_AGAIN)
def test_no_two_rows_share_a_draw(draw):
    # Equal parameters, so equal draws could only come of shared random numbers.
    drawn, _ = in_shares(draw, torch.full((ROWS, 300), 2.0))
    rows = torch.cat(drawn)
    assert rows.shape == (ROWS, 300)
    # Of 300 entries that are drawn from 30 or more values as likely as these, 200 are never equal by chance.
    assert all((rows[i] == rows[j]).sum() < 200 for i in range(ROWS) for j in range(i))


def test_what_belongs_to_no_row_is_the_same_in_all():
    drawn, _ = in_shares(lambda x: torch.randn(4), torch.zeros(ROWS, 5))
    assert all(torch.equal(values, drawn[0]) for values in drawn)


def test_gradients_pass_through():
    x = torch.randn(ROWS, 5, requires_grad=True)
    process = OneOf(1)
    with draws_of_all_rows(process, process.rows, ROWS):
        dist.Normal(x[3:5], x[3:5].exp()).rsample().sum().backward()
    assert ((x.grad != 0).all(1)).tolist() == [3 <= row < 5 for row in range(ROWS)]


def test_recorded_operations_draw_the_same():
    process = OneOf(1)

    def draw(x):
        with draws_of_all_rows(process, process.rows, ROWS):
            return torch.bernoulli(x.sigmoid()) + torch.randn(len(x), 5)

    x = torch.randn(2, 5)
    recorded = make_fx(draw)(x)
    torch.manual_seed(3)
    plain = draw(x)
    torch.manual_seed(3)
    assert torch.equal(recorded(x), plain)
