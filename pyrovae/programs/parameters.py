"""Parameters of Pyro programs, kept with the programs and out of the global param store.

Pyro's param store is one dictionary for the whole process: a second model whose ``pyro.module`` names match the
first is never trained there. Here every pair of programs runs in a store of its own. Weights live in their
modules as always; values of ``pyro.param`` statements are kept with the function that makes the statement.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import pyro
import torch
from pyro.params.param_store import StateDict
from torch import Tensor

from pyrovae.programs.modules import Program, owned_module, owner, reachable_modules

# pyro.module joins the names of module and parameter by this.
_MODULE_DIVIDER = "$$$"

_kept: WeakKeyDictionary[Any, StateDict] = WeakKeyDictionary()


def _module_names(program: Program) -> set[str]:
    """Names under which the parameters of the owned module may stand in a param store."""
    module = owned_module(program)
    return set() if module is None else {n.removesuffix("_unconstrained") for n, _ in module.named_parameters()}


def _is_weight(name: str, module_names: set[str]) -> bool:
    """Whether a name in a param store is that of a module's weight, not of a ``pyro.param`` statement."""
    return _MODULE_DIVIDER in name or any(name == own or name.endswith("." + own) for own in module_names)


@contextmanager
def private_param_store(model: Program, guide: Program) -> Iterator[None]:
    """Run Pyro with a param store of this pair's own, and leave the caller's as it is.

    It starts from the values kept with the two programs, else from what the caller's store has of their
    ``pyro.param`` names. Weights of modules are never taken from a store: the module itself has them.
    """
    store = pyro.get_param_store()
    module_names = _module_names(model) | _module_names(guide)
    state: StateDict = {"params": {}, "constraints": {}}
    for source in (store.get_state(), *(_kept[owner(p)] for p in (guide, model) if owner(p) in _kept)):
        for name, value in source["params"].items():
            if not _is_weight(name, module_names):
                # A copy, or training would change the source.
                state["params"][name] = value.detach().clone().requires_grad_()
                state["constraints"][name] = source["constraints"][name]
    with store.scope(state):
        yield


def keep_params(program: Program, names: set[str]) -> None:
    """Keep the present values of these ``pyro.param`` statements with the program that makes them."""
    module_names = _module_names(program)
    own_names = {name for name in names if not _is_weight(name, module_names)}
    if own_names:
        state = pyro.get_param_store().get_state()
        _kept[owner(program)] = {
            "params": {name: state["params"][name] for name in own_names},
            "constraints": {name: state["constraints"][name] for name in own_names},
        }


def param_values(model: Program, guide: Program, names: set[str]) -> dict[str, Tensor]:
    """Constrained values of the pair's ``pyro.param`` statements in the present store, by name."""
    store = pyro.get_param_store()
    module_names = _module_names(model) | _module_names(guide)
    return {name: store[name].detach().clone() for name in sorted(names) if not _is_weight(name, module_names)}


@dataclass(frozen=True)
class Weights:
    """The tensors that make a pair of programs what it is.

    Attributes:
        tensors: everything that is stored, by name: parameters and buffers of modules, and unconstrained values of
            ``pyro.param`` statements. Where one module owns both programs, the names are those of its state dict.
        parameters: what an optimiser moves, each once.
    """

    tensors: dict[str, Tensor]
    parameters: list[Tensor]

    @classmethod
    def of(cls, model: Program, guide: Program, param_names: set[str]) -> "Weights":
        """Those of the owned modules and of the param sites; call it inside ``private_param_store``."""
        tensors: dict[str, Tensor] = {}
        own = {id(module): module for program in (model, guide) if (module := owned_module(program)) is not None}
        for prefix, module in zip(("",) if len(own) == 1 else ("model.", "guide."), own.values(), strict=False):
            tensors |= {prefix + name: value for name, value in module.state_dict(keep_vars=True).items()}
        weights = {id(tensor) for tensor in tensors.values()}
        for name, unconstrained in pyro.get_param_store().named_parameters():
            if name in param_names and id(unconstrained) not in weights:
                tensors[f"pyro.param:{name}"] = unconstrained
        closures = [module for module in reachable_modules(model, guide) if id(module) not in own]
        for number, module in enumerate(closures):
            for name, buffer in module.named_buffers():
                tensors[f"closure.{number}.{name}"] = buffer
        parameters = {id(tensor): tensor for tensor in tensors.values() if tensor.requires_grad}
        return cls(tensors, list(parameters.values()))

    def copy(self) -> dict[str, Tensor]:
        """Copies of all tensors, to store or to go back to."""
        return {name: tensor.detach().clone() for name, tensor in self.tensors.items()}

    @torch.no_grad()
    def restore(self, saved: dict[str, Tensor]) -> None:
        """Write copies back in place."""
        for name, tensor in self.tensors.items():
            tensor.copy_(saved[name])
