"""The parts and objectives that the command knows, and what it was told about them."""

import inspect
import json
import typing
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Sequence as AbstractSequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, UnionType
from typing import Any

import yaml
from torch import nn

from pyrovae import likelihoods, networks, posteriors, priors
from pyrovae.objectives import Objective
from pyrovae.objectives.named import OBJECTIVES
from pyrovae.runs import GENERAL, find_class

# Arguments that the command fills in from the data, the latent size and the networks.
FILLED_IN = (
    "latent_dim",
    "data_shape",
    "input_shape",
    "output_shape",
    "column_kinds",
    "encoder",
    "decoder",
    "posterior",
)


class Slot(type):
    """The type of an option that takes any class of one kind, and lists the built-in ones in its help."""

    noun = "part"
    base: type = nn.Module
    parts: tuple[type[Any], ...] = ()
    # Parts that are put around another one of the same slot, which an option cannot say.
    around: tuple[type[Any], ...] = ()
    # Arguments that are no options of the slot.
    filled_in: tuple[str, ...] = FILLED_IN

    def __subclasscheck__(cls, other: type) -> bool:
        return isinstance(other, type) and issubclass(other, cls.base)

    def __subclasses__(cls) -> list[type[Any]]:
        return list(cls.parts)


def _parts_of(package: ModuleType, slot: str = "", around: bool = False) -> tuple[type[nn.Module], ...]:
    parts = (getattr(package, name) for name in package.__all__)
    return tuple(part for part in parts if wraps(part, slot) == around)


def wraps(part: type[Any], slot: str) -> bool:
    """Whether a part is put around another one of the same slot, as ``PartlyObserved`` is."""
    return slot in inspect.signature(part).parameters


class Prior(metaclass=Slot):
    """Any module, those of ``priors`` by name."""

    parts = _parts_of(priors)


class Likelihood(metaclass=Slot):
    """Any module, those of ``likelihoods`` by name."""

    parts = _parts_of(likelihoods, "likelihood")
    around = _parts_of(likelihoods, "likelihood", around=True)


class Posterior(metaclass=Slot):
    """Any module, those of ``posteriors`` by name."""

    parts = _parts_of(posteriors, "posterior")
    around = _parts_of(posteriors, "posterior", around=True)


class Network(metaclass=Slot):
    """Any module, those of ``networks`` by name."""

    parts = _parts_of(networks)


class Objectives(metaclass=Slot):
    """Any objective, those of ``objectives`` by name."""

    noun = "objective"
    base = Objective
    parts = tuple(OBJECTIVES.values())
    filled_in = GENERAL


SLOTS: dict[str, Slot] = {
    "prior": Prior,
    "likelihood": Likelihood,
    "posterior": Posterior,
    "encoder": Network,
    "decoder": Network,
    "objective": Objectives,
}


def names_of(slot: str) -> list[str]:
    """The names of the built-in parts of a slot."""
    return [part.__name__ for part in SLOTS[slot].parts]


@dataclass
class GivenPart:
    """What was said of one part: its name or import path, and its arguments as they were written."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)


def given_parts(tokens: Sequence[str], defaults: Mapping[str, str]) -> dict[str, GivenPart]:
    """What a command line and the configuration files on it say of the parts.

    Args:
        tokens: the words of the command line.
        defaults: the part of each slot of which nothing is said.
    """
    parts = {slot: GivenPart(name) for slot, name in defaults.items()}
    for option, value in options_of(tokens):
        slot, _, argument = option.partition(".")
        if option == "config":
            for name, part in _in_file(value).items():
                parts[name] = part
        elif slot in parts and argument in ("", "class_path"):
            parts[slot] = GivenPart(value)
        elif slot in parts and argument != "help":
            parts[slot].arguments[argument.removeprefix("init_args.")] = value
    return parts


def options_of(tokens: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The options on a command line, each with the word that stands behind it."""
    for position, token in enumerate(tokens):
        if token.startswith("--"):
            option, equals, value = token[2:].partition("=")
            following = tokens[position + 1] if position + 1 < len(tokens) else ""
            yield option, value if equals else following


def _in_file(path: str) -> dict[str, GivenPart]:
    found: dict[str, GivenPart] = {}
    for slot, part in read_config(path).items():
        if slot in SLOTS and isinstance(part, str):
            found[slot] = GivenPart(part)
        elif slot in SLOTS and isinstance(part, dict) and isinstance(part.get("class_path"), str):
            arguments = part.get("init_args")
            found[slot] = GivenPart(part["class_path"], dict(arguments) if isinstance(arguments, dict) else {})
    return found


def read_config(path: str) -> dict[str, Any]:
    """The contents of a configuration file; empty where it is none, which the parser then says."""
    try:
        contents = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except Exception:  # a damaged file fails in any way
        return {}
    # What stands for the system is looked up before the parser checks it.
    return contents if isinstance(contents, dict) and isinstance(contents.get("system", ""), str) else {}


def class_of(slot: str, name: str) -> type[Any] | None:
    """The class of a part by name or import path; None where there is none."""
    for part in SLOTS[slot].parts + SLOTS[slot].around:
        if part.__name__ == name:
            return part
    try:
        return find_class(name, SLOTS[slot].base)
    except Exception:  # whatever the user's module raises
        return None


def arguments_of(slot: str, part: type[Any]) -> dict[str, inspect.Parameter]:
    """The arguments of a part that are options of its slot."""
    parameters = inspect.signature(part).parameters
    return {name: parameter for name, parameter in parameters.items() if name not in SLOTS[slot].filled_in}


def expected(part: type[Any], argument: str) -> str:
    """What an argument of a part has to be, in words."""
    parameter = inspect.signature(part).parameters[argument]
    try:
        hint = typing.get_type_hints(part.__init__)[argument]
    except (NameError, KeyError, TypeError):
        hint = parameter.annotation
    return _in_words(hint, parameter.default)


def _in_words(hint: Any, default: Any) -> str:
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, UnionType):
        return " or ".join(_in_words(choice, default) for choice in inside)
    if origin is typing.Literal:
        return ("one of " if len(inside) > 1 else "") + ", ".join(map(str, inside))
    if origin in (list, tuple, AbstractSequence):
        example = json.dumps(list(default)) if isinstance(default, list | tuple) else "[1, 2]"
        return f"a list in brackets and quotes, such as '{example}'"
    plain = {int: "a whole number", float: "a number", bool: "true or false", str: "a word", type(None): "null"}
    return plain.get(hint, str(hint))
