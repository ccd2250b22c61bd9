"""Leaving a program before its end."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyro.poutine.messenger import Messenger


class _LeaveError(Exception):
    """What carries the way out of a program."""


class _LeaveAfter(Messenger):
    def __init__(self, site: str) -> None:
        super().__init__()
        self.site = site

    def _pyro_sample(self, message: Any) -> None:
        if message["name"] == self.site:
            message["continuation"] = self._leave

    @staticmethod
    def _leave(_: Any) -> None:
        raise _LeaveError


@contextmanager
def leave_after(site: str) -> Iterator[None]:
    """Run a program inside up to and with a sample site."""
    try:
        with _LeaveAfter(site):
            yield
    except _LeaveError:
        pass
