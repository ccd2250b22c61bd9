"""Parameters of Pyro programs, kept with the programs and out of the global param store.

Pyro's param store is one dictionary for the whole process: a second model whose ``pyro.module`` names match the first
is never trained there. Here every pair of programs runs in a store of its own. Weights live in their modules as always;
values of ``pyro.param`` statements are kept with the function, or the object, whose statement it is.
"""

import warnings
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from typing import Any

import pyro
import torch
from pyro.params.param_store import StateDict
from torch import Tensor, nn

from pyrovae.programs.modules import Program, has_numbers, owned_modules
from pyrovae.programs.structure import PairStructure
from pyrovae.programs.turns import TURN, handlers_put_back

# pyro.module joins the names of module and parameter by this.
_MODULE_DIVIDER = "$$$"

# What a tensor was when it was last seen: it and its number of changes in place.
_Seen = tuple[int, int]


@dataclass(frozen=True)
class _Kept:
    """The unconstrained value of a ``pyro.param`` statement, and what the caller's store then had under its name."""

    value: Tensor
    constraint: Any
    seen: _Seen | None


_kept: dict[int, dict[str, _Kept]] = {}


def _holder(program: Program) -> Any:
    """The object that a program's values are kept with: a bound method's instance, else the program itself."""
    return program if isinstance(program, partial) else getattr(program, "__self__", program)


def _state() -> StateDict:
    return pyro.get_param_store().get_state()


def _seen(state: StateDict, name: str) -> _Seen | None:
    value = state["params"].get(name)
    return None if value is None else (id(value), value._version)


@contextmanager
def private_param_store(
    model: Program, guide: Program, shared: Mapping[str, Tensor] | None = None
) -> Iterator[StateDict]:
    """Run Pyro with a param store of this pair's own, and leave the caller's as it is.

    A value is one of ``shared``, which are no copies; or comes from what is kept with the programs; from the caller's
    store where that has none, or changed after it was kept. Weights of modules are never taken from a store: the module
    itself has them. The context gives the caller's store. Threads that are inside take turns. Gradients may be taken
    inside where the caller is in ``torch.inference_mode``, once they are turned on.
    """
    # Leaving inference mode turns gradients on, for callers in no_grad too.
    kept = torch.set_grad_enabled(torch.is_grad_enabled())
    with (
        torch.inference_mode(False),
        kept,
        TURN,
        handlers_put_back(),
        _own_store(model, guide, shared or {}) as outside,
    ):
        yield outside


@contextmanager
def _own_store(model: Program, guide: Program, shared: Mapping[str, Tensor]) -> Iterator[StateDict]:
    outside = _state()
    inside: StateDict = {"params": {}, "constraints": {}}
    for name, value in outside["params"].items():
        if _MODULE_DIVIDER not in name and not isinstance(value, nn.Parameter):
            inside["params"][name] = value
            inside["constraints"][name] = outside["constraints"][name]
    for program in (guide, model):
        for name, kept in _kept.get(id(_holder(program)), {}).items():
            if name not in outside["params"] or kept.seen == _seen(outside, name):
                inside["params"][name], inside["constraints"][name] = kept.value, kept.constraint
    # Copies, or training would change the source.
    inside["params"] = {name: value.detach().clone().requires_grad_() for name, value in inside["params"].items()}
    inside["params"] |= shared
    with pyro.get_param_store().scope(inside):
        yield outside


def keep_params(model: Program, guide: Program, structure: PairStructure, outside: StateDict) -> None:
    """Keep the present values of the pair's ``pyro.param`` statements; call it inside ``private_param_store``.

    Args:
        model: Pyro program of the rows.
        guide: Pyro program of the latents.
        structure: what ``inspect_pair`` found.
        outside: the caller's store, which ``private_param_store`` gives.
    """
    own = _own_statements(model, guide, structure)
    _keep(model, guide, structure, outside, {name: _state()["params"][name] for name in own})


