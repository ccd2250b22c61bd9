"""The parts of a model: modules that were given, or made for the shapes of the data."""

import copy
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from torch import Tensor, nn

from pyrovae import likelihoods, networks, posteriors
from pyrovae.data import Masking

Part = nn.Module | Callable[..., nn.Module] | None
"""A module; a function that makes one from its sizes; None for the default."""


def build_parts(given: Any, **slots: tuple[Callable[..., nn.Module], tuple[Any, ...]]) -> Any:
    """The parts of a model, by slot; what was given stays as it is.

    Args:
        given: has for each slot a module, a function of the slot's sizes, or None.
        slots: for each the function that makes the default, and its arguments, the sizes of the slot.

    Raises:
        ValueError: a part that is none of these.
    """
    # All at once: parts may share a module.
    parts = copy.deepcopy({slot: getattr(given, slot) for slot in slots})
    for slot, (default, sizes) in slots.items():
        part = parts[slot]
        if not isinstance(part, nn.Module):
            maker = default if part is None else part
            if not callable(maker):
                raise ValueError(
                    f"{slot} is a {type(part).__name__}; expected a torch module, a function that makes one from "
                    f"{sizes}, or None for the default"
                )
            parts[slot] = part = maker(*sizes)
            if not isinstance(part, nn.Module):
                raise ValueError(
                    f"{slot} is a function that gave a {type(part).__name__} for the sizes {sizes}; expected a "
                    "torch module"
                )
    return parts


def check_takes_classes(slot: str, run: Callable[[], object], shape: tuple[int, int, int]) -> None:
    """Refuse a part that takes rows of one class and not those of all classes together.

    Args:
        slot: name of the part.
        run: runs it on inputs for all classes.
        shape: of these inputs, ``(classes, rows, numbers)``.

    Raises:
        ValueError: what the part raised, and the repairs.
    """
    try:
        run()
    except Exception as error:  # whatever a part of the user's raises
        raise ValueError(
            f"{slot} fails on inputs of shape {shape}, (classes, rows, numbers): {error}; expected a part that takes "
            "any number of leading dimensions, for all classes of a row are looked at together: leave nn.Flatten out, "
            "the numbers are one vector already; use networks.MLP(..., normalization='batch') in place of "
            "nn.BatchNorm1d; or reshape to (-1, numbers), and the output back"
        ) from error


def bernoulli_likelihood(input_dim: int, data_shape: tuple[int, ...], hidden_dims: Sequence[int]) -> nn.Module:
    """A likelihood of bits, of so many inputs."""
    return likelihoods.Bernoulli(networks.MLP(input_dim, data_shape, hidden_dims))


def normal_likelihood(input_dim: int, data_shape: tuple[int, ...], hidden_dims: Sequence[int]) -> nn.Module:
    """A likelihood of real numbers, with one learned scale."""
    return likelihoods.Normal(networks.MLP(input_dim, data_shape, hidden_dims))


def predicted_normal_likelihood(input_dim: int, data_shape: tuple[int, ...], hidden_dims: Sequence[int]) -> nn.Module:
    """A likelihood of real numbers, with a scale for each that the decoder gives."""
    return likelihoods.Normal(networks.MLP(input_dim, (2, *data_shape), hidden_dims), scale="predicted")


def diagonal_posterior(input_shape: tuple[int, ...], latent_dim: int, hidden_dims: Sequence[int]) -> nn.Module:
    """A mean-field Gaussian posterior."""
    return posteriors.DiagonalNormal(networks.MLP(input_shape, 2 * latent_dim, hidden_dims))


def masking_posterior(input_shape: tuple[int, ...], latent_dim: int, hidden_dims: Sequence[int]) -> nn.Module:
    """The same, its encoder seeing in training rows with three entries of ten set to zero."""
    return posteriors.Denoising(diagonal_posterior(input_shape, latent_dim, hidden_dims), Masking(0.3))


class CorruptedInput(nn.Module):
    """A network that sees corrupted inputs in training, and the inputs themselves in evaluation.

    Args:
        network: module from rows to anything.
        corruption: function from rows to rows of the same shape, ``data.Translation(2)`` for example.

    Example:
        >>> import torch
        >>> from pyrovae import networks
        >>> from pyrovae.data import Translation
        >>> classifier = CorruptedInput(networks.ConvEncoder((1, 8, 8), 10), Translation(1))
        >>> classifier(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 10])
    """

    def __init__(self, network: nn.Module, corruption: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.corruption = network, corruption

    def forward(self, x: Tensor) -> Tensor:
        """What the network gives for the rows."""
        return self.network(self.corruption(x) if self.training else x)

    def extra_repr(self) -> str:
        """What the printed module says of itself."""
        return f"corruption={self.corruption!r}"


class DropoutMLP(nn.Module):
    """A classifier's network: a multilayer perceptron that drops inputs and hidden units in training.

    Dropout (Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, 2014) keeps a network from learning a few
    labelled rows by heart.

    Args:
        input_shape: shape of one row.
        num_classes: number of outputs, one unnormalised log-probability for each class.
        hidden_dims: widths of the hidden layers.
        input_dropout: share of the entries of a row that are set to zero.
        dropout: share of the hidden units that are set to zero.

    Example:
        >>> import torch
        >>> DropoutMLP((1, 8, 8), 10, (32,))(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 10])
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        hidden_dims: Sequence[int] = (500,),
        input_dropout: float = 0.2,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten(), nn.Dropout(input_dropout)]
        width = prod(input_shape)
        for hidden_dim in hidden_dims:
            layers += [nn.Linear(width, hidden_dim), nn.ReLU(), nn.Dropout(dropout)]
            width = hidden_dim
        self.layers = nn.Sequential(*layers, nn.Linear(width, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """Unnormalised log-probabilities ``(rows, num_classes)``."""
        return self.layers(x)


class DropoutConv(nn.Module):
    """A classifier's network for images: that of ``networks.ConvEncoder``, its last layer seeing a part of its inputs.

    Args:
        input_shape: ``(channels, height, width)`` of one image.
        num_classes: number of outputs, one unnormalised log-probability for each class.
        channels: output channels of each convolution; each one halves height and width.
        dropout: share of the inputs of the last layer that are set to zero in training.

    Raises:
        ValueError: data that are no images, more convolutions than halvings.

    Example:
        >>> import torch
        >>> DropoutConv((1, 8, 8), 10)(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 10])
    """

    def __init__(
        self, input_shape: Sequence[int], num_classes: int, channels: Sequence[int] = (32, 64), dropout: float = 0.5
    ) -> None:
        super().__init__()
        *features, last = networks.ConvEncoder(input_shape, num_classes, channels).layers
        self.layers = nn.Sequential(*features, nn.Dropout(dropout), last)

    def forward(self, x: Tensor) -> Tensor:
        """Unnormalised log-probabilities ``(rows, num_classes)``."""
        return self.layers(x)
