"""What programs keep in Python, which their recorded operations know nothing of."""

import contextlib
import pickle
import random
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice
from types import CellType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyrovae.programs import GENERATORS, is_iterator, named_tensors, plain_values, reachable

# Looked at before each step: more of them are data.
_MOST_VALUES = 2000


class Attributes:
    """What programs can reach by names, as it is now: numbers, texts, tensors, lengths of lists, random generators.

    Args:
        owners: the programs, or the modules and other objects that have them as methods.
    """

    def __init__(self, owners: Sequence[Any]) -> None:
        found = reachable(owners)
        self._kept = list(islice((place for reached in found for place in plain_values(reached)), _MOST_VALUES))
        self._tensors = list(islice((place for reached in found for place in named_tensors(reached)), _MOST_VALUES))
        self._met: list[tuple[Any, Any, Tensor]] = []
        self._lists = [reached for reached in found if isinstance(reached, list | deque | set)]
        self._generators = [reached for reached in found if isinstance(reached, GENERATORS)]
        self._iterators = [reached for reached in found if is_iterator(reached)]
        self.note()

    def unforeseen(self) -> str:
        """What cannot be looked at without a change of it, with the repair; empty if there is nothing."""
        kinds = [type(iterator).__name__ for iterator in self._iterators]
        return f"it may take items of an iterator, a {kinds[0]}: count in a buffer" if kinds else ""

    def changed(self) -> str:
        """Which number, text or tensor that a recording has met is another one by now, with the repair; empty if none.

        NaN is as it was, and so is a new tensor of the same values.
        """
        for collection, key, before in self._kept:
            if _differs(_now(collection, key), before):
                return f"it changes {key!r}, which is no tensor: make it a buffer"
        return self.replaced()

    def meet(self, met: Iterable[Tensor]) -> None:
        """Watch the names of these tensors, for ``replaced``."""
        numbers = {id(tensor) for tensor in met}
        self._met = [place for place in self._tensors if id(place[2]) in numbers]

    def replaced(self) -> str:
        """Which name of a tensor that a recording has met is that of another tensor by now, with the repair."""
        for collection, key, before in self._met:
            if not _same_values(_now(collection, key), before):
                return f"it puts a new tensor in place of {key!r}: make it a buffer, and write into it by copy_"
        return ""

    def put_tensors_back(self) -> None:
        """Let names have the tensors that they had."""
        for collection, key, before in self._tensors:
            if _now(collection, key) is not before:
                # A list that has become shorter has its length looked at.
                with contextlib.suppress(IndexError):
                    _set(collection, key, before)
        # Others may be large, and soon forgotten by the programs.
        self._tensors = self._met

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
            if _differs(_now(collection, key), before):
                _set(collection, key, before)
        for generator, state in zip(self._generators, self._states, strict=True):
            _set_state(generator, state)


def _differs(now: Any, before: Any) -> bool:
    return now is not before and (type(now) is not type(before) or now != before) and before == before


def _same_values(now: Any, before: Tensor) -> bool:
    if now is before:
        return True
    alike = isinstance(now, Tensor) and (now.dtype, now.device) == (before.dtype, before.device)
    return alike and torch.equal(now, before)


def _set(collection: Any, key: Any, value: Any) -> None:
    if isinstance(collection, CellType):
        collection.cell_contents = value
    elif isinstance(collection, type):
        setattr(collection, key, value)
    else:
        collection[key] = value


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
