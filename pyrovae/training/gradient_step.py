"""The terms of a loss and its gradient, by recorded operations where that pays."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pyrovae.recording import SINGLE, Replay, Stepping

Outputs = tuple[Tensor | None, ...]
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
        rounding: how far recorded terms and gradients may be off.
        owners: modules and other objects of the programs.

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
        rounding: float = SINGLE,
        owners: Sequence[Any] = (),
    ) -> None:
        self.parameters, self.names = list(parameters), list[str]()
        outputs = partial(_outputs, self.parameters, self.names)
        self.replay = Replay(
            partial(_composed, outputs, terms),
            weights,
            stepping,
            calls,
            recordable=partial(_composed, outputs, recordable or terms),
            rounding=rounding,
            owners=owners,
        )

    def __call__(self, *batch: Tensor) -> Tensor:
        """The values of the terms, one after the other."""
        values, *gradients = self.replay(*batch)
        places = set[int]()
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            if gradient is not None and gradient.layout is torch.strided:
                if not _lie_alike(parameter, gradient) or gradient.data_ptr() in places:
                    gradient = torch.empty_like(parameter).copy_(gradient)
                places.add(gradient.data_ptr())
            parameter.grad = gradient
        assert values is not None
        return values


def _lie_alike(parameter: Tensor, gradient: Tensor) -> bool:
    """Whether numbers of the same place in memory belong together, as fused optimisers and clipping in place take them.

    ``backward`` would see to it; ``autograd.grad`` gives transposed, expanded and shared gradients as they come.
    """
    if gradient.stride() == parameter.stride():
        return True
    return gradient.is_contiguous() and parameter.is_contiguous()


# Not methods: a step that knew itself would stay, with all that it knows, until the garbage collector comes.
def _composed(outputs: Callable[[dict[str, Tensor]], Outputs], terms: LossTerms, *batch: Tensor) -> Outputs:
    return outputs(terms(*batch))


def _outputs(parameters: list[Tensor], names: list[str], terms: dict[str, Tensor]) -> Outputs:
    names[:] = terms
    loss = terms[names[0]]
    values = torch.stack([value.detach().to(loss.dtype) for value in terms.values()])
    return values, *(torch.autograd.grad(loss, parameters, allow_unused=True) if parameters else ())
