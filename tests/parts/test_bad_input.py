"""What parts refuse: each in one error that names the part, the argument and the repair."""

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from problems import with_bias
from torch import nn

from pyrovae import (
    VAE,
    Autoencoder,
    ConditionalVAE,
    compare_bounds,
    fit_svi,
    likelihoods,
    mark_missing,
    networks,
    objectives,
    posteriors,
    priors,
)

LATENT, DATA = 2, 3
ONE_ARGUMENT = (
    *("Bernoulli", "Beta", "ContinuousBernoulli", "Laplace", "LogNormal", "NegativeBinomial", "Normal", "Poisson"),
    *("StudentT", "ZeroInflatedNegativeBinomial", "ZeroInflatedPoisson"),
)
EVERY_WAY_IN = {
    "fit": lambda vae, x: fit_svi(vae.model, vae.guide, x, epochs=1, batch_size=10, progress=False),
    "evaluation": lambda vae, x: compare_bounds(vae.model, vae.guide, x, num_samples=5),
}
every_way_in = pytest.mark.parametrize("use", EVERY_WAY_IN.values(), ids=EVERY_WAY_IN)


def diagonal_normal(latent_dim=LATENT, data_dim=DATA):
    return posteriors.DiagonalNormal(networks.MLP(data_dim, 2 * latent_dim, (8,)))


def small_vae(likelihood, posterior=None, prior=None):
    return VAE(prior or priors.StandardNormal(LATENT), likelihood, posterior or diagonal_normal())


def decoder(output_shape=DATA):
    return networks.MLP(LATENT, output_shape, (8,))


