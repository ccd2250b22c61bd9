"""Fully connected networks."""

from collections.abc import Sequence
from math import prod

from torch import nn

from pyrovae.networks.activations import Activation, make_activation
from pyrovae.networks.normalization import Normalization, make_normalization
from pyrovae.networks.shapes import ShapedNetwork, as_shape


class MLP(ShapedNetwork):
    """A multilayer perceptron between tensors of given shapes.

    The input is flattened, sent through ``hidden_dims`` layers with an activation after each, and the linear
    output is given ``output_shape``. As an encoder it maps data to the parameters of q(z|x), as a decoder z to
    the parameters of p(x|z). No ``hidden_dims`` makes it linear.

    Args:
        input_shape: shape of one input, without batch dimensions; ``n`` stands for ``(n,)``.
        output_shape: shape of one output.
        hidden_dims: widths of the hidden layers.
        activation: name of the function after each hidden layer.
        normalization: of each hidden layer, before its activation. ``"layer"`` normalises over the layer (Ba, Kiros
            and Hinton, 2016), ``"group"`` over groups of its units, each row by itself (Wu and He, 2018). ``"batch"``
            normalises each unit over all leading dimensions (Ioffe and Szegedy, 2015): in training it mixes the rows
            of a batch, so that the ELBO of a row depends on its neighbours; prefer ``"layer"`` or ``"group"``.

    Shape:
        ``(*batch, *input_shape) -> (*batch, *output_shape)``, with any number of batch dimensions.

    Raises:
        ValueError: a size that is not a positive integer, an unknown activation or normalisation, an input of another
            shape, one row in training under ``"batch"``.

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
        normalization: Normalization = "none",
    ) -> None:
        inputs, outputs = as_shape(input_shape, "input_shape"), as_shape(output_shape, "output_shape")
        widths = as_shape(hidden_dims, "hidden_dims") if len(hidden_dims) else ()
        # Batch normalisation takes the mean away, and a bias with it.
        bias = normalization != "batch"
        layers: list[nn.Module] = []
        width = prod(inputs)
        for hidden_dim in widths:
            layers.append(nn.Linear(width, hidden_dim, bias=bias))
            layers += [*make_normalization(normalization, hidden_dim), make_activation(activation)]
            width = hidden_dim
        layers.append(nn.Linear(width, prod(outputs)))
        super().__init__(inputs, outputs, (prod(inputs),), layers)
