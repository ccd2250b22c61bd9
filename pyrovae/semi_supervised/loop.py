"""Training on labelled and unlabelled rows side by side."""

import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pyrovae.progress import Progress
from pyrovae.recording import Stepping
from pyrovae.training import EpochTerms, FitResult, NonFiniteLossError
from pyrovae.training.gradient_step import GradientStep
from pyrovae.training.optimizers import adam, flush_vanished, moved_parameters
from pyrovae.training.progress_terms import loss_in_words
from pyrovae.training.transform import transformed


@dataclass(frozen=True)
class Batch:
    """The rows of one step.

    Attributes:
        labelled: rows with labels ``(labelled, *data_shape)``.
        y: their labels.
        unlabelled: rows without ``(unlabelled, *data_shape)``; none if all rows have labels.
        labelled_share: the part of all rows, not of the batch, that have labels.
    """

    labelled: Tensor
    y: Tensor
    unlabelled: Tensor
    labelled_share: float

    def mean(self, of_labelled: Tensor, of_unlabelled: Tensor | None) -> Tensor:
        """The mean over all rows, of the means over labelled rows and over unlabelled ones; None if there are none."""
        if of_unlabelled is None:
            return of_labelled
        return self.labelled_share * of_labelled + (1 - self.labelled_share) * of_unlabelled


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
    """The state of one fit.

    Args:
        programs: module of all parameters, with ``model`` and ``guide``.
        x: all rows, on the device of the parameters.
        y: their labels, -1 for none.
        step: the terms of a batch, means over rows in nats: the first is minimised, the others are for the history.
        diagnose: name of the first site that is not finite for a batch; None if all are.
        validate: terms of the weights as they are; the higher ``"validation_accuracy"``, the better, and at equal
            accuracy the lower ``"validation_cross_entropy"``. None keeps the last weights.
    """

    def __init__(
        self,
        programs: nn.Module,
        x: Tensor,
        y: Tensor,
        step: Callable[[Batch], dict[str, Tensor]],
        diagnose: Callable[[Batch], str | None],
        validate: Callable[[], EpochTerms] | None,
    ) -> None:
        self.programs, self.x, self.y = programs, x, y
        self.step, self.diagnose, self.validate = step, diagnose, validate
        self.labelled = (y >= 0).nonzero().flatten()
        self.unlabelled = (y < 0).nonzero().flatten()
        self.labelled_share = len(self.labelled) / len(x)
        self.history: list[EpochTerms] = []
        self.best_epoch = 0
        self.best = (-1.0, 0.0)
        self.best_weights = self._weights()

    def run(self, plan: TrainingPlan) -> None:
        """Train, epoch after epoch, and put the best weights back."""
        parameters = moved_parameters(self.programs)
        optimizer = adam(parameters, plan.lr)
        batches = _Batches(self, plan)
        # Not an attribute: it knows the loop, and together they would stay until the garbage collector comes.
        gradient_step = GradientStep(
            self._terms_of,
            parameters,
            self._tensors,
            plan.step,
            plan.epochs * len(batches),
            owners=[self.programs],
        )
        with (
            warnings.catch_warnings(),
            Progress("fitting", plan.epochs * len(batches), "step", shown=plan.progress) as bar,
        ):
            # NonFiniteLossError says it.
            warnings.filterwarnings("ignore", message="Encountered NaN", category=UserWarning)
            try:
                for epoch in range(1, plan.epochs + 1):
                    self._epoch(epoch, batches, gradient_step, optimizer, bar)
                    bar.tell(loss_in_words(self.history[-1], epoch, plan.epochs))
            finally:
                self.programs.load_state_dict(self.best_weights)
                self.programs.eval()

    def _epoch(
        self,
        epoch: int,
        batches: "_Batches",
        gradient_step: GradientStep,
        optimizer: torch.optim.Optimizer,
        bar: Progress,
    ) -> None:
        start = time.perf_counter()
        totals = torch.zeros((), dtype=torch.float64, device=self.x.device)
        rows = 0
        self.programs.train()
        for number, batch in enumerate(batches, start=1):
            values = self._values(epoch, number, batch, gradient_step)
            optimizer.step()
            flush_vanished(optimizer, (epoch - 1) * len(batches) + number)
            seen = len(batch.unlabelled) or len(batch.labelled)
            totals, rows = totals + seen * values, rows + seen
            bar.advance()
        self.programs.eval()
        # The last step's weights have been through no loss yet.
        if not all(bool(torch.isfinite(parameter).all()) for parameter in self.programs.parameters()):
            raise self._non_finite(epoch, number, batch)
        terms_of_epoch: EpochTerms = {"epoch": epoch}
        means = zip(gradient_step.names, (totals / rows).tolist(), strict=True)
        terms_of_epoch |= {f"train_{name}": mean for name, mean in means}
        if self.validate is not None:
            terms_of_epoch |= self.validate()
        self.history.append({**terms_of_epoch, "seconds": time.perf_counter() - start})
        judged = (terms_of_epoch.get("validation_accuracy", 0.0), -terms_of_epoch.get("validation_cross_entropy", 0.0))
        if self.validate is None or judged > self.best:
            self.best, self.best_epoch, self.best_weights = judged, epoch, self._weights()

    def _terms_of(self, labelled: Tensor, y: Tensor, unlabelled: Tensor) -> dict[str, Tensor]:
        return self.step(Batch(labelled, y, unlabelled, self.labelled_share))

    def _tensors(self) -> list[Tensor]:
        return list(self.programs.state_dict(keep_vars=True).values())

    def _values(self, epoch: int, number: int, batch: Batch, gradient_step: GradientStep) -> Tensor:
        try:
            values = gradient_step(batch.labelled, batch.y, batch.unlabelled)
        except ValueError:
            # Pyro refuses distributions whose parameters became NaN; any other error passes.
            if self.diagnose(batch) is None:
                raise
            raise self._non_finite(epoch, number, batch) from None
        if not math.isfinite(values[0]):
            raise self._non_finite(epoch, number, batch)
        return values

    def _non_finite(self, epoch: int, number: int, batch: Batch) -> NonFiniteLossError:
        site = self.diagnose(batch) or "x"
        return NonFiniteLossError(epoch, number, site, FitResult(self.history, self.best_epoch, False, {}, {}))

    def _weights(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.programs.state_dict().items()}


