"""What check_vae says of a VAE that works, and may work better."""

import pytest
import torch
from parts_to_check import Undrawn, X, likelihood, with_prior
from torch import nn

from pyrovae import VAE, check_vae, likelihoods, networks, posteriors, priors


def test_a_likelihood_that_cannot_be_drawn_from_is_a_note():
    check = check_vae(likelihood(lambda h: Undrawn(h, 1.0).to_event(3)), X)
    assert check.ok, check
    assert check.notes == (
        "likelihood(z) cannot be drawn from (NotImplementedError: no draws): what needs draws of it will fail",
    )


def test_parts_of_two_dtypes_are_a_note():
    check = check_vae(with_prior(priors.StandardNormal(2).double()), X)
    assert check.ok, check
    assert len(check.notes) == 1
    assert "different dtypes (posterior float32, prior float64)" in check.notes[0]


KINDS = ["real", "count", "binary", "real"]


def of_columns():
    decoder = networks.MLP(2, likelihoods.Columns.decoder_shape((4,), KINDS), (8,))
    return VAE(
        priors.StandardNormal(2),
        likelihoods.PartlyObserved(likelihoods.Columns(decoder, KINDS)),
        posteriors.DiagonalNormal(networks.ColumnEncoder(KINDS, 4, (8,))),
    )


@pytest.mark.parametrize(
    ("column", "change"),
    [(0, lambda v: v + 100), (0, lambda v: 1e-6 * v), (3, lambda v: 1e6 * v), (1, lambda v: 1e5 + 0 * v)],
    ids=["offset", "small unit", "large unit", "large counts"],
)
def test_parts_for_tables_that_were_not_started_are_a_note(column, change):
    noise = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    rows = torch.stack([noise[:, 0], noise[:, 1].abs().round(), (noise[:, 2] > 0).float(), noise[:, 3]], 1)
    rows[::5, 0] = torch.nan
    vae = of_columns()
    for few in (rows, rows[:5], rows[:1]):
        assert check_vae(vae, few).notes == ()
    far = rows.clone()
    far[:, column] = change(rows[:, column])
    check = check_vae(vae, far)
    assert check.ok, check
    (note,) = check.notes
    assert note.startswith("likelihood.likelihood and posterior.encoder would take")
    assert note.endswith("call vae.initialize(train) before the fit")
    vae.initialize(far)
    assert check_vae(vae, far).notes == ()


SPREADS = torch.tensor([1e-3, 1.0, 100.0])


def of_plain_networks(likelihood, encoder=None):
    return VAE(priors.StandardNormal(2), likelihood, posteriors.DiagonalNormal(encoder or networks.MLP(3, 4, (8,))))


def plain(name, **arguments):
    return getattr(likelihoods, name)(networks.MLP(2, 3, (8,)), **arguments)


@pytest.mark.parametrize(
    ("make_vae", "said"),
    [
        (lambda: of_plain_networks(plain("Normal")), "likelihood and encoder take them as they are: use likelihoods.C"),
        (
            lambda: of_plain_networks(plain("Laplace"), networks.ColumnEncoder(["real"] * 3, 4, (8,))),
            "likelihood takes them as they are: use likelihoods.Columns, and call vae.initialize",
        ),
        (
            lambda: of_plain_networks(likelihoods.Columns(networks.MLP(2, 3, (8,)), ["real"] * 3)),
            "encoder takes them as they are: use networks.ColumnEncoder, and call vae.initialize",
        ),
        (
            lambda: of_plain_networks(plain("Normal"), nn.Sequential(Scaled(), networks.MLP(3, 4, (8,)))),
            "likelihood takes them",
        ),
    ],
    ids=["both", "likelihood", "encoder", "a network of one's own"],
)
def test_columns_of_different_scales_are_a_note(make_vae, said):
    rows = torch.randn(60, 3, generator=torch.Generator().manual_seed(0)) * SPREADS
    vae = make_vae()
    vae.initialize(rows)
    least, most = (rows.numpy().std(0)[column] for column in (0, 2))
    (note,) = check_vae(vae, rows).notes
    assert note.startswith(f"columns have standard deviations from {least:.1g} to {most:.1g}, and {said}")
    assert check_vae(vae, rows / SPREADS).notes == ()


class Scaled(nn.Module):
    def forward(self, x):
        return x / SPREADS


@pytest.mark.parametrize("name", ["NegativeBinomial", "Poisson"])
def test_large_counts_are_a_note(name):
    rows = torch.poisson(torch.tensor([0.01, 300.0, 1500.0]).expand(60, 3), torch.Generator().manual_seed(0))
    (note,) = check_vae(of_plain_networks(plain(name)), rows).notes
    assert note.startswith(f"columns have counts up to {rows.max():,.0f}, and encoder takes them as they are: use netw")
    assert check_vae(of_plain_networks(plain(name), networks.ColumnEncoder(["count"] * 3, 4)), rows).notes == (
        "posterior.encoder would take the columns as they are, and some are far from mean 0 and standard deviation 1: "
        "call vae.initialize(train) before the fit",
    )
    assert check_vae(of_plain_networks(plain(name)), rows.clamp(max=900)).notes == ()
