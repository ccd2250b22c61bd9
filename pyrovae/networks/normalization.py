"""Normalisation layers by name."""

from typing import Literal, get_args

from torch import Tensor, nn

Normalization = Literal["none", "batch", "layer", "group"]

# Wu and He (2018) find groups of 16 channels as good as any; a width that has no such divisor gets the next one.
_CHANNELS_PER_GROUP = 16


class _BatchNorm(nn.BatchNorm1d):
    """Batch normalisation of ``(rows, channels, *pixels)`` over all but the channels."""

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002
        if self.training and input.numel() == input.shape[1]:
            raise ValueError(
                "batch normalisation got one row in training, which has no variance: choose a batch size that leaves "
                "no single row over, to any of several processes, or normalization='layer'"
            )


def make_normalization(name: Normalization, width: int) -> list[nn.Module]:
    """The layer that normalises ``(rows, width, *pixels)``, in a list; an empty one for ``"none"``."""
    if name not in get_args(Normalization):
        raise ValueError(f"normalization is {name!r}; expected one of {', '.join(get_args(Normalization))}")
    if name == "none":
        return []
    if name == "batch":
        return [_BatchNorm(width)]
    if width == 1:
        raise ValueError(
            f"normalization is {name!r} for a layer of width 1, and one number minus its mean is nothing: give the "
            "layer more units or channels, or normalization='none'"
        )
    size = width if name == "layer" else _group_size(width)
    return [nn.GroupNorm(width // size, width)]


def _group_size(width: int) -> int:
    return next(size for size in range(min(_CHANNELS_PER_GROUP, width), width + 1) if width % size == 0)