def share_params(
    model: Program, guide: Program, structure: PairStructure, outside: StateDict
) -> dict[str, nn.Parameter]:
    """Keep the pair's ``pyro.param`` statements as parameters, by name; call it inside ``private_param_store``.

    Whoever moves them moves what is kept: runs that begin later have them as they are then.

    Args:
        model: Pyro program of the rows.
        guide: Pyro program of the latents.
        structure: what ``inspect_pair`` found.
        outside: the caller's store, which ``private_param_store`` gives.
    """
    own = {name: _state()["params"][name] for name in sorted(_own_statements(model, guide, structure))}
    # A statement that begins with an nn.Parameter has that one.
    shared = {n: v if isinstance(v, nn.Parameter) else nn.Parameter(v.detach().clone()) for n, v in own.items()}
    _keep(model, guide, structure, outside, shared)
    return shared


def _keep(
    model: Program, guide: Program, structure: PairStructure, outside: StateDict, unconstrained: Mapping[str, Tensor]
) -> None:
    constraints = _state()["constraints"]
    for program, names in ((model, structure.model_params), (guide, structure.guide_params)):
        values = {
            name: _Kept(unconstrained[name], constraints[name], _seen(outside, name))
            for name in sorted(names)
            if name in unconstrained
        }
        if values:
            holder = _holder(program)
            if id(holder) not in _kept:
                weakref.finalize(holder, _kept.pop, id(holder), None)
            _kept[id(holder)] = _kept.get(id(holder), {}) | values


def warn_of_first_values(model: Program, guide: Program, structure: PairStructure, outside: StateDict) -> None:
    """Warn where one program has values of a fit and the other those that its ``pyro.param`` statements begin with.

    Call it inside ``private_param_store``.

    Args:
        model: Pyro program of the rows.
        guide: Pyro program of the latents.
        structure: what ``inspect_pair`` found.
        outside: the caller's store, which ``private_param_store`` gives.
    """
    own = _own_statements(model, guide, structure)
    fitted = {program: _kept.get(id(_holder(given)), {}) for program, given in (("model", model), ("guide", guide))}
    known = {*fitted["model"], *fitted["guide"], *outside["params"]}
    for program, other, names in (
        ("model", "guide", structure.model_params),
        ("guide", "model", structure.guide_params),
    ):
        unknown = sorted((names & own) - known)
        if unknown and fitted[other] and not fitted[program]:
            warnings.warn(
                f"the {other} was fitted, and pyro.param {unknown[0]!r} of the {program} has its first value: a fit's "
                "values stay with the object that was fitted, and a lambda or functools.partial written again is "
                "another one, so keep the first",
                stacklevel=2,
            )


def _check_holders(model: Program, guide: Program, structure: PairStructure) -> None:
    own = _own_statements(model, guide, structure)
    for program, names in ((model, structure.model_params), (guide, structure.guide_params)):
        if names & own:
            try:
                weakref.ref(_holder(program))
            except TypeError as error:
                raise ValueError(
                    f"values of pyro.param cannot be kept with a {type(_holder(program)).__name__}, which has "
                    "__slots__ and no weak references: give dataclass weakref_slot=True, or use a class without slots"
                ) from error


def _own_statements(model: Program, guide: Program, structure: PairStructure) -> set[str]:
    """Names of the ``pyro.param`` statements: of the param sites those that are no weights of modules."""
    weights = {id(p) for module in (*owned_modules(model, guide), *structure.modules) for p in module.parameters()}
    params = _state()["params"]
    return {name for name in structure.params if _MODULE_DIVIDER not in name and id(params[name]) not in weights}


def param_values(model: Program, guide: Program, structure: PairStructure) -> dict[str, Tensor]:
    """Constrained values of the pair's ``pyro.param`` statements, by name; call it inside ``private_param_store``."""
    store = pyro.get_param_store()
    return {name: store[name].detach().clone() for name in sorted(_own_statements(model, guide, structure))}


