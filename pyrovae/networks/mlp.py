"""Fully connected networks."""

from collections.abc import Sequence
from math import prod
from numbers import Integral

import torch.nn.functional as F
from torch import Tensor, nn

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
        ``(*batch, *input_shape) -> (*batch, *output_shape)``, with any number of batch dimensions. A tuple of
        vectors, whose batch dimensions broadcast, stands for one vector, theirs end to end.

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
        if isinstance(hidden_dims, int | Integral):
            raise ValueError(f"hidden_dims is {hidden_dims!r}; expected a list of widths, as [200] for one layer")
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

    def forward(self, x: Tensor | tuple[Tensor, ...]) -> Tensor:
        """The output for each input."""
        if not isinstance(x, tuple):
            return super().forward(x)
        widths, first = [vectors.shape[-1] for vectors in x], self.layers[0]
        if (sum(widths),) != self.input_shape:
            raise ValueError(
                f"MLP got vectors of {' and '.join(map(str, widths))} entries; expected as many together as its "
                f"input_shape {self.input_shape} has: build the network for their sum"
            )
        assert isinstance(first, nn.Linear)
        # The first layer is a sum over the vectors, so that none is repeated for those that others are paired with.
        weights = first.weight.split(widths, dim=1)
        hidden = F.linear(x[0], weights[0], first.bias)
        for vectors, weight in zip(x[1:], weights[1:], strict=True):
            hidden = hidden + F.linear(vectors, weight)
        rows = hidden.reshape(-1, hidden.shape[-1])
        return self.layers[1:](rows).reshape(*hidden.shape[:-1], *self.output_shape)
