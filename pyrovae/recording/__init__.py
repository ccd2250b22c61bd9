"""Recording: the tensor operations behind a function, kept and run again without the function."""

from pyrovae.recording.function import CannotRecordError, TensorFunction
from pyrovae.recording.replay import Replay, Stepping

__all__ = ["CannotRecordError", "Replay", "Stepping", "TensorFunction"]
