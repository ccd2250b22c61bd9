"""Whether compiling recorded operations is worth its time, some ten seconds."""

from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from pyrovae.recording.record import Recording

# Of arithmetic it gains a sixth: so much takes a small machine two minutes.
ARITHMETIC_WORTH_COMPILING = 1e13
# Of calling operations on tensors it gains some five microseconds each.
_OPERATIONS_WORTH_COMPILING = 3e6


def has_much_arithmetic(recording: "Recording", inputs: tuple[Tensor, ...], calls: int, enough: float) -> bool:
    """Whether ``calls`` are to do so many additions and multiplications in matrix products; it runs the operations."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        recording(*inputs)
    return calls * counter.get_total_flops() >= enough


def has_shown_to_be_long(recording: "Recording", calls_done: int, calls_left: int) -> bool:
    """Whether calling operations has cost more than compiling them, and is to cost it again.

    What is left alone would not do: a fit may stop early.
    """
    return min(calls_done, calls_left) * recording.num_operations >= _OPERATIONS_WORTH_COMPILING
