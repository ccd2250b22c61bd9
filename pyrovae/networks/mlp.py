"""Fully connected networks."""

from collections.abc import Sequence
from math import prod

from torch import Tensor, nn

from pyrovae.networks.activations import Activation, make_activation
from pyrovae.networks.shapes import as_shape, split_batch


class MLP(nn.Module):
    """A multilayer perceptron between tensors of given shapes.

    The input is flattened, sent through ``hidden_dims`` layers with an activation after each, and the linear
    output is given ``output_shape``. As an encoder it maps data to the parameters of q(z|x), as a decoder z to
    the parameters of p(x|z). No ``hidden_dims`` makes it linear.

    Args:
        input_shape: shape of one input, without batch dimensions; ``n`` stands for ``(n,)``.
        output_shape: shape of one output.
        hidden_dims: widths of the hidden layers.
        activation: name of the function after each hidden layer.

    Shape:
        ``(*batch, *input_shape) -> (*batch, *output_shape)``, with any number of batch dimensions.

    Raises:
        ValueError: a size that is not a positive integer, an unknown activation, an input of another shape.

    Example:
        >>> import torch
        >>> decoder = MLP(2, (1, 8, 8), hidden_dims=(32,))
        >>> decoder(torch.zeros(5, 3, 2)).shape
        torch.Size([5, 3, 1, 8, 8])
    """

    def __init__(
        self,
        input_shape: int | Sequence[int],
        output_shape: int | Sequence[int],
        hidden_dims: Sequence[int] = (200, 200),
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        self.input_shape = as_shape(input_shape, "input_shape")
        self.output_shape = as_shape(output_shape, "output_shape")
        widths = as_shape(hidden_dims, "hidden_dims") if len(hidden_dims) else ()
        layers: list[nn.Module] = []
        width = prod(self.input_shape)
        for hidden_dim in widths:
            layers += [nn.Linear(width, hidden_dim), make_activation(activation)]
            width = hidden_dim
        self.layers = nn.Sequential(*layers, nn.Linear(width, prod(self.output_shape)))

    def forward(self, x: Tensor) -> Tensor:
        """The output for each input."""
        batch_shape = split_batch(x, self.input_shape, "MLP")
        return self.layers(x.reshape(*batch_shape, -1)).reshape(*batch_shape, *self.output_shape)
