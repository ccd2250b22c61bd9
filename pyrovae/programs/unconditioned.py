"""A program that draws what it observes."""

from typing import Any

from pyro.poutine.uncondition_messenger import UnconditionMessenger

from pyrovae.programs.modules import Program


def unconditioned(program: Program) -> Program:
    """The program with draws in place of what it observes; what ``pyro.deterministic`` names keeps its value."""
    return _DrawObserved()(program)


class _DrawObserved(UnconditionMessenger):
    def _pyro_sample(self, msg: Any) -> None:
        # To Pyro these are observed too, and a draw of one in a plate has the plate's dimension once more.
        if not msg["infer"].get("_deterministic"):
            super()._pyro_sample(msg)
