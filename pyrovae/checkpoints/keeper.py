"""When a fit is kept, and whether what was kept is of the same fit."""

import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pyrovae.checkpoints.stopping import StopRequests
from pyrovae.checkpoints.store import Checkpoints, State
from pyrovae.processes import processes_now

# Torchrun gives the processes that are left 30 seconds.
_SECONDS_FOR_THE_FIRST = 5.0

Settings = Mapping[str, str]
"""What makes a fit what it is, as text, by the name of the argument."""


class Keeper:
    """Keeps a fit as it goes on; a context in which signals to stop wait until the step is done.

    Where a checkpoint cannot be written the fit goes on, which is said once. Of several processes the first writes, and
    all stop after the same step.

    Args:
        checkpoints: where, and how often; None keeps nothing, and leaves signals alone.
        settings: of the fit, which have to be those of the checkpoint that it goes on from.
    """

    def __init__(self, checkpoints: Checkpoints | None, settings: Settings) -> None:
        self.checkpoints, self.settings = checkpoints, dict(settings)
        self._requests = StopRequests()
        self._processes = processes_now()
        self._last = time.monotonic()
        self._said = False

    def __enter__(self) -> "Keeper":
        if self.checkpoints is not None:
            self._requests.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._requests.__exit__()

    def newest(self) -> State | None:
        """What was kept last; None if nothing was.

        Raises:
            ValueError: it is of a fit with other settings, or of a later version.
        """
        checkpoints = self.checkpoints
        state = None if checkpoints is None else self._processes.from_first(checkpoints.newest)
        if state is None:
            return None
        for name, now in self.settings.items():
            before = state["settings"].get(name, "not set")
            if before != now:
                raise ValueError(
                    f"{name} is {now}, and was {before} in the fit that {self._folder()} keeps: a fit goes on with "
                    "what it began with. Give the same, or another folder for another fit"
                )
        return state

    def after_step(self, capture: Callable[[], State], step: int) -> None:
        """Keep the fit if it is time, and stop if that was asked for.

        Args:
            capture: gives the state.
            step: steps done.

        Raises:
            KeyboardInterrupt: by Ctrl-C.
            SystemExit: by SIGTERM.
            ProcessEndedError: another process ended.
        """
        if self.checkpoints is None:
            return
        # One process may be asked before another.
        asked = self._processes.largest(self._requests.asked or 0)
        if asked and self._processes.is_first:
            print(f"\nstopping after step {step}, as was asked", file=sys.stderr)
        if asked or time.monotonic() - self._last >= self.checkpoints.every_seconds:
            self.keep(capture, step)
        if asked:
            self._requests.stop(signal.Signals(asked))

    def keep(self, capture: Callable[[], State], step: int) -> None:
        """Keep the fit now.

        Args:
            capture: gives the state.
            step: steps done.
        """
        if self._processes.is_first:
            self._write(capture, step)

    def keep_without_others(self, capture: Callable[[], State], step: int) -> None:
        """Keep the fit after another process ended: the first does, or the second if that is the one which ended.

        Args:
            capture: gives the state.
            step: steps done.
        """
        if self._processes.is_first or (self._processes.rank == 1 and not self._first_has_kept(step)):
            self._write(capture, step)

    def _first_has_kept(self, step: int) -> bool:
        """Whether the first process keeps this step, or that before, within some seconds."""
        until = time.monotonic() + _SECONDS_FOR_THE_FIRST
        while time.monotonic() < until:
            if self.checkpoints is None or self.checkpoints.newest_step() >= step - 1:
                return True
            time.sleep(0.1)
        return False

    def _write(self, capture: Callable[[], State], step: int) -> None:
        if self.checkpoints is None:
            return
        try:
            self.checkpoints.write({"settings": self.settings, **capture()}, step)
        except OSError as error:
            if not self._said:
                print(
                    f"\nno checkpoint at step {step}: {error.strerror or error} in {self._folder()}. The fit goes on "
                    "without, and tries again; free some space, or see that the folder can be written",
                    file=sys.stderr,
                )
            self._said = True
        self._last = time.monotonic()

    def _folder(self) -> str:
        assert self.checkpoints is not None
        return str(self.checkpoints.folder)


def begin_or_resume(
    given: Checkpoints | str | Path | None, resume: bool, settings: Callable[[], Settings]
) -> tuple[Keeper, State | None]:
    """What keeps a fit, and the state that it goes on from; None for a fit that begins.

    Args:
        given: where checkpoints are; None keeps nothing.
        resume: whether to go on from the newest.
        settings: gives those of the fit.

    Raises:
        ValueError: nothing to go on from, or something that would be written over; a checkpoint of another fit.
    """
    if given is None:
        if resume:
            raise ValueError("resume is True and checkpoints is None: give the folder that the fit was kept in")
        return Keeper(None, {}), None
    checkpoints = given if isinstance(given, Checkpoints) else Checkpoints(given)
    if not resume and processes_now().from_first(checkpoints.files):
        raise ValueError(
            f"checkpoints is {checkpoints.folder}, which holds those of a fit already: give resume=True to go on with "
            "it, or another folder"
        )
    keeper = Keeper(checkpoints, settings())
    return keeper, keeper.newest() if resume else None
