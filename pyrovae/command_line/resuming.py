"""Beginning a run in its folder, and going on with one that was cut off."""

import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse.typing import NonNegativeFloat, PositiveInt

from pyrovae.checkpoints import Checkpoints, write_whole
from pyrovae.command_line.execution import CHECKPOINT_FOLDER, claim_folder, new_folder
from pyrovae.command_line.parser import CommandParser
from pyrovae.command_line.slots import options_of
from pyrovae.processes import processes_now
from pyrovae.runs import CONFIG_FILE, SUMMARY_FILE, WEIGHTS_FILE, WITHOUT_EFFECT, as_option, read_mapping, read_summary

# Of the checkpoints: the run that ``--init-from`` named, and the checksum of streamed rows.
_START, _ROWS = "init_from", "rows.txt"


class RunKeeper:
    """What a run folder holds of a run that is under way: its options, and checkpoints of each of its fits.

    Args:
        folder: of the run.
        config: the command's options.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self.run_folder, self.folder = folder, folder / CHECKPOINT_FOLDER
        self._config = dict(config)

    def begin(self) -> None:
        """Write the options down, with the weights to start from, and forget what an earlier run in this folder kept.

        Raises:
            OSError: the folder cannot be written.
        """
        self.forget()
        self.folder.mkdir(parents=True)
        if self._config.get("init_from") is not None:
            (self.folder / _START).mkdir()
            for name in (CONFIG_FILE, WEIGHTS_FILE, SUMMARY_FILE):
                shutil.copyfile(Path(self._config["init_from"]) / name, self.folder / _START / name)
        self._write_options(self.folder)

    def write_options(self) -> None:
        """Write the options into the run folder, for another run.

        Raises:
            OSError: the folder cannot be written.
        """
        self._write_options(self.run_folder)

    def of(self, fit: str) -> Checkpoints:
        """The checkpoints of one of the fits.

        Args:
            fit: its name.
        """
        every, keep = self._config["checkpoint_every"], self._config["keep_checkpoints"]
        return Checkpoints(self.folder / fit, every, keep)

    def has_any(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return any(self.folder.rglob("step-*.pt"))

    def check_rows(self, checksum: str) -> None:
        """Refuse streamed rows that a run did not begin with: its fits compare a thousand of them.

        Args:
            checksum: of all rows.

        Raises:
            ValueError: they are others.
            OSError: the checksum cannot be kept, or read.
        """
        kept = self.folder / _ROWS
        # A run that an earlier version began has none.
        if not kept.exists():
            write_whole(kept, checksum.encode())
        elif kept.read_text() != checksum:
            raise ValueError(
                f"{self._config['data']} does not hold the rows that the run in {self.run_folder} began with any more "
                "(other checksum): put them back, or begin another run"
            )

    def reached(self) -> str:
        """How far the run had come, in words."""
        kept = [(path.stat().st_mtime_ns, path) for path in self.folder.rglob("step-*.pt")]
        if not kept:
            return "from the beginning, as no checkpoint had been made"
        newest = max(kept)[1]
        return f"from step {int(newest.name.split('-')[1]):,} of {newest.parent.name}"

    def to_go_on(self, command: str) -> str:
        """How the run goes on, to stand behind what cut it off.

        Args:
            command: its module.
        """
        return f"; to go on: python -m {command} --resume {shlex.quote(str(self.run_folder))}"

    def forget_fit(self, fit: str) -> None:
        """Remove what was kept of one of the fits."""
        shutil.rmtree(self.folder / fit, ignore_errors=True)

    def forget(self) -> None:
        """Remove what was kept; of several processes the first does."""
        if processes_now().is_first:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _write_options(self, folder: Path) -> None:
        # Leave to overwrite holds for this run, not for the next one that reads its configuration.
        text = yaml.safe_dump({**self._config, "resume": None, "overwrite": False}, sort_keys=False)
        write_whole(folder / CONFIG_FILE, text.encode())


def add_resuming(parser: CommandParser, resume: str) -> None:
    """The options of runs that can be cut off.

    Args:
        parser: of the command.
        resume: what the first of them does.
    """
    add = parser.add_argument
    add("--resume", type=str | None, default=None, metavar="RUN", help=resume)
    add(
        "--checkpoint-every",
        type=NonNegativeFloat,
        default=300.0,
        help="seconds between two checkpoints, at least; Ctrl-C and SIGTERM make one too, after the step in hand",
    )
    add(
        "--keep-checkpoints", type=PositiveInt, default=2, help="how many of the newest stay; none when the run is done"
    )


def claim_run(config: Mapping[str, Any], name: str) -> tuple[RunKeeper, Callable[[], None]]:
    """Begin a run in a folder, or go on in that of ``--resume``; of several processes the first begins it.

    Args:
        config: the command's options.
        name: of a new folder, where they name none.

    Returns:
        What keeps the run, and what undoes its beginning; a run that had been begun before is left as it is.

    Raises:
        ValueError: the folder holds something and may not be overwritten, or it cannot be made.
        OSError: it cannot be written.
    """
    if config["resume"] is not None:
        return RunKeeper(Path(config["resume"]), config), lambda: None
    unclaim = list[Callable[[], None]]()

    def begin() -> Path:
        folder = Path(config["output_dir"] or new_folder(name))
        unclaim.append(claim_folder(folder, overwrite=config["overwrite"]))
        RunKeeper(folder, config).begin()
        return folder

    keeper = RunKeeper(processes_now().from_first(begin), config)

    def undo() -> None:
        # Where another process began it there is nothing.
        for leave in unclaim:
            keeper.forget()
            leave()

    return keeper, undo


def start_of(config: Mapping[str, Any]) -> Path:
    """The run whose weights a run starts from; one that is gone on with has a copy, as that one may be gone by now.

    Args:
        config: the command's options, with ``--init-from``.
    """
    if config["resume"] is not None:
        copy = Path(config["resume"]) / CHECKPOINT_FOLDER / _START
        # Runs that an earlier version began have none.
        if copy.is_dir():
            return copy
    return Path(config["init_from"])


def resumed_options(tokens: Sequence[str]) -> list[str]:
    """The words of a command line, with the options of the run that it goes on with before them.

    Args:
        tokens: those given.

    Raises:
        ValueError: there is no such run, or options come from two files.

    Example:
        >>> resumed_options(["--epochs", "3"])
        ['--epochs', '3']
    """
    said = dict(options_of(tokens))
    if "resume" not in said:
        return list(tokens)
    if "config" in said:
        raise ValueError("--resume brings the options of the run: leave --config out")
    folder = Path(said["resume"])
    options = folder / CHECKPOINT_FOLDER / CONFIG_FILE
    if options.is_file():
        return [f"--config={options}", *tokens]
    if (folder / CONFIG_FILE).is_file():
        return [f"--config={folder / CONFIG_FILE}", *tokens]
    raise ValueError(
        f"--resume {folder}: no run was begun there: expected the folder of one, with {CHECKPOINT_FOLDER}/{CONFIG_FILE}"
    )


def check_resumable(config: Mapping[str, Any]) -> str | None:
    """See that a fit goes on with the options that it began with.

    Args:
        config: the options, those of ``--resume`` among them.

    Returns:
        How the run ended; None for one that is under way.

    Raises:
        ValueError: another value of an option, or a file that cannot be read.
    """
    if check_same_options(config, "To start another from its weights take --init-from"):
        return None
    return str(read_summary(Path(config["resume"])).get("status", "complete"))


def check_same_options(config: Mapping[str, Any], otherwise: str) -> bool:
    """See that a run goes on with the options that it began with.

    Args:
        config: the options, those of ``--resume`` among them.
        otherwise: what to do for others.

    Returns:
        Whether the run is under way.

    Raises:
        ValueError: another value of an option, or a file that cannot be read.
    """
    folder = Path(config["resume"])
    options = folder / CHECKPOINT_FOLDER / CONFIG_FILE
    under_way = options.is_file()
    path = options if under_way else folder / CONFIG_FILE
    stored = read_mapping(path)
    # What changes no result may be another, but the files go to the run's own folder.
    free = {*WITHOUT_EFFECT} - {"output_dir", "overwrite"}
    for option, now in config.items():
        if option == "output_dir" and now == config["resume"]:
            continue
        if option not in free and option in stored and stored[option] != now:
            raise ValueError(
                f"{as_option(option)} is {_shown(now)}, and the run in {folder} began with {_shown(stored[option])}: a "
                f"run goes on with its own options, so leave it out. {otherwise}"
            )
    return under_way


def _shown(value: Any) -> str:
    return value["class_path"].split(".")[-1] if isinstance(value, dict) and "class_path" in value else str(value)