@pytest.mark.parametrize(
    ("name", "options", "inside", "outside", "message"),
    [
        ("ContinuousBernoulli", {}, 0.5, 1.5, r"outside its support .*lower_bound=0\.0, upper_bound=1\.0.*scale the"),
        ("LogNormal", {}, 1.0, 0.0, "LogNormal at site 'x' .* value 0, outside its support GreaterThan"),
        ("Beta", {}, 0.5, 1.0, "Beta at site 'x' .* value 1, outside its support OpenInterval.*move 0 and 1 inside"),
        ("Poisson", {}, 3.0, 1.5, "Poisson at site 'x' .* value 1.5, outside .*undo a scaling"),
        ("NegativeBinomial", {}, 3.0, -1.0, "NegativeBinomial at site 'x' .* value -1, outside"),
        ("ZeroInflatedPoisson", {}, 3.0, 0.5, "ZeroInflatedPoisson at site 'x' .* value 0.5, outside"),
        ("ZeroInflatedNegativeBinomial", {}, 3.0, 0.5, "ZeroInflatedNegativeBinomial at site 'x' .* value 0.5"),
        (
            "Binomial",
            {"total_count": 4},
            3.0,
            5.0,
            r"Binomial at site 'x' .* value 5, outside its support .*upper_bound=4.*give the total_count of the data",
        ),
        ("Categorical", {"num_levels": 4}, 3.0, 4.0, "CategoricalLevels at site 'x' .* value 4, .*num_levels"),
        ("DiscretizedLogistic", {}, 1.0, 0.5, r"value 0.5, outside its support EquallySpaced\(low=0, high=1.*give num"),
        ("DiscretizedLogisticMixture", {}, 1.0, 255.0, "DiscretizedLogistic at site 'x' .* value 255, outside"),
        ("Normal", {}, 1.0, float("inf"), "infinite|finite"),
        (
            "Columns",
            {"column_kinds": ("binary", "categorical(2)", "count")},
            1.0,
            2.0,
            r"Columns at site 'x' .* value 2, in column 1, which is 'categorical\(2\)' and so takes 0 to 1",
        ),
        (
            "Columns",
            {"column_kinds": ("binary", "categorical(2)", "count")},
            1.0,
            -1.0,
            r"Columns at site 'x' .* value -1, in column 1, which is 'categorical\(2\)'",
        ),
    ],
)
def test_values_outside_the_support_are_refused_before_the_first_step(name, options, inside, outside, message):
    x = torch.full((20, 3), inside)
    vae = small_vae(with_bias(name, (3,), options))
    fit_svi(vae.model, vae.guide, x, epochs=1, batch_size=10, progress=False)
    assert torch.isfinite(compare_bounds(vae.model, vae.guide, x, num_samples=5).log_px).all()
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    # Among the rows that the programs are tried on first, and beyond them.
    for row in (1, 13):
        values = x.clone()
        values[row, 1] = outside
        for use in EVERY_WAY_IN.values():
            with pytest.raises(ValueError, match=message):
                use(vae, values)
    assert all(torch.equal(value, before[name]) for name, value in vae.state_dict().items())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda d: likelihoods.Normal(d, scale=0.0), "Normal: scale is 0.0; a standard deviation has to be positive"),
        (lambda d: likelihoods.Normal(d, scale=float("nan")), "Normal: scale is nan; .* positive and finite"),
        (lambda d: likelihoods.LogNormal(d, scale=-1.0), "LogNormal: scale is -1.0; .* positive and finite"),
        (
            lambda d: likelihoods.Normal(d, scale="each"),
            "Normal: scale .*expected a positive number, 'shared', 'per_dimension', 'optimal' or 'predicted'",
        ),
        (lambda d: likelihoods.Normal(d, scale="per_dimension"), "Normal: scale is .* without data_shape; give data_s"),
        (lambda d: likelihoods.Normal(d, scale_floor=2.0), "Normal: .*expected 0 < scale_floor < initial_scale"),
        (lambda d: likelihoods.Columns(d, ["real"], scale_floor=0.0), "Columns: scale_floor is 0.0; expected a number"),
        (lambda d: likelihoods.Columns(d, ["real"], scale_floor="a"), "Columns: scale_floor is 'a'; expected a number"),
        (lambda d: likelihoods.DiscretizedLogistic(d, low="a"), "DiscretizedLogistic: low is 'a' and high 1.0; expec"),
        (lambda d: likelihoods.FullCovarianceNormal(d, (0,)), r"data_shape is \(0,\); expected a positive integer or"),
        (
            lambda d: likelihoods.Normal(d, "per_dimension", (4.0,)),
            r"data_shape is \(4.0,\); expected a positive intege",
        ),
        (
            lambda d: likelihoods.Laplace(d, scale=-1.0),
            "Laplace: scale is -1.0; a standard deviation has to be positive",
        ),
        (
            lambda d: likelihoods.StudentT(d, df=0.0),
            "StudentT: df is 0.0; a number of degrees of freedom has to be positive",
        ),
        (lambda d: likelihoods.StudentT(d, initial_df=1.5), "StudentT: df_floor is 2.0 and initial_df 1.5"),
        (
            lambda d: likelihoods.Beta(d, concentration=float("inf")),
            "Beta: concentration is inf; a concentration has to be",
        ),
        (
            lambda d: likelihoods.Beta(d, concentration="optimal"),
            "Beta: concentration is 'optimal'; expected a positive",
        ),
        (
            lambda d: likelihoods.NegativeBinomial(d, total_count=0),
            "NegativeBinomial: total_count is 0; a total count has to be positive",
        ),
        (
            lambda d: likelihoods.NegativeBinomial(d, "per_dimension"),
            "NegativeBinomial: total_count is 'per_dimension' without data_shape",
        ),
        (
            lambda d: likelihoods.ZeroInflatedPoisson(d, gate=1.0),
            "ZeroInflatedPoisson: gate is 1.0; expected a probability",
        ),
        (
            lambda d: likelihoods.ZeroInflatedPoisson(d, initial_gate=0.0),
            "ZeroInflatedPoisson: initial_gate is 0.0; expected a probability",
        ),
        (
            lambda d: likelihoods.ZeroInflatedPoisson(d, gate="each"),
            r"ZeroInflatedPoisson: gate is 'each'; expected a probability in \(0, 1\)",
        ),
        (
            lambda d: likelihoods.ZeroInflatedNegativeBinomial(d, total_count=-2.0),
            "ZeroInflatedNegativeBinomial: total_count is -2.0",
        ),
        (
            lambda d: likelihoods.Binomial(d, 0),
            "Binomial: total_count is 0; the number of trials has to be a positive whole",
        ),
        (lambda d: likelihoods.Binomial(d, 2.5), "Binomial: total_count is 2.5"),
        (
            lambda d: likelihoods.Categorical(d, num_levels=1),
            "Categorical: num_levels is 1; expected a whole number, at least 2",
        ),
        (lambda d: likelihoods.DiscretizedLogistic(d, num_levels=True), "DiscretizedLogistic: num_levels is True"),
        (
            lambda d: likelihoods.DiscretizedLogistic(d, low=1.0),
            "DiscretizedLogistic: low is 1.0 and high 1.0; expected finite numbers",
        ),
        (
            lambda d: likelihoods.DiscretizedLogistic(d, high=float("inf")),
            "DiscretizedLogistic: low is 0.0 and high inf",
        ),
        (
            lambda d: likelihoods.DiscretizedLogisticMixture(d, 0),
            "DiscretizedLogisticMixture: num_components is 0; expected a positive whole number",
        ),
        (
            lambda d: likelihoods.DiscretizedLogisticMixture(d, initial_scale=-1.0),
            "DiscretizedLogisticMixture: scale_floor is 0.001 and initial_scale -1.0",
        ),
        (
            # The numbers that were given, not those in units of the data.
            lambda d: likelihoods.DiscretizedLogistic(d, high=255.0, scale_floor=2.0),
            "DiscretizedLogistic: scale_floor is 2.0 and initial_scale 0.1",
        ),
        (
            lambda d: likelihoods.LowRankNormal(d, (3,), rank=0),
            "LowRankNormal: rank is 0; expected a positive whole number",
        ),
        (
            lambda d: likelihoods.LowRankNormal(d, (3,), covariance="full"),
            "LowRankNormal: covariance is 'full'; expected 'shared' or",
        ),
        (
            lambda d: likelihoods.FullCovarianceNormal(d, (3,), scale_floor=2.0),
            "FullCovarianceNormal: scale_floor is 2.0 and initial_scale 1.0",
        ),
    ],
)
def test_arguments_of_likelihoods(make, message):
    with pytest.raises(ValueError, match=message):
        make(nn.Linear(2, 3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda d: likelihoods.Normal(d, scale="predicted"), r"Normal needs \(\*batch, 2, \*data_shape\)"),
        (
            lambda d: likelihoods.Normal(d, scale="per_dimension", data_shape=(4,)),
            r"Normal: the decoder gave shape \(5, 3\) .* data_shape is \(4,\); expected \(5, 4\)",
        ),
        (lambda d: likelihoods.StudentT(d, df="predicted", scale="predicted"), r"StudentT needs \(\*batch, 3,"),
        (
            lambda d: likelihoods.Categorical(d, num_levels=4),
            r"Categorical needs \(\*batch, 4, .*Categorical.decoder_sh",
        ),
        (lambda d: likelihoods.DiscretizedLogisticMixture(d, 4), r"DiscretizedLogisticMixture needs \(\*batch, 12,"),
        (
            lambda d: likelihoods.Bernoulli(nn.Flatten(0)),
            r"Bernoulli: .* shape \(10,\) .* leading dimensions of z have to",
        ),
        (lambda d: likelihoods.Columns(d, ["real"] * 2), r"Columns needs \(\*batch, 2\) .* Columns.decoder_shape"),
        (lambda d: likelihoods.FullCovarianceNormal(d, (2, 3)), r"FullCovarianceNormal: .* data_shape is \(2, 3\)"),
        (lambda d: likelihoods.LowRankNormal(d, (3,), 2, "predicted"), r"LowRankNormal needs \(\*batch, 4,"),
    ],
)
def test_a_decoder_with_an_output_of_another_size(make, message):
    with pytest.raises(ValueError, match=message):
        make(nn.Linear(2, 3))(torch.zeros(5, 2))


