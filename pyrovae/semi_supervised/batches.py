"""Labelled and unlabelled rows, side by side."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pyrovae.checkpoints import State
from pyrovae.training.shuffler import Shuffler
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


class LabelledBatches:
    """The batches of an epoch: all unlabelled rows once, beside them labelled ones from a permutation without end.

    Args:
        x: all rows.
        y: their labels, -1 for none.
        batch_size: unlabelled rows of a batch, and labelled ones where there are as many.
        transform: applied to the rows of each batch; None leaves them.
        seed: of generators of their own: the order of rows is the same whatever the programs draw.
    """

    def __init__(
        self, x: Tensor, y: Tensor, batch_size: int, transform: Callable[[Tensor], Tensor] | None, seed: int
    ) -> None:
        self.x, self.y, self.batch_size, self.transform = x, y, batch_size, transform
        self.labelled, self.unlabelled = (y >= 0).nonzero().flatten(), (y < 0).nonzero().flatten()
        self.labelled_share = len(self.labelled) / len(x)
        self.shuffler, self._labelled_shuffler = Shuffler(seed), torch.Generator().manual_seed(seed + 1)
        # Labelled rows whose turn comes next.
        self._waiting = self.labelled[:0]

    def __len__(self) -> int:
        rows = self.unlabelled if len(self.unlabelled) else self.labelled
        return -(-len(rows) // self.batch_size)

    def of_epoch(self, done: int) -> Iterator[Batch]:
        """Those of the epoch under way, without so many that are done."""
        order = self.shuffler.order(len(self.unlabelled)).to(self.x.device)
        for number in range(done, len(self)):
            unlabelled = self.unlabelled[order[number * self.batch_size : (number + 1) * self.batch_size]]
            labelled = self._next_labelled()
            yield Batch(self._rows(labelled), self.y[labelled], self._rows(unlabelled), self.labelled_share)

    def state(self) -> State:
        """What ``restore`` needs, between two batches."""
        return {
            "shuffler": self.shuffler.state,
            "labelled_shuffler": self._labelled_shuffler.get_state(),
            "waiting": self._waiting,
        }

    def restore(self, state: State) -> None:
        """Go on from what ``state`` gave."""
        self.shuffler.restore(state["shuffler"])
        self._labelled_shuffler.set_state(state["labelled_shuffler"])
        self._waiting = state["waiting"].to(self.labelled)

    def _rows(self, index: Tensor) -> Tensor:
        rows = self.x[index]
        return transformed(rows, self.transform) if len(rows) else rows

    def _next_labelled(self) -> Tensor:
        size = min(self.batch_size, len(self.labelled))
        while len(self._waiting) < size:
            order = torch.randperm(len(self.labelled), generator=self._labelled_shuffler).to(self.labelled.device)
            self._waiting = torch.cat([self._waiting, self.labelled[order]])
        chosen, self._waiting = self._waiting[:size], self._waiting[size:]
        return chosen
