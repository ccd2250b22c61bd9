"""Finding the modules behind a Pyro program."""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

Program = Callable[[Tensor], Any]
"""A Pyro program over a batch of rows: a model or a guide."""


def owner(program: Program) -> Any:
    """The object that a program belongs to: of a bound method its instance, else the program itself."""
    while isinstance(program, functools.partial):
        program = program.func
    return getattr(program, "__self__", program)


def owned_module(program: Program) -> nn.Module | None:
    """The module whose parameters a program trains without saying so, if there is one."""
    found = owner(program)
    return found if isinstance(found, nn.Module) else None


def reachable_modules(*programs: Program) -> list[nn.Module]:
    """The modules that the programs own, and those that a function refers to by name or by closure."""
    found: list[nn.Module] = []
    for program in programs:
        program_owner = owner(program)
        candidates = [program_owner]
        if inspect.isfunction(program_owner):
            names = inspect.getclosurevars(program_owner)
            candidates += [*names.nonlocals.values(), *names.globals.values()]
        found += [value for value in candidates if isinstance(value, nn.Module)]
    return list({id(module): module for module in found}.values())


@contextmanager
def module_mode(*programs: Program, training: bool) -> Iterator[None]:
    """Put the modules of the programs in training or evaluation mode, and back afterwards."""
    modules = {id(part): part for module in reachable_modules(*programs) for part in module.modules()}
    before = [(part, part.training) for part in modules.values()]
    try:
        for part, _ in before:
            part.training = training
        yield
    finally:
        for part, was_training in before:
            part.training = was_training