SHAPES = {
    "Bernoulli": (lambda: likelihoods.Bernoulli(decoder(4), True), r"Bernoulli .*\(4,\).*\(3,\): build the decoder"),
    "Normal": (lambda: likelihoods.Normal(decoder((2, 3))), r"Normal .*\(2, 3\).*\(3,\): build the decoder"),
    "Normal, predicted": (lambda: likelihoods.Normal(decoder(), scale="predicted"), r"Normal needs \(\*batch, 2,"),
    "Columns": (lambda: likelihoods.Columns(decoder(), ["categorical(3)"] * 3), r"Columns needs \(\*batch, 9\)"),
}


@every_way_in
@pytest.mark.parametrize("name", SHAPES)
def test_a_decoder_with_an_output_that_does_not_fit_the_data(name, use):
    make, message = SHAPES[name]
    vae = small_vae(make())
    with pytest.raises(ValueError, match=message):
        use(vae, torch.ones(20, DATA))
    with pytest.raises(ValueError, match=f"{name.split(',')[0]}: the decoder has output shape .*, and these rows need"):
        vae.initialize(torch.ones(20, DATA))


class Plain(nn.Module):
    """A user's likelihood without any care for its scale."""

    def __init__(self, scale):
        super().__init__()
        self.decoder, self.scale = decoder(), nn.Parameter(torch.tensor(scale))

    def forward(self, z):
        return dist.Normal(self.decoder(z), self.scale).to_event(1)


@every_way_in
@pytest.mark.parametrize("scale", [0.0, -0.5])
def test_a_scale_of_ones_own_that_is_not_positive(scale, use):
    with pytest.raises(
        ValueError, match=rf"observed site 'x' .* Normal with scale {scale:g}, outside .*softplus or exp"
    ):
        use(small_vae(Plain(scale)), torch.randn(20, DATA))


