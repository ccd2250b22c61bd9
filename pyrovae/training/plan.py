"""What a fit was asked for."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pyrovae.data import AnyRows
from pyrovae.objectives import Objective, Schedule
from pyrovae.programs import Precision
from pyrovae.recording import Stepping
from pyrovae.training.settings import settings_of

Trained = Literal["all", "guide", "model"]


@dataclass(frozen=True)
class Plan:
    """What was asked of one fit, and has to be the same where it goes on; the names are those of ``fit_svi``.

    The rows are on the device of the parameters.
    """

    train: AnyRows
    validation: AnyRows | None
    train_transform: Callable[[Tensor], Tensor] | None
    epochs: int
    batch_size: int
    lr: float | Schedule
    objective: Objective
    trained: Trained
    patience: int | None
    optimizer: Callable[[Iterable[Tensor]], torch.optim.Optimizer] | None
    precision: Precision
    step: Stepping
    clip_norm: float | None
    max_skipped_steps: int
    seed: int

    @property
    def rates(self) -> Schedule | None:
        """The learning rate where it moves; None leaves it as the optimiser has it."""
        return self.lr if isinstance(self.lr, Schedule) else None

    def batches(self, rows: AnyRows) -> int:
        """How many batches these rows make, in all epochs together."""
        return self.epochs * -(-len(rows) // self.batch_size)

    def settings(self) -> dict[str, str]:
        """All of it as text, by name."""
        # A rate that another optimiser does not look at may be any.
        lr = self.lr if self.optimizer is None else self.rates
        arguments = vars(self) | {"lr": lr}
        return settings_of([arguments.pop("train")], [arguments.pop("validation")], **arguments)
