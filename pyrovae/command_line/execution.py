"""What all commands do around their own work: statuses, errors in one line, devices, run folders."""

import errno
import io
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from datetime import datetime
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pyrovae.processes import ProcessEndedError, alone, is_of_own_rows, processes_now, refuse_several, several_processes

if TYPE_CHECKING:
    from pyrovae.command_line.parser import CommandParser

CHECKPOINT_FOLDER = "checkpoints"
"""Of a run folder, while the run is under way."""

EXIT_BAD_INPUT = 2
EXIT_NON_FINITE = 3
EXIT_FILES = 4
EXIT_PROCESS_ENDED = 5
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


def run_command(
    parser: "CommandParser",
    arguments: Sequence[str] | None,
    action: Callable[[dict[str, Any]], int],
    interrupted: str,
    *,
    shared: bool = False,
) -> int:
    """Parse, act, and turn what goes wrong into one line and an exit status.

    Letters that a terminal or a file cannot take, such as those of a name in another script, are written as escapes.

    Args:
        parser: the options of the command.
        arguments: those given; None takes the process's own.
        action: what to do with the options; its result is the exit status.
        interrupted: what to say of an interrupt.
        shared: whether processes that torchrun started share the work; else they are refused.
    """
    for stream in (sys.stdout, sys.stderr):
        # Notebooks have streams of their own.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    options = parser.parse(arguments)
    try:
        if not shared:
            refuse_several(parser.prog)
            with lack_of_memory_said():
                return action(options)
        with lack_of_memory_said(), several_processes(options["device"]) as processes:
            if processes.is_first:
                return action(options)
            with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
                return action(options)
    except ValueError as error:
        print_error(str(error), of_this_process=is_of_own_rows(error))
        return EXIT_BAD_INPUT
    except OSError as error:
        print_error(described_file_error(error))
        return EXIT_FILES
    except ProcessEndedError as error:
        print_error(str(error))
        return EXIT_PROCESS_ENDED
    except KeyboardInterrupt:
        print_error(f"interrupted; {interrupted}")
        return EXIT_INTERRUPTED


@contextmanager
def lack_of_memory_said() -> Iterator[None]:
    """Turn a lack of memory into one line that says what needs less."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not lacks_memory(error):
            raise
        said = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"there is not enough memory ({said}): a smaller --batch-size or smaller layers need "
            'less; more under "Out of memory" in docs/troubleshooting.md'
        ) from error


def lacks_memory(error: Exception) -> bool:
    """Whether Python, NumPy or torch, on any device, found no memory."""
    # Of torch's errors only that of CUDA has a class of its own.
    said = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in said or "can't allocate memory" in said


def described_file_error(error: OSError) -> str:
    """What the system says of a file, or what the package said of it."""
    if error.errno is None:
        return str(error)
    repair = _REPAIRS.get(error.errno, "see that the place is there, and may be read and written")
    return f"{error.filename or 'a file'} cannot be read or written ({error.strerror}): {repair}"


_REPAIRS = {
    errno.ENOSPC: "make room on the disk, or give another place",
    errno.ENAMETOOLONG: "give a shorter name",
}


def print_error(message: str, *, of_this_process: bool = False) -> None:
    """One error on standard error; of several processes on a machine one speaks, and those with errors of their own."""
    if of_this_process:
        print(f"error in process {os.environ['RANK']}: {message}", file=sys.stderr)
    elif os.environ.get("LOCAL_RANK", "0") == "0":
        print(f"error: {message}", file=sys.stderr)


def by_first(write: Callable[[], None]) -> None:
    """Let the first of several processes write, which it does by itself."""
    if processes_now().is_first:
        with alone():
            write()


def choose_device(name: str) -> torch.device:
    """The device of a name; ``auto`` takes a CUDA device where there is one, else the CPU.

    Each of several processes has its own.

    Raises:
        ValueError: no such device on this machine.
    """
    fabric = processes_now().fabric
    if fabric is not None:
        return fabric.device
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        # The number has to come back, which it does not from a device of shapes alone.
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        present = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        if torch.backends.mps.is_available():
            present.append("mps")
        raise ValueError(
            f"--device {name}: there is no such device here ({str(error).splitlines()[0]}); expected auto or one of "
            f"{', '.join(present)}"
        ) from error
    return device


def check_seed(seed: int) -> None:
    """Refuse a seed that NumPy does not take.

    Raises:
        ValueError: it is too large.
    """
    if seed >= 2**32:
        raise ValueError(f"--seed {seed}: expected a whole number below 2**32")


def new_folder(name: str) -> Path:
    """A folder for a run in runs that is not there, by name and time, and by a number where a second saw several."""
    stem = Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    numbered = (stem.with_name(f"{stem.name}-{number}") for number in count(2))
    return next(folder for folder in chain([stem], numbered) if not folder.exists())


def claim_folder(folder: Path, *, overwrite: bool) -> Callable[[], None]:
    """Make a run folder, or refuse one that is there; the result undoes it.

    Raises:
        ValueError: the folder holds something and ``overwrite`` is not set, or it cannot be made.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--output-dir {folder}: this is a file; give a folder that is not there yet")
    if (folder / CHECKPOINT_FOLDER).is_dir() and not overwrite:
        raise ValueError(
            f"--output-dir {folder}: it holds a run that was cut off: go on with it by --resume "
            f"{shlex.quote(str(folder))}, or begin anew by --overwrite"
        )
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise ValueError(f"--output-dir {folder}: it holds files already; give another folder, or --overwrite")
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--output-dir {folder}: it cannot be made ({error.strerror})") from error

    def undo() -> None:
        # After an interrupt while files were written, these stay.
        if not any(folder.iterdir()):
            for path in made:
                path.rmdir()

    return undo
