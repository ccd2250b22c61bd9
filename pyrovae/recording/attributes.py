"""What programs keep in Python, which their recorded operations know nothing of."""

import pickle
import random
from collections import deque
from collections.abc import Sequence
from itertools import islice
from types import CellType
from typing import Any

import numpy as np
import torch

from pyrovae.programs import GENERATORS, plain_values, reachable

# Looked at before each step: more of them are data.
_MOST_VALUES = 2000


class Attributes:
    """What programs can reach by names, as it is now: numbers, texts, lengths of lists, generators of random numbers.

    Args:
        owners: the programs, or the modules and other objects that have them as methods.
    """

    def __init__(self, owners: Sequence[Any]) -> None:
        found = reachable(owners)
        self._kept = list(islice((place for reached in found for place in plain_values(reached)), _MOST_VALUES))
        self._lists = [reached for reached in found if isinstance(reached, list | deque | set)]
        self._generators = [reached for reached in found if isinstance(reached, GENERATORS)]
        self.note()

    def changed(self) -> str:
        """Which number or text is another one by now, with the repair; empty if none is. NaN is as it was."""
        for collection, key, before in self._kept:
            if _differs(_now(collection, key), before):
                return f"it changes {key!r}, which is no tensor: make it a buffer"
        return ""

    def note(self) -> None:
        """Look at lists and generators, which others may have moved, for ``moved``."""
        self._items = [list(items) for items in self._lists]
        self._states = [_state(generator) for generator in self._generators]

    def moved(self) -> str:
        """Which list or generator is another one than when it was looked at last, with the repair."""
        for items, before in zip(self._lists, self._items, strict=True):
            if len(items) != len(before):
                return f"it changes the length of a {type(items).__name__}: count in a buffer"
        for generator, state in zip(self._generators, self._states, strict=True):
            if _state(generator) != state:
                return f"it draws from a {type(generator).__name__} of its own: draw by torch or Pyro"
        return ""

    def put_back(self) -> None:
        """Let all be what it was."""
        for items, before in zip(self._lists, self._items, strict=True):
            if len(items) != len(before):
                items.clear()
                items.update(before) if isinstance(items, set) else items.extend(before)
        for collection, key, before in self._kept:
            if not _differs(_now(collection, key), before):
                continue
            if isinstance(collection, CellType):
                collection.cell_contents = before
            elif isinstance(collection, type):
                setattr(collection, key, before)
            else:
                collection[key] = before
        for generator, state in zip(self._generators, self._states, strict=True):
            _set_state(generator, state)


def _differs(now: Any, before: Any) -> bool:
    return now is not before and (type(now) is not type(before) or now != before) and before == before


def _now(collection: Any, key: Any) -> Any:
    try:
        if isinstance(collection, CellType):
            return collection.cell_contents
        return vars(collection)[key] if isinstance(collection, type) else collection[key]
    except (KeyError, IndexError, ValueError):
        return None


def _state(generator: Any) -> Any:
    if isinstance(generator, random.Random):
        return generator.getstate()
    if isinstance(generator, np.random.Generator):
        return pickle.dumps(generator.bit_generator.state)
    state = generator.get_state()
    return pickle.dumps(state) if isinstance(generator, np.random.RandomState) else state.numpy().tobytes()


def _set_state(generator: Any, state: Any) -> None:
    if isinstance(generator, random.Random):
        generator.setstate(state)
    elif isinstance(generator, np.random.Generator):
        generator.bit_generator.state = pickle.loads(state)
    elif isinstance(generator, np.random.RandomState):
        generator.set_state(pickle.loads(state))
    else:
        generator.set_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))
