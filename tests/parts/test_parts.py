"""One contract for all parts."""

import io

import pytest
import torch
from torch import nn

from pyrovae import likelihoods, networks, posteriors, priors

LATENT, DATA = 3, (2, 4)
SOURCES = ("shared", "per_dimension", "predicted")


def decoder():
    return networks.MLP(LATENT, DATA, (8,))


def with_decoder(name, shape_options=None, **options):
    """Maker of a likelihood whose decoder has the output shape that it asks for."""
    part = getattr(likelihoods, name)

    def make():
        shape = part.decoder_shape(DATA, **(shape_options or {})) if hasattr(part, "decoder_shape") else DATA
        return part(networks.MLP(LATENT, shape, (8,)), **options, **(shape_options or {}))

    return make


LIKELIHOODS = {
    "Bernoulli": lambda: likelihoods.Bernoulli(decoder()),
    "Normal, shared scale": lambda: likelihoods.Normal(decoder()),
    "Normal, fixed scale": lambda: likelihoods.Normal(decoder(), scale=0.3),
    "Normal, scale per dimension": lambda: likelihoods.Normal(decoder(), scale="per_dimension", data_shape=DATA),
    "Normal, predicted scale": with_decoder("Normal", {"scale": "predicted"}),
    **{
        f"{name}, {argument} {source}": with_decoder(name, {argument: source}, data_shape=DATA)
        for name, argument in (
            ("Laplace", "scale"),
            ("StudentT", "df"),
            ("StudentT", "scale"),
            ("LogNormal", "scale"),
            ("Beta", "concentration"),
            ("NegativeBinomial", "total_count"),
            ("ZeroInflatedPoisson", "gate"),
            ("ZeroInflatedNegativeBinomial", "total_count"),
            ("ZeroInflatedNegativeBinomial", "gate"),
            ("DiscretizedLogistic", "scale"),
        )
        for source in SOURCES
    },
    "ContinuousBernoulli": with_decoder("ContinuousBernoulli"),
    "Poisson": with_decoder("Poisson"),
    "Binomial": with_decoder("Binomial", total_count=7),
    "Categorical": with_decoder("Categorical", {"num_levels": 5}),
    "DiscretizedLogisticMixture": with_decoder("DiscretizedLogisticMixture", {"num_components": 3}, num_levels=9),
    "FullCovarianceNormal, shared": with_decoder("FullCovarianceNormal", data_shape=DATA),
    "FullCovarianceNormal, predicted": with_decoder(
        "FullCovarianceNormal", {"covariance": "predicted"}, data_shape=DATA
    ),
    "LowRankNormal, shared": with_decoder("LowRankNormal", {"rank": 2}, data_shape=DATA),
    "LowRankNormal, predicted": with_decoder("LowRankNormal", {"rank": 2, "covariance": "predicted"}, data_shape=DATA),
}
POSTERIORS = {"DiagonalNormal": lambda: posteriors.DiagonalNormal(networks.MLP(DATA, 2 * LATENT, (8,)))}
PRIORS = {"StandardNormal": lambda: priors.StandardNormal(LATENT)}
CONDITIONAL = {
    **{name: (make, (LATENT,), DATA) for name, make in LIKELIHOODS.items()},
    **{name: (make, DATA, (LATENT,)) for name, make in POSTERIORS.items()},
}


