"""Parts as options of a command."""

import inspect
import itertools
import json
import re
import sys
from collections.abc import Sequence
from typing import Any, ClassVar, NoReturn

import yaml
from jsonargparse import ArgumentParser

from pyrovae.command_line.config_file import check_config_files
from pyrovae.command_line.execution import EXIT_BAD_INPUT, print_error
from pyrovae.command_line.messages import explained
from pyrovae.command_line.slots import SLOTS, Slot, arguments_of, class_of, given_parts, read_config, wraps
from pyrovae.runs import GENERAL, as_option, find_class, users_errors


class CommandParser(ArgumentParser):
    """A parser whose errors are one line that says what would have been right."""

    # Of the class, because each part's arguments are parsed by a parser of its own, whose errors come here too.
    given: ClassVar[list[str]] = []
    defaults: ClassVar[dict[str, str]] = {}
    options: ClassVar[list[str]] = []
    command: ClassVar[str] = ""
    # Import paths that jsonargparse can follow, and what the user wrote in their place.
    written: ClassVar[dict[str, str]] = {}

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def parse(self, arguments: Sequence[str] | None) -> dict[str, Any]:
        """The options as plain values; those given beside ``--config`` prevail over it, wherever they stand."""
        CommandParser.command = self.prog
        CommandParser.options = [
            option[2:] for action in self._actions for option in action.option_strings if option[:2] == "--"
        ]
        CommandParser.given = _config_first(sys.argv[1:] if arguments is None else arguments)
        CommandParser.written = {}
        try:
            check_config_files(CommandParser.given, self._actions)
            tokens = self._followable(CommandParser.given)
        except ValueError as error:
            self.error(str(error))
        # Through JSON, which leaves plain values: the parser's own number types have no place in a file.
        options = json.loads(json.dumps(self.parse_args(tokens).as_dict(), default=str))
        for slot in SLOTS.keys() & options.keys():
            path = options[slot]["class_path"]
            options[slot]["class_path"] = CommandParser.written.get(path, path)
        return options

    def add_part(self, slot: str, default: str, help_text: str) -> None:
        """An option for a part of the VAE or the objective, with one more for each argument of it."""
        self.defaults[slot] = default
        self.add_subclass_arguments(
            SLOTS[slot],
            slot,
            skip=set(SLOTS[slot].filled_in),
            as_group=False,
            instantiate=False,
            default={"class_path": default},
            metavar="NAME",
            help=help_text,
        )

    def _followable(self, tokens: Sequence[str]) -> list[str]:
        """The same words with each part of the user's own found, and files given as modules."""
        changed = list(tokens)
        for position, token in enumerate(tokens):
            option, equals, value = token.removeprefix("--").partition("=")
            if token == "--config" and position + 1 < len(tokens):
                changed[position + 1] = self._followable_file(tokens[position + 1])
            elif token.startswith("--config="):
                changed[position] = f"--config={self._followable_file(value)}"
            slot, _, rest = option.partition(".")
            if token.startswith("--") and slot in SLOTS and rest in ("", "class_path", "help"):
                if equals:
                    changed[position] = f"--{option}={self._found(slot, value)}"
                elif position + 1 < len(tokens):
                    changed[position + 1] = self._found(slot, tokens[position + 1])
        return changed

    def _followable_file(self, path: str) -> str:
        """The path of a configuration, or what is in it, if it names files that parts are in."""
        config = read_config(path)
        before = json.dumps(config, default=str)
        for slot in SLOTS.keys() & config.keys():
            if isinstance(config[slot], str):
                config[slot] = self._found(slot, config[slot])
            elif isinstance(config[slot], dict) and isinstance(config[slot].get("class_path"), str):
                config[slot]["class_path"] = self._found(slot, config[slot]["class_path"])
        return path if json.dumps(config, default=str) == before else yaml.safe_dump(config)

    def _found(self, slot: str, path: str) -> str:
        """An import path that jsonargparse can follow; a name is left as it is.

        Raises:
            ValueError: there is no such part.
        """
        if path.startswith(("-", "{")) or not re.search(r"[.:]", path):
            part = None if path.startswith(("-", "{")) else class_of(slot, path)
            followable = path
        else:
            with users_errors(f"--{slot} {path}"):
                part = find_class(path, SLOTS[slot].base)
            followable = f"{part.__module__}.{part.__qualname__}" if ":" in path else path
            if followable != path:
                CommandParser.written[followable] = path
        if part is not None and wraps(part, slot):
            raise ValueError(
                f"--{slot} {path}: it is put around another {slot}, which an option cannot say: give that other one"
                f"{', and --missing keep' if part.__name__ == 'PartlyObserved' else ''}"
            )
        return followable

    def dump(self, *arguments: Any, **options: Any) -> str:
        """The configuration as text, with import paths as the user wrote them."""
        text = super().dump(*arguments, **options)
        for followable, path in CommandParser.written.items():
            text = text.replace(followable, path)
        return text

    def format_help(self, *arguments: Any) -> str:
        """The help; that of a part is what its docstring says, and its arguments."""
        asked = re.match(r"Help for --(\w+)\.help=([\w.]+)$", self.description or "")
        if asked is None:
            # The types of the options are no parts themselves.
            return re.sub(rf"{re.escape(Slot.__module__)}\.\w+,\s+", "", super().format_help(*arguments))
        slot, path = asked.groups()
        part = find_class(path, SLOTS[slot].base)
        about = re.sub(r"\.\. math::\s*", "    ", (inspect.getdoc(part) or "").split("\nArgs:")[0])
        about = about.replace("\\|", "|")
        options = re.search(r"^  --.*", super().format_help(*arguments), re.DOTALL | re.MULTILINE)
        lines = [CommandParser.written.get(path, path), "", about.strip(), ""]
        lines += ["arguments:", options[0].rstrip()] if options else ["no arguments to set"]
        filled_in = [name for name in inspect.signature(part).parameters if name in SLOTS[slot].filled_in]
        if filled_in and SLOTS[slot].filled_in == GENERAL:
            lines += ["", f"options for any objective that it takes: {', '.join(map(as_option, filled_in))}"]
        elif filled_in:
            lines += ["", f"filled in by the command: {', '.join(filled_in)}"]
        lists = [name for name, value in arguments_of(slot, part).items() if isinstance(value.default, list | tuple)]
        if lists:
            example = json.dumps(list(arguments_of(slot, part)[lists[0]].default))
            lines += ["", f"a list is given in brackets and quotes: --{slot}.{lists[0]} '{example}'"]
        return re.sub(r":math:`([^`]*)`", r"\1", "\n".join(lines)).replace("``", "") + "\n"

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the message in one line, and exit with status 2."""
        parts = given_parts(CommandParser.given, self.defaults)
        line = explained(" ".join(message.split()), parts, CommandParser.options)
        for followable, path in CommandParser.written.items():
            line = line.replace(followable, path)
        print_error(f"{line}\nFor all options: {CommandParser.command} --help")
        sys.exit(EXIT_BAD_INPUT)


def _config_first(arguments: Sequence[str]) -> list[str]:
    """The words that name configuration files, in their order, and then the others, which prevail over them."""
    files, rest = list[str](), list[str]()
    words = iter(arguments)
    for word in words:
        if word == "--config":
            files += [word, *itertools.islice(words, 1)]
        else:
            (files if word.startswith("--config=") else rest).append(word)
    return [*files, *rest]
