"""Recording: the tensor operations behind a function, kept and run again without the function."""

from pyrovae.recording.agreement import BFLOAT16, SINGLE
from pyrovae.recording.function import CannotRecordError, TensorFunction
from pyrovae.recording.replay import Replay, Stepping

__all__ = ["BFLOAT16", "SINGLE", "CannotRecordError", "Replay", "Stepping", "TensorFunction"]
