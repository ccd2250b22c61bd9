"""Bounds from several importance draws: importance-weighted and Renyi."""

import math

import torch
from torch import Tensor

from pyrovae.distributions.arguments import is_finite_number
from pyrovae.objectives.objective import Objective, check_reparameterized
from pyrovae.objectives.schedules import Schedule
from pyrovae.objectives.terms import ObjectiveTerms
from pyrovae.programs import Sampler

# Of 1 - alpha: below it the powers of the weights are close to one another.
_CLOSE = 0.1
OTHERWISE = "objective='ReweightedWakeSleep' or 'ScoreFunction', which take any density"


class Renyi(Objective):
    r"""The variational Renyi bound of K draws (Li and Turner, 2016).

    .. math::

        \frac{1}{1 - \alpha} \log \frac{1}{K} \sum_k w_k^{1 - \alpha}, \qquad
        \log w_k = \log p(x|z_k) + \beta (\log p(z_k) - \log q(z_k|x))

    for each row of its own, also inside a data plate larger than the batch, whose scale is no part of the weights.
    At alpha 0 and beta 1 it is the importance-weighted bound, at most log p(x) in expectation; near 1 it is close to
    the ELBO; below 0 it may be above log p(x).

    Args:
        num_particles: K, draws of the latents for each row and step.
        alpha: order, any number but 1, which is the ELBO.
        beta: weight of log p(z) - log q(z|x), a number or a schedule.

    Raises:
        ValueError: fewer than one particle, a beta that is negative or not finite, an alpha of 1 or not finite.

    Example:
        >>> Renyi(num_particles=5, alpha=0.5).alpha
        0.5
    """

    def __init__(self, num_particles: int = 5, alpha: float = 0.5, beta: float | Schedule = 1.0) -> None:
        super().__init__(num_particles, beta)
        if not is_finite_number(alpha):
            raise ValueError(f"alpha is {alpha!r}; expected a finite number other than 1")
        if alpha == 1:
            raise ValueError("alpha is 1, where the bound is the ELBO: use objective='Trace_ELBO'")
        self.alpha = alpha

    def check(self, sampler: Sampler, x: Tensor) -> None:
        """Refuse a guide without gradients through its draws."""
        check_reparameterized(self.name, sampler.structure, OTHERWISE)

    def terms(self, sampler: Sampler, x: Tensor, progress: float) -> ObjectiveTerms:
        """The terms of a batch of rows."""
        beta = self.beta_at(progress)
        latents, log_guide = sampler.draw(x, self.num_particles)
        log_prior, log_likelihood = sampler.log_terms(x, latents)
        log_ratio = log_prior - log_guide
        bound = renyi_bound(log_likelihood + beta * log_ratio, self.alpha)
        return weighted_terms(-bound.sum(), bound, log_likelihood, log_ratio)


class IWAE(Renyi):
    r"""The importance-weighted bound of K draws (Burda, Grosse and Salakhutdinov, 2016).

    .. math::

        \log \frac{1}{K} \sum_k w_k, \qquad \log w_k = \log p(x|z_k) + \beta (\log p(z_k) - \log q(z_k|x))

    for each row of its own, also inside a data plate larger than the batch. It comes closer to log p(x) as K grows, and
    the encoder's gradient gets noisier (Rainforth et al., 2018); ``DReG`` is quieter.

    Args:
        num_particles: K, draws of the latents for each row and step; 1 is the ELBO by draws.
        beta: weight of log p(z) - log q(z|x), a number or a schedule.

    Raises:
        ValueError: fewer than one particle, a beta that is negative or not finite.

    Example:
        >>> IWAE(num_particles=50).num_particles
        50
    """

    def __init__(self, num_particles: int = 5, beta: float | Schedule = 1.0) -> None:
        super().__init__(num_particles, alpha=0.0, beta=beta)


def renyi_bound(log_weights: Tensor, alpha: float = 0.0) -> Tensor:
    """The bound of each row, from log weights ``(draws, rows)``."""
    order = 1 - alpha
    powers = order * log_weights
    log_mean = powers.logsumexp(0) - math.log(len(powers))
    if abs(order) < _CLOSE:
        # What log K leaves of the sum has too few digits for the division.
        top = powers.detach().amax(0)
        below = (powers - top).expm1().mean(0)
        log_mean = torch.where(below > -0.5, top + below.log1p(), log_mean)
    return log_mean / order


def weighted_sum(weights: Tensor, values: Tensor) -> Tensor:
    """The sum of weights times values; what has no weight is left out, also where its value is minus infinity."""
    return torch.where(weights > 0, weights * values, 0.0).sum()


def weighted_terms(loss: Tensor, bound: Tensor, log_likelihood: Tensor, log_ratio: Tensor) -> ObjectiveTerms:
    """The terms from a bound ``(rows,)`` and the parts ``(draws, rows)`` of its log weights."""
    with torch.no_grad():
        reconstruction, kl = log_likelihood.mean(0).sum(), -log_ratio.mean(0).sum()
    return ObjectiveTerms(loss, bound.detach().sum(), reconstruction - kl, reconstruction, kl)
