"""The folder of checkpoints of one fit."""

import hashlib
import io
import pickle
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pyrovae.checkpoints.files import write_whole

State = dict[str, Any]
"""Tensors, numbers, texts, None, and lists, tuples and dictionaries of these."""

FORMAT = 1

_NAME = re.compile(r"step-(\d{9,})-([0-9a-f]{16})\.pt")


@dataclass(frozen=True)
class Checkpoints:
    """Where a fit keeps what it needs to go on after it was cut off, and how often.

    A checkpoint is a file ``step-000001234-0123456789abcdef.pt``, named by the steps done and the first 16 digits of
    the sha256 of its contents, which ``torch.load(weights_only=True)`` reads. It appears whole or not at all. A
    damaged one is passed over, and ends in ``.damaged`` from then on.

    Args:
        folder: where they are; it is made if it is not there. Each fit needs one of its own.
        every_seconds: time between two, at least; there is one more at the end of the fit, and one where the process is
            asked to stop, by Ctrl-C or SIGTERM.
        keep: how many of the newest stay.

    Raises:
        ValueError: numbers out of range.

    Example:
        >>> import tempfile
        >>> import torch
        >>> checkpoints = Checkpoints(tempfile.mkdtemp())
        >>> for step in (10, 20, 30):
        ...     checkpoints.write({"weights": torch.ones(2)}, step)
        >>> len(checkpoints.files()), checkpoints.newest()["weights"]
        (2, tensor([1., 1.]))
    """

    folder: str | Path
    every_seconds: float = 300.0
    keep: int = 2

    def __post_init__(self) -> None:
        if not self.every_seconds >= 0:
            raise ValueError(f"every_seconds is {self.every_seconds!r}; expected seconds, zero or more")
        if not isinstance(self.keep, int) or isinstance(self.keep, bool) or self.keep < 1:
            raise ValueError(f"keep is {self.keep!r}; expected how many of the newest stay, 1 or more")

    def files(self) -> list[Path]:
        """Those that are there, from the newest to the oldest."""
        folder = Path(self.folder)
        named = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)] if folder.is_dir() else []
        return sorted(named, key=lambda path: (_step(path), path.stat().st_mtime_ns), reverse=True)

    def newest_step(self) -> int:
        """The steps done at the newest; -1 without any."""
        return max(map(_step, self.files()), default=-1)

    def write(self, state: State, step: int) -> None:
        """Write one, and remove those that are too many.

        Args:
            state: what the fit needs.
            step: steps done.

        Raises:
            OSError: it cannot be written; those before it stay.
            ValueError: something in the state cannot be read back without executing code.
        """
        buffer = io.BytesIO()
        torch.save({"format": FORMAT, **_plain(state)}, buffer)
        contents = buffer.getvalue()
        folder = Path(self.folder)
        if not self.files():
            _check_readable(contents)
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / f"step-{step:09d}-{_checksum(contents)}.pt", contents)
        # And what a process left that ended while it wrote.
        for old in [*self.files()[self.keep :], *folder.glob(".step-*.part")]:
            old.unlink(missing_ok=True)

    def newest(self) -> State | None:
        """The newest that is whole, on the CPU; None if there is none. A damaged one is warned of, and put aside.

        Raises:
            ValueError: it was written by a later version.
            OSError: it cannot be read, or a damaged one not be put aside.
        """
        for path in self.files():
            state = _read(path)
            if state is not None:
                return state
            # Out of the way of those to come, which may be of earlier steps.
            path.replace(path.with_suffix(".damaged"))
            warnings.warn(f"{path} is damaged: the fit goes on from what was before it", stacklevel=2)
        return None


def _plain(value: Any) -> Any:
    """The same without numbers of NumPy, which arguments may be, and cannot be read without executing code."""
    if isinstance(value, np.generic):
        return value.item()
    if type(value) is dict:
        return {name: _plain(each) for name, each in value.items()}
    return type(value)(map(_plain, value)) if type(value) in (list, tuple) else value


def _step(path: Path) -> int:
    named = _NAME.fullmatch(path.name)
    assert named is not None
    return int(named[1])


def _checksum(contents: bytes) -> str:
    return hashlib.sha256(contents).hexdigest()[:16]


def _check_readable(contents: bytes) -> None:
    try:
        torch.load(io.BytesIO(contents), weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            "the state of the fit could not be read again without executing code: its optimizer keeps something beside "
            "tensors, numbers and texts. Give one of torch.optim, or fit without checkpoints"
        ) from error


def _read(path: Path) -> State | None:
    contents = path.read_bytes()
    named = _NAME.fullmatch(path.name)
    if named is None or _checksum(contents) != named[2]:
        return None
    state: State = torch.load(io.BytesIO(contents), map_location="cpu", weights_only=True)
    found = state.get("format")
    if found != FORMAT:
        raise ValueError(
            f"{path} has format {found!r}, and this version of pyrovae reads {FORMAT}: go on with the version that "
            "wrote it, or begin the fit again in another folder"
        )
    return state
