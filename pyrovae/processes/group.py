"""The processes that work together, and what they tell each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

if TYPE_CHECKING:
    from lightning_fabric import Fabric

T = TypeVar("T")


class ProcessEndedError(RuntimeError):
    """Another process of the run ended, or cannot be reached."""


@contextmanager
def with_own_rows() -> Iterator[None]:
    """What goes wrong in here comes of this process's rows, and may go well in the others."""
    try:
        yield
    except Exception as error:
        vars(error)["of_own_rows"] = True
        raise


def is_of_own_rows(error: BaseException | None) -> bool:
    """Whether an error, or what it was raised from, came in ``with_own_rows``."""
    return error is not None and ("of_own_rows" in vars(error) or is_of_own_rows(error.__cause__))


class Processes:
    """The processes that work on the same fit or evaluation, of which this is one.

    All of them run the same functions in the same order with the same arguments; each computes its share. A process by
    itself is a group of one, for which nothing is exchanged.

    Args:
        fabric: Lightning's, launched; None is a process by itself.

    Attributes:
        fabric: Lightning's, if there are several.
        rank: the number of this process, from 0.
        world_size: how many there are.
    """

    def __init__(self, fabric: Fabric | None = None) -> None:
        self.fabric = fabric
        self.rank = 0 if fabric is None else fabric.global_rank
        self.world_size = 1 if fabric is None else fabric.world_size

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        """Whether there is more than one."""
        return self.fabric is not None

    def share(self, number: int) -> range:
        """Which of so many rows or blocks are this process's: as many as another's, or one more or less.

        Args:
            number: of all of them.
        """
        least, more = divmod(number, self.world_size)
        start = self.rank * least + min(self.rank, more)
        return range(start, start + least + (self.rank < more))

    def sum(self, values: Tensor) -> Tensor:
        """The sum over processes, in double precision; each has the same afterwards.

        Raises:
            ProcessEndedError: another process ended.
        """
        return self._reduced(values.double(), "sum") if self.several else values

    def largest(self, number: int) -> int:
        """The largest of the numbers that the processes give.

        Raises:
            ProcessEndedError: another process ended.
        """
        return int(self._reduced(torch.tensor(number), "max")) if self.several else number

    def from_first(self, make: Callable[[], T]) -> T:
        """What the first process makes, or the error that it raises, in all of them.

        Args:
            make: called in the first process only.

        Raises:
            ProcessEndedError: another process ended.
        """
        if not self.several:
            return make()
        made: list[tuple[T | None, Exception | None]] = [(None, None)]
        if self.is_first:
            try:
                made = [(make(), None)]
            except Exception as error:
                made = [(None, error)]
        with self.others_alive():
            dist.broadcast_object_list(made, src=0)
        value, raised = made[0]
        if raised is not None:
            raise raised
        return value  # type: ignore[return-value]

    def gather(self, value: T) -> list[T]:
        """What each process gives, in their order.

        Raises:
            ProcessEndedError: another process ended.
        """
        if not self.several:
            return [value]
        gathered: list[T | None] = [None] * self.world_size
        with self.others_alive():
            dist.all_gather_object(gathered, value)
        return gathered  # type: ignore[return-value]

    @contextmanager
    def others_alive(self) -> Iterator[None]:
        """What goes wrong in here is that another process is gone."""
        try:
            yield
        except RuntimeError as error:
            raise ProcessEndedError(
                f"another of the {self.world_size} processes ended, or cannot be reached, and none goes on without it; "
                "its own output says why"
            ) from error

    def _reduced(self, values: Tensor, how: str) -> Tensor:
        if self.fabric is None:
            return values
        with self.others_alive():
            reduced = self.fabric.all_reduce(values.to(self.fabric.device), reduce_op=how)
        assert isinstance(reduced, Tensor)
        return reduced.to(values.device)


_now = Processes()


def processes_now() -> Processes:
    """The processes that fits and evaluations are shared out to; a process by itself where nothing else was said."""
    return _now


@contextmanager
def working_together(processes: Processes) -> Iterator[Processes]:
    """Share out to these."""
    global _now
    before, _now = _now, processes
    try:
        yield processes
    finally:
        _now = before


@contextmanager
def alone() -> Iterator[None]:
    """Compute everything in this process, which need not be in step with the others."""
    with working_together(Processes()):
        yield


def refuse_several(what: str) -> None:
    """Refuse to begin what one process does.

    Raises:
        ValueError: torchrun started several.
    """
    if dist.is_torchelastic_launched():
        raise ValueError(f"{what} runs in one process: start it by python, without torchrun")
