"""Activation functions by name."""

from collections.abc import Callable
from typing import Literal, get_args

from torch import nn

Activation = Literal["elu", "gelu", "leaky_relu", "mish", "relu", "selu", "sigmoid", "silu", "softplus", "tanh"]

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "leaky_relu": nn.LeakyReLU,
    "mish": nn.Mish,
    "relu": nn.ReLU,
    "selu": nn.SELU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}


def make_activation(name: Activation) -> nn.Module:
    """A new activation module, by its name in torch.nn.functional."""
    if name not in _ACTIVATIONS:
        raise ValueError(f"activation is {name!r}; expected one of {', '.join(get_args(Activation))}")
    return _ACTIVATIONS[name]()
