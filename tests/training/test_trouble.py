"""Signs of trouble: each on a fit that has it, once; none on fits that go well."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from problems import LinearGaussian, bits, small_vae
from torch import nn

from pyrovae import VAE, NonFiniteLossError, fit_svi, likelihoods, networks, posteriors, priors
from pyrovae.data import load_data
from pyrovae.objectives import Cosine, Cyclical, Linear, ScoreFunction, TraceMeanField_ELBO
from pyrovae.programs import inspect_pair, make_sampler
from pyrovae.training.floors import LIKELIHOODS, likelihoods_on_floor, outputs_of, posteriors_on_floor
from pyrovae.training.gradient_norms import GradientNorms
from pyrovae.training.trouble import SignsOfTrouble


def fit(pair, x, **options):
    options = {"epochs": 8, "batch_size": 50, "progress": False} | options
    return fit_svi(pair.model, pair.guide, x, **options)


def gaussian_vae(width, latent_dim=2, **options):
    shape = likelihoods.Normal.decoder_shape((width,), options.get("scale", "shared"))
    return VAE(
        priors.StandardNormal(latent_dim),
        likelihoods.Normal(networks.MLP(latent_dim, shape, (16,)), data_shape=(width,), **options),
        posteriors.DiagonalNormal(networks.MLP(width, 2 * latent_dim, (16,))),
    )


class Steady(nn.Module):
    """A decoder of a user that does not look at z."""

    def __init__(self, shape):
        super().__init__()
        self.value = nn.Parameter(torch.zeros(shape))

    def forward(self, z):
        return self.value.expand(*z.shape[:-1], *self.value.shape)


def collapsing_vae(latent_dim=4, posterior=posteriors.DiagonalNormal):
    """Nothing rewards its latents, so that the KL goes to zero in all of them."""
    return VAE(
        priors.StandardNormal(latent_dim),
        likelihoods.Normal(Steady((3,)), scale=1.0),
        posterior(networks.MLP(3, posterior.encoder_shape(latent_dim), ())),
    )


# Collapse.


@pytest.mark.parametrize("with_validation", [True, False])
def test_collapse_is_said_once(with_validation, capsys):
    vae, x = collapsing_vae(), torch.randn(200, 3)
    result = fit(vae, x, validation=x if with_validation else None, epochs=40, lr=0.03)
    (sign,) = result.signs_of_trouble
    assert sign.startswith("Posterior collapse: the KL is below 0.01 nats in 4 of 4 latent dimensions after epoch ")
    fixed = "a learned scale of the likelihood Normal (scale='shared'; it is fixed at 1)"
    for repair in ("beta=Linear()", "free_bits=", "fewer dimensions", "weaker decoder", fixed):
        assert repair in sign
    assert "smaller beta" not in sign
    assert capsys.readouterr() == ("", "")


def test_collapse_waits_for_a_quarter_of_the_run_and_for_the_schedule():
    """Under beta = 0 and a pull of nothing the KL stays where it starts; collapse is a matter of the later weights."""
    vae, x = collapsing_vae(), torch.randn(200, 3)
    epochs = []
    for beta in (1.0, Linear(0, 1, 0.6)):
        sign = fit(vae, x, epochs=40, lr=0.03, objective=TraceMeanField_ELBO(beta=beta)).signs_of_trouble[-1]
        epochs.append(int(sign.split("after epoch ")[1].split(".")[0]))
    # Twice in a row: at a quarter and a half; and, from 0.6 on, at three quarters and the end.
    assert epochs == [20, 40]


def test_a_scale_that_is_learned_is_no_reason_for_collapse():
    vae = collapsing_vae()
    vae.likelihood = likelihoods.Normal(Steady((3,)))
    (sign,) = fit(vae, torch.randn(200, 3), epochs=40, lr=0.03).signs_of_trouble
    assert "Posterior collapse" in sign
    assert "scale" not in sign


def test_a_sharp_beta_is_named():
    x = torch.randn(200, 3)
    sign = fit(collapsing_vae(), x, epochs=40, lr=0.03, objective=TraceMeanField_ELBO(beta=4.0)).signs_of_trouble[0]
    assert "a smaller beta (it is 4)" in sign


def test_a_latent_that_does_not_factorise_counts_whole():
    x = torch.randn(200, 3)
    vae = collapsing_vae(posterior=posteriors.FullCovarianceNormal)
    (sign,) = fit(vae, x, epochs=60, lr=0.03).signs_of_trouble
    assert "in 1 of 1 latent sites and dimensions" in sign


def test_half_of_the_dimensions_unused_is_no_collapse():
    """The decoder reads two of four latents, and two is not more than half."""

    class ReadsTwo(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 6)

        def forward(self, z):
            return self.layer(z[..., :2])

    def signs(latent_dim):
        x = LinearGaussian.random(6, 2, seed=0).rows(300).float()
        vae = VAE(
            priors.StandardNormal(latent_dim),
            likelihoods.Normal(ReadsTwo(), scale=0.5),
            posteriors.DiagonalNormal(networks.MLP(6, 2 * latent_dim, ())),
        )
        return fit(vae, x, epochs=40, lr=0.03).signs_of_trouble

    assert signs(4) == ()
    (sign,) = signs(5)
    assert "in 3 of 5 latent dimensions" in sign


def test_collapse_is_taken_back_where_the_kept_weights_have_none(capsys):
    """The decoder begins to look at z late, so that two looks find no use of it and the last one does."""

    class Late(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.calls = nn.Linear(2, 6), 0

        def forward(self, z):
            self.calls += self.training
            return self.layer(z) if self.calls > 0.55 * 240 else self.layer(0 * z)

    x = LinearGaussian.random(6, 2, seed=0).rows(300).float()
    vae = VAE(
        priors.StandardNormal(2),
        likelihoods.Normal(Late(), scale=0.5),
        posteriors.DiagonalNormal(networks.MLP(6, 4, ())),
    )
    result = fit(vae, x, epochs=40, lr=0.03, progress=True)
    assert "in 2 of 2 latent dimensions after epoch 20" in capsys.readouterr().err
    assert result.signs_of_trouble == ()


# Scales on their floor.


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


# Warm-up.


@pytest.mark.parametrize(
    ("beta", "expected"),
    [
        (Linear(0, 1, 1.0), True),
        (Cosine(0, 1, 0.95), True),
        (Linear(0, 1, 0.9), False),
        (Linear(), False),
        (Cyclical(), False),
        (4.0, False),
    ],
)
def test_a_warm_up_that_fills_the_run(beta, expected):
    result = fit(small_vae(), bits(100), objective=TraceMeanField_ELBO(beta=beta))
    assert [sign.startswith("The warm-up fills the run: beta ") for sign in result.signs_of_trouble] == [
        True
    ] * expected


def test_the_capacity_is_named_where_it_is_the_slower():
    objective = TraceMeanField_ELBO(beta=Linear(), capacity=Linear(0, 5, 1.0))
    (sign,) = fit(small_vae(), bits(100), objective=objective).signs_of_trouble
    assert "capacity has its final value only from 100% of the run on" in sign


class Stops(nn.Module):
    """A layer that gives NaN, or raises, at its nth call in training."""

    def __init__(self, call, error=None):
        super().__init__()
        self.call, self.error, self.calls = call, error, 0

    def forward(self, x):
        self.calls += self.training
        if self.calls < self.call:
            return x
        if self.error is not None:
            raise self.error
        return x * float("nan")


def stopping_vae(**options):
    vae = small_vae()
    vae.posterior.encoder = nn.Sequential(vae.posterior.encoder, Stops(**options))
    return vae


def test_a_run_that_fails_before_the_warm_up_ends():
    """The 23rd call, after two of a check, is step 21 of 80."""
    warm_up = TraceMeanField_ELBO(beta=Linear(0, 1, 0.5))
    with pytest.raises(NonFiniteLossError) as caught:
        fit(stopping_vae(call=24), bits(500), objective=warm_up, max_skipped_steps=0)
    (sign,) = caught.value.result.signs_of_trouble
    assert sign.startswith("The fit ended after 26% of the run, and beta would have had its final value from 50% on")
    with pytest.raises(NonFiniteLossError) as caught:
        fit(stopping_vae(call=70), bits(500), objective=warm_up)
    assert caught.value.result.signs_of_trouble == ()


def test_an_interrupt_before_the_warm_up_ends(capsys):
    vae = stopping_vae(call=24, error=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        fit(vae, bits(500), objective=TraceMeanField_ELBO(beta=Linear(0, 1, 0.5)), progress=True)
    assert capsys.readouterr().err.count("The fit ended after 26% of the run, and beta") == 1


# Gradients.


def norms_of(values):
    found, parameter = GradientNorms(), nn.Parameter(torch.zeros(4))
    for step, value in enumerate(values, start=1):
        parameter.grad = torch.full((4,), value / 2)
        found.note([parameter], step)
    return found.explosion()


def test_an_explosion_is_the_first_norm_above_a_thousand_medians():
    assert norms_of([1.0] * 10 + [999.0]) is None
    found = norms_of([1.0, 2.0, 3.0] * 5 + [2001.0, 1e6])
    assert (found.step, found.norm, found.usual) == (16, 2001.0, 2.0)
    assert norms_of([1.0] * 5 + [float("inf")]).norm == float("inf")
    # A learning rate far too high shows at the second step; growth that is slow moves the median along.
    assert norms_of([1.0, 1e9, 1e9]).step == 2
    assert norms_of([1.01**step for step in range(2000)]) is None
    # From the fiftieth step on every tenth is measured.
    assert norms_of([1.0] * 54 + [1e9] + [1.0] * 20) is None
    assert norms_of([1.0] * 59 + [1e9]).step == 60


def test_the_norm_is_that_of_all_gradients_together():
    parameters = [nn.Parameter(torch.randn(3, 2)), nn.Parameter(torch.randn(5).double()), nn.Parameter(torch.ones(1))]
    parameters[0].grad, parameters[1].grad = torch.randn(3, 2), torch.randn(5).double()
    norms = GradientNorms()
    norms.note(parameters, 1)
    expected = torch.cat([p.grad.flatten() for p in parameters[:2]]).norm()
    assert norms._pending[0][1].item() == pytest.approx(expected.item(), rel=1e-6)


def test_exploding_gradients_are_said_once(capsys):
    """Rows of a thousand millions among rows of one, in the second epoch's batches."""
    x = torch.randn(500, 3)
    calls = []

    def transform(rows):
        calls.append(rows)
        return rows * 1e6 if len(calls) in (16, 18) else rows

    result = fit(gaussian_vae(3, scale=1.0), x, train_transform=transform, epochs=4, lr=1e-5, progress=True)
    (sign,) = [sign for sign in result.signs_of_trouble if sign.startswith("The gradient exploded")]
    # One call is the probe's.
    assert "at step 15 its norm was" in sign
    assert "Lower lr" in sign
    assert capsys.readouterr().err.count("The gradient exploded") == 1


