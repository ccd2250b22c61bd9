"""Networks in a lower precision than the densities around them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

Precision = Literal["32", "bf16-mixed"]
"""``"bf16-mixed"``: linear layers, convolutions and attention multiply in bfloat16; all else is in single precision."""

# Not matmul: densities of correlated variables use it.
_LAYERS = {
    F.linear,
    F.bilinear,
    F.conv1d,
    F.conv2d,
    F.conv3d,
    F.conv_transpose1d,
    F.conv_transpose2d,
    F.conv_transpose3d,
    F.scaled_dot_product_attention,
}


class _LayersInBfloat16(TorchFunctionMode):
    """Runs the multiplications of layers in bfloat16, and gives their results in the type that went in."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device_type = device.type

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function not in _LAYERS or args[0].dtype != torch.float32:
            return function(*args, **kwargs)
        with torch.autocast(self.device_type, torch.bfloat16):
            return function(*args, **kwargs).float()


@contextmanager
def precision_of_layers(precision: Precision, device: torch.device) -> Iterator[None]:
    """Run the layers of networks in this precision; parameters, log-densities and sums stay as they are.

    A layer rounds its inputs and weights to the 8 bits of bfloat16 (Kalamkar et al., 2019), and what it gives. Random
    draws do not change. Layers of double precision stay in it.

    Args:
        precision: ``"32"`` leaves everything as it is.
        device: where the layers are.

    Example:
        >>> import torch
        >>> layer, x = torch.nn.Linear(3, 2), torch.ones(1, 3)
        >>> with precision_of_layers("bf16-mixed", torch.device("cpu")):
        ...     mixed = layer(x)
        >>> mixed.dtype, bool((mixed - layer(x)).abs().max() < 0.05)
        (torch.float32, True)
    """
    if precision == "32":
        yield
    else:
        with _LayersInBfloat16(device):
            yield
