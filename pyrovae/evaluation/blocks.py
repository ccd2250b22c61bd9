"""How much is computed at once: enough to be fast, little enough for the processor's cache and for any memory."""

from torch import Tensor

from pyrovae.data import AnyRows

# Rows are taken in blocks of a fixed size, and draws in blocks that follow from it, so that what is drawn depends on
# nothing that the caller chooses to save memory.
ROWS_PER_BLOCK = 64

# About 8,000 evaluations of the model at a time: what Pyro does for a call is small beside them, and they stay near the
# processor's cache. Fewer where rows are large.
_MOST_AT_ONCE = 8192
_NUMBERS = 2**23


def evaluations_at_once(rows: AnyRows) -> int:
    """Evaluations of the model at a time, for rows ``(rows, *data_shape)``."""
    return max(1, min(_MOST_AT_ONCE, _NUMBERS // rows.shape[1:].numel()))


def draws_at_once(rows: Tensor) -> int:
    """Draws of each of these rows at a time."""
    return max(1, evaluations_at_once(rows) // len(rows))
