"""The terms of a batch by an objective."""

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyrovae.data import AnyRows
from pyrovae.objectives import Objective, ObjectiveTerms, Schedule
from pyrovae.processes import Processes, draws_of_all_rows
from pyrovae.programs import Precision, Sampler, precision_of_layers
from pyrovae.recording import BFLOAT16, SINGLE, CannotRecordError, Replay
from pyrovae.training.diagnosis import first_non_finite_site, is_of_numbers
from pyrovae.training.fitted_pair import FittedPair
from pyrovae.training.gradient_step import GradientStep
from pyrovae.training.plan import Plan

TERMS = ("objective", "elbo", "reconstruction", "kl")


class BatchTerms:
    """What an objective gives for a batch; its operations are recorded where that pays.

    Args:
        plan: of the fit.
        pair: of programs.
        rows: all those of which there are batches.
        parameters: what gets a gradient of the mean loss of the rows; none in validation.
        processes: to which the rows of a batch are shared out.
    """

    def __init__(
        self, plan: Plan, pair: FittedPair, rows: AnyRows, parameters: Sequence[Tensor], processes: Processes
    ) -> None:
        self.pair, self.processes = pair, processes
        # What is judged is judged in full precision.
        precision = plan.precision if parameters else "32"
        self.terms = _Terms(pair.sampler, plan.objective, precision, processes)
        self.step = GradientStep(
            self.terms.plain,
            parameters,
            pair.tensors,
            plan.step,
            plan.batches(rows),
            recordable=self.terms.given_weights,
            # A compiler leaves out roundings to bfloat16 that the layers do one by one.
            rounding=SINGLE if precision == "32" else BFLOAT16,
            owners=[*pair.programs, *pair.sampler.structure.modules],
        )

    @property
    def replay(self) -> Replay:
        """How the programs are called."""
        return self.step.replay

    def __call__(self, x: Tensor, progress: float) -> Tensor | None:
        """The terms summed over the rows, in the order of ``TERMS``; None if they are not finite.

        The gradient of the mean loss is left in the parameters; of several processes each leaves that of its share of
        the rows, and their mean is what one process leaves.

        Args:
            x: rows ``(rows, *data_shape)``, the same in all processes.
            progress: the fraction of the run's steps that is done.
        """
        try:
            values = self._of_share(x, progress)
        except (ValueError, torch.linalg.LinAlgError) as error:  # type: ignore[attr-defined]
            # Parameters became NaN, or a covariance lost its rank; any other error passes.
            if not is_of_numbers(error) and first_non_finite_site(*self.pair.programs, x) is None:
                raise
            values = torch.full((1 + len(TERMS),), math.nan, device=x.device)
        values = self.processes.sum(values)
        loss_and_objective = values[:2].sum()
        return values[1:] if math.isfinite(loss_and_objective) else None

    def _of_share(self, x: Tensor, progress: float) -> Tensor:
        """The mean loss, then the terms, of this process's share of the rows."""
        self.terms.progress = progress
        schedules = self.terms.schedules.values()
        kind = torch.promote_types(x.dtype, torch.float32)
        moving = [torch.tensor(schedule(progress), dtype=kind, device=x.device) for schedule in schedules]
        return self.step(x, *moving)


class _Unknown:
    """In place of the progress, which recorded operations cannot know: what looks at it is not recorded."""

    def _refuse(self, *_: Any) -> Any:
        raise CannotRecordError("its objective looks at the progress of the run, other than by a schedule")

    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = __bool__ = __float__ = __int__ = __neg__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _refuse
    __pow__ = __rpow__ = __mod__ = __floordiv__ = __round__ = __abs__ = __format__ = __str__ = _refuse


class _Terms:
    """The terms at the present progress, which is no tensor, or with the weights that it moves as arguments."""

    def __init__(self, sampler: Sampler, objective: Objective, precision: Precision, processes: Processes) -> None:
        self.sampler, self.objective, self.precision = sampler, objective, precision
        self.processes = processes
        self.schedules = {name: value for name, value in vars(objective).items() if isinstance(value, Schedule)}
        self.progress = 0.0

    def plain(self, x: Tensor, *_: Tensor) -> dict[str, Tensor]:
        return self._terms(self.objective, x, self.progress)

    def given_weights(self, x: Tensor, *moving: Tensor) -> dict[str, Tensor]:
        objective = copy.copy(self.objective)
        vars(objective).update(zip(self.schedules, moving, strict=True))
        return self._terms(objective, x, _Unknown())

    def _terms(self, objective: Objective, x: Tensor, progress: Any) -> dict[str, Tensor]:
        share, rows = self.processes.share(len(x)), x
        if self.processes.several:
            # A process without a row takes one, and it counts nothing.
            rows = x[share.start : share.stop] if share else x[:1]
        with (
            draws_of_all_rows(self.processes, share or range(1), len(x)),
            precision_of_layers(self.precision, x.device),
        ):
            terms = objective.terms(self.sampler, rows, progress)
        if not isinstance(terms, ObjectiveTerms):
            raise ValueError(
                f"the objective {objective.name} gave a {type(terms).__name__}; expected terms() to return an "
                "ObjectiveTerms"
            )
        # So that the mean over processes is that over rows.
        named = {"loss": terms.loss / (len(x) / self.processes.world_size)}
        named |= {name: getattr(terms, name) for name in TERMS}
        return named if share else {name: 0 * term for name, term in named.items()}
