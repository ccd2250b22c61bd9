"""What programs keep in Python, which their recorded operations know nothing of."""

from collections.abc import Sequence
from itertools import islice
from types import CellType
from typing import Any

from pyrovae.programs import plain_values, reachable

# Looked at before each step: more of them are data.
_MOST_VALUES = 2000


class Attributes:
    """Numbers and texts that programs can reach by names, as they are now.

    Args:
        owners: the programs, or the modules and other objects that have them as methods.
    """

    def __init__(self, owners: Sequence[Any]) -> None:
        places = (place for reached in reachable(owners) for place in plain_values(reached))
        self._kept = list(islice(places, _MOST_VALUES))

    def changed(self) -> str:
        """The name of one that has another value by now; empty if none has. NaN is as it was."""
        for collection, key, before in self._kept:
            now = _now(collection, key)
            if now is not before and (type(now) is not type(before) or now != before) and before == before:
                return str(key)
        return ""

    def put_back(self) -> None:
        """Give all the values that they had."""
        for collection, key, before in self._kept:
            if isinstance(collection, CellType):
                collection.cell_contents = before
            elif not isinstance(collection, list) or key < len(collection):
                collection[key] = before


def _now(collection: Any, key: Any) -> Any:
    try:
        return collection.cell_contents if isinstance(collection, CellType) else collection[key]
    except (KeyError, IndexError, ValueError):
        return None
