"""A step that another process does not take part in."""

import torch

from pyrovae.processes import ProcessEndedError, Processes
from pyrovae.programs import RandomState


class DrawsUndoneIfAnotherEnds:
    """A context that puts generators back where another process ends: the fit goes on from before the step.

    Args:
        processes: that work together.
        device: whose generators the step draws from, beside those of the processor.
    """

    def __init__(self, processes: Processes, device: torch.device) -> None:
        self._before = RandomState.now(device) if processes.several else None

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._before is not None and kind is not None and issubclass(kind, ProcessEndedError):
            self._before.put_back()
