"""The evidence lower bound by Pyro's own estimators, with its two terms kept apart."""

import copy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pyro.infer import ELBO, Trace_ELBO, TraceMeanField_ELBO
from torch import Tensor

from pyrovae.objectives.kl_forms import KlForm, forms_of_latents
from pyrovae.programs import PairStructure, Program

ObjectiveName = Literal["TraceMeanField_ELBO", "Trace_ELBO"]

_ESTIMATORS: dict[str, type[ELBO]] = {"TraceMeanField_ELBO": TraceMeanField_ELBO, "Trace_ELBO": Trace_ELBO}


@dataclass(frozen=True)
class BoundTerms:
    """The terms of the ELBO of a batch, summed over its rows, in nats.

    Attributes:
        loss: what is minimised; its value is minus the ELBO, its gradient the estimator's.
        elbo: the estimate of the ELBO.
        reconstruction: the expected log-likelihood E_q[log p(x|z)].
        kl: ``reconstruction - elbo``, the KL term.
    """

    loss: Tensor
    elbo: Tensor
    reconstruction: Tensor
    kl: Tensor


class BoundObjective:
    """A Pyro ELBO that also says what its terms are.

    Args:
        objective: ``"TraceMeanField_ELBO"`` takes the KL in closed form where there is one, so its gradients vary
            less; ``"Trace_ELBO"`` draws it, and is right for every guide. Or such an object of Pyro's.
        num_particles: draws of the latents for each row and step; an ELBO object brings its own.

    Raises:
        ValueError: an unknown objective, fewer than one particle.
    """

    def __init__(self, objective: ObjectiveName | ELBO = "TraceMeanField_ELBO", num_particles: int = 1) -> None:
        if isinstance(objective, ELBO):
            if type(objective) not in _ESTIMATORS.values():
                raise ValueError(
                    f"objective is a {type(objective).__name__}; expected a Trace_ELBO or a TraceMeanField_ELBO, whose "
                    "value is the ELBO of single draws"
                )
            # A copy, because its way of tracing is replaced below.
            self.estimator: Any = copy.copy(objective)
        elif objective in _ESTIMATORS:
            if not isinstance(num_particles, int) or num_particles < 1:
                raise ValueError(f"num_particles is {num_particles!r}; expected a positive integer")
            self.estimator = _ESTIMATORS[objective](num_particles=num_particles)
        else:
            raise ValueError(
                f"objective is {objective!r}; expected 'TraceMeanField_ELBO', 'Trace_ELBO' or an object of "
                "these classes of pyro.infer"
            )
        self._reconstruction: list[Tensor] = []
        get_trace = self.estimator._get_trace

        # Pyro returns one number; the observed part of it stands in the trace that it is summed from.
        def recorded(*args: Any, **kwargs: Any) -> Any:
            model_trace, guide_trace = get_trace(*args, **kwargs)
            self._reconstruction.append(
                sum(
                    site["log_prob_sum"].detach()
                    for site in model_trace.nodes.values()
                    if site["type"] == "sample" and site["is_observed"]
                )
            )
            return model_trace, guide_trace

        self.estimator._get_trace = recorded

    def check(self, structure: PairStructure) -> None:
        """Refuse a pair that the estimator may be wrong for."""
        if not isinstance(self.estimator, TraceMeanField_ELBO):
            return
        if not structure.reparameterized:
            raise ValueError(
                "TraceMeanField_ELBO needs latents drawn by reparameterisation, and the guide has one that is not "
                f"(among {', '.join(map(repr, structure.latents))}): use objective='Trace_ELBO'"
            )
        if structure.latents != structure.model_latents:
            raise ValueError(
                f"TraceMeanField_ELBO may be wrong where model and guide draw their latents in different orders "
                f"({', '.join(structure.model_latents)} and {', '.join(structure.latents)}): use the same order, "
                "or objective='Trace_ELBO'"
            )

    def kl_forms(self, model: Program, guide: Program, x: Tensor, structure: PairStructure) -> dict[str, KlForm]:
        """How the KL term of each latent site is found."""
        if isinstance(self.estimator, TraceMeanField_ELBO):
            return forms_of_latents(model, guide, x, structure.latents)
        return dict.fromkeys(structure.latents, "Monte Carlo")

    def __call__(self, model: Program, guide: Program, x: Tensor) -> BoundTerms:
        """The terms of a batch of rows ``x``."""
        self._reconstruction.clear()
        loss = torch.as_tensor(self.estimator.differentiable_loss(model, guide, x))
        elbo = -loss.detach()
        # A particle for each trace, or all of them in one.
        reconstruction = torch.stack(self._reconstruction).sum() / self.estimator.num_particles
        return BoundTerms(loss, elbo, reconstruction, reconstruction - elbo)
