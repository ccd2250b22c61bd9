"""How far a long computation is: a bar on a terminal and in a notebook, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from tqdm import tqdm

_FIRST_LINE_SECONDS = 10.0
_TERMS_SECONDS = 1.0
_BAR = "{{desc}} {{percentage:3.0f}}%|{{bar}}| {counts}{{remaining}} left{{postfix}}"

Terms = Callable[[], str]
"""The current terms in words; asked for at most once a second, as to see a number may hold up the device."""


class Progress:
    """How far ``what`` is, with the current terms and the time left, on standard error.

    A bar on a terminal and in a notebook. Elsewhere, in a log file say, a line after ten seconds and then each time the
    computation has taken a tenth longer, so that the log of a day has eighty lines; nothing for what is done sooner.

    Args:
        what: is going on, ``"fitting"`` say.
        total: number of units until the end.
        unit: is counted, in the singular.
        shown: False says nothing.
        done: units that an earlier, interrupted computation did.
    """

    def __init__(self, what: str, total: int, unit: str, *, shown: bool, done: int = 0) -> None:
        self._shown: _Shown | None = None
        if shown:
            self._shown = _Bar(what, total, unit, done) if _redraws() else _Lines(what, total, unit, done)
        self._next_terms = time.monotonic() + _TERMS_SECONDS

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._shown is not None:
            self._shown.end(whole=kind is None)

    @property
    def shown(self) -> bool:
        """Whether anything is said at all."""
        return self._shown is not None

    def advance(self, count: int = 1, terms: Terms | None = None) -> None:
        """``count`` more units are done."""
        if self._shown is None:
            return
        if terms is not None and time.monotonic() >= self._next_terms:
            self.tell(terms())
        self._shown.advance(count)

    def tell(self, terms: str) -> None:
        """From now on ``terms`` is shown beside the bar."""
        if self._shown is not None:
            self._shown.tell(terms)
            self._next_terms = time.monotonic() + _TERMS_SECONDS


def say(line: str) -> None:
    """A line on standard error, above a bar that may be there."""
    tqdm.write(line, file=sys.stderr)


def _redraws() -> bool:
    """Whether a line on standard error can be written over: on a terminal, and in the cell of a notebook."""
    return sys.stderr.isatty() or type(sys.stderr).__module__.startswith("ipykernel.")


class _Shown(Protocol):
    def advance(self, count: int) -> None: ...
    def tell(self, terms: str) -> None: ...
    def end(self, *, whole: bool) -> None: ...


class _Bar:
    """A bar of tqdm, which fits itself to the width of the terminal."""

    def __init__(self, what: str, total: int, unit: str, done: int) -> None:
        self._bar = tqdm(
            total=total,
            initial=done,
            desc=what,
            unit=unit,
            dynamic_ncols=True,
            bar_format=_BAR.format(counts="{n_fmt}/{total_fmt} {unit}s, "),
        )

    def advance(self, count: int) -> None:
        self._bar.update(count)

    def tell(self, terms: str) -> None:
        # The terms need the width.
        self._bar.bar_format = _BAR.format(counts="")
        self._bar.set_postfix_str(terms, refresh=False)

    def end(self, *, whole: bool) -> None:
        self._bar.close()


class _Lines:
    """A line at ``first`` seconds, and then each time a tenth more time has gone by."""

    def __init__(self, what: str, total: int, unit: str, done: int, first: float = _FIRST_LINE_SECONDS) -> None:
        self._what, self._total, self._units, self._before, self._done = what, total, f"{unit}s", done, done
        self._terms = ""
        self._start = time.monotonic()
        self._first = self._next = first

    def advance(self, count: int) -> None:
        self._done += count
        seconds = time.monotonic() - self._start
        if seconds >= self._next and self._done < self._total:
            left = seconds / (self._done - self._before) * (self._total - self._done)
            self._say(
                f"{self._done:,} of {self._total:,} {self._units}, {100 * self._done / self._total:.0f} %, "
                f"{tqdm.format_interval(left)} left"
            )
            self._next = max(seconds + self._first, 1.1 * seconds)

    def tell(self, terms: str) -> None:
        self._terms = f", {terms}"

    def end(self, *, whole: bool) -> None:
        seconds = time.monotonic() - self._start
        if whole and self._next > self._first:
            self._say(f"done in {tqdm.format_interval(seconds)}")

    def _say(self, how_far: str) -> None:
        print(f"{self._what}: {how_far}{self._terms}", file=sys.stderr, flush=True)
