"""Gradients of the guide's parameters through the draws alone: less noise, and none where the guide is exact."""

import torch
from torch import Tensor

from pyrovae.objectives.importance_weighted import renyi_bound, weighted_sum, weighted_terms
from pyrovae.objectives.objective import Objective, check_fixed_density, check_reparameterized
from pyrovae.objectives.schedules import Schedule
from pyrovae.objectives.terms import ObjectiveTerms
from pyrovae.programs import Latents, Sampler


class StickingTheLanding(Objective):
    r"""The ELBO, with the gradient of the guide's parameters through the draws alone (Roeder, Wu and Duvenaud, 2017).

    .. math::

        \nabla_\phi = \frac{1}{K} \sum_k \frac{\partial}{\partial z_k}
        \left[ \log p(x|z_k) + \beta (\log p(z_k) - \log q(z_k|x)) \right] \frac{\partial z_k}{\partial \phi}

    The term that is left out, the derivative of log q at a fixed draw, has an expectation of zero and a variance that
    stays when the guide is the exact posterior; without it the gradient of every single draw is then zero.

    Args:
        num_particles: K, draws of the latents for each row and step.
        beta: weight of the KL term, a number or a schedule.

    Raises:
        ValueError: fewer than one particle, a beta that is negative or not finite.

    Example:
        >>> StickingTheLanding().num_particles
        1
    """

    def check(self, sampler: Sampler, x: Tensor) -> None:
        """Refuse a guide without gradients through its draws, or with another density at the second look."""
        check_path(self.name, sampler, x)

    def terms(self, sampler: Sampler, x: Tensor, progress: float) -> ObjectiveTerms:
        """The terms of a batch of rows."""
        beta = self.beta_at(progress)
        drawn = _Path(sampler, x, self.num_particles)
        log_weights = drawn.log_weights(beta)
        weights = torch.full_like(log_weights, 1 / self.num_particles)
        loss = drawn.loss(beta, weights, torch.ones_like(weights))
        return weighted_terms(loss, log_weights.mean(0), drawn.log_likelihood, drawn.log_ratio)


class DReG(Objective):
    r"""The importance-weighted bound, with doubly reparameterised gradients (Tucker et al., 2019).

    .. math::

        \nabla_\phi = \sum_k \left( (1 - \beta) \tilde w_k + \beta \tilde w_k^2 \right)
        \frac{\partial \log w_k}{\partial z_k} \frac{\partial z_k}{\partial \phi},
        \qquad \tilde w_k = \frac{w_k}{\sum_j w_j}

    It has the expectation of the gradient of ``IWAE``, with less noise: on the Gaussian model of Rainforth et al.
    (2018) its signal-to-noise ratio grows with K, where that of ``IWAE`` falls (``tests/benchmarks/gradients.py``). The
    gradient of the model's parameters is that of ``IWAE``.

    Args:
        num_particles: K, draws of the latents for each row and step.
        beta: weight of log p(z) - log q(z|x) in log w, a number or a schedule.

    Raises:
        ValueError: fewer than one particle, a beta that is negative or not finite.

    Example:
        >>> DReG(num_particles=50).num_particles
        50
    """

    def __init__(self, num_particles: int = 5, beta: float | Schedule = 1.0) -> None:
        super().__init__(num_particles, beta)

    def check(self, sampler: Sampler, x: Tensor) -> None:
        """Refuse a guide without gradients through its draws, or with another density at the second look."""
        check_path(self.name, sampler, x)

    def terms(self, sampler: Sampler, x: Tensor, progress: float) -> ObjectiveTerms:
        """The terms of a batch of rows."""
        beta = self.beta_at(progress)
        drawn = _Path(sampler, x, self.num_particles)
        log_weights = drawn.log_weights(beta)
        weights = log_weights.softmax(0)
        loss = drawn.loss(beta, weights, 1 - beta + beta * weights)
        return weighted_terms(loss, renyi_bound(log_weights), drawn.log_likelihood, drawn.log_ratio)