@dataclass(frozen=True)
class Weights:
    """The tensors that make a pair of programs what it is.

    Attributes:
        tensors: everything that is stored, by name: parameters and buffers of modules, and unconstrained values of
            ``pyro.param`` statements. Where one module owns both programs, the names are those of its state dict.
        parameters: what an optimiser moves, each once.
        buffers: where modules have their buffers, by name, also those that are not stored: a program may put a new
            tensor there.
    """

    tensors: dict[str, Tensor]
    parameters: list[Tensor]
    buffers: dict[str, tuple[dict[str, Tensor | None], str]] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Program, guide: Program, structure: PairStructure) -> "Weights":
        """Those of the owned modules, of the param sites and of called modules' buffers.

        Call it inside ``private_param_store``.

        Raises:
            ValueError: a module that is called has weights to train that none of these has; values of ``pyro.param``
                statements cannot be kept with the programs.
        """
        _check_holders(model, guide, structure)
        tensors: dict[str, Tensor] = {}
        buffers: dict[str, tuple[dict[str, Tensor | None], str]] = {}
        own = owned_modules(model, guide)
        for prefix, module in zip(("",) if len(own) == 1 else ("model.", "guide."), own, strict=False):
            tensors |= {prefix + name: value for name, value in module.state_dict(keep_vars=True).items()}
            for path, part in module.named_modules(prefix=prefix.removesuffix("."), remove_duplicate=False):
                buffers |= {f"{path}.{key}".removeprefix("."): (part._buffers, key) for key in part._buffers}
        known = {id(tensor) for tensor in tensors.values()}
        # By name: values that were kept come into the store before those that a program makes.
        for name, unconstrained in sorted(pyro.get_param_store().named_parameters(), key=itemgetter(0)):
            if name in structure.params and id(unconstrained) not in known:
                tensors[f"pyro.param:{name}"] = unconstrained
                known.add(id(unconstrained))
        parts_of_own = {id(part) for module in own for part in module.modules()}
        others = [module for module in structure.modules if id(module) not in parts_of_own]
        for number, module in enumerate(others):
            for name, buffer in module.named_buffers(recurse=False):
                tensors[f"module.{number}.{name}"] = buffer
                buffers[f"module.{number}.{name}"] = (module._buffers, name)
        parameters = {id(tensor): tensor for tensor in tensors.values() if tensor.requires_grad}
        for module in others:
            for name, parameter in module.named_parameters(recurse=False):
                if parameter.requires_grad and id(parameter) not in parameters:
                    raise ValueError(
                        f"a {type(module).__name__} that the programs call has trainable weights ({name!r}) that would "
                        "not be trained: register it by pyro.module in the program, give the nn.Module or its bound "
                        "method as the program, with a list or dict of networks as nn.ModuleList or nn.ModuleDict, or "
                        "call requires_grad_(False) on it to leave it as it is"
                    )
        return cls(tensors, list(parameters.values()), buffers)

    def check_trainable(self) -> None:
        """Refuse a pair that has nothing to train.

        Raises:
            ValueError: it has no trainable parameters.
        """
        if not self.parameters:
            raise ValueError(
                "model and guide have no trainable parameters: give an nn.Module or its bound method, or use "
                "pyro.module or pyro.param in the programs"
            )

    def copy(self, *, of_buffers: bool = False) -> dict[str, Tensor]:
        """Copies of all tensors as they are now, to store; or to go back to, with the buffers that are not stored."""
        present = {name: values[key] for name, (values, key) in self.buffers.items()}
        now = self.tensors | {name: value for name, value in present.items() if of_buffers or name in self.tensors}
        kept = {name: tensor for name, tensor in now.items() if tensor is not None}
        return {name: kept[name].detach().clone() for name in kept if name in self.tensors or has_numbers(kept[name])}

    def present_buffers(self) -> dict[str, Tensor]:
        """All buffers that have numbers now, by name; not copies of them."""
        present = {name: values[key] for name, (values, key) in self.buffers.items()}
        return {name: buffer for name, buffer in present.items() if buffer is not None and has_numbers(buffer)}

    @torch.no_grad()
    def restore(self, saved: dict[str, Tensor]) -> None:
        """Write copies back in place."""
        for name, value in saved.items():
            values, key = self.buffers.get(name, (self.tensors, name))
            tensor = values[key]
            if tensor is not None and tensor.shape == value.shape:
                if not torch.equal(tensor, value.to(tensor)):
                    tensor.copy_(value)
            else:
                values[key] = value.clone()

    def finite(self) -> bool:
        """Whether all parameters are finite."""
        return all(bool(torch.isfinite(parameter).all()) for parameter in self.parameters)
