"""What the parser finds wrong, in words that name the option and what would have been right."""

import difflib
import inspect
import re
from collections.abc import Mapping, Sequence

from pyrovae.command_line.slots import FILLED_IN, SLOTS, GivenPart, arguments_of, class_of, expected, names_of
from pyrovae.runs import class_name


def explained(message: str, parts: Mapping[str, GivenPart], options: Sequence[str]) -> str:
    """The parser's message with the option that it is about, and the nearest one or the known parts.

    Args:
        message: that of jsonargparse.
        parts: what was said of each part.
        options: the names of all options, without their dashes.
    """
    unknown = re.match(r"unrecognized arguments: --([\w.-]+)", message, re.IGNORECASE)
    if unknown:
        return f"unknown option --{unknown[1]}{nearest(unknown[1].replace('_', '-'), options, '--')}"
    not_accepted = re.search(r"Option '([\w.]+)' is not accepted", message)
    if not_accepted:
        return _not_accepted(not_accepted[1], parts, options)
    required = re.match(r"the following arguments are required: (\w+)", message)
    if required:
        return _required(required[1], parts) or message
    key = re.match(r'Parser key "([\w.]+)": (.*)', message)
    if key is None:
        return message
    option, reason = key[1], key[2]
    untyped = re.search(r"Parameter '(\w+)' from '.*' does not specify a type", reason)
    if option in SLOTS and untyped:
        return (
            f"--{option} {parts[option].name}: of what type is its argument {untyped[1]!r}? Give it a type hint, "
            f"such as {untyped[1]}: int, or one of the names that the command fills in ({', '.join(FILLED_IN)})"
        )
    if option in SLOTS:
        given = re.search(r"Expected a dot import path string: (\w+)", reason)
        return f"--{option}: {no_such_part(option, given[1]) if given else f'{reason} {_expected_part(option)}'}"
    return _wrong_value(option, reason, parts) or f"--{option.replace('_', '-')}: {_of_a_union(reason)}"


def _of_a_union(reason: str) -> str:
    """What jsonargparse says of a value that is none of several types, in short."""
    said = re.match(r"Does not validate against any of the Union subtypes Subtypes: \[(.*)\] Errors: .*: (.*)$", reason)
    if said is None:
        return reason
    kinds = re.sub(r"<class '([\w.]+)'>", r"\1", said[1]).replace("NoneType", "null")
    examples = kinds.replace("dict[str, str]", "{name: word, ...}").replace("list[str]", "[word, word, ...]")
    return f"got {said[2]}; expected one of {examples}"


def no_such_part(slot: str, name: str) -> str:
    """What to say of a name that is no part."""
    return f"there is no part {name!r}{nearest(name, names_of(slot))} {_expected_part(slot)}"


def nearest(name: str, known: Sequence[str], prefix: str = "") -> str:
    """A question, if there is a name that is close."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {prefix}{near[0]}?" if near else ""


def _expected_part(slot: str) -> str:
    names = ", ".join(names_of(slot))
    return f"(expected one of {names}, or an import path such as my_parts.MyPart or my_parts.py:MyPart)"


def _not_accepted(name: str, parts: Mapping[str, GivenPart], options: Sequence[str]) -> str:
    """An argument that a part does not have, or a key of a configuration that is no option."""
    for slot, given in parts.items():
        part = class_of(slot, given.name)
        if name in given.arguments and part is not None and name not in arguments_of(part):
            known = list(arguments_of(part))
            # A part of the package by its name alone.
            taken = class_name(given.name) if part in SLOTS[slot].parts else given.name
            why = ", the command fills it in:" if name in FILLED_IN else nearest(name, known)
            return f"--{slot} {taken} has no argument {name!r}{why or ':'} see --{slot}.help {taken}"
    return f"the configuration has a key {name!r} that is no option{nearest(name.replace('_', '-'), options, '--')}"


def _required(name: str, parts: Mapping[str, GivenPart]) -> str | None:
    """An argument without a default that was not given."""
    for slot, given in parts.items():
        part = class_of(slot, given.name)
        if part is not None and name in arguments_of(part) and name not in given.arguments:
            what = ""
            if arguments_of(part)[name].annotation is not inspect.Parameter.empty:
                what = f", {expected(part, name)}"
            return f"--{slot} {class_name(given.name)} needs --{slot}.{name}{what}"
    return None


def _wrong_value(name: str, reason: str, parts: Mapping[str, GivenPart]) -> str | None:
    """A value that an argument of a part does not take."""
    said = re.search(r"(?:Got value|Given value): (.*)$", reason)
    candidates = [slot for slot, given in parts.items() if name in given.arguments]
    # Two networks may have an argument of the same name; the wrong value tells them apart.
    candidates.sort(key=lambda slot: said is None or str(parts[slot].arguments[name]) != said[1])
    for slot in candidates:
        part = class_of(slot, parts[slot].name)
        if part is not None and name in arguments_of(part):
            value = parts[slot].arguments[name]
            wanted = expected(part, name)
            return f"--{slot}.{name} is {value}; expected {wanted}"
    return None
