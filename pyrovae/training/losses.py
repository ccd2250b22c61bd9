"""Minimising a loss of single rows: what is not a bound on log p(x)."""

import copy
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from pyrovae.programs import check_positive, isolated_rng, training_mode
from pyrovae.training.gradient_step import GradientStep
from pyrovae.training.optimizers import adam

Losses = Callable[..., Tensor]
"""A function from the tensors of a batch to the loss of each row."""


@dataclass(frozen=True)
class LossResult:
    """What a fit by a loss did; the fitted weights are in the module.

    Attributes:
        history: for each epoch ``train_loss``, a mean over rows taken while the weights move, ``validation_loss`` after
            it where there are validation rows, ``epoch`` and ``seconds``.
        best_epoch: the epoch, counted from 1, whose weights were kept.
        stopped_early: whether the validation loss had stopped falling.
    """

    history: list[dict[str, float]]
    best_epoch: int
    stopped_early: bool


def minimize_losses(
    module: nn.Module,
    losses: Losses,
    train: tuple[Tensor, ...],
    *,
    validation: tuple[Tensor, ...] | None = None,
    parameters: Iterable[Tensor] | None = None,
    epochs: int = 100,
    batch_size: int = 128,
    lr: float = 1e-3,
    patience: int | None = 20,
    seed: int = 0,
    progress: bool = True,
) -> LossResult:
    """Minimise the mean loss of the rows by Adam, and keep the weights of the best epoch.

    Args:
        module: what is trained.
        losses: from the tensors of a batch to a loss for each row ``(rows,)``.
        train: tensors of equal length, whose rows belong together.
        validation: the like, to judge each epoch by. With them the weights of the best epoch are kept, else the last.
        parameters: what is moved; None moves all of the module.
        epochs: passes over the rows, at most.
        batch_size: rows of each step; fewer rows make one step.
        lr: learning rate of Adam.
        patience: epochs without a better validation loss before stopping; None never stops early.
        seed: of shuffling and of all draws; the caller's generators stay as they are.
        progress: show a progress bar.

    Raises:
        ValueError: numbers out of range.
        FloatingPointError: a loss that is NaN or infinite; the best weights so far are put back.
    """
    check_positive(epochs=epochs, batch_size=batch_size, patience=patience)
    if not 0 < lr < float("inf"):
        raise ValueError(f"lr is {lr!r}; expected a positive number")
    moved = list(module.parameters() if parameters is None else parameters)
    optimizer = adam(moved, lr)
    step = GradientStep(
        lambda *batch: {"loss": losses(*batch).mean()},
        moved,
        lambda: list(module.state_dict(keep_vars=True).values()),
        "auto",
        epochs * -(-len(train[0]) // batch_size),
    )
    shuffler = torch.Generator().manual_seed(seed)
    history: list[dict[str, float]] = []
    best, best_epoch, kept = float("inf"), 0, copy.deepcopy(module.state_dict())
    device = train[0].device
    with isolated_rng(seed, device), tqdm(total=epochs, disable=not progress, desc="fitting", unit="epoch") as bar:
        for epoch in range(1, epochs + 1):
            start, total = time.perf_counter(), 0.0
            with training_mode([module]):
                for rows in torch.randperm(len(train[0]), generator=shuffler).to(device).split(batch_size):
                    total += len(rows) * float(step(*(tensor[rows] for tensor in train))[0])
                    optimizer.step()
            terms = {"epoch": epoch, "train_loss": total / len(train[0])}
            if validation is not None:
                terms["validation_loss"] = _mean_loss(module, losses, validation, batch_size, seed)
            terms["seconds"] = time.perf_counter() - start
            history.append(terms)
            judged = terms.get("validation_loss", terms["train_loss"])
            if not judged < float("inf") or not total < float("inf"):
                module.load_state_dict(kept)
                raise FloatingPointError(
                    f"the loss is {judged} in epoch {epoch}; the weights of epoch {best_epoch} were put back: a lower "
                    "learning rate is the usual repair, otherwise look for extreme values in the data"
                )
            if validation is None or judged < best:
                best, best_epoch, kept = judged, epoch, copy.deepcopy(module.state_dict())
            bar.set_postfix_str(", ".join(f"{n.replace('_', ' ')} {v:.4g}" for n, v in terms.items() if "loss" in n))
            bar.update()
            if patience is not None and epoch - best_epoch >= patience:
                break
    module.load_state_dict(kept)
    return LossResult(history, best_epoch, stopped_early=len(history) < epochs)


@torch.no_grad()
def _mean_loss(module: nn.Module, losses: Losses, tensors: tuple[Tensor, ...], batch_size: int, seed: int) -> float:
    was_training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        # The same draws at every epoch, so that epochs are compared by their weights and not by luck.
        with isolated_rng(seed, tensors[0].device):
            batches = zip(*(tensor.split(batch_size) for tensor in tensors), strict=True)
            return sum(losses(*batch).sum().item() for batch in batches) / len(tensors[0])
    finally:
        for part in was_training:
            part.training = True
