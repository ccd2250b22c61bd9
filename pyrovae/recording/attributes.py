"""What programs keep in Python, which their recorded operations know nothing of."""

from collections.abc import Sequence
from typing import Any

from torch import nn

_PLAIN = (bool, int, float, str)


class Attributes:
    """Numbers and texts among the attributes of objects, and of the modules in them, as they are now.

    Args:
        owners: modules, and other objects that have programs as methods.
    """

    def __init__(self, owners: Sequence[Any]) -> None:
        parts = [part for owner in owners for part in (owner.modules() if isinstance(owner, nn.Module) else [owner])]
        self._kept: list[tuple[dict[str, Any], dict[str, Any]]] = []
        for part in {id(part): part for part in parts if hasattr(part, "__dict__")}.values():
            self._kept.append((vars(part), {key: value for key, value in vars(part).items() if type(value) in _PLAIN}))

    def changed(self) -> bool:
        """Whether one has another value by now; NaN is as it was."""
        return any(
            key not in now or (now[key] != value and value == value)
            for now, before in self._kept
            for key, value in before.items()
        )

    def put_back(self) -> None:
        """Give all the values that they had."""
        for now, before in self._kept:
            now.update(before)