def test_a_learning_rate_far_too_high():
    vae = gaussian_vae(3)
    try:
        result = fit(vae, torch.randn(500, 3), lr=30.0, epochs=20)
    except NonFiniteLossError as error:
        result = error.result
    assert any(sign.startswith("The gradient exploded") for sign in result.signs_of_trouble)


# Fits that go well.


def digits_vae():
    data = load_data("digits", binarize="dynamic")
    return data, VAE(
        priors.StandardNormal(4),
        likelihoods.Bernoulli(networks.MLP(4, data.data_shape, (50,))),
        posteriors.DiagonalNormal(networks.MLP(data.data_shape, 8, (50,))),
    )


@pytest.mark.parametrize(
    "objective",
    [TraceMeanField_ELBO(), TraceMeanField_ELBO(beta=Linear()), ScoreFunction(baseline="none"), "ReweightedWakeSleep"],
)
def test_digits_have_none(objective):
    data, vae = digits_vae()
    result = fit(vae, data.train[:500], train_transform=data.train_transform, objective=objective, epochs=15, lr=3e-3)
    assert result.signs_of_trouble == ()


@pytest.mark.parametrize("scale", ["shared", "per_dimension", "predicted", "optimal"])
def test_a_table_has_none(scale):
    x = LinearGaussian.random(6, 2, seed=0).rows(300).float()
    assert fit(gaussian_vae(6, scale=scale), x, epochs=40, lr=0.01).signs_of_trouble == ()


