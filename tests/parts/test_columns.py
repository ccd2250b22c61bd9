"""Columns and missing entries as parts: shapes, starts from data, and what is refused."""

import math

import pyro.distributions as dist
import pytest
import torch
from scipy import stats
from torch import nn

from pyrovae import likelihoods, networks, posteriors

NAN = math.nan
LATENT = 2
KINDS = ("binary", "real", "categorical(3)", "count", "real", "categorical(2)")
COLUMNS = len(KINDS)


def columns(kinds=KINDS, hidden=(8,), **options):
    shape = likelihoods.Columns.decoder_shape((len(kinds),), kinds, **options)
    return likelihoods.Columns(networks.MLP(LATENT, shape, hidden), kinds, **options)


def table(count=200, seed=0):
    """Rows whose columns have the kinds above, far from standardised."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, 2, generator=generator)
    uniform = torch.rand(count, 4, generator=generator)
    return torch.stack(
        [
            (uniform[:, 0] < 0.3).float(),
            500 + 20 * noise[:, 0],
            (3 * uniform[:, 1] ** 2).floor(),
            (40 * uniform[:, 2]).floor(),
            -0.01 * noise[:, 1],
            (uniform[:, 3] < 0.9).float(),
        ],
        dim=1,
    )


def with_missing(x, seed=1):
    missing = torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)) < 0.3
    missing[:, 1] = False
    return x.masked_fill(missing, NAN)


def test_log_prob_is_that_of_scipy():
    part = columns().double()
    part.initialize(table().double())
    z = torch.randn(4, LATENT, dtype=torch.float64)
    x = table(4, seed=3).double()
    found = part(z).groups
    real, count = found["real"], found["count"]
    expected = stats.norm(real.mean.detach(), real.stddev.detach()).logpdf(x[:, [1, 4]]).sum(1)
    mean, dispersion = count.mean.detach()[:, 0], 1 / count.total_count.detach()[:, 0]
    expected += stats.nbinom(1 / dispersion, 1 / (1 + dispersion * mean)).logpmf(x[:, 3])
    torch.testing.assert_close(count.variance[:, 0].detach(), mean + dispersion * mean**2)
    expected += stats.bernoulli(found["binary"].probs.detach()[:, 0]).logpmf(x[:, 0])
    for kind, column in (("categorical(3)", 2), ("categorical(2)", 5)):
        expected += found[kind].probs.detach()[torch.arange(4), 0, x[:, column].long()].log().numpy()
    torch.testing.assert_close(part(z).log_prob(x).detach(), torch.as_tensor(expected), rtol=1e-8, atol=1e-8)


def test_the_columns_of_any_order_get_their_own_numbers():
    """A linear decoder without weights gives its bias, which stands in the order of the kinds."""
    part = columns(hidden=())
    with torch.no_grad():
        part.decoder.layers[0].weight.zero_()
        part.decoder.layers[0].bias.copy_(torch.tensor([7.0, -7.0, 1.5, 9.0, 0.0, 5.0, 0.0, 5.0, 0.0]))
    mean = part(torch.zeros(LATENT)).mean
    assert mean[1] == 7
    assert mean[4] == -7
    assert mean[3].item() == pytest.approx(math.exp(1.5), rel=1e-5)
    assert mean[0] > 0.99
    assert mean[5] == 1
    assert mean[2] == 1


class Started(networks.MLP):
    """A linear network whose output starts where it is told, as networks may offer."""

    def set_output_bias(self, value):
        self.layers[-1].bias.data.copy_(value.flatten())
        self.layers[-1].weight.data.zero_()


@pytest.mark.parametrize("scale", ["per_column", "predicted"])
def test_a_start_from_data_gives_every_row_the_moments_of_the_columns(scale):
    shape = likelihoods.Columns.decoder_shape((COLUMNS,), KINDS, scale=scale)
    part = likelihoods.Columns(Started(LATENT, shape, ()), KINDS, scale=scale)
    x = with_missing(table())
    part.initialize(x)
    once = {name: value.clone() for name, value in part.state_dict().items()}
    part.initialize(x)
    assert all(torch.equal(value, once[name]) for name, value in part.state_dict().items())
    p_x = part(torch.randn(LATENT))
    real, count = p_x.groups["real"], p_x.groups["count"]
    torch.testing.assert_close(real.mean, x[:, [1, 4]].nanmean(0), rtol=1e-4, atol=1e-6)
    observed = [x[:, d][~x[:, d].isnan()] for d in (1, 4)]
    torch.testing.assert_close(real.stddev, torch.stack([v.std(correction=0) for v in observed]), rtol=1e-4, atol=1e-6)
    counts = x[:, 3][~x[:, 3].isnan()]
    assert count.mean.item() == pytest.approx(counts.mean().item(), rel=0.02)
    assert count.variance.item() == pytest.approx(counts.var().item(), rel=0.05)
    assert p_x.mean[0].item() == pytest.approx(x[:, 0].nanmean().item(), abs=0.01)
    shares = [(x[:, 2] == level).sum() / (~x[:, 2].isnan()).sum() for level in range(3)]
    torch.testing.assert_close(p_x.groups["categorical(3)"].probs[0], torch.stack(shares), rtol=0, atol=0.01)


def test_columns_that_say_nothing_do_no_harm():
    x = table()
    x[:, 0] = NAN
    x[:, 1] = 3.0
    x[:, 2] = NAN
    x[:, 3] = 0.0
    x[:, 4] = NAN
    part, encoder = columns(), networks.ColumnEncoder(KINDS, 4, (8,))
    part.initialize(x)
    encoder.initialize(x)
    p_x = likelihoods.PartlyObserved(part)(torch.randn(200, LATENT))
    assert p_x.log_prob(x).isfinite().all()
    assert p_x.sample().isfinite().all()
    assert encoder(x).isfinite().all()


def test_the_unit_of_a_real_column_changes_the_density_by_its_jacobian_alone():
    torch.manual_seed(0)
    z, x = torch.randn(6, LATENT, dtype=torch.float64), table(6).double()
    part = columns().double()
    part.initialize(x)
    factor = torch.tensor([1.0, 1000.0, 1.0, 1.0, 1e-3, 1.0], dtype=torch.float64)
    before = part(z).log_prob(x)
    part.initialize(x * factor)
    torch.testing.assert_close(part(z).log_prob(x * factor), before - factor.log().sum())


@pytest.mark.parametrize("unit", [1e-34, 1.66e-27, 1e-22, 1.0, 1e19, 1e34])
@pytest.mark.parametrize("scale", ["per_column", "predicted"])
def test_columns_in_any_unit_have_the_density_of_scipy_and_gradients_around_one(unit, scale):
    torch.manual_seed(0)
    part, encoder = columns(["real"] * 3, scale=scale), networks.ColumnEncoder(["real"] * 3, 4, (8,))
    standard, z = torch.randn(300, 3, dtype=torch.float64), torch.randn(300, LATENT)
    x = (unit * (standard + torch.tensor([0.0, 20.0, -3.0]))).float()
    part.initialize(x)
    encoder.initialize(x)
    for found in (part, encoder):
        torch.testing.assert_close(found.center.double() / unit, x.double().mean(0) / unit, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(
            found.unit.double() / unit, x.double().std(0, correction=0) / unit, rtol=1e-5, atol=0
        )
    assert encoder(x).abs().max() < 100
    p_x = part(z)
    real = p_x.groups["real"]
    loc = part.center.double() + part.unit.double() * real.in_units.loc.detach().double()
    exact = stats.norm(loc, part.unit.double() * real.in_units.scale.detach().double()).logpdf(x.double()).sum(1)
    torch.testing.assert_close(p_x.log_prob(x).detach().double(), torch.from_numpy(exact), rtol=1e-6, atol=2e-5)
    torch.testing.assert_close(real.expand((2, 300, 3)).log_prob(x)[1].sum(-1), p_x.log_prob(x))
    gradients = torch.autograd.grad(p_x.log_prob(x).mean(), list(part.parameters()))
    plain = columns(["real"] * 3, scale=scale).double()
    plain.load_state_dict(part.state_dict())
    plain.center, plain.unit = plain.center / unit, plain.unit / unit
    wanted = torch.autograd.grad(plain(z.double()).log_prob(x.double() / unit).mean(), list(plain.parameters()))
    for gradient, exact_gradient in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(gradient.double(), exact_gradient, rtol=1e-3, atol=1e-5)
    assert (p_x.sample() / unit).abs().max() < 100


@pytest.mark.parametrize("unit", [1e-39, 1e37])
def test_a_unit_that_floats_do_not_hold_is_refused(unit):
    x = unit * torch.randn(50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[:, 0] = 1.0
    with pytest.raises(ValueError, match=r"column 1, counted from 0, has a standard deviation of .*in another unit"):
        columns(["real", "real"]).initialize(x.float())
    columns(["real", "real"]).double().initialize(x)


def test_counts_up_to_the_largest_floats_start_with_their_dispersion():
    x = 1e30 * torch.tensor([[1.0], [2.0], [3.0], [6.0]])
    part = columns(["count"])
    part.initialize(x)
    # Variance over squared mean: the mean itself is nothing beside its square.
    assert (10 * part.scaled_log_dispersion).exp().item() == pytest.approx(3.5 / 9, rel=1e-4)


def test_the_wrapper_has_the_shape_and_the_start_of_what_it_wraps():
    shape = likelihoods.PartlyObserved.decoder_shape((COLUMNS,), likelihoods.Columns, column_kinds=KINDS)
    assert shape == likelihoods.Columns.decoder_shape((COLUMNS,), KINDS) == (2 + 1 + 1 + 2 + 3,)
    assert likelihoods.PartlyObserved.decoder_shape((1, 8, 8), likelihoods.Bernoulli) == (1, 8, 8)
    part = likelihoods.PartlyObserved(columns())
    part.initialize(with_missing(table()))
    assert part.likelihood.center[0].item() == pytest.approx(500, abs=5)
    likelihoods.PartlyObserved(nn.Identity()).initialize(table())


class Recorded(nn.Module):
    """A user's posterior that says what it saw."""

    def forward(self, x):
        self.seen = x
        return dist.Normal(x.flatten(-2)[..., :LATENT], 1.0).to_event(1)


