"""An objective, and a schedule, of a user's own in a few lines."""

import pyro
import pytest
import torch
from problems import bits, make_samplers, small_vae

from pyrovae import compare_bounds, fit_svi
from pyrovae.objectives import IWAE, Objective, ObjectiveTerms, Schedule, Trace_ELBO


class Bound(Objective):
    """The importance-weighted bound, written again."""

    def terms(self, sampler, x, progress):
        latents, log_guide = sampler.draw(x, self.num_particles)
        log_prior, log_likelihood = sampler.log_terms(x, latents)
        log_ratio = log_prior - log_guide
        log_weights = log_likelihood + self.beta_at(progress) * log_ratio
        bound = (log_weights.logsumexp(0) - torch.tensor(float(self.num_particles)).log()).sum()
        reconstruction, kl = log_likelihood.detach().mean(0).sum(), -log_ratio.detach().mean(0).sum()
        return ObjectiveTerms(-bound, bound.detach(), reconstruction - kl, reconstruction, kl)


class Halves(Schedule):
    """One value in the first half of its length, the middle in the second."""

    def shape(self, progress):
        return 0.0 if progress < 0.5 else 0.5


class Noting(Trace_ELBO):
    """Notes what it is asked for."""

    def __init__(self, **options):
        super().__init__(**options)
        self.asked = []

    def terms(self, sampler, x, progress):
        # Only evaluation runs without gradients.
        self.asked.append((torch.is_grad_enabled(), progress, self.beta_at(progress)))
        return super().terms(sampler, x, progress)


def fit(vae, **options):
    options = {"epochs": 3, "batch_size": 20, "progress": False} | options
    return fit_svi(vae.model, vae.guide, bits(40), **options)


def seeded_vae():
    torch.manual_seed(0)
    return small_vae()


def test_it_fits_as_the_same_objective_of_the_package_does():
    ours, theirs = seeded_vae(), seeded_vae()
    history = fit(ours, objective=Bound(num_particles=5, beta=Halves(0.5, 1.5))).history
    assert [terms["epoch"] for terms in history] == [1, 2, 3]
    reference = fit(theirs, objective=IWAE(5, beta=Halves(0.5, 1.5))).history
    for mine, wanted in zip(history, reference, strict=True):
        assert mine["train_objective"] == pytest.approx(wanted["train_objective"], abs=1e-4)
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, theirs.state_dict()[name], rtol=1e-4, atol=1e-6)


def test_it_has_a_name_and_takes_no_numbers_beside_it():
    assert Bound().name == "Bound"
    with pytest.raises(ValueError, match="the objective Bound brings its own beta: give them to it"):
        fit(small_vae(), objective=Bound(), beta=2.0)
    with pytest.raises(TypeError, match="abstract"):
        Objective()


def test_progress_goes_from_the_first_step_to_the_last():
    """Six steps, and the final weights at each validation, which has no gradients."""
    objective = Noting(beta=Halves(0.0, 2.0, length=0.9))
    fit(small_vae(), objective=objective, validation=bits(20, seed=1))
    training = [(progress, beta) for gradients, progress, beta in objective.asked if gradients]
    assert [progress for progress, _ in training] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert [beta for _, beta in training] == [0, 0, 0, 1, 1, 2]
    assert [asked for asked in objective.asked if not asked[0]] == [(False, 1.0, 2.0)] * 3


def test_one_object_serves_many_fits():
    objective, found = IWAE(3, beta=Halves()), []
    for _ in range(2):
        vae = seeded_vae()
        fit(vae, objective=objective)
        found.append(vae.state_dict())
    for name, value in found[0].items():
        assert torch.equal(value, found[1][name])


def test_no_epoch_is_kept_before_the_weights_have_settled():
    """With a beta of nearly none the first epochs look best by far, and would stop the fit."""

    class Jump(Schedule):
        def shape(self, progress):
            return 0.0

    schedule = Jump(0.0, 10.0, length=0.9)
    validation = bits(20, seed=1)
    result = fit(
        seeded_vae(), objective=Trace_ELBO(beta=schedule), validation=validation, epochs=10, patience=1, lr=0.05
    )
    assert len(result.history) == 10
    assert result.best_epoch >= 9


def test_reports_show_the_true_elbo_whatever_is_climbed():
    """The ELBO of the history against evaluation; four times 4 standard errors, a false alarm in 1 of 4,000 seeds."""
    vae, validation = seeded_vae(), bits(40, seed=1)
    for objective in (Trace_ELBO(8, beta=5.0), IWAE(8, beta=0.1), Trace_ELBO(8, free_bits=3.0), Bound(8, beta=0.0)):
        history = fit(vae, objective=objective, validation=validation).history
        bounds = compare_bounds(vae.model, vae.guide, validation, num_samples=800)
        # The validation of the last epoch has 8 draws where evaluation has 800.
        error = bounds.means()["elbo"][2] * (1 + 800 / 8) ** 0.5
        best = max(terms["validation_objective"] for terms in history)
        kept = next(terms for terms in history if terms["validation_objective"] == best)
        assert abs(kept["validation_elbo"] - bounds.elbo.mean()) < 4 * error


@pytest.mark.parametrize("way", ["vectorized", "repeated"])
def test_a_sampler_gives_it_all_that_it_needs(way):
    vae, x = seeded_vae().double(), bits(3).double()
    sampler = make_samplers(vae.model, vae.guide, x)[way]
    pyro.set_rng_seed(1)
    terms = Bound(4).terms(sampler, x, 1.0)
    pyro.set_rng_seed(1)
    wanted = IWAE(4).terms(sampler, x, 1.0)
    for name in ("objective", "elbo", "reconstruction", "kl"):
        torch.testing.assert_close(getattr(terms, name), getattr(wanted, name), rtol=1e-6, atol=1e-6)


def test_one_that_returns_something_else_is_refused_by_name():
    class Number(Objective):
        def terms(self, sampler, x, progress):
            return torch.zeros(())

    with pytest.raises(ValueError, match=r"the objective Number gave a Tensor; expected .* an ObjectiveTerms"):
        fit(seeded_vae(), objective=Number())
