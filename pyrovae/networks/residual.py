"""Residual networks: deeper ones that train as easily as shallow ones."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import Tensor, nn

from pyrovae.networks.activations import Activation, make_activation
from pyrovae.networks.convolutional import doubling, halving, image_channels
from pyrovae.networks.normalization import Normalization, make_normalization
from pyrovae.networks.shapes import ShapedNetwork, as_shape, halved_sizes


class _ResidualBlock(nn.Module):
    r"""Two layers beside a path that is left as it is, :math:`h + f(h)`.

    Normalisation and activation stand before each layer (He, Zhang, Ren and Sun, 2016, Identity mappings in deep
    residual networks), so that the sum itself goes through nothing.
    """

    def __init__(self, width: int, image: bool, activation: Activation, normalization: Normalization) -> None:
        super().__init__()
        bias = normalization != "batch"
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [*make_normalization(normalization, width), make_activation(activation)]
            layers.append(
                nn.Conv2d(width, width, 3, padding=1, bias=bias) if image else nn.Linear(width, width, bias=bias)
            )
        self.layers = nn.Sequential(*layers)

    def forward(self, h: Tensor) -> Tensor:
        """``h`` and what the layers add to it."""
        return h + self.layers(h)


def _check_blocks(num_blocks: int) -> None:
    as_shape((num_blocks,), "num_blocks")


class ResidualMLP(ShapedNetwork):
    """A fully connected network of pre-activation residual blocks between tensors of given shapes.

    The input is flattened and mapped to ``hidden_dim`` units, each block adds two layers of them to what it got (He,
    Zhang, Ren and Sun, 2016), and the linear output is given ``output_shape``.

    Args:
        input_shape: shape of one input, without batch dimensions; ``n`` stands for ``(n,)``.
        output_shape: shape of one output.
        hidden_dim: width of all hidden layers.
        num_blocks: number of residual blocks, of two layers each.
        activation: name of the function before each layer but the first.
        normalization: before each activation; as in ``MLP``.

    Shape:
        ``(*batch, *input_shape) -> (*batch, *output_shape)``, with any number of batch dimensions.

    Raises:
        ValueError: a size that is not a positive integer, an unknown activation or normalisation, an input of another
            shape.

    Example:
        >>> import torch
        >>> ResidualMLP((1, 8, 8), 20, num_blocks=3)(torch.zeros(7, 1, 8, 8)).shape
        torch.Size([7, 20])
    """

    def __init__(
        self,
        input_shape: int | Sequence[int],
        output_shape: int | Sequence[int],
        hidden_dim: int = 200,
        num_blocks: int = 2,
        activation: Activation = "relu",
        normalization: Normalization = "none",
    ) -> None:
        inputs, outputs = as_shape(input_shape, "input_shape"), as_shape(output_shape, "output_shape")
        (width,) = as_shape((hidden_dim,), "hidden_dim")
        _check_blocks(num_blocks)
        layers = [
            nn.Linear(prod(inputs), width, bias=normalization != "batch"),
            *(_ResidualBlock(width, False, activation, normalization) for _ in range(num_blocks)),
            *make_normalization(normalization, width),
            make_activation(activation),
            nn.Linear(width, prod(outputs)),
        ]
        super().__init__(inputs, outputs, (prod(inputs),), layers)


class ResidualEncoder(ShapedNetwork):
    """Convolutions of stride 2, residual blocks after each, then one linear layer: images to the parameters of q(z|x).

    The blocks are pre-activation ones of two 3 x 3 convolutions (He, Zhang, Ren and Sun, 2016). All of them work on
    images already halved, where a convolution costs a quarter or less.

    Args:
        input_shape: ``(channels, height, width)`` of one image.
        output_shape: shape of one output, for example ``2 * latent_dim``.
        channels: channels at each size; one entry for each halving of height and width.
        num_blocks: residual blocks at each size.
        activation: name of the function before each layer of a block, and before the linear layer.
        normalization: before each activation; as in ``ConvEncoder``.

    Shape:
        ``(*batch, *input_shape) -> (*batch, *output_shape)``, with any number of batch dimensions.

    Raises:
        ValueError: data that are no images, more convolutions than halvings, an input of another shape.

    Example:
        >>> import torch
        >>> ResidualEncoder((1, 28, 20), 20)(torch.zeros(7, 1, 28, 20)).shape
        torch.Size([7, 20])
    """

    needs_images = True
    """Rows are given as ``(channels, height, width)``; what else is known of them comes as more channels."""

    def __init__(
        self,
        input_shape: Sequence[int],
        output_shape: int | Sequence[int],
        channels: Sequence[int] = (32, 64),
        num_blocks: int = 1,
        activation: Activation = "relu",
        normalization: Normalization = "none",
    ) -> None:
        inputs, outputs = as_shape(input_shape, "input_shape"), as_shape(output_shape, "output_shape")
        widths = as_shape(channels, "channels")
        _check_blocks(num_blocks)
        final_size = halved_sizes(inputs, "input_shape", len(widths))[-1]
        layers: list[nn.Module] = []
        for in_channels, out_channels in pairwise((inputs[0], *widths)):
            layers.append(halving(in_channels, out_channels, bias=normalization != "batch"))
            layers += [_ResidualBlock(out_channels, True, activation, normalization) for _ in range(num_blocks)]
        layers += [*make_normalization(normalization, widths[-1]), make_activation(activation)]
        layers += [nn.Flatten(), nn.Linear(widths[-1] * prod(final_size), prod(outputs))]
        super().__init__(inputs, outputs, inputs, layers)


class ResidualDecoder(ShapedNetwork):
    """One linear layer, then residual blocks and a transposed convolution at each size: z to the parameters of p(x|z).

    The mirror image of ``ResidualEncoder``, for images.

    Args:
        input_shape: shape of one input, for example ``latent_dim``.
        output_shape: ``(channels, height, width)`` of one image, or ``(parameters, channels, height, width)`` for a
            likelihood that takes several numbers for each entry.
        channels: channels at each size; one entry for each doubling of height and width.
        num_blocks: residual blocks at each size.
        activation: name of the function before each layer of a block, and before the last transposed convolution.
        normalization: before each activation; as in ``ConvEncoder``.

    Shape:
        ``(*batch, *input_shape) -> (*batch, *output_shape)``, with any number of batch dimensions.

    Raises:
        ValueError: data that are no images, more convolutions than halvings, an input of another shape.

    Example:
        >>> import torch
        >>> ResidualDecoder(20, (2, 3, 32, 32))(torch.zeros(4, 7, 20)).shape
        torch.Size([4, 7, 2, 3, 32, 32])
    """

    def __init__(
        self,
        input_shape: int | Sequence[int],
        output_shape: Sequence[int],
        channels: Sequence[int] = (64, 32),
        num_blocks: int = 1,
        activation: Activation = "relu",
        normalization: Normalization = "none",
    ) -> None:
        inputs, outputs = as_shape(input_shape, "input_shape"), as_shape(output_shape, "output_shape")
        widths = as_shape(channels, "channels")
        _check_blocks(num_blocks)
        image = image_channels(outputs)
        smallest, *sizes = halved_sizes(image, "output_shape", len(widths))[::-1]
        layers: list[nn.Module] = [
            nn.Linear(prod(inputs), widths[0] * prod(smallest)),
            nn.Unflatten(-1, (widths[0], *smallest)),
        ]
        for level, (in_channels, out_channels) in enumerate(pairwise((*widths, image[0]))):
            layers += [_ResidualBlock(in_channels, True, activation, normalization) for _ in range(num_blocks)]
            last = level == len(widths) - 1
            if last:
                layers += [*make_normalization(normalization, in_channels), make_activation(activation)]
            layers.append(doubling(in_channels, out_channels, sizes[level], bias=last or normalization != "batch"))
        super().__init__(inputs, outputs, (prod(inputs),), layers)
