"""What holds whatever is given: results that keep the invariants, or an error of the package's own."""

import contextlib
import io
import random
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyro
import pytest
import torch
from hypothesis import HealthCheck, settings

import pyrovae

PACKAGE = Path(pyrovae.__file__).parent
STATUSES = (0, 2, 3, 4)


def lengths(few: int, many: int) -> pytest.MarkDecorator:
    """A test with few examples, always the same, and with ``-m slow`` with many that differ from run to run."""
    slow = pytest.param(many, marks=pytest.mark.slow, id="many")
    return pytest.mark.parametrize("count", [pytest.param(few, id="few"), slow])


def examples(count: int, few: int = 100) -> settings:
    """Settings of a property with so many examples.

    Args:
        count: the number.
        few: up to how many are always the same.
    """
    return settings(
        max_examples=count,
        derandomize=count <= few,
        print_blob=count > few,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@contextmanager
def own_errors(*kinds: type[Exception]) -> Iterator[None]:
    """Lets through what the package itself raises with a sentence; anything else fails.

    An error that arises inside torch, Pyro or NumPy has its last frame there, whatever its class.
    """
    caught: Exception | None = None
    try:
        yield
    except (ValueError, pyrovae.NonFiniteLossError, OSError, *kinds) as error:
        caught = error
    if caught is not None:
        last = Path(traceback.extract_tb(caught.__traceback__)[-1].filename)
        assert PACKAGE in last.parents, f"{type(caught).__name__} from {last}: {caught}"
        assert len(str(caught)) > 20, f"{type(caught).__name__} says no more than {str(caught)!r}"


def _global_state() -> dict[str, object]:
    kind, numbers, *rest = np.random.get_state()
    return {
        "torch": torch.get_rng_state().tolist(),
        "numpy": (kind, numbers.tolist(), *rest),
        "python": random.getstate(),
        "default dtype": torch.get_default_dtype(),
        "validation": pyro.distributions.Normal(0.0, 1.0)._validate_args,
        "pyro validation": pyro.settings.get("validate_poutine"),
        "param store": sorted(pyro.get_param_store().keys()),
        "gradients": torch.is_grad_enabled(),
        "threads": torch.get_num_threads(),
    }


@contextmanager
def global_state_kept(random_too: bool = True) -> Iterator[None]:
    """No random state, default, validation flag or parameter of the process is another one afterwards.

    Args:
        random_too: a command seeds the random states of its process, so that they are left out.
    """
    before = _global_state()
    yield
    after = _global_state()
    changed = [name for name in before if before[name] != after[name]]
    assert [name for name in changed if random_too or name not in ("torch", "numpy", "python")] == []


def status_of(main: Callable[[list[str]], int], arguments: Sequence[object]) -> tuple[int, str]:
    """Exit status of a command in this process, one of those that are documented, and its standard error."""
    error = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(error):
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            status = stop.code
    said = error.getvalue()
    assert status in STATUSES, f"{arguments}: {status}"
    assert "Traceback" not in said, f"{arguments}: {said}"
    assert status == 0 or said.startswith("error: "), f"{arguments}: {said}"
    return status, said


def damaged(content: bytes, how: Sequence[tuple[str, float, bytes]]) -> bytes:
    """A file's content after some kinds of damage, each with its place from 0 to 1 and some bytes.

    Example:
        >>> damaged(b"abcd", [("cut", 0.5, b"")])
        b'ab'
    """
    for kind, where, more in how:
        place = int(where * len(content))
        if kind == "cut":
            content = content[:place]
        elif kind == "flip" and place < len(content):
            content = content[:place] + bytes([content[place] ^ (more or b"\x01")[0]]) + content[place + 1 :]
        elif kind == "insert":
            content = content[:place] + more + content[place:]
        elif kind == "remove":
            content = content[:place] + content[place + max(1, len(more)) :]
        elif kind == "replace":
            content = more
    return content
