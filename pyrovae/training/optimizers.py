"""The optimiser, and its learning rate."""

from collections.abc import Iterable

import torch
from torch import Tensor


def adam(parameters: Iterable[Tensor], lr: float) -> torch.optim.Optimizer:
    """Adam (Kingma and Ba, 2015), in one kernel where there is one, and not a dozen small ones for each tensor."""
    parameters = list(parameters)
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in parameters)
    return torch.optim.Adam(parameters, lr=lr, fused=fused)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Let all parameters learn at one rate from now on."""
    for group in optimizer.param_groups:
        group["lr"] = rate
