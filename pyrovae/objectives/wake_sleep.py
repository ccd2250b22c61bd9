"""Reweighted wake-sleep: the guide learns from weighted draws, or from dreams of the model."""

import torch
from torch import Tensor

from pyrovae.distributions.arguments import is_finite_number
from pyrovae.objectives.importance_weighted import renyi_bound, weighted_sum, weighted_terms
from pyrovae.objectives.objective import Objective, check_fixed_density
from pyrovae.objectives.terms import ObjectiveTerms
from pyrovae.programs import Sampler, observes, sample_sites, trace_pair


class ReweightedWakeSleep(Objective):
    r"""Reweighted wake-sleep of K draws (Bornschein and Bengio, 2015).

    The model climbs the importance-weighted bound, and the guide comes closer to the posterior in KL(p || q):

    .. math::

        \nabla_\theta = \sum_k \tilde w_k \nabla_\theta \log p(x, z_k), \qquad
        \nabla_\phi = \lambda \sum_k \tilde w_k \nabla_\phi \log q(z_k|x)
        + (1 - \lambda)\, E_{p(x', z')}[\nabla_\phi \log q(z'|x')]

    where the w are the normalised importance weights. The second part is the sleep phase, on rows that the model
    dreams, with the missing entries of the batch. No gradient passes through a draw, so latents may be discrete. What
    is reported is the importance-weighted bound.

    Args:
        num_particles: K, draws of the latents for each row and step.
        insomnia: the share of the wake phase in the guide's gradient, in [0, 1]; 1 never sleeps.

    Raises:
        ValueError: fewer than one particle, an insomnia outside [0, 1].

    Example:
        >>> ReweightedWakeSleep(num_particles=10, insomnia=0.5).insomnia
        0.5
    """

    def __init__(self, num_particles: int = 5, insomnia: float = 1.0) -> None:
        super().__init__(num_particles)
        if not is_finite_number(insomnia) or not 0 <= insomnia <= 1:
            raise ValueError(f"insomnia is {insomnia!r}; expected a number from 0 (only sleep) to 1 (only wake)")
        self.insomnia = insomnia

    def check(self, sampler: Sampler, x: Tensor) -> None:
        """Refuse a guide with moving bounds or no density at fixed draws, and a model that cannot dream if it is to."""
        check_fixed_density(self.name, sampler, x)
        if self.insomnia < 1:
            observed = sampler.structure.observed
            sites = sample_sites(trace_pair(sampler.model, sampler.guide, x)[0])
            if len(observed) > 1 or not observes(sites[observed[0]], x):
                raise ValueError(
                    f"{self.name} with insomnia below 1 draws rows from the model, which has to observe the rows as "
                    f"they are, at one site (it observes {', '.join(map(repr, observed))}): use insomnia 1"
                )

    def terms(self, sampler: Sampler, x: Tensor, progress: float) -> ObjectiveTerms:
        """The terms of a batch of rows."""
        trace = sampler.trace_guide(x, self.num_particles)
        latents = {name: value.detach() for name, value in sampler.latents_of(trace, self.num_particles).items()}
        log_prior, log_likelihood = sampler.log_terms(x, latents)
        log_ratio = log_prior - sampler.log_guide_of(trace, self.num_particles, len(x)).detach()
        log_weights = log_likelihood + log_ratio
        weights = log_weights.detach().softmax(0)
        loss = -weighted_sum(weights, log_likelihood + log_prior)
        if self.insomnia > 0:
            loss = loss - self.insomnia * (weights * sampler.log_guide_at(trace, x, latents)).sum()
        if self.insomnia < 1:
            loss = loss - (1 - self.insomnia) * self._dreamt(sampler, x)
        return weighted_terms(loss, renyi_bound(log_weights), log_likelihood, log_ratio)

    def _dreamt(self, sampler: Sampler, x: Tensor) -> Tensor:
        """Log q of the latents behind as many rows of the model's own, which lack the entries that ``x`` lacks."""
        with torch.no_grad():
            latents, dreams = sampler.dream(x, sampler.structure.observed[0])
        return sampler.log_guide(torch.where(x.isnan(), x, dreams.reshape(x.shape).to(x)), latents).sum()
