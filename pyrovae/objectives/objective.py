"""What all objectives share: their number of draws, their beta, the pairs that they are defined for."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor

from pyrovae.distributions.arguments import is_whole_number
from pyrovae.objectives.kl_forms import KlForm
from pyrovae.objectives.schedules import Schedule, check_schedule, settled_at, value_at
from pyrovae.objectives.terms import ObjectiveTerms
from pyrovae.programs import PairStructure, Sampler, bounds_of, check_any_density, sample_sites


class Objective(ABC):
    """What a fit maximises, and how its gradient is estimated.

    One of your own is a subclass with a method ``terms``. It holds no state: the same object serves many fits.

    Args:
        num_particles: draws of the latents for each row and step.
        beta: weight of the KL term, or of log p(z) - log q(z|x) in log weights; a number or a schedule.

    Raises:
        ValueError: fewer than one particle, a beta that is negative or not finite, a schedule that does not reach its
            end.
    """

    def __init__(self, num_particles: int = 1, beta: float | Schedule = 1.0) -> None:
        if not is_whole_number(num_particles) or num_particles < 1:
            raise ValueError(f"num_particles is {num_particles!r}; expected a positive integer")
        check_schedule("beta", beta)
        self.num_particles, self.beta = int(num_particles), beta

    @abstractmethod
    def terms(self, sampler: Sampler, x: Tensor, progress: float) -> ObjectiveTerms:
        """The terms of a batch of rows.

        Args:
            sampler: draws from the guide, and log-densities of both programs, with gradients.
            x: rows ``(rows, *data_shape)``.
            progress: the fraction of the run's steps that is done; 1 gives all weights their final values.
        """

    def check(self, sampler: Sampler, x: Tensor) -> None:
        """Refuse a pair of programs that the objective is not defined for.

        Raises:
            ValueError: why it is not, and what to use instead.
        """
        return

    def kl_forms(self, sampler: Sampler, x: Tensor) -> dict[str, KlForm]:
        """How the KL term of each latent site is found."""
        return dict.fromkeys(sampler.structure.latents, "Monte Carlo")

    @property
    def name(self) -> str:
        """The name that errors and reports use."""
        return type(self).__name__

    def weights(self) -> Iterator[float | Schedule]:
        """The weights that may move over the run."""
        yield self.beta

    @property
    def settled(self) -> float:
        """The fraction of the run from which on all weights have their final values."""
        return max(map(settled_at, self.weights()))

    def beta_at(self, progress: float) -> float:
        """The value of beta when the fraction ``progress`` of the run's steps is done."""
        return value_at(self.beta, progress)


def check_reparameterized(objective: str, structure: PairStructure, otherwise: str) -> None:
    """Refuse a guide with a latent that carries no gradient through its draw.

    Raises:
        ValueError: the objective, the latents, and what to use instead.
    """
    if structure.not_reparameterized:
        raise ValueError(
            f"{objective} needs latents drawn by reparameterisation, and the guide has some that are not "
            f"({', '.join(map(repr, structure.not_reparameterized))}): use {otherwise}"
        )


def check_fixed_density(objective: str, sampler: Sampler, x: Tensor) -> None:
    """Refuse a guide whose log-density at a fixed draw is not known, or has other gradients than those of the density.

    Raises:
        ValueError: a flow without an inverse; a guide that ``check_fixed_bounds`` refuses.
    """
    check_any_density(
        sampler,
        x,
        f"{objective} cannot score its draws again: use a posterior with a density everywhere, or "
        "objective='Trace_ELBO'",
    )
    check_fixed_bounds(objective, sampler, x)


def check_fixed_bounds(objective: str, sampler: Sampler, x: Tensor) -> None:
    """Refuse a guide with a latent whose bounds move with its parameters, a uniform one for example.

    The slope of its log-density at a fixed draw is that of the bounds, and its mean is not zero.

    Raises:
        ValueError: the objective, the latent, and what to use instead.
    """
    with torch.enable_grad():
        sites = sample_sites(sampler.trace_guide(x, 1))
    for name, site in sites.items():
        if any(bound.requires_grad and bool(bound.isfinite().any()) for bound in bounds_of(site["fn"])):
            raise ValueError(
                f"{objective} takes gradients of log-densities at fixed draws, which are wrong for latent {name!r} of "
                "the guide, whose bounds move with its parameters: use a distribution with fixed bounds, or "
                "objective='IWAE' or 'Trace_ELBO'"
            )
