"""What the benchmarks share: sides that take turns, ratios with their quartiles, and what they were measured on.

Each side is a process of its own, which works only when it is its turn; so no side waits for the threads, the random
numbers or the settings of another, and other work on the machine favours none.
"""

import importlib
import importlib.metadata
import json
import multiprocessing
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

PROCESSES = multiprocessing.get_context("spawn")
PACKAGES = ("pyrovae", "torch", "pyro-ppl", "numpy", "jax", "numpyro", "pythae")


@dataclass(frozen=True)
class Side:
    """What is timed: a function ``target``, written ``module:name``, of a clock and the options."""

    name: str
    target: str
    options: dict[str, Any] = field(default_factory=dict)
    # So much is done before the clock runs.
    prepared_after: int = 1


class Work(NamedTuple):
    """What was done in a turn, and the seconds by the clock on the wall and of all threads on their processors."""

    done: float
    seconds: float
    processor_seconds: float


class Clock:
    """What a side has in its process: it calls ``tick`` when it is set up, and then after each piece of work."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.end = 0.0
        self._begin()

    def tick(self, done: float = 1) -> None:
        """So much more work is done; returns when there is more to do."""
        now = time.perf_counter()
        self.done += done
        if now < self.end:
            return
        self.connection.send(Work(self.done, now - self.start, time.process_time() - self.processor_start))
        seconds = self.connection.recv()
        if seconds is None:
            raise SystemExit
        self._begin()
        self.end = self.start + seconds

    def _begin(self) -> None:
        self.done, self.start, self.processor_start = 0.0, time.perf_counter(), time.process_time()


class Seat:
    """A side's process, from outside."""

    def __init__(self, side: Side, threads: int) -> None:
        self.name, self.began = side.name, time.perf_counter()
        self.connection, other = PROCESSES.Pipe()
        _set_threads(threads)
        self.process = PROCESSES.Process(target=_serve, args=(other, side), daemon=True)
        self.process.start()
        other.close()

    def wait(self) -> Work:
        """The work of the turn that is under way."""
        return self.connection.recv()

    def turn(self, seconds: float) -> Work:
        """Work for so long, and on to the end of the piece."""
        self.connection.send(seconds)
        return self.wait()

    def close(self) -> None:
        """Let the side go."""
        self.connection.send(None)
        self.process.join()


def _serve(connection: Connection, side: Side) -> None:
    function(side.target)(Clock(connection), **side.options)


def function(target: str) -> Callable[..., Any]:
    """The function that is written ``module:name``."""
    module, name = target.split(":")
    return getattr(importlib.import_module(module), name)


@contextmanager
def aside(threads: int) -> Iterator[Callable[..., Any]]:
    """Calls of functions, written ``module:name``, in one process of their own, which is idle between them."""
    _set_threads(threads)
    with PROCESSES.Pool(1) as pool:
        yield lambda target, **options: pool.apply(_call, (target, options))
        pool.close()
        pool.join()


def _call(target: str, options: dict[str, Any]) -> Any:
    return function(target)(**options)


def _set_threads(threads: int) -> None:
    # Read by torch and by XLA when they are imported, in a process that starts from here.
    os.environ["OMP_NUM_THREADS"] = os.environ["NPROC"] = str(threads)


def take_turns(sides: list[Side], *, threads: int, turns: int, seconds: float, warm_up: float) -> list[dict[str, Work]]:
    """The work of each side, by name, for each turn."""
    seats = [Seat(side, threads) for side in sides]
    for seat in seats:
        seat.wait()
    for seat, side in zip(seats, sides, strict=True):
        # The first pieces may hold preparations of any length, and are followed by some of the usual ones.
        done = 0.0
        while done < side.prepared_after:
            done += seat.turn(0).done
        seat.turn(warm_up)
    table = []
    for turn in range(turns):
        # Each side goes first, and each before and after each other one.
        order = seats[turn % len(seats) :] + seats[: turn % len(seats)]
        table.append({seat.name: seat.turn(seconds) for seat in (order if turn % 2 else reversed(order))})
    for seat in seats:
        seat.close()
    return table


def first_steps(sides: list[Side], *, threads: int, turns: int) -> list[dict[str, tuple[float, float]]]:
    """Seconds to the first piece of work, by side, for each turn: since the process began, and without its imports."""
    table = []
    for turn in range(turns):
        times = {}
        for side in sides if turn % 2 else reversed(sides):
            seat = Seat(side, threads)
            of_call = seat.wait().seconds + seat.turn(0).seconds
            times[side.name] = (time.perf_counter() - seat.began, of_call)
            seat.close()
        table.append(times)
    return table


def spread(values: list[float]) -> dict[str, float]:
    """Median and quartiles."""
    quartiles = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return {"median": quartiles[1], "quartile_1": quartiles[0], "quartile_3": quartiles[2]}


def ratios(table: list[dict[str, float]]) -> dict[str, dict[str, dict[str, float]]]:
    """For each side and each other one the spread of their ratios, which are taken turn by turn."""
    names = list(table[0])
    return {
        side: {other: spread([turn[side] / turn[other] for turn in table]) for other in names if other != side}
        for side in names
    }


def seconds_of(action: Callable[[], object]) -> float:
    """How long an action takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def circumstances(threads: int) -> dict[str, Any]:
    """What a measurement was made on and with."""
    return {
        "command": shlex.join(sys.argv),
        "processor": _processor(),
        "processors": os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
        "system": platform.platform(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES if installed(name)},
    }


def installed(distribution: str) -> bool:
    """Whether a distribution is there."""
    return any(importlib.metadata.distributions(name=distribution))


def _processor() -> str:
    about = Path("/proc/cpuinfo")
    lines = about.read_text(encoding="utf-8").splitlines() if about.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def write(result: dict[str, Any], path: str | None) -> None:
    """The result as JSON, if a path is given."""
    if path:
        Path(path).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        print(f"written: {path}")
