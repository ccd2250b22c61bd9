"""Steps that are left out, as their loss or gradient is not finite."""

from typing import Any

import torch
from torch import Tensor

from pyrovae.distributions.arguments import is_finite_number, is_whole_number
from pyrovae.programs import Weights

Place = tuple[int, int, str]
"""Epoch and step of it, counted from 1, and the site that is not finite."""

# So many numbers are copied in microseconds.
_SMALL = 65_536
# Steps between looks at whether a large buffer was written uncounted.
_STRIDE = 64


class BuffersBefore:
    """Buffers as they were before a step, to go back to if it is left out.

    Large ones, tables of constants for example, are copied again only once they were written or replaced. PyTorch does
    not count what is written through ``.data``: the first step and each sixty-fourth show which are written so, and
    these are copied at each step from then on.

    Args:
        weights: whose buffers they are.

    Attributes:
        copies: of the buffers before the last step, by name.
    """

    def __init__(self, weights: Weights) -> None:
        self.weights, self.copies = weights, dict[str, Tensor]()
        self._copied: dict[str, tuple[Tensor, int]] = {}
        self._written_uncounted = set[str]()
        self._steps = 0

    def note(self) -> None:
        """A step begins."""
        present = self.weights.present_buffers()
        self.copies = {name: self._copy(name, buffer) for name, buffer in present.items()}
        self._steps += 1

    def put_back(self) -> None:
        """The step was left out."""
        self.weights.restore(self.copies)

    def _copy(self, name: str, buffer: Tensor) -> Tensor:
        # Batch normalisation writes its running means, which are small, without counting it as a version.
        if buffer.numel() <= _SMALL:
            return buffer.clone()
        # Those of inference mode count no versions: outside it nothing writes them.
        present = 0 if buffer.is_inference() else buffer._version
        before, version = self._copied.get(name, (None, -1))
        if buffer is before and present == version and name not in self._written_uncounted:
            if self._steps % _STRIDE != 1 or torch.equal(buffer, self.copies[name]):
                return self.copies[name]
            self._written_uncounted.add(name)
        self._copied[name] = buffer, present
        return buffer.clone()


class Skipped:
    """Counts steps that are left out.

    Args:
        most: so many in a row may be.

    Attributes:
        total: in the whole fit.
        rows: of the steps left out in this epoch.
        first_in_a_row: where the present ones began.
        first_of_epoch: the first of this epoch.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.total, self.rows = 0, 0
        self.first_in_a_row: Place = (0, 0, "")
        self.first_of_epoch: Place = (0, 0, "")
        self._in_a_row, self._of_epoch = 0, 0

    def note(self, epoch: int, step: int, rows: int, site: str) -> None:
        """Count a step.

        Args:
            epoch: counted from 1.
            step: of the epoch, counted from 1.
            rows: of its batch.
            site: that is not finite.
        """
        if not self._in_a_row:
            self.first_in_a_row = epoch, step, site
        if not self._of_epoch:
            self.first_of_epoch = epoch, step, site
        self.total, self.rows = self.total + 1, self.rows + rows
        self._in_a_row, self._of_epoch = self._in_a_row + 1, self._of_epoch + 1

    def none_now(self) -> None:
        """A step was taken."""
        self._in_a_row = 0

    def next_epoch(self) -> None:
        """An epoch begins."""
        self.rows, self._of_epoch = 0, 0

    def too_many(self) -> bool:
        """Whether more in a row than may be were left out."""
        return self._in_a_row > self.most

    def most_of(self, steps: int) -> bool:
        """Whether half of the steps of this epoch, or more, were left out."""
        return self._of_epoch > 0 and 2 * self._of_epoch >= steps

    def state(self) -> dict[str, Any]:
        """All counts, as numbers and texts."""
        return {name: value for name, value in vars(self).items() if name != "most"}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` gave."""
        vars(self).update(state)


def check_skipping(clip_norm: float | None, max_skipped_steps: int) -> None:
    """Refuse numbers out of range.

    Raises:
        ValueError: which, and what was expected.
    """
    if clip_norm is not None and (not is_finite_number(clip_norm) or not clip_norm > 0):
        raise ValueError(f"clip_norm is {clip_norm!r}; expected a positive norm of the gradient, or None for no limit")
    if not is_whole_number(max_skipped_steps) or max_skipped_steps < 0:
        raise ValueError(f"max_skipped_steps is {max_skipped_steps!r}; expected a number of steps, zero or more")
