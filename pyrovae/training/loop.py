"""The epochs of one fit: steps, validation, which weights are kept."""

import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from pyro.params.param_store import StateDict
from torch import Tensor
from tqdm.auto import tqdm

from pyrovae.data import AnyRows
from pyrovae.objectives import KlForm, Objective, ObjectiveTerms
from pyrovae.programs import (
    Sampler,
    Weights,
    evaluation_mode,
    isolated_rng,
    keep_params,
    owned_modules,
    param_values,
    training_mode,
)
from pyrovae.training.batches import batches_of
from pyrovae.training.diagnosis import first_non_finite_site
from pyrovae.training.result import EpochTerms, FitResult, NonFiniteLossError
from pyrovae.training.trouble import ROWS, SignsOfTrouble, schedules

_TERMS = ("objective", "elbo", "reconstruction", "kl")


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
    ) -> None:
        self.sampler, self.objective, self.outside = sampler, objective, outside
        self.model, self.guide, self.structure = sampler.model, sampler.guide, sampler.structure
        self.patience, self.train_transform, self.kl_forms = patience, train_transform, kl_forms
        self.modules = [*owned_modules(self.model, self.guide), *self.structure.modules]
        self.weights = Weights.of(self.model, self.guide, self.structure)
        self.weights.check_trainable()
        self.history: list[EpochTerms] = []
        self.steps_done, self.last_step, self.progress = 0, 0, 0.0
        self.best_epoch = 0
        self.best_objective = float("-inf")
        self.best_weights = self.weights.copy()
        self.trouble: SignsOfTrouble
        # Where signs of trouble are looked for: on validation rows, else on the first of the epoch as they were given.
        self.looked_at: list[Tensor]
        self.validates: bool

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
        optimizer = make_optimizer([moved for moved in self.weights.parameters if moved.requires_grad])
        self.validates = validation is not None
        self.looked_at = [] if validation is None else [validation[:ROWS]]
        # Shuffling has a generator of its own: the order of rows is the same whatever the programs draw.
        shuffler = torch.Generator().manual_seed(seed)
        self.last_step = epochs * -(-len(train) // batch_size) - 1
        with tqdm(total=self.last_step + 1, disable=not progress, desc="fitting", unit="step") as bar:
            self.trouble = SignsOfTrouble(self.sampler, self.modules, self.objective, seed, aloud=progress)
            try:
                return self._epochs(train, validation, epochs, batch_size, optimizer, shuffler, seed, bar)
            except KeyboardInterrupt:
                self.trouble.check_warm_up(self._part(), self.progress)
                raise

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
        totals = dict.fromkeys(_TERMS, 0.0)
        with training_mode(self.modules), batches_of(train, batch_size, order) as batches:
            for step, given in enumerate(batches, start=1):
                # From 0 at the first step of the run to 1 at the last.
                self.progress = self.steps_done / self.last_step if self.last_step else 1.0
                x = given if self.train_transform is None else self.train_transform(given)
                if not self.validates and sum(map(len, self.looked_at)) < ROWS:
                    self.looked_at.append(x)
                terms = self._terms(x, self.progress)
                if terms is None:
                    raise self._non_finite(epoch, step, x)
                optimizer.zero_grad(set_to_none=True)
                (terms.loss / len(x)).backward()
                self.trouble.gradient_norms.note(self.weights.parameters, self.steps_done + 1)
                optimizer.step()
                for name in _TERMS:
                    totals[name] += getattr(terms, name).item()
                self.steps_done += 1
                bar.update()
            # The last step's weights have been through no loss yet.
            if not self.weights.finite():
                raise self._non_finite(epoch, step, x)
        return {f"train_{name}": total / len(train) for name, total in totals.items()}

    @torch.no_grad()
    def _validate(self, epoch: int, validation: AnyRows, batch_size: int, seed: int) -> EpochTerms:
        totals = dict.fromkeys(_TERMS, 0.0)
        # The same draws at every epoch, so that epochs are compared by their weights and not by luck.
        with (
            evaluation_mode(self.model, self.guide),
            isolated_rng(seed, validation.device),
            batches_of(validation, batch_size) as batches,
        ):
            for x in batches:
                terms = self._terms(x, progress=1.0)
                if terms is None:
                    raise self._non_finite(epoch, None, x)
                for name in _TERMS:
                    totals[name] += getattr(terms, name).item()
        return {f"validation_{name}": total / len(validation) for name, total in totals.items()}

    def _terms(self, x: Tensor, progress: float) -> ObjectiveTerms | None:
        """The terms of a batch; None if they are not finite."""
        try:
            terms = self.objective.terms(self.sampler, x, progress)
        except ValueError:
            # Pyro refuses distributions whose parameters became NaN; any other error passes.
            if first_non_finite_site(self.model, self.guide, x) is None:
                raise
            return None
        if not isinstance(terms, ObjectiveTerms):
            raise ValueError(
                f"the objective {self.objective.name} gave a {type(terms).__name__}; expected terms() to return an "
                "ObjectiveTerms"
            )
        return terms if torch.isfinite(terms.loss) and torch.isfinite(terms.objective) else None

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
        )
