"""The epochs of one fit: steps, validation, signs of trouble."""

import time
from functools import partial

import torch
from torch import Tensor

from pyrovae.checkpoints import Keeper, State
from pyrovae.objectives import KlForm
from pyrovae.processes import ProcessEndedError, processes_now
from pyrovae.programs import buffers_put_back, evaluation_mode, isolated_rng, param_values, training_mode
from pyrovae.progress import Progress, say
from pyrovae.training.batch_terms import TERMS, BatchTerms
from pyrovae.training.batches import batches_of
from pyrovae.training.best import Best
from pyrovae.training.continuation import restore, state_of
from pyrovae.training.fitted_pair import FittedPair
from pyrovae.training.plan import Plan
from pyrovae.training.progress_terms import elbo_in_words
from pyrovae.training.result import EpochTerms, FitResult, NonFiniteLossError
from pyrovae.training.shuffler import Shuffler
from pyrovae.training.skipping import BuffersBefore, Skipped
from pyrovae.training.training_step import TrainingStep
from pyrovae.training.transform import transformed
from pyrovae.training.trouble import ROWS, SignsOfTrouble, schedules
from pyrovae.training.undone import DrawsUndoneIfAnotherEnds


class TrainingLoop:
    """One fit, and all that its epochs to come depend on.

    Nothing that it consists of knows it: together they would stay until the garbage collector comes.

    Args:
        plan: what was asked for.
        pair: that is fitted.
        best: its weights before training.
        kl_forms: how the objective finds the KL term of each latent site.
        keeper: keeps the state from time to time.
        shown: whether to say how far the fit is, and signs of trouble as they come.
    """

    def __init__(
        self, plan: Plan, pair: FittedPair, best: Best, kl_forms: dict[str, KlForm], keeper: Keeper, *, shown: bool
    ) -> None:
        self.plan, self.pair, self.best, self.kl_forms, self.keeper = plan, pair, best, kl_forms, keeper
        self.processes = processes_now()
        self.shown = shown and self.processes.is_first
        self.step = TrainingStep(plan, pair, self.processes)
        judged = plan.train if plan.validation is None else plan.validation
        self.judge = BatchTerms(plan, pair, judged, [], self.processes)
        self.shuffler = Shuffler(plan.seed)
        self.skipped, self.buffers = Skipped(plan.max_skipped_steps), BuffersBefore(pair.weights)
        # Where signs of trouble are looked for: on validation rows, else on the first of the epoch as they were given.
        self.looked_at: list[Tensor] = [] if plan.validation is None else [plan.validation[:ROWS]]
        self.trouble = SignsOfTrouble(
            pair.sampler, pair.modules, plan.objective, self.step.norms, plan.seed, aloud=self.shown
        )
        self.history: list[EpochTerms] = []
        # The epoch under way, counted from 1, and the steps of it that are done.
        self.epoch, self.step_of_epoch = 1, 0
        # Of the epoch under way: the terms, summed over the rows so far, and the time that it has taken.
        self.totals, self.seconds = torch.zeros(len(TERMS), dtype=torch.float64, device=plan.train.device), 0.0
        # From 0 at the first step of the run to 1 at the last: where the schedules are.
        self.progress = 0.0
        self.steps, self.steps_done = plan.batches(plan.train), 0
        self.stopped_early = self.said_why_plain = False

    def run(self, kept: State | None) -> FitResult:
        """Train, epoch after epoch, and put the best weights back.

        Args:
            kept: the state to go on from; None begins.
        """
        if kept is not None:
            restore(self, kept)
        with Progress("fitting", self.steps, "step", shown=self.shown, done=self.steps_done) as bar:
            try:
                with self.keeper:
                    try:
                        while self.epoch <= self.plan.epochs and not self.stopped_early:
                            self._run_epoch(bar)
                    except ProcessEndedError:
                        self.keeper.keep_without_others(partial(state_of, self), self.steps_done)
                        raise
                    self.keeper.keep(partial(state_of, self), self.steps_done)
                return self._finish()
            except KeyboardInterrupt:
                self.trouble.check_warm_up(self._part(), self.progress)
                raise

    def _run_epoch(self, bar: Progress) -> None:
        plan, epoch, start = self.plan, self.epoch, time.perf_counter() - self.seconds
        terms = {"epoch": epoch, **self._train(bar, start), **self._validate()}
        terms |= {name: schedule(self.progress) for name, schedule in schedules(plan.objective).items()}
        if plan.rates is not None:
            terms["lr"] = plan.rates(self.progress)
        terms["seconds"] = time.perf_counter() - start
        self.history.append(terms)
        # While a weight of the objective moves, epochs cannot be compared.
        settled = self.progress >= plan.objective.settled
        self.best.after_epoch(epoch, terms.get("validation_objective") if settled else None, self.pair.weights)
        self.trouble.after_epoch(epoch, self.looked_at, self._part(), self.progress)
        self._say_why_plain()
        bar.tell(elbo_in_words(terms, epoch, plan.epochs))
        if plan.patience is not None and epoch - self.best.epoch >= plan.patience:
            self.stopped_early = epoch < plan.epochs
        self._next_epoch()
        self.keeper.after_step(partial(state_of, self), self.steps_done)

    def _next_epoch(self) -> None:
        self.epoch, self.step_of_epoch, self.seconds = self.epoch + 1, 0, 0.0
        self.totals.zero_()
        self.skipped.next_epoch()
        self.shuffler.next_epoch()

    def _train(self, bar: Progress, start: float) -> EpochTerms:
        """The steps of the epoch that are left; the terms of all of them."""
        train, batch_size = self.plan.train, self.plan.batch_size
        if self.plan.validation is None and not self.step_of_epoch:
            self.looked_at = []
        order = self.shuffler.order(len(train))[self.step_of_epoch * batch_size :]
        with training_mode(self.pair.modules), batches_of(train, batch_size, order) as batches:
            for given in batches:
                self.progress = self.steps_done / (self.steps - 1) if self.steps > 1 else 1.0
                x = self._take_step(given)
                self.steps_done += 1
                self.step_of_epoch += 1
                bar.advance(terms=self._so_far)
                # The last step's weights have been through no loss yet.
                if self.step_of_epoch * batch_size >= len(train) and not self.pair.weights.finite():
                    raise self._failed(self.epoch, self.step_of_epoch, self.pair.non_finite_site(x))
                self.seconds = time.perf_counter() - start
                self.keeper.after_step(partial(state_of, self), self.steps_done)
        if self.skipped.most_of(self.step_of_epoch):
            raise self._failed(*self.skipped.first_of_epoch)
        return _means("train", self.totals, len(train) - self.skipped.rows)

    def _take_step(self, given: Tensor) -> Tensor:
        """A step with some rows; the result is what it saw of them."""
        self.buffers.note()
        with DrawsUndoneIfAnotherEnds(self.processes, given.device):
            x = transformed(given, self.plan.train_transform)
            terms = self.step(x, self.progress, self.steps_done + 1)
        if self.plan.validation is None and sum(map(len, self.looked_at)) < ROWS:
            self.looked_at.append(x)
        if terms is None:
            self._skip(x)
        else:
            self.totals += terms
            self.skipped.none_now()
        return x

    def _skip(self, x: Tensor) -> None:
        """Count a step that was left out, unless there were too many or no step can help; buffers are put back."""
        self.skipped.note(self.epoch, self.step_of_epoch + 1, len(x), self.pair.non_finite_site(x))
        self.buffers.put_back()
        if self.skipped.too_many() or not self.pair.weights.finite():
            raise self._failed(*self.skipped.first_in_a_row)

    @torch.no_grad()
    def _validate(self) -> EpochTerms:
        """The terms of the validation rows, if there are any."""
        rows = self.plan.validation
        if rows is None:
            return {}
        totals = torch.zeros_like(self.totals)
        # The same draws at every epoch, so that epochs are compared by their weights and not by luck.
        with (
            evaluation_mode(*self.pair.programs),
            buffers_put_back(*self.pair.programs),
            isolated_rng(self.plan.seed, rows.device),
            batches_of(rows, self.plan.batch_size) as batches,
        ):
            for x in batches:
                terms = self.judge(x, progress=1.0)
                if terms is None:
                    raise self._failed(self.epoch, None, self.pair.non_finite_site(x))
                totals += terms
        return _means("validation", totals, len(rows))

    def _say_why_plain(self) -> None:
        reason = self.step.batch_terms.replay.reason
        if reason and not self.said_why_plain and self.shown:
            say(f"Each step runs the Pyro programs, which is slower than a recording of it: {reason}.")
            self.said_why_plain = True

    def _so_far(self) -> str:
        """In words, the terms of this epoch so far and of the last validation."""
        rows = min(self.step_of_epoch * self.plan.batch_size, len(self.plan.train)) - self.skipped.rows
        validated = {name: value for name, value in (self.history or [{}])[-1].items() if "validation" in name}
        terms = validated | _means("train", self.totals, max(rows, 1))
        return elbo_in_words(terms, self.epoch, self.plan.epochs)

    def _part(self) -> float:
        """Of all steps of the run, how many are done."""
        return self.steps_done / self.steps

    def _failed(self, epoch: int, step: int | None, site: str) -> NonFiniteLossError:
        return NonFiniteLossError(epoch, step, site, self._finish(failed=True))

    def _finish(self, *, failed: bool = False) -> FitResult:
        self.pair.keep(self.best.weights)
        if not failed:
            self.trouble.skipped_steps(self.skipped.total, self.steps_done)
        self.trouble.at_end(self.best.epoch, self.looked_at, self._part(), self.progress, failed=failed)
        return FitResult(
            history=self.history,
            best_epoch=self.best.epoch,
            stopped_early=self.stopped_early,
            params=param_values(*self.pair.programs, self.pair.sampler.structure),
            kl_forms=self.kl_forms,
            signs_of_trouble=self.trouble.said,
            stepping=self.step.batch_terms.replay.way,
            skipped_steps=self.skipped.total,
        )


def _means(split: str, totals: Tensor, rows: int) -> EpochTerms:
    return {f"{split}_{name}": total / rows for name, total in zip(TERMS, totals.tolist(), strict=True)}