@pytest.mark.parametrize("name", CONDITIONAL)
@pytest.mark.parametrize("batch_shape", [(), (5,), (4, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes_and_dtypes(name, batch_shape, dtype):
    make, context_shape, event_shape = CONDITIONAL[name]
    part = make().to(dtype)
    distribution = part(torch.randn(*batch_shape, *context_shape, dtype=dtype))
    assert distribution.batch_shape == batch_shape
    assert distribution.event_shape == event_shape
    value = distribution.sample()
    assert value.dtype == dtype
    log_prob = distribution.log_prob(value)
    assert log_prob.shape == batch_shape
    assert log_prob.dtype == dtype
    assert torch.isfinite(log_prob).all()


@pytest.mark.parametrize("name", CONDITIONAL)
def test_a_gradient_reaches_every_parameter(name):
    make, context_shape, _ = CONDITIONAL[name]
    part = make()
    distribution = part(torch.randn(6, *context_shape))
    distribution.log_prob(distribution.sample()).sum().backward()
    for parameter_name, parameter in part.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


@pytest.mark.parametrize("name", CONDITIONAL)
def test_rows_do_not_depend_on_one_another(name):
    make, context_shape, _ = CONDITIONAL[name]
    part = make()
    context = torch.randn(5, *context_shape)
    value = part(context).sample()
    whole = part(context).log_prob(value)
    rows = torch.stack([part(c).log_prob(v) for c, v in zip(context, value, strict=True)])
    torch.testing.assert_close(whole, rows)
    part.eval()
    torch.testing.assert_close(part(context).log_prob(value), whole)


@pytest.mark.parametrize("name", CONDITIONAL)
def test_stored_and_loaded_without_pickled_code(name):
    make, context_shape, _ = CONDITIONAL[name]
    part, other = make(), make()
    file = io.BytesIO()
    torch.save(part.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    context = torch.randn(5, *context_shape)
    value = part(context).sample()
    assert torch.equal(part(context).log_prob(value), other(context).log_prob(value))


@pytest.mark.parametrize("name", PRIORS)
def test_priors_are_one_distribution_over_a_vector(name):
    prior = PRIORS[name]().double()
    p_z = prior()
    assert p_z.batch_shape == ()
    assert p_z.event_shape == (LATENT,)
    z = p_z.sample((7,))
    assert z.dtype == torch.float64
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
    torch.testing.assert_close(p_z.log_prob(z), expected)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_missing_entries_have_no_part_in_any_likelihood(name):
    make = LIKELIHOODS[name]
    part = make().double()
    partly = likelihoods.PartlyObserved(part)
    z = torch.randn(6, LATENT, dtype=torch.float64)
    x = part(z).sample()
    torch.testing.assert_close(partly(z).log_prob(x), part(z).log_prob(x))
    missing = torch.rand(x.shape) < 0.4
    missing[0] = True
    x[missing] = torch.nan
    assert part(z).sample().isfinite().all()
    log_prob = partly(z).log_prob(x)
    assert log_prob[0].abs() < 1e-12
    independent = getattr(part(z), "base_dist", None)
    if isinstance(part(z), torch.distributions.Independent):
        # Each entry by itself, with any value in place of those that are missing.
        entries = independent.log_prob(torch.where(missing, independent.sample(), x))
        torch.testing.assert_close(log_prob, entries.masked_fill(missing, 0).sum((1, 2)))
    log_prob.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in part.parameters())
    filled = partly(z).sample_missing(x)
    assert torch.equal(filled[~missing], x[~missing])
    assert part(z).log_prob(filled).isfinite().all()


def test_densities_sum_and_integrate_to_one():
    bits = torch.tensor([[float(i >> d & 1) for d in range(8)] for i in range(256)], dtype=torch.float64)
    p_x = LIKELIHOODS["Bernoulli"]().double()(torch.randn(LATENT, dtype=torch.float64))
    assert p_x.log_prob(bits.reshape(256, *DATA)).exp().sum().item() == pytest.approx(1, abs=1e-12)
    grid = torch.linspace(-20, 20, 20_001, dtype=torch.float64)
    one_pixel = likelihoods.Normal(networks.MLP(LATENT, 1, (8,)), scale=0.7).double()
    density = one_pixel(torch.zeros(LATENT, dtype=torch.float64)).log_prob(grid[:, None]).exp()
    assert torch.trapezoid(density, grid).item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("name", [*CONDITIONAL, *PRIORS])
def test_repr_names_the_part(name):
    part = (PRIORS.get(name) or CONDITIONAL[name][0])()
    assert type(part).__name__ in repr(part)


def test_bernoulli_is_that_of_the_logits():
    part = LIKELIHOODS["Bernoulli"]()
    z, x = torch.randn(5, LATENT), torch.bernoulli(torch.full((5, *DATA), 0.5))
    expected = -nn.functional.binary_cross_entropy_with_logits(part.decoder(z), x, reduction="none").sum((1, 2))
    torch.testing.assert_close(part(z).log_prob(x), expected)


@pytest.mark.parametrize("kind", ["shared", "per_dimension"])
def test_a_learned_scale_starts_where_it_is_told_and_stays_above_its_floor(kind):
    part = likelihoods.Normal(decoder(), scale=kind, data_shape=DATA, initial_scale=0.2, scale_floor=0.05)
    assert part.scale.shape == (() if kind == "shared" else DATA)
    torch.testing.assert_close(part.scale, torch.full_like(part.scale, 0.2))
    with torch.no_grad():
        part.raw_scale.fill_(-1000.0)
    torch.testing.assert_close(part.scale, torch.full_like(part.scale, 0.05))
    assert torch.isfinite(part(torch.zeros(2, LATENT)).log_prob(torch.zeros(2, *DATA))).all()


def test_a_fixed_scale_keeps_its_digits_in_float64():
    part = likelihoods.Normal(decoder(), scale=0.1).double()
    p_x = part(torch.zeros(LATENT, dtype=torch.float64))
    assert (p_x.base_dist.scale == 0.1).all()
    assert "raw_scale" not in part.state_dict()


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
