"""The terms of a loss and its gradient, by recorded operations where that pays."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pyrovae.recording import Replay, Stepping

LossTerms = Callable[..., dict[str, Tensor]]
"""From the tensors of a batch to numbers by name; the first is the loss."""


class GradientStep:
    """Terms of a batch; the gradient of the first of them, the loss, is left in the parameters.

    Args:
        terms: the terms of a batch.
        parameters: what gets a gradient; none where nothing is trained.
        weights: gives all tensors that training changes.
        stepping: how ``terms`` is run.
        calls: how many batches are to come.
        recordable: as ``terms``, where that cannot be recorded; None is the same.

    Attributes:
        names: of the terms, in the order of their values; known after the first call.
    """

    def __init__(
        self,
        terms: LossTerms,
        parameters: Sequence[Tensor],
        weights: Callable[[], Sequence[Tensor]],
        stepping: Stepping,
        calls: int,
        recordable: LossTerms | None = None,
    ) -> None:
        self.parameters = list(parameters)
        self.names: list[str] = []
        self.replay = Replay(
            lambda *batch: self._outputs(terms(*batch)),
            weights,
            stepping,
            calls,
            recordable=lambda *batch: self._outputs((recordable or terms)(*batch)),
        )

    def __call__(self, *batch: Tensor) -> Tensor:
        """The values of the terms, one after the other."""
        values, *gradients = self.replay(*batch)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        assert values is not None
        return values

    def _outputs(self, terms: dict[str, Tensor]) -> tuple[Tensor | None, ...]:
        self.names = list(terms)
        loss = terms[self.names[0]]
        values = torch.stack([value.detach().to(loss.dtype) for value in terms.values()])
        if not self.parameters:
            return (values,)
        return values, *torch.autograd.grad(loss, self.parameters, allow_unused=True)
