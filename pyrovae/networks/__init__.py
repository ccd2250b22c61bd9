"""Neural networks between data and latents; any ``nn.Module`` with the same shapes serves in their place."""

from pyrovae.networks.columns import ColumnEncoder
from pyrovae.networks.convolutional import ConvDecoder, ConvEncoder
from pyrovae.networks.mlp import MLP
from pyrovae.networks.residual import ResidualDecoder, ResidualEncoder, ResidualMLP

__all__ = [
    "MLP",
    "ColumnEncoder",
    "ConvDecoder",
    "ConvEncoder",
    "ResidualDecoder",
    "ResidualEncoder",
    "ResidualMLP",
]
