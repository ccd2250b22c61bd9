"""Variances and signal-to-noise ratios of gradients against closed forms."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from part_makers import batch_normalised
from problems import ExactPosterior, LinearGaussian, bits, small_vae
from torch import nn

from pyrovae import VAE, compare_gradients, likelihoods, networks, posteriors, priors
from pyrovae.objectives import IWAE, DReG, ScoreFunction, Trace_ELBO
from pyrovae.objectives.gradient_moments import Moments, _jackknife

# t of 19 degrees of freedom, the groups of the jackknife less 1, is beyond 5 in 1 of 13,000 cases.
ERRORS = 5
REPEATS = 100


class OfEachRow(nn.Module):
    """z ~ N(0, 1), x|z ~ N(z + shift, noise^2), q = N(loc, scale^2), with a loc and a shift for each of 40 rows.

    The gradients of a row are polynomials of the standard normal draw e behind z = loc + scale e, so that their
    moments are known: log w = a + b e + c e^2. Rows are pairs of their number and x.
    """

    def __init__(self):
        super().__init__()
        self.loc = nn.Parameter(torch.linspace(-0.5, 0.8, 40, dtype=torch.float64))
        self.shift = nn.Parameter(torch.zeros(40, dtype=torch.float64))
        self.noise, self.scale = 0.7, 0.5
        self.rows = torch.stack([torch.arange(40), torch.linspace(-1, 1.5, 40)], 1).double()

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z + self.shift[x[:, 0].long()], self.noise), obs=x[:, 1])

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.loc[x[:, 0].long()], self.scale))

    def coefficients(self):
        x, loc, scale, noise = self.rows[:, 1], self.loc.detach(), self.scale, self.noise
        log_joint = -0.5 * loc**2 - 0.5 * ((x - loc) / noise) ** 2 - math.log(2 * math.pi * noise)
        a = log_joint + 0.5 * math.log(2 * math.pi * scale**2)
        b = scale * (-loc + (x - loc) / noise**2)
        c = torch.full_like(b, -0.5 * scale**2 * (1 + noise**-2) + 0.5)
        return a, b, c

    def variances(self):
        """Of the gradient by loc, for each row."""
        (a, b, c), s, precision = self.coefficients(), self.scale, self.noise**-2

        def with_baseline(mean, variance):
            return ((a - mean) ** 2 + variance + 2 * b**2 + 15 * c**2 + 6 * (a - mean) * c) / s**2

        no_baseline = with_baseline(0.0, 0.0)
        others = len(a) - 1
        means, variances = a + c, b**2 + 2 * c**2
        rows = {
            "Trace_ELBO": s**2 * (1 + precision) ** 2,
            # The prior's part is exact.
            "TraceMeanField_ELBO": s**2 * precision**2,
            "StickingTheLanding": s**2 * (s**-2 - 1 - precision) ** 2,
            "no baseline": no_baseline,
            "no baseline, 2 draws": no_baseline / 2,
            "other rows": with_baseline((means.sum() - means) / others, (variances.sum() - variances) / others**2),
            # (log w_1 - log w_2) (e_1 - e_2) / (2 s), of which the sum and the difference of e are independent.
            "other draws": (2 * b**2 + 6 * c**2) / s**2,
        }
        return {label: torch.zeros_like(a) + value for label, value in rows.items()}


OBJECTIVES = {
    "Trace_ELBO": "Trace_ELBO",
    "TraceMeanField_ELBO": "TraceMeanField_ELBO",
    "StickingTheLanding": "StickingTheLanding",
    "no baseline": ScoreFunction(baseline="none"),
    "no baseline, 2 draws": ScoreFunction(2, baseline="none"),
    "other rows": ScoreFunction(baseline="other_rows"),
    "other draws": ScoreFunction(2, baseline="other_draws"),
}


@pytest.fixture(scope="module")
def measured():
    pair = OfEachRow()
    return pair, compare_gradients(pair.model, pair.guide, pair.rows, OBJECTIVES, num_repeats=REPEATS, seed=3)


@pytest.mark.parametrize("label", OBJECTIVES)
def test_variances_and_ratios_are_those_in_closed_form(measured, label):
    """5 standard errors of a jackknife over 20 groups, 7 checks of each of 7: a false alarm in 1 of 250 seeds."""
    pair, comparison = measured
    of_guide, of_model = comparison[label].guide, comparison[label].model
    variances, slopes = pair.variances()[label], pair.coefficients()[1] / pair.scale
    # Each parameter is behind one row of the 40 that the gradient is averaged over.
    variance, norm = variances.sum().item() / 40**2, slopes.norm().item() / 40
    assert abs(of_guide.total_variance - variance) <= ERRORS * of_guide.total_variance_standard_error + 1e-12
    assert abs(of_guide.squared_norm - norm**2) < ERRORS * of_guide.squared_norm_standard_error
    assert abs(of_guide.norm - norm) < ERRORS * of_guide.norm_standard_error
    assert abs(of_guide.snr_squared - norm**2 / variance) < ERRORS * of_guide.snr_squared_standard_error
    assert abs(of_guide.snr - norm / variance**0.5) < ERRORS * of_guide.snr_standard_error
    ratio, error = comparison.variance_ratio(label)
    known = (variances.sum() / pair.variances()["Trace_ELBO"].sum()).item()
    assert abs(ratio - known) <= ERRORS * error + 1e-12
    # The loss falls where the ELBO rises: the mean of each gradient, 5 sums of squares for 40 of them.
    squares = ((of_guide.mean["loc"] + slopes / 40) ** 2 / (variances / 40**2 / REPEATS)).sum()
    assert 40 - 5 * 80**0.5 < squares < 40 + 5 * 80**0.5
    # The gradient by the shift of the model is -(x - z) / noise^2, a mean over the draws, in all of them.
    known = 40 * pair.scale**2 * pair.noise**-4 / (2 if "draws" in label else 1) / 40**2
    assert abs(of_model.total_variance - known) < ERRORS * of_model.total_variance_standard_error
    assert set(of_guide.mean) == {"loc"}
    assert set(of_model.mean) == {"shift"}


def test_the_standard_errors_are_small_enough_to_tell(measured):
    """That no bound above is wide: a variance of the reparameterised gradient is known to 1 part in 25."""
    _, comparison = measured
    for label in OBJECTIVES:
        noise = comparison[label].guide
        assert noise.total_variance_standard_error < 0.1 * noise.total_variance
        assert noise.snr_standard_error < 0.06 * noise.snr + 0.02


def test_the_score_function_varies_more_and_a_baseline_takes_part_of_it_away(measured):
    """By 4 standard errors. With a baseline it varies less than the path where the guide is near the posterior."""
    _, comparison = measured
    ratio, error = comparison.variance_ratio("no baseline")
    assert ratio - 4 * error > 1
    ratio, error = comparison.variance_ratio("other draws", reference="no baseline, 2 draws")
    assert ratio + 4 * error < 1
    ratio, error = comparison.variance_ratio("other rows", reference="no baseline")
    assert ratio + 4 * error < 1


def test_at_the_exact_posterior_sticking_the_landing_has_no_variance():
    """What is left is rounding: 1e-13 of a gradient of about 10, squared."""
    problem = LinearGaussian.random(5, 2, 0)
    posterior = Trained(problem)
    vae, x = problem.vae(posterior), problem.rows(6)
    comparison = compare_gradients(vae.model, vae.guide, x, num_repeats=40)
    assert comparison["StickingTheLanding"].guide.total_variance < 1e-24
    assert comparison["StickingTheLanding"].guide.norm < 1e-12
    plain = comparison["Trace_ELBO"].guide
    assert plain.total_variance > 0.1
    # The ELBO is at its optimum by the guide: all signal is noise.
    assert abs(plain.squared_norm) < ERRORS * plain.squared_norm_standard_error
    # The model's gradient is the same in both.
    torch.testing.assert_close(
        comparison["StickingTheLanding"].model.total_variance,
        comparison["Trace_ELBO"].model.total_variance,
        rtol=1e-9,
        atol=0,
    )


class Trained(nn.Module):
    """The exact posterior with parameters: loc moved by ``shift``, Cholesky factor times exp(``log_scale``)."""

    def __init__(self, problem):
        super().__init__()
        self.exact = ExactPosterior(problem)
        self.shift = nn.Parameter(torch.zeros(2, dtype=torch.float64))
        self.log_scale = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, x):
        exact = self.exact(x)
        return dist.MultivariateNormal(exact.loc + self.shift, scale_tril=exact.scale_tril * self.log_scale.exp())


def repeated_noises(mean, sd, repeats, trials, generator):
    noises = []
    for _ in range(trials):
        moments = Moments({"p": mean}, repeats)
        for draw in torch.randn(repeats, len(mean), generator=generator, dtype=torch.float64):
            moments.add(mean + sd * draw)
        noises.append(moments.noise())
    return noises


@pytest.mark.parametrize("repeats", [100, 37])
def test_estimates_are_unbiased_and_their_standard_errors_have_the_right_size(repeats):
    """Over 300 samples of a normal gradient in 3 dimensions, against the known moments.

    The mean of an estimate lies within 4 of its standard errors, a false alarm in 1 of 16,000. The mean of the squared
    jackknife error is within 34 % of the variance of the estimates, which 300 of them know to 1 part in 12: 4 of these.
    Of the estimates 6 % to 8 % lie beyond 2 errors (6 % by t of 19 degrees of freedom; 1,500 samples of another seed),
    and at most 14 % in 300, with 4 standard errors: a false alarm in 1 of 10,000.
    """
    generator = torch.Generator().manual_seed(5)
    mean, sd = torch.tensor([0.8, -0.5, 0.0]).double(), torch.tensor([1.0, 0.5, 0.8]).double()
    signal, variance = mean.square().sum().item(), sd.square().sum().item()
    known = {"squared_norm": signal, "total_variance": variance, "snr_squared": signal / variance}
    found = repeated_noises(mean, sd, repeats, 300, generator)
    for name, truth in known.items():
        values = torch.tensor([getattr(noise, name) for noise in found])
        errors = torch.tensor([getattr(noise, f"{name}_standard_error") for noise in found])
        # Of a ratio the denominator's noise raises the mean, by about a part of 1 / repeats.
        allowance = truth / repeats if name == "snr_squared" else 0.0
        assert abs(values.mean() - truth) < 4 * values.std() / 300**0.5 + allowance
        assert abs(errors.square().mean() / values.var() - 1) < 0.34
        assert ((values - truth).abs() > 2 * errors).double().mean() < 0.14


def test_noise_alone_has_no_signal_and_errors_that_are_too_large_rather_than_too_small():
    """Without a signal the estimate of its square is a degenerate statistic, whose squared jackknife error is twice
    the variance; 300 samples know this ratio to 1 part in 10, and 4 of these are allowed.
    """
    generator = torch.Generator().manual_seed(6)
    found = repeated_noises(torch.zeros(3).double(), torch.ones(3).double(), 60, 300, generator)
    values = torch.tensor([noise.snr_squared for noise in found])
    errors = torch.tensor([noise.snr_squared_standard_error for noise in found])
    assert abs(values.mean()) < 4 * values.std() / 300**0.5
    assert 1.2 < errors.square().mean() / values.var() < 2.8
    # Nothing negative has a root, and the error of the root says how large the SNR may be.
    hidden = next(noise for noise in found if noise.snr_squared < 0)
    assert hidden.snr == hidden.norm == 0
    assert hidden.snr_standard_error == pytest.approx(hidden.snr_squared_standard_error**0.5, rel=1e-12)
    assert hidden.norm_standard_error == pytest.approx(hidden.squared_norm_standard_error**0.5, rel=1e-12)


def test_a_gradient_hidden_by_noise_is_within_the_errors_of_norm_and_snr():
    """A normal gradient of norm 0.09 in 3 dimensions, whose mean over 60 repeats has noise of norm 0.22.

    Beyond 4 standard errors was 1 of 6,000 samples of other seeds; more than 2 in 300 are a false alarm in 1 of 50,000.
    """
    generator = torch.Generator().manual_seed(7)
    norm = 0.05 * 3**0.5
    found = repeated_noises(torch.full((3,), 0.05).double(), torch.ones(3).double(), 60, 300, generator)
    assert sum(noise.squared_norm + noise.squared_norm_standard_error < 0 for noise in found) > 10
    assert sum(abs(noise.norm - norm) > 4 * noise.norm_standard_error for noise in found) <= 2
    assert sum(abs(noise.snr - norm / 3**0.5) > 4 * noise.snr_standard_error for noise in found) <= 2


def test_moments_are_those_of_all_gradients_at_once():
    """And the jackknife that of its definition, leaving out one group after the other."""
    gradients = 1e4 + torch.randn(47, 6, dtype=torch.float64)
    moments = Moments({"a": torch.zeros(2, 2), "b": torch.zeros(2)}, 47)
    for gradient in gradients:
        moments.add(gradient)
    noise = moments.noise()
    expected = gradients.var(0)
    torch.testing.assert_close(noise.variance["a"], expected[:4].view(2, 2), rtol=1e-9, atol=0)
    torch.testing.assert_close(noise.mean["b"], gradients.mean(0)[4:], rtol=1e-12, atol=0)
    torch.testing.assert_close(noise.total_variance, expected.sum().item(), rtol=1e-9, atol=0)
    without = torch.stack([gradients[[r % 20 != group for r in range(47)]].var(0).sum() for group in range(20)])
    torch.testing.assert_close(noise.variance_without, without, rtol=1e-7, atol=0)
    assert noise.group_sizes.tolist() == [3] * 7 + [2] * 13
    assert noise.num_parameters == 6


def everything(vae):
    parameters = {name: (value.clone(), value.grad) for name, value in vae.named_parameters()}
    buffers = {name: (id(value), value.clone()) for name, value in vae.named_buffers()}
    modes = [module.training for module in vae.modules()]
    return parameters, buffers, modes, torch.get_rng_state(), dict(pyro.get_param_store().items())


def test_nothing_is_changed():
    vae = VAE(
        priors.StandardNormal(3),
        likelihoods.Bernoulli(networks.MLP(3, (2, 4), (8,), normalization="batch")),
        batch_normalised((3,)),
    )
    vae.prior.eval()
    pyro.param("outside", torch.ones(2))
    kept = torch.full_like(next(vae.parameters()), 7.0)
    next(vae.parameters()).grad = kept
    before = everything(vae)
    first = compare_gradients(vae.model, vae.guide, bits(16, (2, 4)), num_repeats=4)
    after = everything(vae)
    for old, new in zip(before[0].values(), after[0].values(), strict=True):
        assert torch.equal(old[0], new[0])
        assert new[1] is old[1]
    assert torch.equal(next(vae.parameters()).grad, torch.full_like(kept, 7.0))
    for old, new in zip(before[1].values(), after[1].values(), strict=True):
        assert old[0] == new[0]
        assert torch.equal(old[1], new[1])
    assert before[2] == after[2]
    assert torch.equal(before[3], after[3])
    assert list(before[4]) == list(after[4]) == ["outside"]
    # The same seed gives the same numbers.
    again = compare_gradients(vae.model, vae.guide, bits(16, (2, 4)), num_repeats=4)
    for label in first.by_objective:
        assert first[label].guide.total_variance == again[label].guide.total_variance
    other = compare_gradients(vae.model, vae.guide, bits(16, (2, 4)), num_repeats=4, seed=1)
    assert first["Trace_ELBO"].guide.total_variance != other["Trace_ELBO"].guide.total_variance


def test_programs_with_params_of_their_own_and_a_caller_without_gradients():
    def model(x):
        loc = pyro.param("loc", torch.tensor(0.5))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z + loc, 1.0), obs=x)

    def guide(x):
        scale = pyro.param("scale", torch.tensor(0.8), constraint=dist.constraints.positive)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.3 * x, scale))

    with torch.no_grad():
        comparison = compare_gradients(model, guide, torch.randn(5), num_repeats=10)
    assert list(comparison["Trace_ELBO"].guide.mean) == ["pyro.param:scale"]
    assert list(comparison["Trace_ELBO"].model.mean) == ["pyro.param:loc"]
    assert not dict(pyro.get_param_store().items())


def test_what_both_programs_use_is_counted_with_the_guide():
    encoder = posteriors.DiagonalNormal(networks.MLP((1, 8, 8), 4, ()))
    prior = priors.VampPrior(encoder, (1, 8, 8), num_pseudo_inputs=3)
    vae = VAE(prior, likelihoods.Bernoulli(networks.MLP(2, (1, 8, 8), ())), encoder)
    comparison = compare_gradients(vae.model, vae.guide, bits(6), ["Trace_ELBO"], num_repeats=3)
    noise = comparison["Trace_ELBO"]
    assert set(comparison.shared) == set(noise.guide.mean)
    assert not set(noise.guide.mean) & set(noise.model.mean)
    names = {name for name, _ in vae.named_parameters()}
    assert any("likelihood" in name for name in noise.model.mean)
    assert noise.guide.num_parameters + noise.model.num_parameters == sum(p.numel() for p in vae.parameters())
    assert set(noise.guide.mean) | set(noise.model.mean) <= names
    assert "counted with the guide" in comparison.summary()


def test_a_discrete_guide_has_the_score_function_alone():
    class Switch(nn.Module):
        def __init__(self):
            super().__init__()
            self.logit = nn.Parameter(torch.tensor(0.3))

        def model(self, x):
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Bernoulli(0.5))
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)

        def guide(self, x):
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Bernoulli(logits=self.logit))

    pair = Switch()
    comparison = compare_gradients(pair.model, pair.guide, torch.randn(6), num_repeats=10)
    assert set(comparison.by_objective) == {"Trace_ELBO", "ScoreFunction", "ScoreFunction, no baseline"}
    assert set(comparison.left_out) == {"TraceMeanField_ELBO", "StickingTheLanding"}
    assert "left out: StickingTheLanding: StickingTheLanding needs latents" in comparison.summary()
    # The model has no parameters.
    assert "model, " not in comparison.summary()
    assert math.isnan(comparison["Trace_ELBO"].model.snr)
    assert math.isnan(comparison["Trace_ELBO"].model.snr_per_parameter)
    with pytest.raises(ValueError, match="StickingTheLanding needs latents drawn by reparameterisation"):
        compare_gradients(pair.model, pair.guide, torch.randn(6), ["Trace_ELBO", "StickingTheLanding"])


def test_the_table():
    vae = small_vae()
    chosen = {"few": IWAE(2), "many": "IWAE", "an ELBO of Pyro": pyro.infer.Trace_ELBO(3)}
    comparison = compare_gradients(vae.model, vae.guide, bits(5), chosen, num_repeats=6)
    lines = comparison.summary().splitlines()
    assert lines[0].split() == ["norm", "(se)", "variance", "(se)", "ratio", "(se)", "SNR", "(se)", "ms", "each"]
    assert len({len(line) for line in [lines[0], *lines[2:5], *lines[6:9]]}) == 1
    assert lines[2].split()[5:7] == ["1", "0"]
    frame = comparison.to_frame()
    assert list(frame.index.get_level_values("objective"))[::2] == list(chosen)
    assert frame.loc[("many", "model"), "snr"] == comparison["many"].model.snr
    assert comparison["few"].seconds > 0


def test_bad_input_is_refused_by_name():
    vae, x = small_vae(), bits(5)
    with pytest.raises(ValueError, match="num_repeats is 0; expected a positive integer"):
        compare_gradients(vae.model, vae.guide, x, num_repeats=0)
    with pytest.raises(ValueError, match="num_repeats is 2; a spread needs at least 3"):
        compare_gradients(vae.model, vae.guide, x, num_repeats=2)
    with pytest.raises(ValueError, match="objectives is empty"):
        compare_gradients(vae.model, vae.guide, x, [])
    with pytest.raises(ValueError, match="objectives has IWAE more than once: give a mapping"):
        compare_gradients(vae.model, vae.guide, x, [IWAE(2), IWAE(3)])
    with pytest.raises(ValueError, match="objective is 'ELBO'; expected one of TraceMeanField_ELBO"):
        compare_gradients(vae.model, vae.guide, x, "ELBO")
    with pytest.raises(ValueError, match="no trainable parameters"):
        compare_gradients(*(vae.requires_grad_(False).model, vae.guide), x)
    with pytest.raises(ValueError, match="x has NaN"):
        compare_gradients(vae.model, vae.guide, x.log())
    spoilt = small_vae()
    with torch.no_grad():
        next(spoilt.likelihood.parameters()).fill_(math.nan)
    with pytest.raises(ValueError, match=r"the parameter 'likelihood\..*' is NaN or infinite"):
        compare_gradients(spoilt.model, spoilt.guide, x)


def test_a_gradient_that_is_not_finite_is_named():
    class Endless(Trace_ELBO):
        """The root of 0 has an infinite slope."""

        def terms(self, sampler, x, progress):
            terms = super().terms(sampler, x, progress)
            return type(terms)((terms.loss - terms.loss.detach()).abs().sqrt(), *list(vars(terms).values())[1:])

    vae = small_vae()
    before = [parameter.clone() for parameter in vae.parameters()]
    with pytest.raises(ValueError, match=r"Endless: the gradient of the parameter '.*' is NaN or infinite in repeat 1"):
        compare_gradients(vae.model, vae.guide, bits(5), [Endless()])
    assert all(torch.equal(old, new) for old, new in zip(before, vae.parameters(), strict=True))


class NearOptimum(nn.Module):
    """The Gaussian model of Rainforth et al. (2018), its parameters a little away from their optimum."""

    def __init__(self, x, offset=0.01):
        super().__init__()
        dim, loc = x.shape[1], x.mean(0)
        self.loc = nn.Parameter(loc + offset * torch.randn(dim))
        self.weight = nn.Parameter(0.5 * torch.eye(dim) + offset * torch.randn(dim, dim))
        self.bias = nn.Parameter(0.5 * loc + offset * torch.randn(dim))

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(self.loc, 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x @ self.weight.T + self.bias, (2 / 3) ** 0.5).to_event(1))


def test_more_draws_drown_the_encoders_gradient_in_noise_unless_it_is_doubly_reparameterised():
    """Rainforth et al. (2018), Tucker et al. (2019): from 5 to 50 draws the SNR of IWAE falls, and that of DReG does
    not. Each claim holds by 4 standard errors; a false alarm in 1 of 1,000 seeds where the SNR stays the same.
    """
    torch.manual_seed(0)
    x = torch.randn(20) + 2**0.5 * torch.randn(128, 20)
    pair = NearOptimum(x)
    chosen = {f"{kind.__name__} {k}": kind(k) for kind in (IWAE, DReG) for k in (5, 50)}
    comparison = compare_gradients(pair.model, pair.guide, x, chosen, num_repeats=100)
    for kind, sign in (("IWAE", -1), ("DReG", 1)):
        few, many = (comparison[f"{kind} {k}"].guide for k in (5, 50))
        change, error = many.snr - few.snr, math.hypot(many.snr_standard_error, few.snr_standard_error)
        assert sign * change > 4 * error
    # The two share their expectation, and the noise of the one is many times that of the other.
    assert comparison.variance_ratio("DReG 50", reference="IWAE 50")[0] < 0.01


def test_the_jackknife_of_a_mean_is_its_standard_error():
    x = torch.randn(20, dtype=torch.float64)
    without = (x.sum() - x) / 19
    error = _jackknife(x.mean(), without, torch.ones(20, dtype=torch.float64))
    assert error == pytest.approx(x.std().item() / 20**0.5, rel=1e-12)
