"""One step of training: the gradient of a batch, and the optimiser by it."""

import math

import torch
from torch import Tensor

from pyrovae.objectives.schedules import value_at
from pyrovae.processes import AveragedGradients, Processes
from pyrovae.training.batch_terms import BatchTerms
from pyrovae.training.fitted_pair import FittedPair
from pyrovae.training.gradient_norms import GradientNorms
from pyrovae.training.optimizers import adam, flush_vanished, made_optimizer, set_rate
from pyrovae.training.plan import Plan


class TrainingStep:
    """Moves the parameters by the gradient of a batch, unless it is not finite.

    Args:
        plan: of the fit.
        pair: whose parameters are moved.
        processes: to which the rows of a batch are shared out.

    Attributes:
        optimizer: of the parameters that are moved.
        norms: of the gradient over the run.
        batch_terms: of the objective, with its gradient.
    """

    def __init__(self, plan: Plan, pair: FittedPair, processes: Processes) -> None:
        self.parameters, self.moved = pair.weights.parameters, pair.moved()
        self.rates, self.clip_norm = plan.rates, plan.clip_norm
        make = plan.optimizer or (lambda parameters: adam(parameters, value_at(plan.lr, 0.0)))
        self.optimizer = made_optimizer(make, self.moved)
        self.gradients = AveragedGradients(processes, self.moved, pair.buffers())
        self.norms = GradientNorms()
        self.batch_terms = BatchTerms(plan, pair, plan.train, self.moved, processes)

    def __call__(self, x: Tensor, progress: float, number: int) -> Tensor | None:
        """The terms of a batch, as ``BatchTerms`` gives them; None if its step was left out.

        Args:
            x: rows ``(rows, *data_shape)``.
            progress: from 0 at the first step of the run to 1 at the last.
            number: of the step in the run, counted from 1.
        """
        terms = self.batch_terms(x, progress)
        if terms is None:
            return None
        self.gradients.average()
        self.norms.note(self.parameters, number)
        # Where there is no limit a gradient that is not finite shows in the next loss.
        if self.clip_norm is not None and not self._shortened(self.clip_norm):
            return None
        if self.rates is not None:
            set_rate(self.optimizer, self.rates(progress))
        self.optimizer.step()
        flush_vanished(self.optimizer, number)
        return terms

    def _shortened(self, limit: float) -> bool:
        """Shorten the gradient to a norm if it is longer; False if it is not finite."""
        return math.isfinite(torch.nn.utils.clip_grad_norm_(self.moved, limit))
