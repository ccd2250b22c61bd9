"""The optimiser, and its learning rate."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

# Far above the subnormal numbers, which in single precision begin below 1.2e-38, and far below what moves a weight.
_VANISHED = 1e-34
# Averages that decay by a tenth at each step take 86 from there to the subnormal numbers.
_STEPS_BETWEEN_FLUSHES = 64


def adam(parameters: Iterable[Tensor], lr: float) -> torch.optim.Optimizer:
    """Adam (Kingma and Ba, 2015), in one kernel where there is one, and not a dozen small ones for each tensor."""
    parameters = list(parameters)
    # It goes through memory as it lies: parts of larger tensors, and transposed ones, take the dozen.
    fused = all(parameter.device.type in ("cpu", "cuda") and parameter.is_contiguous() for parameter in parameters)
    return torch.optim.Adam(parameters, lr=lr, fused=fused)


def moved_parameters(module: nn.Module) -> list[Tensor]:
    """The parameters of a module that are not held.

    Raises:
        ValueError: all are.
    """
    moved = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not moved:
        raise ValueError("no parameter requires a gradient, so nothing can be trained: requires_grad_() lets them move")
    return list(moved)


def made_optimizer(
    make: Callable[[Iterable[Tensor]], torch.optim.Optimizer], parameters: Sequence[Tensor]
) -> torch.optim.Optimizer:
    """The optimiser of the parameters.

    Args:
        make: makes it from them.
        parameters: that are moved.

    Raises:
        ValueError: it made something else, such as a schedule of the learning rate, or one whose steps need the loss
            again.
    """
    expected = (
        "expected a maker of a torch optimiser from the parameters, lambda p: torch.optim.SGD(p, lr=0.1) for example"
    )
    if not callable(make):
        raise ValueError(f"optimizer is a {type(make).__name__}, made of parameters already; {expected}")
    made = make(parameters)
    if isinstance(made, torch.optim.lr_scheduler.LRScheduler):
        raise ValueError(
            f"optimizer made a {type(made).__name__}, a schedule of the learning rate: let it make the optimiser, and "
            "give the schedule as lr=objectives.Cosine(1e-3, 0, length=1), or one value after the other as "
            f"lr=objectives.Stages([1e-2, 1e-3], [2, 1]); {expected}"
        )
    if not isinstance(made, torch.optim.Optimizer):
        raise ValueError(f"optimizer made a {type(made).__name__}, as those of pyro.optim do at this point; {expected}")
    if isinstance(made, torch.optim.LBFGS):
        raise ValueError(f"optimizer made an LBFGS, whose steps need the loss of one batch several times; {expected}")
    return made


def flush_vanished(optimizer: torch.optim.Optimizer, step: int) -> None:
    """Set to zero what has all but vanished of the averages that an optimiser keeps, at each sixty-fourth step.

    Averages of a gradient that is exactly zero from some step on, as for weights of a pixel that is seldom on, decay
    to subnormal numbers, are rounded up to these for ever, and are computed with many times more slowly on processors.
    Numbers below 1e-34 change no weight.

    Args:
        optimizer: after the step.
        step: of the run, counted from 1.
    """
    if step % _STEPS_BETWEEN_FLUSHES:
        return
    for kept in optimizer.state.values():
        # Optimisers of one's own may keep something else beside what they keep of each parameter.
        for tensor in kept.values() if isinstance(kept, Mapping) else ():
            if isinstance(tensor, Tensor) and tensor.dtype == torch.float32 and tensor.layout == torch.strided:
                tensor.copy_(torch.hardshrink(tensor, _VANISHED))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Let all parameters learn at one rate from now on."""
    for group in optimizer.param_groups:
        group["lr"] = rate
