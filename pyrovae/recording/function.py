"""What can be recorded."""

from collections.abc import Callable

from torch import Tensor

TensorFunction = Callable[..., tuple[Tensor | None, ...]]
"""A function of tensors to tensors, some of which may be missing, as the gradient of what is not used."""


class CannotRecordError(Exception):
    """A function whose operations depend on the values of tensors."""
