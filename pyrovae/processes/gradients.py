"""The mean over processes of gradients that were found in whatever way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pyrovae.processes.group import Processes


class AveragedGradients:
    """Puts the mean over processes in place of the gradient of each parameter, by DistributedDataParallel.

    A gradient may come from recorded operations, of which autograd knows nothing, so it is handed to
    DistributedDataParallel as that of a function which depends on the parameters and has no value of interest. When
    this is made the parameters get the values that they have in the first process, and buffers at each step.

    Args:
        processes: that work together.
        parameters: what is trained.
        buffers: what steps change beside it.
    """

    def __init__(self, processes: Processes, parameters: Sequence[Tensor], buffers: Sequence[Tensor]) -> None:
        self.processes, self.parameters = processes, parameters
        if processes.fabric is not None:
            self._handed_over = _HandedOver(parameters, buffers)
            with processes.others_alive():
                self._averaging = processes.fabric.setup_module(self._handed_over)

    def average(self) -> None:
        """Average what is in ``grad`` of the parameters.

        Raises:
            ProcessEndedError: another process ended.
        """
        if self.processes.fabric is None:
            return
        given = [parameter.grad for parameter in self.parameters]
        shared = list(self._handed_over.shared)
        self._handed_over.given = [
            torch.zeros_like(parameter) if gradient is None else gradient
            for parameter, gradient in zip(shared, given, strict=True)
        ]
        with self.processes.others_alive():
            self.processes.fabric.backward(self._averaging())
        for parameter, gradient, averaged in zip(self.parameters, given, shared, strict=True):
            # An optimiser passes over a parameter without gradient.
            parameter.grad = None if gradient is None else averaged.grad
            averaged.grad = None


class _HandedOver(nn.Module):
    """Parameters that have the memory of those that are trained, and a function with given gradients."""

    def __init__(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor]) -> None:
        super().__init__()
        self.shared = nn.ParameterList([nn.Parameter(parameter.detach()) for parameter in parameters])
        for number, buffer in enumerate(buffers):
            self.register_buffer(f"buffer_{number}", buffer.detach())
        self.given: list[Tensor] = []

    def forward(self) -> Tensor:
        value: Tensor = _WithGradients.apply(self.given, *self.shared)
        return value


class _WithGradients(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, gradients: list[Tensor], *parameters: Tensor) -> Tensor:
        context.gradients = gradients
        return parameters[0].new_zeros(())

    @staticmethod
    def backward(context: Any, *_: Tensor) -> Any:
        return None, *context.gradients
