"""What all networks share: sizes, leading dimensions, and the bias of the output."""

from collections.abc import Sequence
from math import prod
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from pyrovae.networks.covariates import CovariateUnits


def as_shape(value: int | Sequence[int], argument: str) -> tuple[int, ...]:
    """A shape as a tuple; ``n`` stands for ``(n,)``."""
    sizes: Any = value
    shape = (sizes,) if isinstance(sizes, Integral) else tuple(sizes)
    if not shape or any(not isinstance(size, Integral) or isinstance(size, bool) or size < 1 for size in shape):
        raise ValueError(f"{argument} is {value!r}; expected a positive integer or a sequence of them")
    return tuple(map(int, shape))


def split_batch(x: Tensor, event_shape: tuple[int, ...], network: str) -> tuple[int, ...]:
    """The leading shape of ``x``, whose trailing shape has to be ``event_shape``."""
    if not isinstance(x, Tensor):
        raise ValueError(f"{network} got a {type(x).__name__}; expected a tensor: use torch.as_tensor")
    event_dim = len(event_shape)
    if x.shape[max(x.dim() - event_dim, 0) :] != event_shape:
        raise ValueError(
            f"{network} got an input of shape {tuple(x.shape)}; expected (..., "
            f"{', '.join(map(str, event_shape))}): reshape the data, or build the network for this shape"
        )
    return tuple(x.shape[: x.dim() - event_dim])


def halved_sizes(image_shape: tuple[int, ...], argument: str, levels: int) -> list[tuple[int, int]]:
    """Heights and widths before and after each convolution of stride 2, for images ``(channels, height, width)``."""
    if len(image_shape) != 3:
        raise ValueError(
            f"{argument} is {image_shape}; a convolutional network needs (channels, height, width): use MLP for "
            "data that are not images"
        )
    height, width = image_shape[1:]
    most = min(height, width).bit_length() - 1
    if levels > most:
        repair = f"give {most} at most, one entry for each convolution" if most else "use MLP for images this small"
        raise ValueError(
            f"channels has {levels} entries, and so many convolutions halve images of {height} x {width} pixels to "
            f"nothing: {repair}"
        )
    return [(height >> level, width >> level) for level in range(levels + 1)]


class ShapedNetwork(nn.Module):
    """A network between tensors of given shapes, with any number of leading dimensions.

    Args:
        input_shape: shape of one input.
        output_shape: shape of one output.
        row_shape: what ``layers`` takes for one input: ``input_shape``, or the same numbers flattened.
        layers: from ``(rows, *row_shape)`` to the numbers of ``(rows, *output_shape)``; the last one has a bias.

    Attributes:
        covariate_units: brings covariates behind flat inputs to numbers around 1; None takes inputs as they are.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        output_shape: tuple[int, ...],
        row_shape: tuple[int, ...],
        layers: Sequence[nn.Module],
    ) -> None:
        super().__init__()
        self.input_shape, self.output_shape, self._row_shape = input_shape, output_shape, row_shape
        self.layers = nn.Sequential(*layers)
        self.covariate_units: CovariateUnits | None = None

    def forward(self, x: Tensor) -> Tensor:
        """The output for each input."""
        batch_shape = split_batch(x, self.input_shape, type(self).__name__)
        if self.covariate_units is not None:
            x = self.covariate_units(x)
        # Convolutions and batch normalisation take one batch dimension: fold the leading ones into it.
        rows = x.reshape(prod(batch_shape), *self._row_shape)
        return self.layers(rows).reshape(*batch_shape, *self.output_shape)

    @property
    def bias_dims(self) -> int:
        """How many trailing dimensions of an output share one bias: the two of the pixels in a convolution, else 0."""
        return 2 if isinstance(self.layers[-1], nn.ConvTranspose2d) else 0

    @torch.no_grad()
    def set_output_bias(self, value: Tensor) -> None:
        """Set the bias of the last layer, so that the output starts around ``value``.

        Args:
            value: of shape ``output_shape``. A convolution has one bias for each channel, and takes the mean of
                the channel's pixels.

        Raises:
            ValueError: a value of another shape.
        """
        if value.shape != self.output_shape:
            raise ValueError(
                f"{type(self).__name__}.set_output_bias got a value of shape {tuple(value.shape)}; expected the "
                f"network's output_shape {self.output_shape}"
            )
        bias = self.layers[-1].bias
        assert isinstance(bias, Tensor)
        bias.copy_(value.reshape(len(bias), -1).mean(1))
