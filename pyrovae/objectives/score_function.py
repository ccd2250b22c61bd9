"""The score-function estimator: gradients from values alone, for any density."""

from typing import Literal, get_args

import torch
from torch import Tensor

from pyrovae.objectives.importance_weighted import weighted_terms
from pyrovae.objectives.objective import Objective, check_fixed_density
from pyrovae.objectives.path_gradients import check_repeatable
from pyrovae.objectives.schedules import Schedule
from pyrovae.objectives.terms import ObjectiveTerms
from pyrovae.programs import Sampler

Baseline = Literal["none", "other_draws", "other_rows"]


class ScoreFunction(Objective):
    r"""The ELBO, with score-function gradients of the guide's parameters (Williams, 1992; Ranganath et al., 2014).

    .. math::

        \nabla_\phi = \frac{1}{K} \sum_k (\log w_k - b_k)\, \nabla_\phi \log q(z_k|x), \qquad
        \log w_k = \log p(x|z_k) + \beta (\log p(z_k) - \log q(z_k|x))

    No gradient passes through a draw, so latents may be discrete; the price is a variance that is often larger by
    orders of magnitude (``compare_gradients`` measures it). A baseline b that does not depend on the draw takes part of
    it away and leaves the expectation as it is.

    Args:
        num_particles: K, draws of the latents for each row and step.
        baseline: ``"none"``; ``"other_draws"``, the mean of log w over the row's other draws (Kool et al., 2019), at
            least 2 draws; ``"other_rows"``, its mean over the batch's other rows.
        beta: weight of the KL term, a number or a schedule.

    Raises:
        ValueError: fewer than one particle, an unknown baseline, one draw where other draws are the baseline, a beta
            that is negative or not finite.

    Example:
        >>> ScoreFunction(num_particles=4, baseline="other_draws").baseline
        'other_draws'
    """

    def __init__(self, num_particles: int = 1, baseline: Baseline = "other_rows", beta: float | Schedule = 1.0) -> None:
        super().__init__(num_particles, beta)
        if baseline not in get_args(Baseline):
            raise ValueError(f"baseline is {baseline!r}; expected one of {', '.join(get_args(Baseline))}")
        if baseline == "other_draws" and num_particles < 2:
            raise ValueError("baseline is 'other_draws' with 1 particle: give num_particles of at least 2")
        self.baseline = baseline

    def check(self, sampler: Sampler, x: Tensor) -> None:
        """Refuse a guide with moving bounds, without a density at fixed draws, or with another at the second look."""
        check_fixed_density(self.name, sampler, x)
        check_repeatable(self.name, sampler, x)

    def terms(self, sampler: Sampler, x: Tensor, progress: float) -> ObjectiveTerms:
        """The terms of a batch of rows."""
        beta = self.beta_at(progress)
        trace = sampler.trace_guide(x, self.num_particles)
        latents = {name: value.detach() for name, value in sampler.latents_of(trace, self.num_particles).items()}
        log_guide = sampler.log_guide_at(trace, x, latents)
        log_prior, log_likelihood = sampler.log_terms(x, latents)
        log_ratio = log_prior - log_guide
        log_weights = (log_likelihood + beta * log_ratio).detach()
        surrogate = log_likelihood + beta * log_prior + (log_weights - self._baseline(log_weights)) * log_guide
        return weighted_terms(-surrogate.mean(0).sum(), log_weights.mean(0), log_likelihood, log_ratio)

    def _baseline(self, log_weights: Tensor) -> Tensor:
        """For each draw ``(draws, rows)`` a number that does not depend on it."""
        if self.baseline == "none":
            return torch.zeros_like(log_weights)
        dim = 0 if self.baseline == "other_draws" else 1
        others = log_weights.shape[dim] - 1
        return (log_weights.sum(dim, keepdim=True) - log_weights) / max(others, 1)
