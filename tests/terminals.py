"""Terminals, real ones, and what was written on them."""

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios


def _open(columns):
    terminal, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    return terminal, inside


def lines_of(written):
    """Split where a line ends, and where one is written over."""
    return re.split(r"[\r\n]+", written.decode())


def run_on_a_terminal(arguments, columns):
    """The lines that a Python process writes on a terminal of some width."""
    terminal, inside = _open(columns)
    # What tests run in may say that a terminal has 80 columns.
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    with subprocess.Popen([sys.executable, *arguments], stdout=inside, stderr=inside, env=environment) as process:
        os.close(inside)
        written = bytearray()
        # Linux says by an error that the other end is closed.
        with contextlib.suppress(OSError):
            while part := os.read(terminal, 65536):
                written += part
    os.close(terminal)
    assert process.returncode == 0, written.decode()
    return lines_of(written)


@contextlib.contextmanager
def standard_error_on_a_terminal():
    """Let standard error be a terminal; the result is called for the lines, of some 4,000 characters at most."""
    terminal, inside = _open(100)
    os.set_blocking(terminal, False)
    written = bytearray()

    def read():
        with contextlib.suppress(OSError):
            while part := os.read(terminal, 65536):
                written.extend(part)
        return lines_of(written)

    with os.fdopen(inside, "w") as stream, contextlib.redirect_stderr(stream):
        yield read
    os.close(terminal)


class OnATerminal:
    """A process whose standard error is a terminal, so that it shows its bars."""

    def __init__(self, arguments, **options):
        self.terminal, inside = _open(100)
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=inside, text=True, **options)
        os.close(inside)
        self.said = ""

    def wait_for(self, pattern):
        """Until standard error has something."""
        while not re.search(pattern, self.said):
            assert self._read(), self.said

    def finish(self):
        """Standard error as a whole, after the end of the process."""
        while self._read():
            pass
        os.close(self.terminal)
        self.process.communicate(timeout=60)
        return self.said

    def _read(self):
        # Linux says by an error that the other end is closed.
        with contextlib.suppress(OSError):
            piece = os.read(self.terminal, 4096).decode(errors="replace")
            self.said += piece
            return piece
        return ""