def test_programs_of_a_user_without_such_parts():
    loc = nn.Parameter(torch.tensor(0.5))

    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.loc = loc

        def model(self, x):
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
                pyro.sample("x", dist.Normal(z + self.loc, 1e-7), obs=x)

        def guide(self, x):
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(x - self.loc, 1e-7))

    assert fit(Pair(), torch.randn(100), epochs=4).signs_of_trouble == ()


def test_a_look_changes_neither_random_numbers_nor_weights():
    vae = VAE(
        priors.StandardNormal(2),
        likelihoods.Normal(networks.MLP(2, 3, (8,), normalization="batch"), scale="optimal"),
        posteriors.DiagonalNormal(networks.MLP(3, 4, (8,), normalization="batch")),
    ).train()
    x = torch.randn(60, 3)
    sampler = make_sampler(vae.model, vae.guide, x, inspect_pair(vae.model, vae.guide, x))
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    state = torch.get_rng_state()
    signs = SignsOfTrouble(sampler, [vae], TraceMeanField_ELBO(), GradientNorms(), seed=0, aloud=False)
    signs.after_epoch(5, [x], part=0.5, progress=0.5)
    signs.at_end(5, [x], part=1.0, progress=1.0, failed=False)
    assert torch.equal(torch.get_rng_state(), state)
    assert vae.training
    for name, value in vae.state_dict().items():
        assert torch.equal(value, before[name])