class _Path:
    """Draws whose log weights are differentiated through the draws, and not through the guide's density."""

    def __init__(self, sampler: Sampler, x: Tensor, num_draws: int) -> None:
        self.sampler, self.x = sampler, x
        self.trace = sampler.trace_guide(x, num_draws)
        # Handed on as views, so that what comes back through the model can be weighed before it reaches the guide.
        self.latents = {name: value.view_as(value) for name, value in sampler.latents_of(self.trace, num_draws).items()}
        self.log_prior, self.log_likelihood = sampler.log_terms(x, self.latents)
        self.log_ratio = self.log_prior - sampler.log_guide_of(self.trace, num_draws, len(x)).detach()

    def log_weights(self, beta: float) -> Tensor:
        """Values ``(draws, rows)``, without gradient."""
        return (self.log_likelihood + beta * self.log_ratio).detach()

    def loss(self, beta: float, weights: Tensor, factors: Tensor) -> Tensor:
        """Minus the weighted sum of the draws' log weights, whose gradient reaches the guide times ``factors``."""
        loss = -weighted_sum(weights, self.log_likelihood + beta * self.log_prior)
        if not torch.is_grad_enabled():
            return loss
        for name, slope in self._slopes().items():
            event_dim = self.sampler.structure.latent_event_dims[name]
            latent = self.latents[name]
            loss = loss + beta * (_beside(weights, latent, event_dim) * slope * latent).sum()
            if latent.requires_grad:
                factor = _beside(factors, latent, event_dim)
                latent.register_hook(lambda gradient, factor=factor: gradient * factor)
        return loss

    def _slopes(self) -> Latents:
        """The derivative of log q by each latent, the guide's parameters held fixed."""
        fixed = {name: value.detach().requires_grad_() for name, value in self.latents.items()}
        log_guide = self.sampler.log_guide_at(self.trace, self.x, fixed)
        if not log_guide.requires_grad:
            # A density that is the same everywhere, and has no parameters.
            return {name: torch.zeros_like(value) for name, value in fixed.items()}
        slopes = torch.autograd.grad(log_guide.sum(), list(fixed.values()), allow_unused=True, materialize_grads=True)
        return dict(zip(fixed, slopes, strict=True))


def _beside(weights: Tensor, latent: Tensor, event_dim: int) -> Tensor:
    """Weights ``(draws, rows)`` in the dimensions of a latent, whose rows stand before its event."""
    draws, rows = weights.shape
    plates = latent.dim() - 2 - event_dim
    return weights.view(draws, *(1,) * plates, rows, *(1,) * event_dim)


def check_path(objective: str, sampler: Sampler, x: Tensor) -> None:
    """Refuse a guide that no path gradient is defined for.

    Raises:
        ValueError: a latent without a gradient through its draw; a guide that ``check_fixed_density`` or
            ``check_repeatable`` refuses.
    """
    otherwise = "objective='Trace_ELBO', 'ReweightedWakeSleep' or 'ScoreFunction'"
    check_reparameterized(objective, sampler.structure, otherwise)
    check_fixed_density(objective, sampler, x)
    check_repeatable(objective, sampler, x)


@torch.no_grad()
def check_repeatable(objective: str, sampler: Sampler, x: Tensor) -> None:
    """Refuse a guide of several latents that gives another density when it runs again on the same values.

    Raises:
        ValueError: it does, by dropout for example.
    """
    trace = sampler.trace_guide(x, 2)
    first = sampler.log_guide_of(trace, 2, len(x))
    again = sampler.log_guide_at(trace, x, sampler.latents_of(trace, 2))
    if not torch.allclose(first, again, rtol=1e-4, atol=1e-3):
        raise ValueError(
            f"{objective} runs a guide of several latents twice on the same draws, and it gave another density the "
            "second time (by dropout, for example): take what is random out of it, or use objective='IWAE' or "
            "'Trace_ELBO'"
        )
