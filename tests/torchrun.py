"""Starting several real processes for a test."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from processes import take_interrupts

PACKAGE = Path(__file__).parents[1]


class Torchrun:
    """``torchrun`` with some processes on this machine, started as a user starts it.

    Args:
        processes: how many.
        arguments: what each runs.
    """

    def __init__(self, processes, *arguments):
        self.arguments = list(map(str, arguments))
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        self.process = subprocess.Popen(
            [sys.executable, *launcher, *self.arguments],
            env={**os.environ, "PYTHONPATH": f"{PACKAGE}{os.pathsep}{PACKAGE / 'tests'}", "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=take_interrupts,
        )

    def end(self):
        """Its exit status, what it wrote and what it said of errors."""
        out, errors = self.process.communicate(timeout=300)
        return self.process.returncode, out, errors

    def kill(self, rank, how=signal.SIGKILL):
        """Send a signal to one of the processes."""
        os.kill(self.pid(rank), how)

    def pid(self, rank):
        """Number of the process that has the rank."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        (pid,) = (
            int(child) for child in children if f"\0RANK={rank}\0" in f"\0{Path(f'/proc/{child}/environ').read_text()}"
        )
        return pid
