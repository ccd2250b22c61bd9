"""The norm of the gradient over a run, and whether it explodes."""

import math
from collections import deque
from dataclasses import astuple, dataclass, field
from statistics import median
from typing import Any

import torch
from torch import Tensor

# Within a run that goes well a norm was at most 30 times the median before it, in fits of images, of tables and with
# score-function gradients, batches of one row included.
_EXPLODED = 1000

# A learning rate far too high shows in the first steps.
_EACH_STEP_UNTIL, _STRIDE = 50, 10
_WINDOW = 100


@dataclass(frozen=True)
class Explosion:
    """A norm far above those before it: its step, counted from 1, and the median of the norms before it."""

    step: int
    norm: float
    usual: float


@dataclass
class GradientNorms:
    """Norms of the gradient over all parameters, measured at the first steps and then at every tenth.

    They stay on the device until they are asked for, so that no step waits.
    """

    _pending: list[tuple[int, Tensor]] = field(default_factory=list)
    _recent: deque[float] = field(default_factory=lambda: deque(maxlen=_WINDOW))
    _found: Explosion | None = None

    def note(self, parameters: list[Tensor], step: int) -> None:
        """Measure the gradient of a step, counted from 1, if it is one of those."""
        if self._found is None and (step <= _EACH_STEP_UNTIL or step % _STRIDE == 0):
            gradients = [p.grad for p in parameters if p.grad is not None and not p.grad.is_sparse]
            if gradients:
                self._pending.append((step, torch.stack(torch._foreach_norm(gradients)).norm()))

    def state(self) -> dict[str, Any]:
        """What was measured, as numbers."""
        found = self.explosion()
        return {"recent": list(self._recent), "found": None if found is None else astuple(found)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` gave."""
        self._found = None if state["found"] is None else Explosion(*state["found"])
        self._recent = deque(state["recent"], maxlen=_WINDOW)

    def explosion(self) -> Explosion | None:
        """The first norm above a thousand times the running median of the hundred before it; None without one."""
        norms = torch.stack([norm for _, norm in self._pending]).tolist() if self._pending else []
        for (step, _), norm in zip(self._pending, norms, strict=True):
            usual = median(self._recent) if self._recent else math.inf
            if self._found is None and 0 < usual < math.inf and norm > _EXPLODED * usual:
                self._found = Explosion(step, norm, usual)
            if math.isfinite(norm):
                self._recent.append(norm)
        self._pending.clear()
        return self._found
