"""The terms of a batch by an objective."""

import copy
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pyrovae.objectives import Objective, ObjectiveTerms, Schedule
from pyrovae.programs import Sampler
from pyrovae.recording import Stepping
from pyrovae.training.gradient_step import GradientStep

TERMS = ("objective", "elbo", "reconstruction", "kl")


class BatchTerms:
    """What an objective gives for a batch; its operations are recorded where that pays.

    Args:
        sampler: of the pair.
        objective: whose terms.
        parameters: what gets a gradient of the mean loss of the rows; none in validation.
        weights: gives all tensors that training changes.
        stepping: how the programs are run.
        batches: how many are to come.
    """

    def __init__(
        self,
        sampler: Sampler,
        objective: Objective,
        parameters: Sequence[Tensor],
        weights: Callable[[], Sequence[Tensor]],
        stepping: Stepping,
        batches: int,
    ) -> None:
        self.sampler, self.objective = sampler, objective
        self.schedules = {name: value for name, value in vars(objective).items() if isinstance(value, Schedule)}
        self.progress = 0.0
        self.step = GradientStep(self._plain, parameters, weights, stepping, batches, recordable=self._given_weights)

    def __call__(self, x: Tensor, progress: float) -> Tensor:
        """The mean loss, then the terms summed over rows, in the order of ``TERMS``; gradients are in the parameters.

        Args:
            x: rows ``(rows, *data_shape)``.
            progress: the fraction of the run's steps that is done.
        """
        self.progress = progress
        moving = [torch.tensor(schedule(progress), device=x.device) for schedule in self.schedules.values()]
        return self.step(x, *moving)

    def _plain(self, x: Tensor, *_: Tensor) -> dict[str, Tensor]:
        return self._terms(self.objective, x, self.progress)

    def _given_weights(self, x: Tensor, *moving: Tensor) -> dict[str, Tensor]:
        """The same with weights that move as arguments: nothing else may depend on the progress."""
        objective = copy.copy(self.objective)
        vars(objective).update(zip(self.schedules, moving, strict=True))
        return self._terms(objective, x, math.nan)

    def _terms(self, objective: Objective, x: Tensor, progress: float) -> dict[str, Tensor]:
        terms = objective.terms(self.sampler, x, progress)
        if not isinstance(terms, ObjectiveTerms):
            raise ValueError(
                f"the objective {objective.name} gave a {type(terms).__name__}; expected terms() to return an "
                "ObjectiveTerms"
            )
        return {"loss": terms.loss / len(x), **{name: getattr(terms, name) for name in TERMS}}
