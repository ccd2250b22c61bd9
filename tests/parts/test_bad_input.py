"""What parts refuse."""

import pytest
import torch
from torch import nn

from pyrovae import likelihoods, networks, posteriors, priors


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
    ],
)
def test_values_outside_the_support_are_refused_before_the_first_step(name, options, inside, outside, message):
    x = torch.full((20, 3), inside)
    vae = small_vae(with_bias(name, (3,), options))
    fit_svi(vae.model, vae.guide, x, epochs=1, batch_size=10, progress=False)
    assert torch.isfinite(compare_bounds(vae.model, vae.guide, x, num_samples=5).log_px).all()
    x[13, 1] = outside
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        fit_svi(vae.model, vae.guide, x, epochs=1, batch_size=10, progress=False)
    with pytest.raises(ValueError, match=message):
        compare_bounds(vae.model, vae.guide, x, num_samples=5)
    assert all(torch.equal(value, before[name]) for name, value in vae.state_dict().items())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda d: likelihoods.Laplace(d, scale=-1.0), "scale is -1.0; a standard deviation has to be positive"),
        (lambda d: likelihoods.StudentT(d, df=0.0), "df is 0.0; a number of degrees of freedom has to be positive"),
        (lambda d: likelihoods.StudentT(d, initial_df=1.5), "df_floor is 2.0 and initial_df 1.5"),
        (lambda d: likelihoods.Beta(d, concentration=float("inf")), "concentration is inf; a concentration has to be"),
        (lambda d: likelihoods.Beta(d, concentration="optimal"), "concentration is 'optimal'; expected a positive"),
        (
            lambda d: likelihoods.NegativeBinomial(d, total_count=0),
            "total_count is 0; a total count has to be positive",
        ),
        (
            lambda d: likelihoods.NegativeBinomial(d, "per_dimension"),
            "total_count is 'per_dimension' without data_shape",
        ),
        (lambda d: likelihoods.ZeroInflatedPoisson(d, gate=1.0), "gate is 1.0; expected a probability"),
        (lambda d: likelihoods.ZeroInflatedPoisson(d, initial_gate=0.0), "initial_gate is 0.0; expected a probability"),
        (
            lambda d: likelihoods.ZeroInflatedPoisson(d, gate="each"),
            r"gate is 'each'; expected a probability in \(0, 1\)",
        ),
        (lambda d: likelihoods.ZeroInflatedNegativeBinomial(d, total_count=-2.0), "total_count is -2.0"),
        (lambda d: likelihoods.Binomial(d, 0), "total_count is 0; the number of trials has to be a positive whole"),
        (lambda d: likelihoods.Binomial(d, 2.5), "total_count is 2.5"),
        (lambda d: likelihoods.Categorical(d, num_levels=1), "num_levels is 1; expected a whole number, at least 2"),
        (lambda d: likelihoods.DiscretizedLogistic(d, num_levels=True), "num_levels is True"),
        (lambda d: likelihoods.DiscretizedLogistic(d, low=1.0), "low is 1.0 and high 1.0; expected finite numbers"),
        (lambda d: likelihoods.DiscretizedLogistic(d, high=float("inf")), "low is 0.0 and high inf"),
        (
            lambda d: likelihoods.DiscretizedLogisticMixture(d, 0),
            "num_components is 0; expected a positive whole number",
        ),
        (lambda d: likelihoods.DiscretizedLogisticMixture(d, initial_scale=-1.0), "initial_scale -1.0; expected 0 <"),
        (lambda d: likelihoods.LowRankNormal(d, (3,), rank=0), "rank is 0; expected a positive whole number"),
        (lambda d: likelihoods.LowRankNormal(d, (3,), covariance="full"), "covariance is 'full'; expected 'shared' or"),
        (
            lambda d: likelihoods.FullCovarianceNormal(d, (3,), scale_floor=2.0),
            "scale_floor is 2.0 and initial_scale 1.0",
        ),
    ],
)
def test_bad_arguments(make, message):
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
        (lambda d: likelihoods.FullCovarianceNormal(d, (2, 3)), r"FullCovarianceNormal: .* data_shape is \(2, 3\)"),
        (lambda d: likelihoods.LowRankNormal(d, (3,), 2, "predicted"), r"LowRankNormal needs \(\*batch, 4,"),
    ],
)
def test_a_decoder_with_an_output_of_another_size(make, message):
    with pytest.raises(ValueError, match=message):
        make(nn.Linear(2, 3))(torch.zeros(5, 2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: priors.StandardNormal(0), "latent_dim is 0; expected a positive integer"),
        (lambda: likelihoods.Normal(decoder(), scale=0.0), "scale is 0.0; a standard deviation has to be positive"),
        (lambda: likelihoods.Normal(decoder(), scale=-1.0), "positive and finite"),
        (lambda: likelihoods.Normal(decoder(), scale=float("nan")), "positive and finite"),
        (
            lambda: likelihoods.Normal(decoder(), scale="each"),
            "expected a positive number, 'shared', 'per_dimension', 'optimal' or 'predicted'",
        ),
        (lambda: likelihoods.Normal(decoder(), scale="per_dimension"), "without data_shape"),
        (lambda: likelihoods.Normal(decoder(), scale_floor=2.0), "0 < scale_floor < initial_scale"),
        (lambda: posteriors.DiagonalNormal(networks.MLP(4, 5))(torch.zeros(2, 4)), "needs 2 \\* latent_dim"),
        (lambda: likelihoods.Bernoulli(nn.Flatten(0))(torch.zeros(2, LATENT)), "leading dimensions of z"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
