"""Scales on their floors are said."""

import pytest
import torch
from torch import nn
from troubled_fits import Steady, fit, gaussian_vae

from pyrovae import VAE, likelihoods, networks, posteriors, priors
from pyrovae.training.floors import LIKELIHOODS, likelihoods_on_floor, outputs_of, posteriors_on_floor


@pytest.mark.parametrize("scale", ["per_dimension", "predicted"])
def test_a_constant_column_sends_its_scale_to_the_floor(scale):
    x = torch.cat([torch.randn(200, 3), torch.full((200, 1), 2.0)], 1)
    vae = gaussian_vae(4, scale=scale, scale_floor=0.05)
    result = fit(vae, x, epochs=60, lr=0.02)
    (sign,) = [sign for sign in result.signs_of_trouble if "floor" in sign]
    assert sign.startswith("The scale of the likelihood Normal is on its floor of 0.05 after epoch ")
    assert "for 1 of 4 entries (3):" in sign


@torch.no_grad()
def on_floor_of(likelihood, z, kinds=LIKELIHOODS):
    with outputs_of([likelihood], kinds) as outputs:
        likelihood(z)
    return likelihoods_on_floor(outputs)


@pytest.mark.parametrize("ratio", [1.01, 1.4, 1.6, 2.0])
@pytest.mark.parametrize("kind", [likelihoods.Normal, likelihoods.Laplace, likelihoods.StudentT, likelihoods.LogNormal])
def test_the_rule_is_one_and_a_half_floors(kind, ratio):
    likelihood = kind(Steady((2, 3)), scale="per_dimension", data_shape=(2, 3), scale_floor=0.01)
    choice = likelihood.choices["scale"]
    with torch.no_grad():
        likelihood.scaled_log_scale[1, 2] = choice.unbounded(torch.tensor(ratio * 0.01))
    found = on_floor_of(likelihood, torch.zeros(5, 2))
    if ratio < 1.5:
        assert [(floor.part, floor.floor, floor.total, floor.where()) for floor in found] == [
            (kind.__name__, 0.01, 6, "1 of 6 entries ((1, 2))")
        ]
    else:
        assert found == []


@pytest.mark.parametrize("part", [0.09, 0.11])
def test_a_predicted_scale_counts_from_a_tenth_of_the_rows_on(part):
    class Decoder(nn.Module):
        def forward(self, z):
            low = z < z.flatten().quantile(part)
            return torch.stack([torch.zeros_like(z), torch.where(low, -50.0, 0.0)], dim=-2)

    likelihood = likelihoods.PartlyObserved(likelihoods.Normal(Decoder(), scale="predicted"))
    assert bool(on_floor_of(likelihood, torch.linspace(0, 1, 100)[:, None])) == (part > 0.1)


def test_covariances_columns_and_the_optimal_scale_have_floors_too():
    z = torch.zeros(5, 2)
    for likelihood in (
        likelihoods.FullCovarianceNormal(Steady((3,)), (3,)),
        likelihoods.LowRankNormal(Steady((3,)), (3,), rank=1),
    ):
        assert on_floor_of(likelihood, z) == []
        with torch.no_grad():
            low = likelihood.raw_covariance[1 if likelihood.numbers == 3 else 0, 1:2]
            low.fill_(-30.0)
        (found,) = on_floor_of(likelihood, z)
        assert (found.floor, found.where()) == (0.001, "1 of 3 entries (1)")

    columns = likelihoods.Columns(Steady((4,)), ["count", "real", "binary", "real"])
    columns.initialize(torch.randn(50, 4).abs().round() * 100)
    assert on_floor_of(columns, z) == []
    with torch.no_grad():
        columns.scaled_log_scale[1] = -30.0
    (found,) = on_floor_of(columns, z)
    assert (found.floor, found.where()) == (0.01, "1 of 2 entries (3)")
    assert on_floor_of(likelihoods.Columns(Steady((1,)), ["count"]), z) == []

    optimal = likelihoods.Normal(Steady((3,)), scale="optimal").eval()
    assert on_floor_of(optimal, z) == []
    optimal.mean_squared_error.zero_()
    assert on_floor_of(optimal, z)[0].where() == "3 of 3 entries (0, 1, 2)"


def test_fixed_scales_and_levels_have_no_floor_to_speak_of():
    """A probability of levels is at most 1, however small the scale: pixels that never change are no trouble."""
    z = torch.zeros(5, 2)
    assert on_floor_of(likelihoods.Normal(Steady((3,)), scale=1e-9), z) == []
    levels = likelihoods.DiscretizedLogistic(Steady((3,)))
    with torch.no_grad():
        levels.scaled_log_scale.fill_(-30.0)
    assert on_floor_of(levels, z) == []
    assert on_floor_of(likelihoods.Poisson(Steady((3,))), z) == []


@pytest.mark.parametrize(
    "kind", [posteriors.DiagonalNormal, posteriors.FullCovarianceNormal, posteriors.MixtureOfNormals]
)
def test_scales_of_posteriors(kind):
    posterior = kind(Steady((kind.encoder_shape(2),)))
    places = {
        posteriors.DiagonalNormal: [3],
        posteriors.FullCovarianceNormal: [3],
        posteriors.MixtureOfNormals: [-1],
    }[kind]
    for raw, expected in ((-5.0, []), (-30.0, ["1 of 2 entries (1)"])):
        with torch.no_grad(), outputs_of([posterior], (kind,)) as outputs:
            posterior.encoder.value[places] = raw
            posterior(torch.zeros(5, 4))
        assert [found.where() for found in posteriors_on_floor(outputs)] == expected


def test_a_posterior_on_its_floor_is_said():
    class Sharp(nn.Module):
        def __init__(self):
            super().__init__()
            self.loc = nn.Linear(3, 2)

        def forward(self, x):
            return torch.cat([self.loc(x), torch.full((len(x), 2), -30.0)], -1)

    vae = VAE(priors.StandardNormal(2), likelihoods.Normal(networks.MLP(2, 3, ())), posteriors.DiagonalNormal(Sharp()))
    (sign,) = fit(vae, torch.randn(100, 3)).signs_of_trouble
    assert sign.startswith("The scale of the posterior DiagonalNormal is on its floor of 1e-06 after epoch 2, for 2 of")
    assert sign.endswith("Raise the scale of the likelihood, or its floor.")
    rows = torch.randn(100, 3) * torch.tensor([1.0, 1.0, 1e3])
    (sign,) = (sign for sign in fit(vae, rows).signs_of_trouble if "posterior DiagonalNormal" in sign)
    assert "Take Columns with ColumnEncoder: the columns" in sign

    class SharpOnRawColumns(networks.MLP):
        def forward(self, x):
            return torch.cat([super().forward(x)[..., :2] / 1e5, torch.full((len(x), 2), -30.0)], -1)

    likelihood = likelihoods.Laplace(networks.MLP(2, 3, ()))
    vae = VAE(priors.StandardNormal(2), likelihood, posteriors.DiagonalNormal(SharpOnRawColumns(3, 4, ())))
    (sign,) = (sign for sign in fit(vae, 1e5 * torch.randn(100, 3)).signs_of_trouble if "posterior Diag" in sign)
    assert "Take ColumnEncoder: the columns" in sign
