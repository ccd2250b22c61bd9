"""What the parser finds wrong, in words that name the option and what would have been right."""

import difflib
import inspect
import re
from collections.abc import Mapping, Sequence

from pyrovae.command_line.slots import SLOTS, GivenPart, arguments_of, class_of, expected, names_of
from pyrovae.runs import GENERAL, as_option, class_name


def explained(message: str, parts: Mapping[str, GivenPart], options: Sequence[str]) -> str:
    """The parser's message with the option that it is about, and the nearest one or the known parts.

    Args:
        message: that of jsonargparse.
        parts: what was said of each part.
        options: the names of all options, without their dashes.
    """
    unknown = re.match(r"unrecognized arguments: --([\w.-]+)", message, re.IGNORECASE)
    if unknown:
        argument = unknown[1].replace("-", "_")
        of_parts = [f"--{slot}.{argument}" for slot, given in parts.items() if _has(slot, given, argument)]
        question = f"; did you mean {' and '.join(of_parts)}?" if of_parts else None
        return f"unknown option --{unknown[1]}{question or nearest(unknown[1].replace('_', '-'), options, '--')}"
    not_accepted = re.search(r"Option '([\w.-]+)' is not accepted", message)
    if not_accepted:
        return _not_accepted(not_accepted[1], parts, options)
    required = re.match(r"the following arguments are required: (\w+)", message)
    if required:
        return _required(required[1], parts) or message
    key = re.match(r'Parser key "([\w.]+)"(?: element \d+)?: (.*)', message)
    if key is None:
        return message
    option, reason = key[1], key[2]
    untyped = re.search(r"Parameter '(\w+)' from '.*' does not specify a type", reason)
    if option in SLOTS and untyped:
        filled_in = ", ".join(SLOTS[option].filled_in)
        return (
            f"--{option} {parts[option].name}: of what type is its argument {untyped[1]!r}? Give it a type hint, "
            f"such as {untyped[1]}: int, or one of the names that the command fills in ({filled_in})"
        )
    if option in SLOTS:
        wrong = re.search(r"Not a valid subclass of \w+\. Got value: (.*?) Subclass types expect", reason)
        if wrong:
            return f"--{option} is {wrong[1]}; expected a {SLOTS[option].noun} {_expected_part(option)}"
        given = re.search(r"Expected a dot import path string: (\w+)", reason)
        return f"--{option}: {no_such_part(option, given[1]) if given else f'{reason} {_expected_part(option)}'}"
    return _wrong_value(option, reason, parts) or f"--{option.replace('_', '-')}{_of_another_kind(reason)}"


_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "PositiveInt": "a positive whole number",
    "PositiveFloat": "a positive number",
    "NonNegativeInt": "a whole number of at least 0",
    "OpenUnitInterval": "a number between 0 and 1",
}


def _of_another_kind(reason: str) -> str:
    """What jsonargparse says of a value that an option does not take, in short."""
    union = re.match(
        r"Does not validate against any of the Union subtypes Subtypes: \[(.*)\] Errors: .*: (.*)$", reason
    )
    if union:
        kinds = re.findall(r"typing\.Literal\[[^]]*\]|<class '[^']*'>|\w+\[[^]]*\]", union[1])
        words = [_kind(kind) for kind in kinds if "NoneType" not in kind]
        return f": got {union[2]}; expected {'one of ' if len(words) > 1 else ''}{', '.join(words)} or null"
    choice = re.match(r"Expected a typing.(Literal\[.*\])\. Got value: (.*)$", reason)
    if choice:
        return f" is {choice[2]}; expected one of {_kind(choice[1])}{nearest(choice[2], _choices(choice[1]))}"
    number = re.match(r"Not of type (\w+): (?:(.*) does not conform|(.*) not an? \w+$|.*: '(.*)'$|.*?(\S+)$)", reason)
    if number and number[1] in _KINDS:
        return f" is {next(filter(None, number.groups()[1:]))}; expected {_KINDS[number[1]]}"
    return f": {reason}"


def _kind(said: str) -> str:
    """A type as jsonargparse writes it, in words."""
    if "Literal[" in said:
        return ", ".join(_choices(said))
    name = re.sub(r"<class '([\w.]+)'>", r"\1", said).split("typing.")[-1]
    return _KINDS.get(name, name)


def _choices(literal: str) -> list[str]:
    return re.findall(r"'([^']*)'", literal)


def _has(slot: str, given: GivenPart, argument: str) -> bool:
    part = class_of(slot, given.name)
    return part is not None and argument in arguments_of(slot, part)


def no_such_part(slot: str, name: str) -> str:
    """What to say of a name that is no part."""
    return f"there is no {SLOTS[slot].noun} {name!r}{nearest(name, names_of(slot))} {_expected_part(slot)}"


def nearest(name: str, known: Sequence[str], prefix: str = "") -> str:
    """A question, if there is a name that is close."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {prefix}{near[0]}?" if near else ""


def _expected_part(slot: str) -> str:
    names = ", ".join(names_of(slot))
    noun = SLOTS[slot].noun
    own = f"My{noun.capitalize()}"
    return f"(expected one of {names}, or an import path such as my_{noun}s.{own} or my_{noun}s.py:{own})"


def _not_accepted(name: str, parts: Mapping[str, GivenPart], options: Sequence[str]) -> str:
    """An argument that a part does not have, or a key of a configuration that is no option."""
    for slot, given in parts.items():
        part = class_of(slot, given.name)
        if name in given.arguments and part is not None and name not in arguments_of(slot, part):
            known = list(arguments_of(slot, part))
            # A part of the package by its name alone.
            taken = class_name(given.name) if part in SLOTS[slot].parts else given.name
            if name in SLOTS[slot].filled_in and SLOTS[slot].filled_in == GENERAL:
                why = f", as it is an option of its own, {as_option(name)}:"
            elif name in SLOTS[slot].filled_in:
                why = ", the command fills it in:"
            else:
                why = nearest(name, known) or ":"
            return f"--{slot} {taken} has no argument {name!r}{why} see --{slot}.help {taken}"
    keys = [option.replace("-", "_") for option in options]
    return f"the configuration has a key {name!r} that is no option{nearest(name.replace('-', '_'), keys)}"


def _required(name: str, parts: Mapping[str, GivenPart]) -> str | None:
    """An argument without a default that was not given."""
    for slot, given in parts.items():
        part = class_of(slot, given.name)
        if part is not None and name in arguments_of(slot, part) and name not in given.arguments:
            what = ""
            if arguments_of(slot, part)[name].annotation is not inspect.Parameter.empty:
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
        if part is not None and name in arguments_of(slot, part):
            value = parts[slot].arguments[name]
            wanted = expected(part, name)
            return f"--{slot}.{name} is {value}; expected {wanted}"
    return None