@every_way_in
@pytest.mark.parametrize(
    ("prior", "posterior", "message"),
    [
        (
            priors.StandardNormal(3),
            None,
            r"posterior DiagonalNormal is over \(2,\), the prior StandardNormal over \(3,\)",
        ),
        (None, diagonal_normal(3), r"posterior DiagonalNormal is over \(3,\), the prior StandardNormal over \(2,\)"),
        (
            priors.VampPrior(diagonal_normal(3), (DATA,), 5),
            None,
            r"posterior DiagonalNormal is over \(2,\), the prior VampPrior over \(3,\)",
        ),
    ],
)
def test_a_prior_and_a_posterior_of_different_latent_size(prior, posterior, message, use):
    vae = small_vae(likelihoods.Normal(decoder()), posterior, prior)
    for call in (lambda: use(vae, torch.randn(20, DATA)), lambda: vae.reconstruct(torch.randn(20, DATA))):
        with pytest.raises(ValueError, match=message + ": give both the same latent_dim"):
            call()


def test_more_pseudo_inputs_than_rows():
    posterior = diagonal_normal()
    prior = priors.VampPrior(posterior, (DATA,), num_pseudo_inputs=21)
    vae = small_vae(likelihoods.Normal(decoder()), posterior, prior)
    with pytest.raises(
        ValueError, match=r"VampPrior has num_pseudo_inputs=21, and there are 20 rows .* take .*=20 or f"
    ):
        vae.initialize(torch.randn(20, DATA))