@pytest.mark.parametrize("append_mask", [False, True])
@pytest.mark.parametrize("batch_shape", [(), (5,), (4, 5)])
def test_the_posterior_sees_means_and_the_mask(append_mask, batch_shape):
    inner = Recorded()
    part = posteriors.PartlyObserved(inner, (2, 3), append_mask=append_mask)
    x = torch.randn(*batch_shape, 2, 3)
    x[..., 0, 1] = NAN
    q_z = part(x)
    assert (q_z.batch_shape, q_z.event_shape) == (batch_shape, (LATENT,))
    assert (inner.seen[..., 0, 1] == 0).all()
    assert inner.seen.shape == (*batch_shape, 4 if append_mask else 2, 3)
    if append_mask:
        assert torch.equal(inner.seen[..., 2:, :], (~x.isnan()).float())
    rows = torch.randn(50, 2, 3) + 4
    rows[::2, 0, 1] = NAN
    rows[:, 1, 2] = NAN
    part.initialize(rows)
    torch.testing.assert_close(part.fill[0, 1], rows[1::2, 0, 1].mean())
    assert part.fill[1, 2] == 0
    part(x)
    assert (inner.seen[..., 0, 1] == part.fill[0, 1]).all()
    assert f"append_mask={append_mask}" in repr(part)
    part.initialize(torch.arange(12).reshape(2, 2, 3))
    assert torch.equal(part.fill, torch.arange(3.0, 9.0).reshape(2, 3))


