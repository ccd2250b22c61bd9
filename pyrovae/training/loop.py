"""The epochs of one fit: steps, validation, which weights are kept."""

import math
import time
from collections.abc import Callable, Iterable
from functools import partial

import torch
from pyro.params.param_store import StateDict
from torch import Tensor

from pyrovae.checkpoints import Keeper, State
from pyrovae.data import AnyRows
from pyrovae.objectives import KlForm, Objective, Schedule
from pyrovae.processes import AveragedGradients, ProcessEndedError, processes_now
from pyrovae.programs import (
    Precision,
    Sampler,
    Weights,
    buffers_put_back,
    evaluation_mode,
    has_numbers,
    isolated_rng,
    keep_params,
    owned_modules,
    param_values,
    training_mode,
)
from pyrovae.progress import Progress, say
from pyrovae.recording import Stepping
from pyrovae.training.batch_terms import TERMS, BatchTerms
from pyrovae.training.batches import batches_of
from pyrovae.training.continuation import restore, state_of
from pyrovae.training.diagnosis import first_non_finite_site, is_of_numbers
from pyrovae.training.optimizers import made_optimizer, set_rate
from pyrovae.training.progress_terms import elbo_in_words
from pyrovae.training.result import EpochTerms, FitResult, NonFiniteLossError
from pyrovae.training.shuffler import Shuffler
from pyrovae.training.skipping import Skipped
from pyrovae.training.transform import transformed
from pyrovae.training.trouble import ROWS, SignsOfTrouble, schedules
from pyrovae.training.undone import DrawsUndoneIfAnotherEnds