MASKS = {
    "another shape": (
        torch.zeros(20, 2, dtype=torch.bool),
        r"missing has shape \(20, 2\) and x \(20, 3\); expected one",
    ),
    "one row too few": (torch.zeros(19, 3, dtype=torch.bool), r"missing has shape \(19, 3\) and x \(20, 3\)"),
    "numbers": (torch.zeros(20, 3), "missing is torch.float32; expected a boolean tensor, True where"),
    "a whole row": ((torch.arange(20) == 4)[:, None].expand(20, 3), "missing leaves no entry of row 4 .* leave it out"),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks(name):
    missing, message = MASKS[name]
    with pytest.raises(ValueError, match=message):
        mark_missing(torch.randn(20, DATA), missing)


def partly(posterior_shape=(DATA,)):
    return small_vae(
        likelihoods.PartlyObserved(likelihoods.Normal(decoder())),
        posteriors.PartlyObserved(diagonal_normal(), posterior_shape),
    )


@every_way_in
def test_rows_without_any_entry_and_rows_of_another_shape(use):
    x = torch.randn(20, DATA)
    x[4] = torch.nan
    with pytest.raises(ValueError, match="has no observed entry in 1 of 20 rows, the first of them row 4: remove them"):
        use(partly(), x)
    x[4, 1] = 0.5
    use(partly(), x)
    message = r"^PartlyObserved: data_shape is \(4,\), and x has shape \(\d+, 3\); expected .*data.data_shape$"
    with pytest.raises(ValueError, match=message):
        use(partly((4,)), x)
    with pytest.raises(ValueError, match=message):
        partly((4,)).initialize(x)


def test_numbers_of_numpy_and_a_number_for_a_shape_are_taken():
    decoder, two = networks.MLP(LATENT, DATA), np.int64(2)
    assert objectives.IWAE(num_particles=two, beta=np.float32(2)).num_particles == 2
    assert objectives.TraceMeanField_ELBO(free_bits=0.1, free_bits_per=two).groups.per == 2
    assert objectives.Trace_ELBO(two, num_reconstructions=two, beta=two).num_reconstructions == 2
    assert objectives.Cyclical(cycles=two)(1.0) == 1.0
    assert likelihoods.Categorical(decoder, num_levels=two).num_levels == 2
    assert likelihoods.Binomial(decoder, total_count=two).total_count == 2
    likelihoods.LowRankNormal(decoder, DATA, rank=two)
    likelihoods.DiscretizedLogisticMixture(decoder, num_components=two)
    assert likelihoods.Normal(decoder, "per_dimension", DATA).scale.shape == (DATA,)
    assert likelihoods.FullCovarianceNormal(decoder, DATA).data_shape == (DATA,)
    assert posteriors.PartlyObserved(diagonal_normal(), DATA).fill.shape == (DATA,)
    assert priors.VampPrior(diagonal_normal(), DATA, 5).pseudo_inputs.shape == (5, DATA)
    assert likelihoods.Categorical.decoder_shape(DATA, num_levels=5) == (5, DATA)
    assert likelihoods.DiscretizedLogisticMixture.decoder_shape(DATA, num_components=2) == (6, DATA)
    assert likelihoods.Columns.decoder_shape(DATA, ["real"] * DATA) == (DATA,)
    assert likelihoods.PartlyObserved.decoder_shape(DATA, likelihoods.Bernoulli) == (DATA,)
    assert ConditionalVAE(None, None, None, DATA, 2).data_shape == (DATA,)
    vae = VAE(priors.StandardNormal(LATENT), likelihoods.Normal(decoder), diagonal_normal())
    options = {"objective": objectives.IWAE(two, np.float32(1)), "epochs": 1, "batch_size": 10, "progress": False}
    fit_svi(vae.model, vae.guide, torch.randn(20, DATA), step="recorded", **options)
    likelihoods.LogNormal(networks.MLP(LATENT, DATA)).initialize(torch.ones(4, DATA, dtype=torch.long))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: likelihoods.Normal(None, scale=None),
            "Normal: scale is None; a standard deviation",
        ),
        (lambda: likelihoods.Normal(None, scale=[0.1]), r"Normal: scale is \[0.1\]; a standard deviation"),
        (lambda: likelihoods.Normal(None, scale=True), "Normal: scale is True; a standard deviation"),
        (lambda: likelihoods.Normal(None, initial_scale="1"), "expected\\s+0 < scale_floor < initial_scale"),
        (lambda: priors.StudentT(2, "3"), "degrees_of_freedom is '3'; expected a positive, finite number"),
        (lambda: networks.MLP(2, 3, 5), "hidden_dims is 5; expected a list of widths"),
        (lambda: priors.Flow(3, hidden_dims=64), "hidden_dims is 64; expected a list of widths"),
    ],
)
def test_what_is_no_number_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_arrays_in_place_of_tensors_and_one_number_in_place_of_dimensions():
    x = torch.rand(5, DATA)
    with pytest.raises(
        ValueError, match=r"x is a ndarray; expected a tensor \(rows, \*data_shape\): use torch.as_tensor\("
    ):
        mark_missing(x.numpy(), x > 0)
    with pytest.raises(ValueError, match=r"dims is 1; expected several dimensions, such as \[1\]"):
        small_vae(likelihoods.Bernoulli(decoder())).traverse(dims=1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        *(
            (lambda name=name: getattr(likelihoods, name)(2), f"{name}: decoder is 2; expected a module")
            for name in ONE_ARGUMENT
        ),
        (lambda: likelihoods.Normal(networks.MLP), "Normal: decoder is the class MLP; expected a module"),
        (lambda: likelihoods.Binomial(2, 5), "Binomial: decoder is 2"),
        (lambda: likelihoods.Categorical(2, 5), "Categorical: decoder is 2"),
        (lambda: likelihoods.Columns(2, ["real"]), "Columns: decoder is 2"),
        (lambda: likelihoods.DiscretizedLogisticMixture(2, 5), "DiscretizedLogisticMixture: decoder is 2"),
        (lambda: likelihoods.FullCovarianceNormal(2, 5), "FullCovarianceNormal: decoder is 2"),
        (lambda: likelihoods.LowRankNormal(2, 5, 1), "LowRankNormal: decoder is 2"),
        (lambda: likelihoods.PartlyObserved(2), "PartlyObserved: likelihood is 2"),
        (
            lambda: posteriors.DiagonalNormal(5),
            r"DiagonalNormal: encoder is 5; expected a module, such as networks\.MLP",
        ),
        (lambda: posteriors.FullCovarianceNormal(5), "FullCovarianceNormal: encoder is 5"),
        (lambda: posteriors.LowRankNormal(5), "LowRankNormal: encoder is 5"),
        (lambda: posteriors.MixtureOfNormals(5), "MixtureOfNormals: encoder is 5"),
        (lambda: posteriors.PartlyObserved(5, (2,)), "PartlyObserved: posterior is 5"),
        (lambda: posteriors.Denoising(5, torch.zeros_like), "Denoising: posterior is 5"),
        (lambda: posteriors.Flow(3, encoder=5), "DiagonalNormal: encoder is 5"),
        (lambda: priors.VampPrior(5, (2,)), "VampPrior: posterior is 5"),
        (lambda: Autoencoder(5, decoder()), "Autoencoder: encoder is 5"),
        (lambda: Autoencoder(decoder(), 5), "Autoencoder: decoder is 5"),
    ],
)
def test_what_cannot_be_called_is_no_network(make, message):
    with pytest.raises(ValueError, match=message):
        make()