def test_the_encoder_brings_columns_to_numbers_around_one():
    encoder = networks.ColumnEncoder(KINDS, (2, 2), (8,))
    x = with_missing(table())
    encoder.initialize(x)
    seen = []
    encoder.layers.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    assert encoder(x).shape == (200, 2, 2)
    features = seen[0]
    assert features.shape == (200, 2 + 1 + 1 + 2 + 3 + COLUMNS)
    for feature, column in ((0, 1), (1, 4), (2, 3)):
        values, missing = features[:, feature], x[:, column].isnan()
        assert (values[missing] == 0).all()
        assert values[~missing].mean().item() == pytest.approx(0, abs=1e-4)
        assert values[~missing].std(correction=0).item() == pytest.approx(1, abs=1e-4)
    assert set(features[:, 3].tolist()) == {-1.0, 0.0, 1.0}
    for first, column, categories in ((4, 5, 2), (6, 2, 3)):
        one_hot, missing = features[:, first : first + categories], x[:, column].isnan()
        assert (one_hot[missing] == 0).all()
        expected = nn.functional.one_hot(x[~missing, column].long(), categories).float()
        assert torch.equal(one_hot[~missing], expected)
    assert torch.equal(features[:, -COLUMNS:], (~x.isnan()).float())
    for batch_shape in ((), (5,), (4, 5)):
        rows = torch.ones(*batch_shape, COLUMNS, dtype=torch.float64)
        assert encoder.double()(rows).shape == (*batch_shape, 2, 2)
    plain = networks.ColumnEncoder(["real", "real"], 3, (), missing_indicators=False)
    assert plain.layers.input_shape == (2,)
    assert "missing_indicators=False" in repr(plain)
    normalized = networks.ColumnEncoder(KINDS, 3, (8,), normalization="batch")
    assert any(isinstance(module, nn.BatchNorm1d) for module in normalized.modules())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: columns(("real", "ordinal")), "column_kinds has 'ordinal' for column 1; expected 'real', 'count'"),
        (lambda: likelihoods.Columns(nn.Identity(), []), "column_kinds is empty"),
        (lambda: columns(scale="shared"), "scale is 'shared'; expected 'per_column' or 'predicted'"),
        (lambda: likelihoods.Columns(nn.Identity(), KINDS, scale_floor=0.0), "scale_floor is 0.0; expected a number"),
        (
            lambda: likelihoods.Columns(networks.MLP(LATENT, 5), KINDS)(torch.zeros(3, LATENT)),
            r"Columns needs \(\*batch, 9\) for these kinds: build it with output shape Columns.decoder_shape",
        ),
        (
            lambda: likelihoods.Columns.decoder_shape((1, 8, 8), KINDS),
            r"data_shape is \(1, 8, 8\) and column_kinds has 6 kinds",
        ),
        (
            lambda: networks.ColumnEncoder(KINDS, 4)(torch.zeros(2, 5)),
            "ColumnEncoder got an input of shape .*; expected",
        ),
        (lambda: networks.ColumnEncoder(["ordinal"], 4), "column_kinds has 'ordinal' for column 0"),
        (
            lambda: likelihoods.PartlyObserved(Correlated())(torch.zeros(2, LATENT)),
            r"MultivariateNormal is one distribution over \(3,\), and the density of some of its entries",
        ),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


