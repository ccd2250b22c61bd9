"""Minimising a loss of single rows: what is not a bound on log p(x)."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pyrovae.checkpoints import Checkpoints, Keeper, begin_or_resume
from pyrovae.distributions.arguments import is_finite_number
from pyrovae.processes import ProcessEndedError
from pyrovae.programs import check_positive, evaluation_mode, isolated_rng
from pyrovae.progress import Progress
from pyrovae.training.loss_epochs import LossEpochs, Losses
from pyrovae.training.progress_terms import loss_in_words
from pyrovae.training.result import LossResult
from pyrovae.training.settings import settings_of


@torch.inference_mode(False)
@torch.enable_grad()
def minimize_losses(
    module: nn.Module,
    losses: Losses,
    train: tuple[Tensor, ...],
    *,
    validation: tuple[Tensor, ...] | None = None,
    epochs: int = 100,
    batch_size: int = 128,
    lr: float = 1e-3,
    patience: int | None = 20,
    checkpoints: Checkpoints | str | Path | None = None,
    resume: bool = False,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> LossResult:
    """Minimise the mean loss of the rows by Adam, and keep the weights of the best epoch.

    Args:
        module: what is trained; parameters that are held stay as they are.
        losses: from the tensors of a batch to a loss for each row ``(rows,)``.
        train: tensors of equal length, whose rows belong together.
        validation: the like, to judge each epoch by. With them the weights of the best epoch are kept, else the last.
        epochs: passes over the rows, at most.
        batch_size: rows of each step; fewer rows make one step.
        lr: learning rate of Adam.
        patience: epochs without a better validation loss before stopping; None never stops early.
        checkpoints: where the state of the fit is kept, as in ``fit_svi``.
        resume: go on from the newest checkpoint, if there is one, to the same result as without a break.
        settings: what the losses depend on, by name: a checkpoint of other settings is not taken.
        seed: of shuffling and of all draws; the caller's generators stay as they are.
        progress: show a progress bar.

    Raises:
        ValueError: numbers out of range, a checkpoint of another fit.
        NonFiniteLossError: the loss became NaN or infinite; the best weights so far are put back.
    """
    check_positive(epochs=epochs, batch_size=batch_size, patience=patience)
    if not is_finite_number(lr) or not lr > 0:
        raise ValueError(f"lr is {lr!r}; expected a positive number")

    def settings_of_fit() -> dict[str, str]:
        given = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "patience": patience, "seed": seed}
        return settings_of(train, validation, **given, **(settings or {}))

    keeper, kept = begin_or_resume(checkpoints, resume, settings_of_fit)
    fit = LossEpochs(module, losses, train, epochs, batch_size, lr, seed)
    device = train[0].device
    shown = progress and fit.processes.is_first
    with isolated_rng(seed, device):
        try:
            if kept is not None:
                fit.restore(kept)
            with keeper, Progress("fitting", epochs, "epoch", shown=shown, done=fit.epoch - 1) as bar:
                try:
                    _run_epochs(fit, validation, epochs, patience, keeper, bar)
                except ProcessEndedError:
                    keeper.keep_without_others(fit.state, fit.steps_done)
                    raise
                keeper.keep(fit.state, fit.steps_done)
        finally:
            # Whatever ends a fit, the module is left with its best weights.
            module.load_state_dict(fit.best_weights)
    return LossResult(fit.history, fit.best_epoch, stopped_early=len(fit.history) < epochs)


def _run_epochs(
    fit: LossEpochs,
    validation: tuple[Tensor, ...] | None,
    epochs: int,
    patience: int | None,
    keeper: Keeper,
    bar: Progress,
) -> None:
    while fit.epoch <= epochs and not fit.stopped_early:
        start = time.perf_counter()
        terms = {"epoch": fit.epoch, "train_loss": fit.train_epoch(keeper)}
        if validation is not None:
            terms["validation_loss"] = _validation_loss(fit, validation)
        terms["seconds"] = time.perf_counter() - start
        bar.tell(loss_in_words(terms, fit.epoch, epochs))
        fit.end_epoch(terms, patience)
        bar.advance()
        keeper.after_step(fit.state, fit.steps_done)


@torch.no_grad()
def _validation_loss(fit: LossEpochs, tensors: tuple[Tensor, ...]) -> float:
    # The same draws at every epoch, so that epochs are compared by their weights and not by luck.
    with evaluation_mode(fit.module, fit.losses), isolated_rng(fit.seed, tensors[0].device):
        batches = zip(*(tensor.split(fit.batch_size) for tensor in tensors), strict=True)
        return sum(fit.losses(*batch).sum().item() for batch in batches) / len(tensors[0])
