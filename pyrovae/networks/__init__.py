"""Neural networks between data and latents; any ``nn.Module`` with the same shapes serves in their place."""

from pyrovae.networks.convolutional import ConvDecoder, ConvEncoder
from pyrovae.networks.mlp import MLP

__all__ = ["MLP", "ConvDecoder", "ConvEncoder"]
