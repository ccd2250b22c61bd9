"""Small convolutional networks, sized from the shape of the images."""

from collections.abc import Sequence
from math import prod

from torch import Tensor, nn

from pyrovae.networks.activations import Activation, make_activation
from pyrovae.networks.shapes import as_shape, split_batch

# A kernel of 4 at stride 2 covers every pixel equally often, so the decoder draws no checkerboard.
_KERNEL, _STRIDE, _PADDING = 4, 2, 1


def _halved(data_shape: tuple[int, ...], levels: int) -> list[tuple[int, int]]:
    """Heights and widths before and after each convolution of stride 2."""
    if len(data_shape) != 3:
        raise ValueError(
            f"data_shape is {data_shape}; a convolutional network needs (channels, height, width): use MLP for "
            "data that are not images"
        )
    sizes = [(data_shape[1], data_shape[2])]
    for _ in range(levels):
        height, width = sizes[-1]
        if min(height, width) < 2:
            raise ValueError(
                f"{levels} convolutions halve images of {data_shape[1]} x {data_shape[2]} pixels to nothing: "
                "give fewer channels, one entry for each convolution"
            )
        sizes.append((height // 2, width // 2))
    return sizes


class ConvEncoder(nn.Module):
    """Convolutions of stride 2, then one linear layer: images to the parameters of q(z|x).

    Args:
        data_shape: ``(channels, height, width)`` of one image.
        output_shape: shape of one output, for example ``2 * latent_dim``.
        channels: output channels of each convolution; each one halves height and width.
        activation: name of the function after each convolution.

    Shape:
        ``(*batch, *data_shape) -> (*batch, *output_shape)``, with any number of batch dimensions.

    Raises:
        ValueError: data that are no images, more convolutions than halvings, an input of another shape.

    Example:
        >>> import torch
        >>> ConvEncoder((1, 28, 28), 20)(torch.zeros(7, 1, 28, 28)).shape
        torch.Size([7, 20])
    """

    def __init__(
        self,
        data_shape: Sequence[int],
        output_shape: int | Sequence[int],
        channels: Sequence[int] = (32, 64),
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        self.data_shape = as_shape(data_shape, "data_shape")
        self.output_shape = as_shape(output_shape, "output_shape")
        widths = as_shape(channels, "channels")
        final_size = _halved(self.data_shape, len(widths))[-1]
        layers: list[nn.Module] = []
        for in_channels, out_channels in zip((self.data_shape[0], *widths), widths, strict=False):
            layers += [nn.Conv2d(in_channels, out_channels, _KERNEL, _STRIDE, _PADDING), make_activation(activation)]
        self.layers = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(widths[-1] * prod(final_size), prod(self.output_shape))
        )

    def forward(self, x: Tensor) -> Tensor:
        """The output for each image."""
        batch_shape = split_batch(x, self.data_shape, "ConvEncoder")
        # Convolutions take one batch dimension: fold the leading ones into it.
        return self.layers(x.reshape(-1, *self.data_shape)).reshape(*batch_shape, *self.output_shape)


class ConvDecoder(nn.Module):
    """One linear layer, then transposed convolutions of stride 2: z to the parameters of p(x|z) for images.

    Args:
        input_shape: shape of one input, for example ``latent_dim``.
        data_shape: ``(channels, height, width)`` of one image.
        channels: input channels of each transposed convolution; each one doubles height and width.
        activation: name of the function before each transposed convolution.

    Shape:
        ``(*batch, *input_shape) -> (*batch, *data_shape)``, with any number of batch dimensions.

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
        data_shape: Sequence[int],
        channels: Sequence[int] = (64, 32),
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        self.input_shape = as_shape(input_shape, "input_shape")
        self.data_shape = as_shape(data_shape, "data_shape")
        widths = as_shape(channels, "channels")
        sizes = _halved(self.data_shape, len(widths))[::-1]
        layers: list[nn.Module] = [
            nn.Linear(prod(self.input_shape), widths[0] * prod(sizes[0])),
            nn.Unflatten(-1, (widths[0], *sizes[0])),
        ]
        for level, (in_channels, out_channels) in enumerate(
            zip(widths, (*widths[1:], self.data_shape[0]), strict=True)
        ):
            # An odd size lost a pixel when it was halved; the output padding gives it back.
            output_padding = (sizes[level + 1][0] % 2, sizes[level + 1][1] % 2)
            layers += [
                make_activation(activation),
                nn.ConvTranspose2d(in_channels, out_channels, _KERNEL, _STRIDE, _PADDING, output_padding),
            ]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        """The image of parameters for each z."""
        batch_shape = split_batch(z, self.input_shape, "ConvDecoder")
        return self.layers(z.reshape(-1, prod(self.input_shape))).reshape(*batch_shape, *self.data_shape)