class Correlated(nn.Module):
    def forward(self, z):
        return dist.MultivariateNormal(torch.zeros(*z.shape[:-1], 3), torch.eye(3))


@pytest.mark.parametrize("value", [0.1, 3.3, -1e4])
@pytest.mark.parametrize("rows", [7, 1000])
def test_an_encoder_takes_constant_columns_as_they_are(value, rows):
    """The mean of a constant is rounded, and so differs from it."""
    encoder = networks.ColumnEncoder(["real", "real"], 4, (8,))
    encoder.initialize(torch.stack([torch.full((rows,), value), torch.randn(rows)], 1))
    assert encoder.unit[0] == 1


@pytest.mark.parametrize("value", [0.1, 0.3, 3.7, 1000.1])
@pytest.mark.parametrize("num_rows", [800, 1000])
def test_a_constant_column_has_a_unit_of_one(value, num_rows):
    """Its mean is off by a rounding, which is no spread."""
    rows = torch.stack([torch.randn(num_rows), torch.full((num_rows,), value), torch.full((num_rows,), 3.0)], 1)
    likelihood = likelihoods.Columns(networks.MLP(2, 3, ()), ["real", "real", "count"])
    likelihood.initialize(rows)
    assert likelihood.unit[1:].tolist() == [1.0, 1.0]


def test_counts_stay_numbers_far_from_the_data():
    likelihood = likelihoods.Columns(networks.MLP(2, 1, ()), ["count"])
    likelihood.initialize(torch.tensor([[0.0], [5.0], [30.0]]))
    p_x = likelihood(torch.tensor([[1e6, 1e6], [-1e6, -1e6]]))
    assert bool(p_x.mean.isfinite().all())
    assert bool((p_x.sample() >= 0).all())
