"""What the commands share: parts as options, errors in one line, exit statuses, devices."""

import difflib
import importlib
import inspect
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, NoReturn

import torch
from jsonargparse import ArgumentParser
from torch import nn

from pyrovae import likelihoods, networks, posteriors, priors

EXIT_BAD_INPUT = 2
EXIT_NON_FINITE = 3
EXIT_INTERRUPTED = 130

# Arguments that the command fills in from the data, the latent size and the networks.
_FILLED_IN = {
    "latent_dim",
    "data_shape",
    "input_shape",
    "output_shape",
    "column_kinds",
    "encoder",
    "decoder",
    "posterior",
}


class _Slot(type):
    """The type of an option that takes any module, and lists the built-in ones in its help."""

    parts: tuple[type[nn.Module], ...] = ()

    def __subclasscheck__(cls, other: type) -> bool:
        return isinstance(other, type) and issubclass(other, nn.Module)

    def __subclasses__(cls) -> list[type[nn.Module]]:  # type: ignore[override]
        return list(cls.parts)


def _parts_of(package: ModuleType) -> tuple[type[nn.Module], ...]:
    return tuple(getattr(package, name) for name in package.__all__)


class _Prior(metaclass=_Slot):
    parts = _parts_of(priors)


class _Likelihood(metaclass=_Slot):
    parts = _parts_of(likelihoods)


class _Posterior(metaclass=_Slot):
    parts = _parts_of(posteriors)


class _Network(metaclass=_Slot):
    parts = _parts_of(networks)


SLOTS: dict[str, type] = {
    "prior": _Prior,
    "likelihood": _Likelihood,
    "posterior": _Posterior,
    "encoder": _Network,
    "decoder": _Network,
}


