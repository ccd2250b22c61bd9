"""The order of rows in each epoch."""

import torch
from torch import Tensor


class Shuffler:
    """Shuffles rows by a generator of its own: their order is the same whatever the programs draw.

    Args:
        seed: of the generator.

    Attributes:
        state: of the generator where the epoch under way began.
    """

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self.next_epoch()

    def order(self, rows: int) -> Tensor:
        """Numbers of all rows, in the order of this epoch."""
        return torch.randperm(rows, generator=self._generator)

    def next_epoch(self) -> None:
        """An epoch begins."""
        self.state = self._generator.get_state()

    def restore(self, state: Tensor) -> None:
        """Go on from the beginning of the epoch that ``state`` is of."""
        self._generator.set_state(state)
        self.state = state
