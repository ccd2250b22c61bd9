"""Finding the modules behind a Pyro program, and running them in one mode."""

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.nn.parameter import is_lazy

from pyrovae.data import AnyRows, rows_in_memory
from pyrovae.programs.checks import check_are_rows, check_rows
from pyrovae.programs.reachable import reachable, unwrapped

P = ParamSpec("P")
R = TypeVar("R")

Program = Callable[[Tensor], Any]
"""A Pyro program over a batch of rows: a model or a guide."""


def owned_module(program: Program) -> nn.Module | None:
    """The module whose parameters a program trains without saying so, if there is one."""
    owner = _owner(program)
    return owner if isinstance(owner, nn.Module) else None


def _owner(program: Program) -> Any:
    program = unwrapped(program)
    return getattr(program, "__self__", program)


def owned_modules(model: Program, guide: Program) -> list[nn.Module]:
    """The modules that own the two programs, each once."""
    found = (owned_module(program) for program in (model, guide))
    return list({id(module): module for module in found if module is not None}.values())


def initialize_modules(module: nn.Module, rows: AnyRows) -> None:
    """Give training rows, of streamed ones some, to the module and to all below it that have ``initialize(rows)``.

    Raises:
        ValueError: what ``check_rows`` refuses.
    """
    check_are_rows(rows, "rows")
    rows = rows_in_memory(rows)
    check_rows(rows, "rows")
    for part in module.modules():
        initialize = getattr(part, "initialize", None)
        # The module that asks may have such a method itself.
        if initialize is not None and part is not module:
            initialize(rows)


@contextmanager
def called_modules() -> Iterator[list[nn.Module]]:
    """The modules that are called inside, in order of their first call."""
    found: dict[int, nn.Module] = {}
    thread = get_ident()

    def note(module: nn.Module, _: Any) -> None:
        if get_ident() == thread:
            found.setdefault(id(module), module)

    handle = register_module_forward_pre_hook(note)
    modules: list[nn.Module] = []
    try:
        yield modules
    finally:
        handle.remove()
        modules += found.values()


@contextmanager
def evaluation_mode(model: Program, guide: Program) -> Iterator[None]:
    """Run all modules of the programs in evaluation mode, wherever the programs keep them; back afterwards."""
    was_training: dict[int, nn.Module] = {}
    thread = get_ident()

    def evaluate(module: nn.Module, _: Any = None) -> None:
        # Hooks are of all threads: what another one trains is left alone.
        if module.training and get_ident() == thread:
            was_training[id(module)] = module
            module.training = False

    # Modules that no name leads to are met when they are called.
    handle = register_module_forward_pre_hook(evaluate)
    try:
        for module in reachable([model, guide]):
            if isinstance(module, nn.Module):
                evaluate(module)
        yield
    finally:
        handle.remove()
        for module in was_training.values():
            module.training = True


def has_numbers(tensor: Tensor) -> bool:
    """Whether a tensor can be copied and compared: it is dense, and not yet to be made."""
    return not is_lazy(tensor) and not tensor.is_meta and tensor.layout is torch.strided


@contextmanager
def buffers_put_back(model: Program, guide: Program) -> Iterator[None]:
    """Let the buffers of all modules of the programs be what they were afterwards, wherever the programs keep them."""
    kept: dict[int, tuple[nn.Module, list[tuple[str, Tensor, Tensor]]]] = {}
    thread = get_ident()

    def keep(module: nn.Module, _: Any = None) -> None:
        if id(module) in kept or get_ident() != thread:
            return
        for part in module.modules():
            buffers = [(name, buffer) for name, buffer in part._buffers.items() if buffer is not None]
            values = [(name, buffer, buffer.detach().clone()) for name, buffer in buffers if has_numbers(buffer)]
            kept.setdefault(id(part), (part, values))

    # Modules that no name leads to are met when they are called.
    handle = register_module_forward_pre_hook(keep)
    try:
        for module in reachable([model, guide]):
            if isinstance(module, nn.Module):
                keep(module)
        yield
    finally:
        handle.remove()
        with torch.no_grad():
            for part, values in kept.values():
                for name, buffer, value in values:
                    part._buffers[name] = buffer
                    # Its number of changes would not say: batch normalisation writes without counting.
                    if not torch.equal(buffer, value):
                        buffer.copy_(value)


@contextmanager
def training_mode(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Put modules in training mode, and back afterwards.

    A module's own ``train`` says what becomes of those below it; parts of one that is in training mode already stay as
    they are, so that what is to be held in evaluation mode can be.
    """
    modules = list(modules)
    parts = {id(part): part for module in modules for part in module.modules()}
    was_evaluating = [part for part in parts.values() if not part.training]
    children = {id(child) for part in parts.values() for child in part.children()}
    try:
        for module in modules:
            if id(module) not in children and not module.training:
                module.train()
        yield
    finally:
        for part in was_evaluating:
            part.training = False


def evaluating(method: Callable[P, R]) -> Callable[P, R]:
    """A method of a module with ``model`` and ``guide``, run in evaluation mode and without gradients."""

    @functools.wraps(method)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        module: Any = args[0]
        with torch.no_grad(), evaluation_mode(module.model, module.guide):
            return method(*args, **kwargs)

    return run
