"""What programs can reach by names: the objects that they are methods of, their closures, and the globals they name."""

import functools
import random
import sys
from argparse import Namespace
from collections import deque
from collections.abc import Iterable, Iterator
from enum import EnumType
from types import CodeType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from pyro.poutine.messenger import _context_wrap
from torch import Tensor, nn

# Larger collections hold data.
_MOST_ITEMS = 100
# Weights, children and hooks.
_OF_ALL_MODULES = frozenset(vars(nn.Module())) - {"training"}
_NO_OWNERS = (Tensor, str, bytes, int, float, complex, ModuleType)
_PLAIN = (bool, int, float, complex, str, np.generic)
_SEQUENCES = (list, deque)
GENERATORS = (random.Random, np.random.Generator, np.random.RandomState, torch.Generator)
"""What draws random numbers by itself."""


class _Slots:
    """An object's attributes that are in no dictionary, as one."""

    def __init__(self, owner: Any) -> None:
        self.owner = owner

    def __getitem__(self, name: str) -> Any:
        try:
            return getattr(self.owner, name)
        except AttributeError as error:
            raise KeyError(name) from error

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self.owner, name, value)

    def items(self) -> Iterator[tuple[str, Any]]:
        for base in type(self.owner).__mro__:
            slots = vars(base).get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if hasattr(self.owner, name):
                    yield name, self[name]


def unwrapped(program: Any) -> Any:
    """A program without the partial applications and Pyro's handlers around it."""
    while isinstance(program, functools.partial):
        program = program.args[1] if program.func is _context_wrap else program.func
    return program


def reachable(programs: Iterable[Any]) -> list[Any]:
    """The functions, modules, objects, classes, generators and collections that programs can reach, each once.

    Args:
        programs: functions, methods, and objects that have them.
    """
    waiting, found = list(programs), dict[int, Any]()
    given = {id(program) for program in waiting}
    while waiting:
        reached = waiting.pop()
        if id(reached) in found or isinstance(reached, _NO_OWNERS):
            continue
        if isinstance(reached, (*GENERATORS, *_SEQUENCES, set)) or is_iterator(reached):
            found[id(reached)] = reached
        try:
            names = list(_names_of(reached, given=id(reached) in given))
        except Exception:  # an object that does not let itself be looked at
            continue
        if names:
            found[id(reached)] = reached
            waiting += (value for _, value in names)
    return list(found.values())


def is_iterator(reached: Any) -> bool:
    """Whether an object gives items one by one, in an order that only taking them tells: a generator for example."""
    return isinstance(reached, Iterator) and type(reached).__module__ in ("builtins", "itertools")


def plain_values(reached: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Where an object keeps numbers and texts: collection, key and value."""
    return (place for place in _places(reached) if _is_plain(place[2]))


def named_tensors(reached: Any) -> Iterator[tuple[Any, Any, Tensor]]:
    """Where an object keeps tensors that are neither its parameters nor its buffers: collection, key and tensor."""
    return (place for place in _places(reached) if isinstance(place[2], Tensor))


def _places(reached: Any) -> Iterator[tuple[Any, Any, Any]]:
    for (collection, key), value in _names_of(reached, given=True):
        if key is not None:
            yield collection, key, value


def _is_plain(value: Any) -> bool:
    return isinstance(value, _PLAIN) or (type(value) is tuple and all(isinstance(item, _PLAIN) for item in value))


def _names_of(reached: Any, *, given: bool) -> Iterator[tuple[tuple[Any, Any], Any]]:
    """Collection and key, and what is there."""
    if isinstance(reached, functools.partial):
        yield from (((reached, None), value) for value in (reached.func, *reached.args, *reached.keywords.values()))
    elif isinstance(reached, MethodType):
        yield from (((reached, None), value) for value in (reached.__self__, reached.__func__))
    elif isinstance(reached, FunctionType):
        if given or not _is_of_library(reached):
            yield from _names_of_function(reached)
    elif isinstance(reached, dict):
        if len(reached) <= _MOST_ITEMS:
            yield from (((reached, key), value) for key, value in list(reached.items()))
    elif isinstance(reached, _SEQUENCES):
        if len(reached) <= _MOST_ITEMS:
            yield from (((reached, key), value) for key, value in enumerate(reached))
    elif isinstance(reached, np.ndarray):
        if reached.size <= _MOST_ITEMS:
            yield from (((reached, key), value) for key, value in np.ndenumerate(reached))
    elif isinstance(reached, tuple):
        yield from (((reached, None), value) for value in reached[:_MOST_ITEMS])
    elif isinstance(reached, type):
        # The members of an enumeration stay as they are.
        if not _is_of_library(reached) and not isinstance(reached, EnumType):
            yield from (((reached, key), value) for key, value in vars(reached).items() if not key.startswith("__"))
    elif given or _is_of_user(reached):
        yield from (((reached, None), base) for base in type(reached).__mro__ if not _is_of_library(base))
        slots = _Slots(reached)
        yield from (((slots, key), value) for key, value in slots.items())
        if hasattr(reached, "__dict__"):
            own = {key: value for key, value in vars(reached).items() if key not in _OF_ALL_MODULES}
            yield from (((vars(reached), key), value) for key, value in own.items())
        if isinstance(reached, nn.Module):
            yield from (((reached, None), child) for child in reached.children())


def _names_of_function(function: FunctionType) -> Iterator[tuple[tuple[Any, Any], Any]]:
    for cell in function.__closure__ or ():
        try:
            yield (cell, "cell_contents"), cell.cell_contents
        except ValueError:  # nothing is in it yet
            continue
    yield from (((vars(function), key), value) for key, value in vars(function).items())
    defaults = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
    yield from (((function, None), value) for value in defaults)
    names = set(_global_names(function.__code__))
    for name in names & function.__globals__.keys():
        value = function.__globals__[name]
        yield (function.__globals__, name), value
        # A module of settings, of which the code names some.
        if isinstance(value, ModuleType) and not _is_of_library(value):
            yield from (((vars(value), key), vars(value)[key]) for key in names & vars(value).keys())


def _global_names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _global_names(constant)


def _is_of_user(reached: Any) -> bool:
    return isinstance(reached, nn.Module | SimpleNamespace | Namespace) or not _is_of_library(type(reached))


def _is_of_library(named: Any) -> bool:
    """Whether a class, function or module is none of a user's own."""
    root = (named.__name__ if isinstance(named, ModuleType) else named.__module__ or "builtins").split(".")[0]
    file = getattr(sys.modules.get(root), "__file__", None) or ""
    return root in sys.stdlib_module_names - {"__main__"} or root == "pyrovae" or "site-packages" in file
