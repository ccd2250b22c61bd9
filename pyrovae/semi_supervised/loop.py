"""Training on labelled and unlabelled rows side by side."""

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from pyrovae.checkpoints import Keeper, State
from pyrovae.programs import RandomState
from pyrovae.programs.explanations import explained_value
from pyrovae.progress import Progress
from pyrovae.recording import Stepping
from pyrovae.semi_supervised.batches import Batch, LabelledBatches
from pyrovae.training import EpochTerms, FitResult, NonFiniteLossError
from pyrovae.training.gradient_step import GradientStep
from pyrovae.training.module_weights import restore_weights
from pyrovae.training.optimizers import adam, flush_vanished, moved_parameters
from pyrovae.training.progress_terms import loss_in_words

_NUMBERS = ("epoch", "step_of_epoch", "steps_done", "rows", "seconds", "best", "best_epoch")


Step = Callable[[Batch], dict[str, Tensor]]
"""From a batch to its terms, means over rows in nats."""


@dataclass(frozen=True)
class TrainingPlan:
    """How long and in which steps to train; the arguments are those of ``fit_svi``."""

    epochs: int
    batch_size: int
    lr: float
    seed: int
    progress: bool
    step: Stepping
    transform: Callable[[Tensor], Tensor] | None


class LabelledLoop:
    """One fit, and all that its epochs to come depend on.

    Args:
        programs: module of all parameters, with ``model`` and ``guide``.
        x: all rows, on the device of the parameters.
        y: their labels, -1 for none.
        step: gives the terms of a batch: the first is minimised, the others are for the history.
        diagnose: name of the first site that is not finite for a batch; None if all are.
        validate: terms of the weights as they are; the higher ``"validation_accuracy"``, the better, and at equal
            accuracy the lower ``"validation_cross_entropy"``. None keeps the last weights.
        plan: how long, and in which steps.
        numbers: those that the steps change, by name.
    """

    def __init__(
        self,
        programs: nn.Module,
        x: Tensor,
        y: Tensor,
        step: Step,
        diagnose: Callable[[Batch], str | None],
        validate: Callable[[], EpochTerms] | None,
        plan: TrainingPlan,
        numbers: dict[str, float],
    ) -> None:
        self.programs, self.diagnose, self.validate, self.plan = programs, diagnose, validate, plan
        self.numbers, self.device = numbers, x.device
        self.batches = LabelledBatches(x, y, int(plan.batch_size), plan.transform, int(plan.seed))
        self.steps = plan.epochs * len(self.batches)
        moved = moved_parameters(programs)
        self.optimizer = adam(moved, plan.lr)
        self.gradient_step = GradientStep(
            partial(_terms_of, step, self.batches.labelled_share),
            moved,
            lambda: list(programs.state_dict(keep_vars=True).values()),
            plan.step,
            self.steps,
            owners=[programs],
        )
        self.history: list[EpochTerms] = []
        # The epoch under way, counted from 1, and the steps of it that are done; its terms, summed over so many rows.
        self.epoch, self.step_of_epoch, self.steps_done = 1, 0, 0
        self.totals, self.rows, self.seconds = torch.zeros((), dtype=torch.float64, device=x.device), 0, 0.0
        self.best, self.best_epoch, self.best_weights = (-1.0, 0.0), 0, self._weights()

    def run(self, keeper: Keeper) -> None:
        """Train, epoch after epoch, and put the best weights back.

        Args:
            keeper: keeps the state from time to time.
        """
        with (
            warnings.catch_warnings(),
            Progress("fitting", self.steps, "step", shown=self.plan.progress, done=self.steps_done) as bar,
        ):
            # NonFiniteLossError says it.
            warnings.filterwarnings("ignore", message="Encountered NaN", category=UserWarning)
            try:
                with keeper:
                    while self.epoch <= self.plan.epochs:
                        self._run_epoch(keeper, bar)
                    keeper.keep(self.state, self.steps_done)
            finally:
                self.programs.load_state_dict(self.best_weights)
                self.programs.eval()

    def _run_epoch(self, keeper: Keeper, bar: Progress) -> None:
        start = time.perf_counter() - self.seconds
        terms = {"epoch": self.epoch, **self._train(keeper, bar, start)}
        if self.validate is not None:
            terms |= self.validate()
        self.history.append({**terms, "seconds": time.perf_counter() - start})
        judged = (terms.get("validation_accuracy", 0.0), -terms.get("validation_cross_entropy", 0.0))
        if self.validate is None or judged > self.best:
            self.best, self.best_epoch, self.best_weights = judged, self.epoch, self._weights()
        bar.tell(loss_in_words(self.history[-1], self.epoch, self.plan.epochs))
        self.epoch, self.step_of_epoch, self.rows, self.seconds = self.epoch + 1, 0, 0, 0.0
        self.totals = torch.zeros_like(self.totals)
        self.batches.shuffler.next_epoch()
        keeper.after_step(self.state, self.steps_done)

    def _train(self, keeper: Keeper, bar: Progress, start: float) -> EpochTerms:
        """The steps of the epoch that are left; the terms of all of them."""
        self.programs.train()
        for batch in self.batches.of_epoch(self.step_of_epoch):
            values = self._values(batch)
            self.optimizer.step()
            self.step_of_epoch += 1
            self.steps_done += 1
            flush_vanished(self.optimizer, self.steps_done)
            seen = len(batch.unlabelled) or len(batch.labelled)
            self.totals, self.rows = self.totals + seen * values, self.rows + seen
            bar.advance()
            # The last step's weights have been through no loss yet.
            if self.step_of_epoch == len(self.batches) and not self._finite():
                self.programs.eval()
                raise self._non_finite(self.step_of_epoch, batch)
            self.seconds = time.perf_counter() - start
            keeper.after_step(self.state, self.steps_done)
        self.programs.eval()
        means = zip(self.gradient_step.names, (self.totals / self.rows).tolist(), strict=True)
        return {f"train_{name}": mean for name, mean in means}

    def _values(self, batch: Batch) -> Tensor:
        try:
            values = self.gradient_step(batch.labelled, batch.y, batch.unlabelled)
        except ValueError as error:
            # Pyro refuses distributions whose parameters became NaN; any other error passes.
            if self.diagnose(batch) is None:
                raise ValueError(explained_value(str(error))) from error
            raise self._non_finite(self.step_of_epoch + 1, batch) from None
        if not math.isfinite(values[0]):
            raise self._non_finite(self.step_of_epoch + 1, batch)
        return values

    def _finite(self) -> bool:
        return all(bool(torch.isfinite(parameter).all()) for parameter in self.programs.parameters())

    def _non_finite(self, step: int, batch: Batch) -> NonFiniteLossError:
        site = self.diagnose(batch) or "x"
        return NonFiniteLossError(self.epoch, step, site, FitResult(self.history, self.best_epoch, False, {}, {}))

    def _weights(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.programs.state_dict().items()}

    def state(self) -> State:
        """What ``restore`` needs, between two steps."""
        return {
            **{name: getattr(self, name) for name in _NUMBERS},
            "history": [dict(terms) for terms in self.history],
            "totals": self.totals,
            "names": list(self.gradient_step.names),
            "weights": self.programs.state_dict(),
            "best_weights": self.best_weights,
            "optimizer": self.optimizer.state_dict(),
            "batches": self.batches.state(),
            "random": RandomState.now(self.device).as_plain(),
            "step": self.gradient_step.replay.state(),
            "numbers": self.numbers,
        }

    def restore(self, state: State) -> None:
        """Go on from what ``state`` gave.

        Raises:
            ValueError: it is of other programs.
        """
        restore_weights(self.programs, state["weights"])
        for name in _NUMBERS:
            setattr(self, name, state[name])
        self.history[:], self.gradient_step.names[:] = state["history"], state["names"]
        self.totals, self.best_weights = state["totals"].to(self.device), state["best_weights"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.batches.restore(state["batches"])
        self.gradient_step.replay.restore(state["step"])
        self.numbers.update(state["numbers"])
        RandomState.from_plain(state["random"], self.device).put_back()


# Not a method: a step that knew the fit would stay, with all that it knows, until the garbage collector comes.
def _terms_of(step: Step, labelled_share: float, labelled: Tensor, y: Tensor, unlabelled: Tensor) -> dict[str, Tensor]:
    return step(Batch(labelled, y, unlabelled, labelled_share))
