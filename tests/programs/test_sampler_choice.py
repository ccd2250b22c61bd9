"""A program that mixes draws and rows is found out also where what it mixes does not count yet."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from normal_pairs import normal
from torch import nn

from pyrovae import fit_svi, log_weights
from pyrovae.programs import RepeatedSampler, VectorizedSampler, inspect_pair, make_sampler

X = torch.randn(40, 4)


class Gated(nn.Module):
    """A second branch of the decoder is behind a gate; its softmax over dimension 1 is right for rows without draws."""

    def __init__(self, kind, start, dim):
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.decoder, self.kind, self.start = nn.Linear(4, 4), nn.Linear(2, 4), kind, start
        self.branch = nn.Sequential(nn.Linear(2, 8), nn.Softmax(dim=dim), nn.Linear(8, 4))
        if kind == "weight":
            self.gate = nn.Parameter(torch.full((4,), start))
        if kind == "buffer":
            self.register_buffer("gate", torch.tensor(start))

    def model(self, x):
        gate = pyro.param("gate", torch.full((4,), self.start)) if self.kind == "param" else self.gate
        if self.kind == "buffer" and self.training:
            self.gate.add_(0.2).clamp_(max=1.0)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z) + gate * self.branch(z), 0.3).to_event(1), obs=x)

    def guide(self, x):
        loc, raw = self.encoder(x).chunk(2, -1)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, nn.functional.softplus(raw) + 0.05).to_event(1))


@pytest.mark.parametrize("start", [0.0, 1e-6])
@pytest.mark.parametrize("kind", ["weight", "buffer", "param"])
def test_numbers_close_to_zero_hide_nothing(kind, start):
    for dim, expected in ((-1, VectorizedSampler), (1, RepeatedSampler)):
        pyro.clear_param_store()
        pair = Gated(kind, start, dim).eval()
        structure = inspect_pair(pair.model, pair.guide, X)
        before = [tensor.clone() for tensor in (*pair.parameters(), *pair.buffers())]
        assert type(make_sampler(pair.model, pair.guide, X, structure)) is expected
        assert all(map(torch.equal, before, (*pair.parameters(), *pair.buffers())))


@pytest.mark.parametrize("kind", ["weight", "buffer", "param"])
def test_a_fit_is_of_the_programs_as_they_are_in_the_end(kind):
    """Its last bound, of eight draws, within 4 standard errors of many draws: a false alarm in 1 of 16,000 seeds."""
    pair = Gated(kind, 1e-6, 1)
    options = {"epochs": 60, "batch_size": 20, "lr": 0.05, "objective": "IWAE", "num_particles": 8, "progress": False}
    last = fit_svi(pair.model, pair.guide, X, validation=X, **options).history[-1]
    log_w = log_weights(pair.model, pair.guide, X, num_samples=2000)
    error = float((log_w.var(0) / 8).sum()) ** 0.5 / len(X)
    assert last["validation_elbo"] == pytest.approx(float(log_w.mean()), abs=4 * error)


def test_a_small_scale_is_not_taken_for_something_hidden():
    """With other numbers in its place the programs fail, and the draws are right as they are."""

    class SmallScale(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.full((4,), 0.005))

        def model(self, x):
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Normal(torch.zeros(4), 1.0).to_event(1))
                pyro.sample("x", dist.Normal(z, self.scale).to_event(1), obs=x)

        def guide(self, x):
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(x, 0.005).to_event(1))

    pair = SmallScale()
    structure = inspect_pair(pair.model, pair.guide, X)
    assert type(make_sampler(pair.model, pair.guide, X, structure)) is VectorizedSampler
    assert (pair.scale == 0.005).all()


@pytest.mark.parametrize("dim", [-1, 1])
def test_draws_and_dimensions_are_told_apart_though_weights_start_at_zero(dim):
    """Over dim 1 are the dimensions of a plain latent, and the rows of one with draws before them."""

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 4)
            nn.init.zeros_(self.layer.weight)

        def forward(self, x):
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", normal(torch.zeros(3)))
                pyro.sample("x", normal(self.layer(z.softmax(dim))), obs=x)

    model, encoder = Model(), nn.Linear(4, 3)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", normal(encoder(x)))

    structure = inspect_pair(model, guide, X)
    expected = VectorizedSampler if dim == -1 else RepeatedSampler
    with torch.no_grad():
        assert type(make_sampler(model, guide, X, structure)) is expected
    assert not model.layer.weight.any()


def test_draws_and_rows_are_told_apart_where_few_rows_do_not_show_it():
    """The rows that the program writes to, one by one, are draws where draws stand before rows."""
    marked = torch.zeros(15, 4)
    # Of three rows looked at none is marked, of five the second.
    marked[3, 0] = 1.0

    def model(x):
        with pyro.plate("data", len(x)):
            loc = pyro.sample("z", normal(torch.zeros(4))).clone()
            for row in (x[:, 0] > 0.5).nonzero().flatten():
                loc[row] = 0.0
            pyro.sample("x", normal(loc), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", normal(torch.zeros(4)))

    for x, expected in ((torch.zeros(15, 4), VectorizedSampler), (marked, RepeatedSampler)):
        assert type(make_sampler(model, guide, x, inspect_pair(model, guide, x))) is expected
