"""What tests of real processes share."""

import signal


def take_interrupts() -> None:
    """For ``preexec_fn``: a test run that was started in the background ignores interrupts, and its children would."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