class CommandParser(ArgumentParser):
    """A parser whose errors are one line that says what would have been right."""

    # Of the class, because each part's arguments are parsed by a parser of its own, whose errors come here too.
    given: ClassVar[list[str]] = []
    defaults: ClassVar[dict[str, str]] = {}
    command: ClassVar[str] = ""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def parse(self, arguments: Sequence[str] | None) -> dict[str, Any]:
        """The options as plain values; those given beside ``--config`` prevail over it, wherever they stand."""
        CommandParser.command = self.prog
        CommandParser.given = _config_first(sys.argv[1:] if arguments is None else arguments)
        # Through JSON, which leaves plain values: the parser's own number types have no place in a file.
        return json.loads(json.dumps(self.parse_args(CommandParser.given).as_dict(), default=str))

    def add_part(self, slot: str, default: str, help_text: str) -> None:
        """An option for a part of the VAE, with one more for each argument of the part."""
        self.defaults[slot] = default
        self.add_subclass_arguments(
            SLOTS[slot],
            slot,
            skip=_FILLED_IN,
            as_group=False,
            instantiate=False,
            default={"class_path": default},
            metavar="NAME",
            help=help_text,
        )

    def format_help(self, *arguments: Any) -> str:
        """The help; that of a part begins with what its docstring says before the arguments."""
        asked = re.match(r"Help for --\w+\.help=([\w.]+)$", self.description or "")
        if asked is None:
            return super().format_help(*arguments)
        module_name, _, class_name = asked[1].rpartition(".")
        documentation = inspect.getdoc(getattr(importlib.import_module(module_name), class_name)) or ""
        about = documentation.split("\nArgs:")[0].replace(".. math:: ", "    ").replace("``", "")
        return f"{asked[1]}\n\n{about.strip()}\n\n{super().format_help(*arguments)}"

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the message in one line, and exit with status 2."""
        print_error(f"{self._explained(' '.join(message.split()))}\nFor all options: {self.command} --help")
        sys.exit(EXIT_BAD_INPUT)

    def _explained(self, message: str) -> str:
        """The parser's message with the option that it is about, and the nearest one or the known parts."""
        unknown = re.match(r"unrecognized arguments: --([\w.-]+)", message, re.IGNORECASE)
        if unknown:
            return f"unknown option --{unknown[1]}{self._nearest_option(unknown[1])}"
        not_accepted = re.search(r"Option '(\w+)' is not accepted", message)
        if not_accepted:
            return self._not_accepted(not_accepted[1])
        key = re.match(r'Parser key "([\w.]+)": (.*)', message)
        if key is None:
            return message
        option, reason = key[1], key[2]
        if option in SLOTS:
            names = [part.__name__ for part in SLOTS[option].parts]  # type: ignore[attr-defined]
            given = re.search(r"Expected a dot import path string: (\w+)", reason)
            if given:
                near = difflib.get_close_matches(given[1], names, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                return f"--{option}: there is no part {given[1]!r}{hint} {_expected_part(names)}"
            reason += f" {_expected_part(names)}"
        return f"--{option.replace('_', '-')}: {reason}"

    def _not_accepted(self, name: str) -> str:
        """An argument that a part does not have, or a key of a configuration that is no option."""
        for position, argument in enumerate(self.given):
            slot, _, rest = argument.removeprefix("--").partition(".")
            if slot in SLOTS and rest.split("=")[0] == name:
                before = self.given[:position]
                part = before[before.index(f"--{slot}") + 1] if f"--{slot}" in before else self.defaults[slot]
                part = part.rsplit(".", 1)[-1]
                return f"--{slot} {part} has no argument {name!r}: see --{slot}.help {part}"
        return f"the configuration has a key {name!r} that is no option{self._nearest_option(name)}"

    def _nearest_option(self, name: str) -> str:
        options = [option[2:] for action in self._actions for option in action.option_strings if option[:2] == "--"]
        near = difflib.get_close_matches(name.replace("_", "-"), options, n=1)
        return f"; did you mean --{near[0]}?" if near else ""


def _expected_part(names: list[str]) -> str:
    return f"(expected one of {', '.join(names)}, or an import path such as my_module.MyPart)"


def _config_first(arguments: Sequence[str]) -> list[str]:
    rest = list(arguments)
    for index, argument in enumerate(rest):
        if argument == "--config" or argument.startswith("--config="):
            end = index + (2 if argument == "--config" else 1)
            return rest[index:end] + rest[:index] + rest[end:]
    return rest


def run_command(
    parser: CommandParser, arguments: Sequence[str] | None, action: Callable[[dict[str, Any]], int], interrupted: str
) -> int:
    """Parse, act, and turn what goes wrong into one line and an exit status.

    Args:
        parser: the options of the command.
        arguments: those given; None takes the process's own.
        action: what to do with the options; its result is the exit status.
        interrupted: what to say of an interrupt.
    """
    options = parser.parse(arguments)
    try:
        return action(options)
    except ValueError as error:
        print_error(str(error))
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print_error(f"interrupted; {interrupted}")
        return EXIT_INTERRUPTED


def print_error(message: str) -> None:
    """One error on standard error."""
    print(f"error: {message}", file=sys.stderr)


def choose_device(name: str) -> torch.device:
    """The device of a name; ``auto`` takes a CUDA device where there is one, else the CPU.

    Raises:
        ValueError: no such device on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        present = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        if torch.backends.mps.is_available():
            present.append("mps")
        raise ValueError(
            f"--device {name}: there is no such device here ({str(error).splitlines()[0]}); expected auto or one of "
            f"{', '.join(present)}"
        ) from error
    return device


def claim_folder(folder: Path, *, overwrite: bool) -> Callable[[], None]:
    """Make a run folder, or refuse one that is there; the result undoes it.

    Raises:
        ValueError: the folder holds something and ``overwrite`` is not set, or it cannot be made.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--output-dir {folder}: this is a file; give a folder that is not there yet")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise ValueError(f"--output-dir {folder}: it holds files already; give another folder, or --overwrite")
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--output-dir {folder}: it cannot be made ({error.strerror})") from error

    def undo() -> None:
        for path in made:
            path.rmdir()

    return undo
