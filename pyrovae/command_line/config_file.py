"""What a configuration file has to look like before the parser reads it."""

from argparse import SUPPRESS, Action
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from pyrovae.command_line.messages import nearest
from pyrovae.command_line.slots import SLOTS, options_of

_PART_KEYS = ("class_path", "init_args")


def check_config_files(tokens: Sequence[str], options: Sequence[Action]) -> None:
    """Refuse the files behind ``--config`` on a command line that cannot be read as options and their values.

    Whether there is such a file, whether its keys are options, and what numbers and words may be, is for the parser to
    say.

    Args:
        tokens: the words of the command line.
        options: those of the parser.

    Raises:
        ValueError: the file, what is wrong with it, and what was expected.
    """
    known = {option.dest: option for option in options if option.default != SUPPRESS}
    for option, value in options_of(tokens):
        if option == "config" and "\0" not in value and Path(value).is_file():
            _check(Path(value), known)


def _check(path: Path, known: Mapping[str, Action]) -> None:
    try:
        contents = yaml.safe_load(path.read_text(encoding="utf-8"))
    except Exception as error:  # a damaged file fails in any way, with a RecursionError too
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"--config {path} cannot be read as YAML ({reason}); expected lines such as epochs: 100"
        ) from error
    if not isinstance(contents, dict):
        held = "nothing" if contents is None else "a list" if isinstance(contents, list) else repr(contents)
        raise ValueError(
            f"--config {path} holds {held}; expected options and their values, in lines such as epochs: 100"
        )
    for key in contents:
        if not isinstance(key, str):
            raise ValueError(f"--config {path}: the key {key!r} is no word; expected names of options")
    for key, value in contents.items():
        if key == "config" and not isinstance(value, str | None):
            raise ValueError(f"--config {path}: config is {value!r}; expected the path of another such file")
        if key in SLOTS:
            _check_part(path, key, value)
        elif key.replace("-", "_") in known:
            expected = _expected(value, known[key.replace("-", "_")])
            if expected:
                raise ValueError(
                    f"--config {path}: {key} is {'null' if value is None else repr(value)}; expected {expected}"
                )


def _expected(value: Any, option: Action) -> str | None:
    """What an option takes, where a value is of another kind; the parser does not look at all of them."""
    default = option.default
    if option.nargs == "+" and not isinstance(value, list | None):
        return "a list, such as [a, b]"
    if isinstance(default, bool):
        return None if isinstance(value, bool) else "true or false"
    if isinstance(default, int | float):
        return None if isinstance(value, int | float | str) and not isinstance(value, bool) else "a number"
    if isinstance(default, str):
        return None if isinstance(value, str) else "a word, in quotes if it looks like a number"
    return None


def _check_part(path: Path, slot: str, part: Any) -> None:
    expected = f"expected the name of the {SLOTS[slot].noun}, or class_path with init_args, its arguments by name"
    if not isinstance(part, str | dict):
        raise ValueError(f"--config {path}: {slot} is {part!r}; {expected}")
    if isinstance(part, str):
        return
    # Arguments alone are of the part that is the default; with class_path or init_args there is no other key.
    unknown = [key for key in part if key not in _PART_KEYS]
    if unknown and len(unknown) < len(part):
        raise ValueError(
            f"--config {path}: {slot} has a key {unknown[0]!r}{nearest(str(unknown[0]), _PART_KEYS)}; {expected}"
        )
    if not isinstance(part.get("class_path", ""), str):
        raise ValueError(f"--config {path}: class_path of {slot} is {part['class_path']!r}; {expected}")
    arguments = part.get("init_args", {})
    if not isinstance(arguments, dict) or not all(isinstance(key, str) for key in arguments):
        raise ValueError(f"--config {path}: init_args of {slot} is {arguments!r}; {expected}")
