"""The epochs of one fit: steps, validation, which weights are kept."""

import math
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from pyro.params.param_store import StateDict
from torch import Tensor
from tqdm.auto import tqdm

from pyrovae.data import AnyRows
from pyrovae.objectives import KlForm, Objective
from pyrovae.programs import (
    Precision,
    Sampler,
    Weights,
    evaluation_mode,
    isolated_rng,
    keep_params,
    owned_modules,
    param_values,
    training_mode,
)
from pyrovae.recording import Stepping
from pyrovae.training.batch_terms import TERMS, BatchTerms
from pyrovae.training.batches import batches_of
from pyrovae.training.diagnosis import first_non_finite_site
from pyrovae.training.result import EpochTerms, FitResult, NonFiniteLossError
from pyrovae.training.trouble import ROWS, SignsOfTrouble, schedules


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
    ) -> None:
        self.sampler, self.objective, self.outside = sampler, objective, outside
        self.model, self.guide, self.structure = sampler.model, sampler.guide, sampler.structure
        self.patience, self.train_transform, self.kl_forms = patience, train_transform, kl_forms
        self.precision, self.stepping = precision, stepping
        self.modules = [*owned_modules(self.model, self.guide), *self.structure.modules]
        self.weights = Weights.of(self.model, self.guide, self.structure)
        self.weights.check_trainable()
        self.history: list[EpochTerms] = []
        self.steps_done, self.last_step, self.progress = 0, 0, 0.0
        self.said_why_plain = False
        self.best_epoch = 0
        self.best_objective = float("-inf")
        self.best_weights = self.weights.copy()
        self.trouble: SignsOfTrouble
        # Where signs of trouble are looked for: on validation rows, else on the first of the epoch as they were given.
        self.looked_at: list[Tensor]
        self.validates: bool
        self.step: BatchTerms
        self.judge: BatchTerms

    def run(
        self,
        train: AnyRows,
        validation: AnyRows | None,
        epochs: int,
        batch_size: int,
        make_optimizer: Callable[[Iterable[Tensor]], torch.optim.Optimizer],
        seed: int,
        progress: bool,
    ) -> FitResult:
        """Train, epoch after epoch, and put the best weights back."""
        # A parameter that is held needs no gradient.
        moved = [parameter for parameter in self.weights.parameters if parameter.requires_grad]
        optimizer = make_optimizer(moved)
        self.validates = validation is not None
        self.looked_at = [] if validation is None else [validation[:ROWS]]
        # Shuffling has a generator of its own: the order of rows is the same whatever the programs draw.
        shuffler = torch.Generator().manual_seed(seed)
        self.last_step = epochs * -(-len(train) // batch_size) - 1
        self.step = self._batch_terms(moved, self.last_step + 1)
        self.judge = self._batch_terms([], epochs * -(-len(train if validation is None else validation) // batch_size))
        with tqdm(total=self.last_step + 1, disable=not progress, desc="fitting", unit="step") as bar:
            self.trouble = SignsOfTrouble(self.sampler, self.modules, self.objective, seed, aloud=progress)
            try:
                return self._epochs(train, validation, epochs, batch_size, optimizer, shuffler, seed, bar)
            except KeyboardInterrupt:
                self.trouble.check_warm_up(self._part(), self.progress)
                raise
            finally:
                # They know the loop: together they would stay until the garbage collector comes.
                del self.step, self.judge

    def _epochs(
        self,
        train: AnyRows,
        validation: AnyRows | None,
        epochs: int,
        batch_size: int,
        optimizer: torch.optim.Optimizer,
        shuffler: torch.Generator,
        seed: int,
        bar: "tqdm[Any]",
    ) -> FitResult:
        for epoch in range(1, epochs + 1):
            start = time.perf_counter()
            if not self.validates:
                self.looked_at = []
            order = torch.randperm(len(train), generator=shuffler)
            terms = {
                "epoch": epoch,
                **self._train_epoch(epoch, train, order, batch_size, optimizer, bar),
                **({} if validation is None else self._validate(epoch, validation, batch_size, seed)),
            }
            terms |= {name: schedule(self.progress) for name, schedule in schedules(self.objective).items()}
            terms["seconds"] = time.perf_counter() - start
            self.history.append(terms)
            judged = terms.get("validation_objective")
            # While a weight moves, epochs cannot be compared: the newest one is kept.
            moving = self.progress < self.objective.settled
            if judged is None or moving or judged > self.best_objective:
                self.best_objective = float("-inf") if judged is None or moving else judged
                self.best_epoch, self.best_weights = epoch, self.weights.copy()
            self.trouble.after_epoch(epoch, self.looked_at, self._part(), self.progress)
            self._say_why_plain(progress=not bar.disable)
            bar.set_postfix_str(
                ", ".join(
                    f"{name.replace('_', ' ')} {terms[name]:.2f}"
                    for name in ("train_elbo", "validation_elbo")
                    if name in terms
                )
                + " nats",
                refresh=False,
            )
            if self.patience is not None and epoch - self.best_epoch >= self.patience:
                return self._finish(stopped_early=epoch < epochs)
        return self._finish(stopped_early=False)

    def _say_why_plain(self, *, progress: bool) -> None:
        reason = self.step.step.replay.reason
        if reason and not self.said_why_plain and progress:
            tqdm.write(
                f"Each step runs the Pyro programs, which is slower than a recording of it: {reason}.", sys.stderr
            )
            self.said_why_plain = True

    def _part(self) -> float:
        """Of all steps of the run, how many are done."""
        return self.steps_done / (self.last_step + 1)

    def _train_epoch(
        self,
        epoch: int,
        train: AnyRows,
        order: Tensor,
        batch_size: int,
        optimizer: torch.optim.Optimizer,
        bar: "tqdm[Any]",
    ) -> EpochTerms:
        totals = torch.zeros(len(TERMS), dtype=torch.float64, device=train.device)
        with training_mode(self.modules), batches_of(train, batch_size, order) as batches:
            for step, given in enumerate(batches, start=1):
                # From 0 at the first step of the run to 1 at the last.
                self.progress = self.steps_done / self.last_step if self.last_step else 1.0
                x = given if self.train_transform is None else self.train_transform(given)
                if not self.validates and sum(map(len, self.looked_at)) < ROWS:
                    self.looked_at.append(x)
                terms = self._terms(self.step, x, self.progress)
                if terms is None:
                    raise self._non_finite(epoch, step, x)
                self.trouble.gradient_norms.note(self.weights.parameters, self.steps_done + 1)
                optimizer.step()
                totals += terms
                self.steps_done += 1
                bar.update()
            # The last step's weights have been through no loss yet.
            if not self.weights.finite():
                raise self._non_finite(epoch, step, x)
        return _means("train", totals, len(train))

    @torch.no_grad()
    def _validate(self, epoch: int, validation: AnyRows, batch_size: int, seed: int) -> EpochTerms:
        totals = torch.zeros(len(TERMS), dtype=torch.float64, device=validation.device)
        # The same draws at every epoch, so that epochs are compared by their weights and not by luck.
        with (
            evaluation_mode(self.model, self.guide),
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
        return BatchTerms(self.sampler, self.objective, parameters, self._tensors, precision, self.stepping, batches)

    def _tensors(self) -> list[Tensor]:
        """All tensors that training changes, as they are now: a program may have put others in their places."""
        of_modules = (tensor for module in self.modules for tensor in module.state_dict(keep_vars=True).values())
        found = {id(tensor): tensor for tensor in (*self.weights.tensors.values(), *of_modules)}
        return list(found.values())

    def _terms(self, batch_terms: BatchTerms, x: Tensor, progress: float) -> Tensor | None:
        """The terms of a batch, summed over rows; None if they are not finite."""
        try:
            values = batch_terms(x, progress)
        except ValueError:
            # Pyro refuses distributions whose parameters became NaN; any other error passes.
            if first_non_finite_site(self.model, self.guide, x) is None:
                raise
            return None
        loss_and_objective = values[:2].sum()
        return values[1:] if math.isfinite(loss_and_objective) else None

    def _non_finite(self, epoch: int, step: int | None, x: Tensor) -> NonFiniteLossError:
        site = first_non_finite_site(self.model, self.guide, x) or self.structure.observed[0]
        return NonFiniteLossError(epoch, step, site, self._finish(stopped_early=False, failed=True))

    def keep_best(self) -> None:
        """Put the best weights back, and keep the values of ``pyro.param`` statements."""
        self.weights.restore(self.best_weights)
        keep_params(self.model, self.guide, self.structure, self.outside)

    def _finish(self, *, stopped_early: bool, failed: bool = False) -> FitResult:
        self.keep_best()
        self.trouble.at_end(self.best_epoch, self.looked_at, self._part(), self.progress, failed=failed)
        return FitResult(
            history=self.history,
            best_epoch=self.best_epoch,
            stopped_early=stopped_early,
            params=param_values(self.model, self.guide, self.structure),
            kl_forms=self.kl_forms,
            signs_of_trouble=self.trouble.said,
            stepping=self.step.step.replay.way,
        )


def _means(split: str, totals: Tensor, rows: int) -> EpochTerms:
    return {f"{split}_{name}": total / rows for name, total in zip(TERMS, totals.tolist(), strict=True)}
