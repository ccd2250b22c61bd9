"""What M2 and the prediction-constrained VAE share: labelled and unlabelled rows in every step."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Self, get_args

import numpy as np
import torch
from torch import Tensor, nn

from pyrovae.checkpoints import Checkpoints, begin_or_resume
from pyrovae.checkpoints.keeper import Settings
from pyrovae.programs import (
    check_leaves,
    check_support,
    for_gradients,
    initialize_modules,
    isolated_rng,
    private_param_store,
    trace_pair,
)
from pyrovae.recording import Stepping
from pyrovae.semi_supervised.batches import Batch
from pyrovae.semi_supervised.estimator import (
    Array,
    SemiSupervisedClassifier,
    arguments_of_fit,
    check_training_numbers,
    device_of,
    settings_of_labelled,
)
from pyrovae.semi_supervised.judging import judge_by
from pyrovae.semi_supervised.labels import as_labels, check_labels
from pyrovae.semi_supervised.loop import LabelledLoop, Step, TrainingPlan
from pyrovae.semi_supervised.rows import (
    as_rows,
    blocks,
    check_column_names,
    check_held_out_shape,
    column_names,
    pair_of,
)
from pyrovae.training import EpochTerms


class TrainedTogether(SemiSupervisedClassifier):
    """A model whose programs, the generative and the classifying one, are trained at once.

    A subclass stores in its constructor ``num_classes``, ``train_transform``, ``epochs``, ``batch_size``, ``lr``,
    ``step``, ``seed``, ``progress`` and ``device``.
    """

    num_classes: int | None
    train_transform: Callable[[Tensor], Tensor] | None
    epochs: int
    batch_size: int
    lr: float
    step: Stepping
    seed: int
    progress: bool
    device: str | torch.device | None

    programs_: nn.Module
    history_: list[EpochTerms]
    best_epoch_: int
    _numbers: dict[str, float]

    def fit(
        self,
        x: Any,
        y: Any,
        validation: tuple[Any, Any] | None = None,
        *,
        checkpoints: Checkpoints | str | Path | None = None,
        resume: bool = False,
    ) -> Self:
        """Train on rows with and without labels.

        Args:
            x: rows ``(rows, *data_shape)``, a tensor or an array.
            y: integer labels from 0, ``(rows,)``; -1 for rows without one.
            validation: rows and labels to judge each epoch by. With them the weights of the epoch with the highest
                accuracy are kept, at equal accuracy those of the lowest cross-entropy; else the last.
            checkpoints: a folder in which the state of the fit is kept, as in ``fit_svi``.
            resume: go on from the newest checkpoint, if there is one, to the same result as without a break.

        Returns:
            The fitted model itself.

        Raises:
            ValueError: labels that ``check_labels`` refuses, rows that the likelihood is no density for, parts that
                do not fit together or have weights that would not be trained, numbers out of range, a checkpoint of
                another fit.
            NonFiniteLossError: the loss became NaN or infinite; the best weights so far were kept.
        """
        return self.fit_as(x, y, validation, checkpoints, resume, None)

    @torch.inference_mode(False)
    @torch.enable_grad()
    def fit_as(
        self,
        x: Any,
        y: Any,
        validation: tuple[Any, Any] | None,
        checkpoints: Checkpoints | str | Path | None,
        resume: bool,
        settings: Callable[[], Settings] | None,
    ) -> Self:
        """As ``fit``; ``settings`` say what a checkpoint has to be of, None takes arguments and rows of the model."""
        rows = for_gradients(as_rows(x, "x"))
        labels, num_classes = check_labels(y, len(rows), self.num_classes)
        self.check_arguments(len(rows), num_classes)
        held_out = None if validation is None else _held_out(validation, num_classes, column_names(x))
        own = partial(settings_of_labelled, rows, labels, held_out, **arguments_of_fit(self))
        keeper, kept = begin_or_resume(checkpoints, resume, own if settings is None else settings)
        device = device_of(self.device, rows)
        with ExitStack() as stack:
            stack.enter_context(isolated_rng(self.seed, device))
            first_rows = rows[:5] if self.train_transform is None else self.train_transform(rows[:5])
            programs: Any = self._build(tuple(first_rows.shape[1:]), num_classes).to(device)
            like = next(programs.parameters())
            rows, first_rows = rows.to(like), first_rows.to(like)
            stack.enter_context(private_param_store(programs.model, programs.guide))
            programs.eval()
            self._check_parts(programs, first_rows, num_classes)
            check_support(programs.model, programs.guide, rows if self.train_transform is None else first_rows)
            check_trained(programs, first_rows)
            seen = (
                rows if self.train_transform is None else torch.cat(list(map(self.train_transform, rows.split(1000))))
            )
            initialize_modules(programs, seen)
            judge = None
            if held_out is not None:
                check_held_out_shape(held_out[0], tuple(first_rows.shape[1:]))
                judge = judge_by(partial(self._probabilities, programs), *held_out)
            (step, numbers), diagnose = self._step(programs), partial(self._non_finite_site, programs)
            plan = TrainingPlan(
                self.epochs, self.batch_size, self.lr, self.seed, self.progress, self.step, self.train_transform
            )
            loop = LabelledLoop(programs, rows, labels.to(device), step, diagnose, judge, plan, numbers)
            if kept is not None:
                loop.restore(kept)
            # Whatever ends a fit, what was reached is there.
            self.programs_, self.history_, self._numbers = programs, loop.history, numbers
            self.classes_ = np.arange(num_classes)
            self.data_shape_, self.column_names_ = tuple(first_rows.shape[1:]), column_names(x)
            try:
                loop.run(keeper)
            finally:
                self.best_epoch_ = loop.best_epoch
        return self

    def check_arguments(self, num_rows: int, num_classes: int) -> None:
        """Refuse arguments that no fit can go by.

        Args:
            num_rows: rows to be fitted to.
            num_classes: of their labels.

        Raises:
            ValueError: the argument, by its name.
        """
        check_training_numbers(num_rows, self.epochs, self.batch_size, self.lr)
        self._check_own_arguments(num_classes)
        if self.step not in get_args(Stepping):
            raise ValueError(f"step is {self.step!r}; expected one of {', '.join(get_args(Stepping))}")

    def predict_proba(self, x: Any) -> Array:
        """The probability of each class for each row.

        Args:
            x: rows ``(rows, *data_shape)``, a tensor or an array.

        Returns:
            ``(rows, num_classes)``.
        """
        rows = self._rows(x)
        return self._probabilities(self.programs_, rows).cpu().numpy()

    @torch.no_grad()
    def _probabilities(self, programs: nn.Module, rows: Tensor) -> Tensor:
        like = next(programs.parameters())
        # The same draws whenever it is asked.
        with isolated_rng(self.seed, like.device):
            return torch.cat([self._class_probs(programs, block) for block in blocks(rows, like)])

    def _check_parts(self, programs: Any, rows: Tensor, num_classes: int) -> None:
        """Refuse parts that do not fit together: a classifier of another number of classes, or that is not trained."""
        output = programs.classifier(self._seen_by_classifier(programs, rows))
        if output.shape != (len(rows), num_classes):
            raise ValueError(
                f"classifier gave shape {tuple(output.shape)} for {len(rows)} rows; expected ({len(rows)}, "
                f"{num_classes}), one number for each class: build it with {num_classes} outputs"
            )
        check_leaves([output], programs.parameters())

    def _check_own_arguments(self, num_classes: int) -> None:
        """Refuse arguments of the subclass."""
        raise NotImplementedError

    def _build(self, data_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        """A module with ``model``, ``guide`` and ``classifier``."""
        raise NotImplementedError

    def _step(self, programs: nn.Module) -> tuple[Step, dict[str, float]]:
        """What gives the terms of a batch, and the numbers that it changes, by name."""
        raise NotImplementedError

    def _non_finite_site(self, programs: nn.Module, batch: Batch) -> str | None:
        """Name of the first site that is not finite for a batch; None if all are."""
        raise NotImplementedError

    def _seen_by_classifier(self, programs: nn.Module, rows: Tensor) -> Tensor:
        """What the classifier is given for some rows."""
        raise NotImplementedError

    def _class_probs(self, programs: nn.Module, rows: Tensor) -> Tensor:
        """Probabilities of the classes for some rows, in double precision."""
        raise NotImplementedError


def _held_out(validation: tuple[Any, Any], num_classes: int, columns: tuple[str, ...] | None) -> tuple[Tensor, Tensor]:
    x, y = pair_of(validation)
    check_column_names(x, columns, "validation x")
    rows = as_rows(x, "validation x")
    return rows, as_labels(y, len(rows), num_classes, "validation y")


def check_trained(programs: Any, rows: Tensor) -> None:
    """Refuse programs with weights that no step would move, such as those of networks in a plain list.

    Args:
        programs: module with ``model`` and ``guide``.
        rows: a few, as the parameters are.

    Raises:
        ValueError: a weight that is no parameter of the module, and the repairs.
    """
    with isolated_rng(0, rows.device):
        traces = trace_pair(programs.model, programs.guide, rows)
        check_leaves([torch.as_tensor(trace.log_prob_sum()) for trace in traces], programs.parameters())