class TrainingLoop:
    """The state of one fit."""

    def __init__(
        self,
        sampler: Sampler,
        objective: Objective,
        kl_forms: dict[str, KlForm],
        outside: StateDict,
        patience: int | None,
        train_transform: Callable[[Tensor], Tensor] | None,
        precision: Precision,
        stepping: Stepping,
        clip_norm: float | None,
        max_skipped_steps: int,
    ) -> None:
        self.sampler, self.objective, self.outside = sampler, objective, outside
        self.model, self.guide, self.structure = sampler.model, sampler.guide, sampler.structure
        self.patience, self.train_transform, self.kl_forms = patience, train_transform, kl_forms
        self.precision, self.stepping = precision, stepping
        self.modules = [*owned_modules(self.model, self.guide), *self.structure.modules]
        self.weights = Weights.of(self.model, self.guide, self.structure)
        self.weights.check_trainable()
        self.history: list[EpochTerms] = []
        # The epoch under way, counted from 1, and the steps of it that are done.
        self.epoch, self.step_of_epoch = 1, 0
        self.steps_done, self.last_step, self.progress = 0, 0, 0.0
        self.totals = torch.zeros(len(TERMS), dtype=torch.float64)
        self.seconds = 0.0
        self.stopped_early = False
        self.skipped = Skipped(max_skipped_steps)
        self.processes = processes_now()
        self.clip_norm = clip_norm
        self.said_why_plain = False
        self.best_epoch = 0
        self.best_objective = float("-inf")
        self.best_weights = self.weights.copy(of_buffers=True)
        self.trouble: SignsOfTrouble
        # Where signs of trouble are looked for: on validation rows, else on the first of the epoch as they were given.
        self.looked_at: list[Tensor]
        self.validates: bool
        self.moved: list[Tensor]
        self.gradients: AveragedGradients
        self.step: BatchTerms
        self.judge: BatchTerms
        self.optimizer: torch.optim.Optimizer
        self.shuffler: Shuffler

    def run(
        self,
        train: AnyRows,
        validation: AnyRows | None,
        epochs: int,
        batch_size: int,
        make_optimizer: Callable[[Iterable[Tensor]], torch.optim.Optimizer],
        rates: Schedule | None,
        seed: int,
        shown: bool,
        keeper: Keeper,
        kept: State | None,
    ) -> FitResult:
        """Train, epoch after epoch, and put the best weights back."""
        # A parameter that is held needs no gradient.
        self.moved = [parameter for parameter in self.weights.parameters if parameter.requires_grad]
        self.optimizer, self.rates = made_optimizer(make_optimizer, self.moved), rates
        parameters = set(map(id, self.weights.parameters))
        buffers = [tensor for tensor in self._tensors() if id(tensor) not in parameters]
        self.gradients = AveragedGradients(self.processes, self.moved, buffers)
        self.totals = self.totals.to(train.device)
        self.validates = validation is not None
        self.looked_at = [] if validation is None else [validation[:ROWS]]
        self.shuffler = Shuffler(seed)
        self.last_step = epochs * -(-len(train) // batch_size) - 1
        self.step = self._batch_terms(self.moved, self.last_step + 1)
        self.judge = self._batch_terms([], epochs * -(-len(train if validation is None else validation) // batch_size))
        self.num_rows, self.epochs, self.batch_size = len(train), epochs, batch_size
        shown = shown and self.processes.is_first
        self.trouble = SignsOfTrouble(self.sampler, self.modules, self.objective, seed, aloud=shown)
        if kept is not None:
            restore(self, kept)
        with Progress("fitting", self.last_step + 1, "step", shown=shown, done=self.steps_done) as bar:
            try:
                with keeper:
                    try:
                        self._epochs(train, validation, epochs, batch_size, seed, bar, keeper)
                    except ProcessEndedError:
                        keeper.keep_without_others(partial(state_of, self), self.steps_done)
                        raise
                    keeper.keep(partial(state_of, self), self.steps_done)
                return self._finish()
            except KeyboardInterrupt:
                self.trouble.check_warm_up(self._part(), self.progress)
                raise
            finally:
                # They know the loop: together they would stay until the garbage collector comes.
                del self.step, self.judge, self.gradients

    def _epochs(
        self,
        train: AnyRows,
        validation: AnyRows | None,
        epochs: int,
        batch_size: int,
        seed: int,
        bar: Progress,
        keeper: Keeper,
    ) -> None:
        while self.epoch <= epochs and not self.stopped_early:
            epoch, start = self.epoch, time.perf_counter() - self.seconds
            terms = {
                "epoch": epoch,
                **self._train_epoch(epoch, train, batch_size, bar, keeper, start),
                **({} if validation is None else self._validate(epoch, validation, batch_size, seed)),
            }
            terms |= {name: schedule(self.progress) for name, schedule in schedules(self.objective).items()}
            if self.rates is not None:
                terms["lr"] = self.rates(self.progress)
            terms["seconds"] = time.perf_counter() - start
            self.history.append(terms)
            judged = terms.get("validation_objective")
            # While a weight moves, epochs cannot be compared: the newest one is kept.
            moving = self.progress < self.objective.settled
            if judged is None or moving or judged > self.best_objective:
                self.best_objective = float("-inf") if judged is None or moving else judged
                self.best_epoch, self.best_weights = epoch, self.weights.copy(of_buffers=True)
            self.trouble.after_epoch(epoch, self.looked_at, self._part(), self.progress)
            self._say_why_plain(shown=bar.shown)
            bar.tell(elbo_in_words(terms, epoch, epochs))
            if self.patience is not None and epoch - self.best_epoch >= self.patience:
                self.stopped_early = epoch < epochs
            self._next_epoch()
            keeper.after_step(partial(state_of, self), self.steps_done)

    def _next_epoch(self) -> None:
        self.epoch, self.step_of_epoch, self.seconds = self.epoch + 1, 0, 0.0
        self.totals.zero_()
        self.skipped.next_epoch()
        self.shuffler.next_epoch()

    def _say_why_plain(self, *, shown: bool) -> None:
        reason = self.step.replay.reason
        if reason and not self.said_why_plain and shown:
            say(f"Each step runs the Pyro programs, which is slower than a recording of it: {reason}.")
            self.said_why_plain = True

    def _so_far(self) -> str:
        """In words, the terms of this epoch so far and of the last validation."""
        rows = min(self.step_of_epoch * self.batch_size, self.num_rows) - self.skipped.rows
        validated = {name: value for name, value in (self.history or [{}])[-1].items() if "validation" in name}
        return elbo_in_words(validated | _means("train", self.totals, max(rows, 1)), self.epoch, self.epochs)

    def _part(self) -> float:
        """Of all steps of the run, how many are done."""
        return self.steps_done / (self.last_step + 1)

    def _train_epoch(
        self,
        epoch: int,
        train: AnyRows,
        batch_size: int,
        bar: Progress,
        keeper: Keeper,
        start: float,
    ) -> EpochTerms:
        if not self.validates and not self.step_of_epoch:
            self.looked_at = []
        order = self.shuffler.order(len(train))[self.step_of_epoch * batch_size :]
        with training_mode(self.modules), batches_of(train, batch_size, order) as batches:
            for given in batches:
                # From 0 at the first step of the run to 1 at the last.
                self.progress = self.steps_done / self.last_step if self.last_step else 1.0
                x = self._take_step(epoch, given)
                self.steps_done += 1
                self.step_of_epoch += 1
                bar.advance(terms=self._so_far)
                # The last step's weights have been through no loss yet.
                if self.step_of_epoch * batch_size >= len(train) and not self.weights.finite():
                    raise self._non_finite(epoch, self.step_of_epoch, x)
                self.seconds = time.perf_counter() - start
                keeper.after_step(partial(state_of, self), self.steps_done)
        if self.skipped.most_of(self.step_of_epoch):
            raise self._failed(*self.skipped.first_of_epoch)
        return _means("train", self.totals, len(train) - self.skipped.rows)

    def _take_step(self, epoch: int, given: Tensor) -> Tensor:
        """A step with some rows; the result is what it saw of them."""
        with DrawsUndoneIfAnotherEnds(self.processes, given.device):
            x = transformed(given, self.train_transform)
            terms = self._terms(self.step, x, self.progress)
            if terms is not None:
                self.gradients.average()
        if not self.validates and sum(map(len, self.looked_at)) < ROWS:
            self.looked_at.append(x)
        if terms is None or not self._clip():
            self._skip(epoch, x)
        else:
            if self.rates is not None:
                set_rate(self.optimizer, self.rates(self.progress))
            self.optimizer.step()
            self.totals += terms
            self.skipped.none_now()
        return x

    def _clip(self) -> bool:
        """Shorten the gradient if it is too long; False if it is not finite, where that is known."""
        self.trouble.gradient_norms.note(self.weights.parameters, self.steps_done + 1)
        if self.clip_norm is None:
            return True
        return math.isfinite(torch.nn.utils.clip_grad_norm_(self.moved, self.clip_norm))

    def _skip(self, epoch: int, x: Tensor) -> None:
        """Leave a step out, unless there were too many or no step can help."""
        self.skipped.note(epoch, self.step_of_epoch + 1, len(x), self._site(x))
        if self.skipped.too_many() or not self.weights.finite():
            raise self._failed(*self.skipped.first_in_a_row)

    @torch.no_grad()
    def _validate(self, epoch: int, validation: AnyRows, batch_size: int, seed: int) -> EpochTerms:
        totals = torch.zeros(len(TERMS), dtype=torch.float64, device=validation.device)
        # The same draws at every epoch, so that epochs are compared by their weights and not by luck.
        with (
            evaluation_mode(self.model, self.guide),
            buffers_put_back(self.model, self.guide),
            isolated_rng(seed, validation.device),
            batches_of(validation, batch_size) as batches,
        ):
            for x in batches:
                terms = self._terms(self.judge, x, progress=1.0)
                if terms is None:
                    raise self._non_finite(epoch, None, x)
                totals += terms
        return _means("validation", totals, len(validation))

    def _batch_terms(self, parameters: list[Tensor], batches: int) -> BatchTerms:
        # What is judged is judged in full precision.
        precision = self.precision if parameters else "32"
        return BatchTerms(
            self.sampler, self.objective, parameters, self._tensors, precision, self.stepping, batches, self.processes
        )

    def _tensors(self) -> list[Tensor]:
        """All tensors that training changes, as they are now: a program may have put others in their places."""
        of_modules = (tensor for module in self.modules for tensor in (*module.parameters(), *module.buffers()))
        dense = filter(has_numbers, of_modules)
        found = {id(tensor): tensor for tensor in (*self.weights.tensors.values(), *dense)}
        return list(found.values())

    def _terms(self, batch_terms: BatchTerms, x: Tensor, progress: float) -> Tensor | None:
        """The terms of a batch, summed over its rows in all processes; None if they are not finite."""
        try:
            values = batch_terms(x, progress)
        except (ValueError, torch.linalg.LinAlgError) as error:  # type: ignore[attr-defined]
            # Parameters became NaN, or a covariance lost its rank; any other error passes.
            if not is_of_numbers(error) and first_non_finite_site(self.model, self.guide, x) is None:
                raise
            values = torch.full((1 + len(TERMS),), math.nan, device=x.device)
        values = self.processes.sum(values)
        loss_and_objective = values[:2].sum()
        return values[1:] if math.isfinite(loss_and_objective) else None

    def _site(self, x: Tensor) -> str:
        return first_non_finite_site(self.model, self.guide, x) or self.structure.observed[0]

    def _non_finite(self, epoch: int, step: int | None, x: Tensor) -> NonFiniteLossError:
        return self._failed(epoch, step, self._site(x))

    def _failed(self, epoch: int, step: int | None, site: str) -> NonFiniteLossError:
        return NonFiniteLossError(epoch, step, site, self._finish(failed=True))

    def keep_best(self) -> None:
        """Put the best weights back, and keep the values of ``pyro.param`` statements."""
        self.weights.restore(self.best_weights)
        keep_params(self.model, self.guide, self.structure, self.outside)

    def _finish(self, *, failed: bool = False) -> FitResult:
        self.keep_best()
        if not failed:
            self.trouble.skipped_steps(self.skipped.total, self.steps_done)
        self.trouble.at_end(self.best_epoch, self.looked_at, self._part(), self.progress, failed=failed)
        return FitResult(
            history=self.history,
            best_epoch=self.best_epoch,
            stopped_early=self.stopped_early,
            params=param_values(self.model, self.guide, self.structure),
            kl_forms=self.kl_forms,
            signs_of_trouble=self.trouble.said,
            stepping=self.step.replay.way,
            skipped_steps=self.skipped.total,
        )


def _means(split: str, totals: Tensor, rows: int) -> EpochTerms:
    return {f"{split}_{name}": total / rows for name, total in zip(TERMS, totals.tolist(), strict=True)}
