"""Stopping when the process is asked to, once the step in hand is done."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def ending_when_terminated() -> Iterator[None]:
    """Let SIGTERM raise ``SystemExit``, so that what is under way can be left in order; only in the main thread."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


class StopRequests:
    """Within this context Ctrl-C and SIGTERM are noted, and not acted on; a second Ctrl-C stops at once.

    Only the main thread is given signals: elsewhere nothing changes. A signal that is ignored stays so.

    Attributes:
        asked: the signal that asked to stop; None if there was none.
    """

    def __init__(self) -> None:
        self.asked: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopRequests":
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def stop(self, asked: signal.Signals) -> None:
        """Stop, as was asked.

        Args:
            asked: the signal that asked, of this process or another.

        Raises:
            KeyboardInterrupt: by Ctrl-C.
            SystemExit: by SIGTERM, with the status that a shell gives such a process.
        """
        if asked is signal.SIGTERM:
            raise SystemExit(128 + asked)
        raise KeyboardInterrupt

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.asked is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        # Nothing is printed here: a print that it came into the middle of would fail.
        self.asked = self.asked or signal.Signals(number)
