"""The optimiser."""

from collections.abc import Iterable

import torch
from torch import Tensor


def adam(parameters: Iterable[Tensor], lr: float) -> torch.optim.Optimizer:
    """Adam (Kingma and Ba, 2015), in one kernel where there is one, and not a dozen small ones for each tensor."""
    parameters = list(parameters)
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in parameters)
    return torch.optim.Adam(parameters, lr=lr, fused=fused)
