"""The state of a fit by a loss of single rows."""

import copy
from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from pyrovae.checkpoints import Keeper, State
from pyrovae.processes import AveragedGradients, Processes, draws_of_all_rows, processes_now
from pyrovae.programs import RandomState, training_mode
from pyrovae.training.gradient_step import GradientStep
from pyrovae.training.module_weights import restore_weights
from pyrovae.training.optimizers import adam, flush_vanished, moved_parameters
from pyrovae.training.result import LossResult, NonFiniteLossError
from pyrovae.training.shuffler import Shuffler
from pyrovae.training.undone import DrawsUndoneIfAnotherEnds

Losses = Callable[..., Tensor]
"""A function from the tensors of a batch to the loss of each row."""

_NUMBERS = ("epoch", "step_of_epoch", "steps_done", "total", "best", "best_epoch", "stopped_early")


class LossEpochs:
    """The epochs of one fit by a loss, and all that those to come depend on."""

    def __init__(
        self,
        module: nn.Module,
        losses: Losses,
        train: tuple[Tensor, ...],
        epochs: int,
        batch_size: int,
        lr: float,
        seed: int,
    ) -> None:
        self.module, self.losses, self.train = module, losses, train
        self.batch_size, self.seed = batch_size, seed
        moved = moved_parameters(module)
        self.processes = processes_now()
        self.gradients = AveragedGradients(self.processes, moved, list(module.buffers()))
        self.optimizer = adam(moved, lr)
        self.step = GradientStep(
            partial(_mean_loss, losses, self.processes),
            moved,
            lambda: list(module.state_dict(keep_vars=True).values()),
            "auto",
            epochs * -(-len(train[0]) // batch_size),
            # The losses reach what counts or anneals outside the module: a train_transform, for example.
            owners=[module, losses],
        )
        self.shuffler = Shuffler(seed)
        self.history: list[dict[str, float]] = []
        self.epoch, self.step_of_epoch, self.steps_done, self.total = 1, 0, 0, 0.0
        self.best, self.best_epoch, self.stopped_early = float("inf"), 0, False
        self.best_weights = copy.deepcopy(module.state_dict())

    def train_epoch(self, keeper: Keeper) -> float:
        """The steps of an epoch that are left; the mean loss of all of them."""
        order = self.shuffler.order(len(self.train[0])).to(self.train[0].device)
        batches = order.split(self.batch_size)[self.step_of_epoch :]
        with training_mode([self.module]):
            for rows in batches:
                self.total += len(rows) * self._gradient_step(*(tensor[rows] for tensor in self.train))
                self.optimizer.step()
                self.step_of_epoch += 1
                self.steps_done += 1
                flush_vanished(self.optimizer, self.steps_done)
                keeper.after_step(self.state, self.steps_done)
        return self.total / len(self.train[0])

    def _gradient_step(self, *batch: Tensor) -> float:
        """The mean loss of a batch, whose gradient is left in the parameters."""
        with DrawsUndoneIfAnotherEnds(self.processes, batch[0].device):
            loss = self.processes.sum(self.step(*batch)) / self.processes.world_size
            self.gradients.average()
        return float(loss[0])

    def end_epoch(self, terms: dict[str, float], patience: int | None) -> None:
        """Judge an epoch by its terms.

        Raises:
            NonFiniteLossError: a loss that is NaN or infinite; whoever runs the epochs puts the best weights back.
        """
        judged = terms.get("validation_loss", terms["train_loss"])
        if not judged < float("inf") or not self.total < float("inf"):
            result = LossResult(self.history, self.best_epoch, stopped_early=False)
            raise NonFiniteLossError(self.epoch, None, None, result)
        self.history.append(terms)
        if "validation_loss" not in terms or judged < self.best:
            self.best, self.best_epoch = judged, self.epoch
            self.best_weights = copy.deepcopy(self.module.state_dict())
        self.stopped_early = patience is not None and self.epoch - self.best_epoch >= patience
        self.epoch, self.step_of_epoch, self.total = self.epoch + 1, 0, 0.0
        self.shuffler.next_epoch()

    def state(self) -> State:
        """What ``restore`` needs, between two steps."""
        return {
            **{name: getattr(self, name) for name in _NUMBERS},
            "history": [dict(terms) for terms in self.history],
            "weights": self.module.state_dict(),
            "best_weights": self.best_weights,
            "optimizer": self.optimizer.state_dict(),
            "shuffler": self.shuffler.state,
            "random": RandomState.now(self.train[0].device).as_plain(),
            "step": self.step.replay.state(),
        }

    def restore(self, state: State) -> None:
        """Go on from what ``state`` gave.

        Raises:
            ValueError: it is of another module.
        """
        restore_weights(self.module, state["weights"])
        for name in _NUMBERS:
            setattr(self, name, state[name])
        self.history[:], self.best_weights = state["history"], state["best_weights"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.shuffler.restore(state["shuffler"])
        self.step.replay.restore(state["step"])
        RandomState.from_plain(state["random"], self.train[0].device).put_back()


# No method: a step that knew the fit would stay, with all that it knows, until the garbage collector comes.
def _mean_loss(losses: Losses, processes: Processes, *batch: Tensor) -> dict[str, Tensor]:
    """The mean loss of the rows of a batch; of several processes a part of it, whose mean over them it is."""
    if not processes.several:
        return {"loss": losses(*batch).mean()}
    rows, share = len(batch[0]), processes.share(len(batch[0]))
    # A process without a row takes one, and it counts nothing.
    here = share or range(1)
    with draws_of_all_rows(processes, here, rows):
        loss = losses(*(tensor[here.start : here.stop] for tensor in batch)).sum()
    return {"loss": (loss if share else 0 * loss) / (rows / processes.world_size)}
