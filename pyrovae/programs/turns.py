"""One thread at a time, where what is borrowed belongs to the whole process.

Pyro has one stack of handlers, one param store and one validation setting for all threads, and torch one random
generator for each device. A fit or an evaluation that has begun is therefore ended before another thread's begins; in
its own thread more of them may run inside it.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pyro.poutine.runtime import _DIM_ALLOCATOR, _PYRO_STACK

TURN = threading.RLock()
"""Held by the thread whose programs run. A thread that it waits for can run none, and neither can a forked process."""


@contextmanager
def handlers_put_back() -> Iterator[None]:
    """Leave Pyro's handlers and the dimensions of its plates as they are.

    Pyro does so itself, but not where an interrupt comes between two of its lines: a plate that nothing ends would be
    in the way of all programs to come.
    """
    handlers, plates = list(_PYRO_STACK), list(_DIM_ALLOCATOR._stack)
    try:
        yield
    finally:
        _PYRO_STACK[:], _DIM_ALLOCATOR._stack[:] = handlers, plates
