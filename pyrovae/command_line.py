"""What the commands share: parts as options, errors in one line, exit statuses, devices."""

import difflib
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import torch
from jsonargparse import ArgumentParser
from torch import nn

from pyrovae import likelihoods, networks, posteriors, priors

EXIT_BAD_INPUT = 2
EXIT_NON_FINITE = 3

# Arguments that the command fills in from the data, the latent size and the networks.
_FILLED_IN = {"latent_dim", "data_shape", "input_shape", "output_shape", "encoder", "decoder"}


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

    def add_part(self, slot: str, default: str, help_text: str) -> None:
        """An option for a part of the VAE, with one more for each argument of the part."""
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

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the usage and the message, and exit with status 2."""
        print_error(f"{_explained(message, self)}\nFor all options: {self.prog} --help")
        sys.exit(EXIT_BAD_INPUT)


def _explained(message: str, parser: ArgumentParser) -> str:
    """The parser's message, with the nearest option or the known parts."""
    message = " ".join(message.split())
    unknown = re.match(r"unrecognized arguments: (--[\w.-]+)", message, re.IGNORECASE)
    if unknown:
        options = [option for action in parser._actions for option in action.option_strings]
        near = difflib.get_close_matches(unknown[1], options, n=1)
        return f"unknown option {unknown[1]}" + (f"; did you mean {near[0]}?" if near else "")
    # "key" is an option, and what follows may repeat it.
    key = re.match(r'Parser key "([\w.]+)": (.*)', message)
    if key is None:
        return message
    option, reason = key[1], key[2]
    unknown = re.search(r"given class_path '[\w.]*?(\w+)': Option '(\w+)' is not accepted", reason)
    if unknown:
        return f"--{option} {unknown[1]} has no argument {unknown[2]!r}: see --{option}.help {unknown[1]}"
    if option in SLOTS:
        names = ", ".join(part.__name__ for part in SLOTS[option].parts)  # type: ignore[attr-defined]
        reason += f" (expected one of {names}, or an import path such as my_module.MyPart)"
    return f"--{option.replace('_', '-')}: {reason}"


def config_first(arguments: Sequence[str] | None) -> list[str]:
    """The arguments with ``--config FILE`` moved to the front, so that the others prevail wherever they stand."""
    rest, config = list(sys.argv[1:] if arguments is None else arguments), []
    for index, argument in enumerate(rest):
        if argument == "--config" or argument.startswith("--config="):
            count = 2 if argument == "--config" else 1
            config = rest[index : index + count]
            del rest[index : index + count]
            break
    return config + rest


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
