"""Sequences of different lengths: each batch has to have the same latents, and masks say which of them a row has."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

from pyrovae import check_pair, compare_bounds, fit_svi, latent_summary

STEPS = 6
ROWS = 200


def to_the_end(rows):
    return STEPS


def to_the_longest(rows):
    return int(rows[:, -1].max())


def sequences(lengths):
    """Rows of six steps, zero after the length, and the length behind them."""
    x = torch.randn(len(lengths), STEPS, generator=torch.Generator().manual_seed(0)) * 2**0.5
    return torch.cat([x * (torch.arange(STEPS) < lengths[:, None]), lengths[:, None]], 1)


def pair(steps):
    """z_t ~ N(0, 1), x_t ~ N(z_t, 1) as far as a row goes, and the exact posterior times a weight."""

    def model(rows):
        with pyro.plate("data", len(rows)):
            for t in range(steps(rows)):
                with poutine.mask(mask=rows[:, -1] > t):
                    z = pyro.sample(f"z_{t}", dist.Normal(0.0, 1.0))
                    pyro.sample(f"x_{t}", dist.Normal(z, 1.0), obs=rows[:, t])

    def guide(rows):
        weight = pyro.param("weight", torch.tensor(1.0))
        with pyro.plate("data", len(rows)):
            for t in range(steps(rows)):
                with poutine.mask(mask=rows[:, -1] > t):
                    pyro.sample(f"z_{t}", dist.Normal(weight * rows[:, t] / 2, 0.5**0.5))

    return model, guide


def looked_at(length, others):
    """Rows of which those that are looked at before all others have one length."""
    lengths = others.expand(ROWS).clone()
    for count in (3, 5):
        lengths[torch.arange(count) * ROWS // count] = length
    return sequences(lengths)


LONGER = looked_at(3.0, torch.arange(ROWS) % STEPS + 1.0)
SHORTER = looked_at(4.0, torch.tensor(2.0))

USES = {
    "scoring": lambda *pair: compare_bounds(*pair, num_samples=20, chunk_size=20),
    "latents": lambda *pair: latent_summary(*pair, num_samples=2, aggregate=False),
    **{
        f"{objective}, beta {beta:g}": lambda *pair, objective=objective, beta=beta: fit_svi(
            *pair, objective=objective, beta=beta, num_particles=2, epochs=1, batch_size=20, progress=False
        )
        for objective, beta in (("Trace_ELBO", 1.0), ("TraceMeanField_ELBO", 4.0))
    },
    "IWAE": lambda *pair: fit_svi(*pair, objective="IWAE", epochs=1, batch_size=20, progress=False),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (LONGER, "a batch has the latent 'z_3', which other rows do not have, .*x.shape\\[1\\]"),
        # Enough rows that some blocks have none of four steps.
        (torch.cat([SHORTER, sequences(torch.full((400,), 2.0))]), "a batch lacks the latent 'z_2', which other rows"),
    ],
    ids=["longer", "shorter"],
)
def test_latents_that_other_batches_do_not_have_are_refused(use, rows, message):
    with pytest.raises(ValueError, match=message):
        USES[use](*pair(to_the_longest), rows)


def test_rows_that_are_looked_at_show_it_at_once():
    lengths = torch.full((ROWS,), 3.0)
    lengths[torch.arange(5) * ROWS // 5] = torch.tensor([3.0, 6.0, 3.0, 3.0, 3.0])
    with pytest.raises(ValueError, match="a batch has the latent 'z_3', which other rows do not have"):
        check_pair(*pair(to_the_longest), sequences(lengths))


@pytest.mark.parametrize("rows", [LONGER, SHORTER], ids=["longer", "shorter"])
def test_masks_over_all_steps_give_the_density_of_each_row(rows):
    """The guide being the exact posterior, each log weight is log p(x), that of steps from N(0, 2)."""
    seen = torch.arange(STEPS) < rows[:, -1:]
    exact = (torch.distributions.Normal(0.0, 2**0.5).log_prob(rows[:, :-1]) * seen).sum(1)
    bounds = compare_bounds(*pair(to_the_end), rows, num_samples=3)
    torch.testing.assert_close(bounds.log_px, exact.double(), rtol=1e-5, atol=1e-4)