class _Batches:
    """The batches of an epoch: all unlabelled rows once, beside them labelled ones from a permutation without end."""

    def __init__(self, loop: LabelledLoop, plan: TrainingPlan) -> None:
        self.loop, self.size, self.transform = loop, int(plan.batch_size), plan.transform
        # Generators of their own: the order of rows is the same whatever the programs draw.
        seed = int(plan.seed)
        self.shuffler = torch.Generator().manual_seed(seed)
        self.labelled_rows = self._without_end(loop.labelled, torch.Generator().manual_seed(seed + 1))

    def __len__(self) -> int:
        rows = self.loop.unlabelled if len(self.loop.unlabelled) else self.loop.labelled
        return -(-len(rows) // self.size)

    def __iter__(self) -> Iterator[Batch]:
        loop = self.loop
        order = torch.randperm(len(loop.unlabelled), generator=self.shuffler).to(loop.x.device)
        for number in range(len(self)):
            unlabelled = loop.unlabelled[order[number * self.size : (number + 1) * self.size]]
            labelled = next(self.labelled_rows)
            yield Batch(self._rows(labelled), loop.y[labelled], self._rows(unlabelled), loop.labelled_share)

    def _rows(self, index: Tensor) -> Tensor:
        rows = self.loop.x[index]
        return transformed(rows, self.transform) if len(rows) else rows

    def _without_end(self, index: Tensor, shuffler: torch.Generator) -> Iterator[Tensor]:
        size, waiting = min(self.size, len(index)), index[:0]
        while True:
            while len(waiting) < size:
                waiting = torch.cat([waiting, index[torch.randperm(len(index), generator=shuffler).to(index.device)]])
            yield waiting[:size]
            waiting = waiting[size:]
