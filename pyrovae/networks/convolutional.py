"""Small convolutional networks, sized from the shape of the images."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import nn

from pyrovae.networks.activations import Activation, make_activation
from pyrovae.networks.normalization import Normalization, make_normalization
from pyrovae.networks.shapes import ShapedNetwork, as_shape, halved_sizes

# A kernel of 4 at stride 2 covers every pixel equally often, so the decoder draws no checkerboard.
_KERNEL, _STRIDE, _PADDING = 4, 2, 1


def halving(in_channels: int, out_channels: int, bias: bool = True) -> nn.Module:
    """A convolution that halves height and width."""
    return nn.Conv2d(in_channels, out_channels, _KERNEL, _STRIDE, _PADDING, bias=bias)


def doubling(in_channels: int, out_channels: int, size: tuple[int, int], bias: bool = True) -> nn.Module:
    """A transposed convolution that doubles height and width to ``size``."""
    # An odd size lost a pixel when it was halved; the output padding gives it back.
    output_padding = (size[0] % 2, size[1] % 2)
    return nn.ConvTranspose2d(in_channels, out_channels, _KERNEL, _STRIDE, _PADDING, output_padding, bias=bias)


def image_channels(output_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The channels, height and width that a decoder has to make: parameters of an entry are channels to it."""
    if len(output_shape) not in (3, 4):
        raise ValueError(
            f"output_shape is {output_shape}; a convolutional decoder needs (channels, height, width), or (parameters, "
            "channels, height, width) for a likelihood of several parameters: use MLP for data that are not images"
        )
    return prod(output_shape[:-2]), output_shape[-2], output_shape[-1]


class ConvEncoder(ShapedNetwork):
    """Convolutions of stride 2, then one linear layer: images to the parameters of q(z|x).

    Args:
        input_shape: ``(channels, height, width)`` of one image.
        output_shape: shape of one output, for example ``2 * latent_dim``.
        channels: output channels of each convolution; each one halves height and width.
        activation: name of the function after each convolution.
        normalization: of each convolution's output, before its activation. ``"layer"`` normalises over channels and
            pixels (Ba, Kiros and Hinton, 2016), ``"group"`` over groups of channels and their pixels, each image by
            itself (Wu and He, 2018). ``"batch"`` normalises each channel over pixels and all leading dimensions
            (Ioffe and Szegedy, 2015): in training it mixes the rows of a batch; prefer the other two.

    Shape:
        ``(*batch, *input_shape) -> (*batch, *output_shape)``, with any number of batch dimensions.

    Raises:
        ValueError: data that are no images, more convolutions than halvings, an input of another shape.

    Example:
        >>> import torch
        >>> ConvEncoder((1, 28, 28), 20)(torch.zeros(7, 1, 28, 28)).shape
        torch.Size([7, 20])
    """

    needs_images = True
    """Rows are given as ``(channels, height, width)``; what else is known of them comes as more channels."""

    def __init__(
        self,
        input_shape: Sequence[int],
        output_shape: int | Sequence[int],
        channels: Sequence[int] = (32, 64),
        activation: Activation = "relu",
        normalization: Normalization = "none",
    ) -> None:
        inputs, outputs = as_shape(input_shape, "input_shape"), as_shape(output_shape, "output_shape")
        widths = as_shape(channels, "channels")
        final_size = halved_sizes(inputs, "input_shape", len(widths))[-1]
        layers: list[nn.Module] = []
        for in_channels, out_channels in pairwise((inputs[0], *widths)):
            layers.append(halving(in_channels, out_channels, bias=normalization != "batch"))
            layers += [*make_normalization(normalization, out_channels), make_activation(activation)]
        layers += [nn.Flatten(), nn.Linear(widths[-1] * prod(final_size), prod(outputs))]
        super().__init__(inputs, outputs, inputs, layers)


class ConvDecoder(ShapedNetwork):
    """One linear layer, then transposed convolutions of stride 2: z to the parameters of p(x|z) for images.

    Args:
        input_shape: shape of one input, for example ``latent_dim``.
        output_shape: ``(channels, height, width)`` of one image, or ``(parameters, channels, height, width)`` for a
            likelihood that takes several numbers for each entry.
        channels: input channels of each transposed convolution; each one doubles height and width.
        activation: name of the function before each transposed convolution.
        normalization: of each transposed convolution's input, before the activation; as in ``ConvEncoder``.

    Shape:
        ``(*batch, *input_shape) -> (*batch, *output_shape)``, with any number of batch dimensions.

    Raises:
        ValueError: data that are no images, more convolutions than halvings, an input of another shape.

    Example:
        >>> import torch
        >>> ConvDecoder(20, (3, 32, 32))(torch.zeros(4, 7, 20)).shape
        torch.Size([4, 7, 3, 32, 32])
    """

    def __init__(
        self,
        input_shape: int | Sequence[int],
        output_shape: Sequence[int],
        channels: Sequence[int] = (64, 32),
        activation: Activation = "relu",
        normalization: Normalization = "none",
    ) -> None:
        inputs, outputs = as_shape(input_shape, "input_shape"), as_shape(output_shape, "output_shape")
        widths = as_shape(channels, "channels")
        image = image_channels(outputs)
        smallest, *sizes = halved_sizes(image, "output_shape", len(widths))[::-1]
        # Batch normalisation takes away what all pixels share, and a bias that does nothing else with it.
        bias = normalization != "batch"
        layers: list[nn.Module] = [
            nn.Linear(prod(inputs), widths[0] * prod(smallest), bias=bias or prod(smallest) > 1),
            nn.Unflatten(-1, (widths[0], *smallest)),
        ]
        for level, (in_channels, out_channels) in enumerate(pairwise((*widths, image[0]))):
            last = level == len(widths) - 1
            layers += [*make_normalization(normalization, in_channels), make_activation(activation)]
            layers.append(doubling(in_channels, out_channels, sizes[level], bias=bias or last))
        super().__init__(inputs, outputs, (prod(inputs),), layers)
