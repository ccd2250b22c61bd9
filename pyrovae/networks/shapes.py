"""Checks of sizes and shapes that all networks share."""

from collections.abc import Sequence

from torch import Tensor


def as_shape(value: int | Sequence[int], argument: str) -> tuple[int, ...]:
    """A shape as a tuple; ``n`` stands for ``(n,)``."""
    shape = (value,) if isinstance(value, int) else tuple(value)
    if not shape or any(not isinstance(size, int) or isinstance(size, bool) or size < 1 for size in shape):
        raise ValueError(f"{argument} is {value!r}; expected a positive integer or a sequence of them")
    return shape


def split_batch(x: Tensor, event_shape: tuple[int, ...], network: str) -> tuple[int, ...]:
    """The leading shape of ``x``, whose trailing shape has to be ``event_shape``."""
    event_dim = len(event_shape)
    if x.shape[max(x.dim() - event_dim, 0) :] != event_shape:
        raise ValueError(
            f"{network} got an input of shape {tuple(x.shape)}; expected (..., "
            f"{', '.join(map(str, event_shape))}): reshape the data, or build the network for this shape"
        )
    return tuple(x.shape[: x.dim() - event_dim])
