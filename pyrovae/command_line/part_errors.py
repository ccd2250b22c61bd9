"""What goes wrong in parts of the user's own, in one line."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from pyrovae.command_line.execution import lacks_memory
from pyrovae.models import check_vae
from pyrovae.processes import ProcessEndedError
from pyrovae.runs import Run, described_error
from pyrovae.training import NonFiniteLossError


@contextmanager
def errors_of_parts(run: Run, rows: Tensor) -> Iterator[None]:
    """What goes wrong in parts of the user's own, as one line: what ``check_vae`` finds, or else where it was."""
    try:
        yield
    # Rows that cannot be read end a fit, which may go on when they can be.
    except (NonFiniteLossError, ProcessEndedError, OSError):
        raise
    except ValueError as error:
        # The package's own say enough; of one of Python or torch in a part of the user's own ``check_vae`` says more.
        problem = None if run.vae is None or _of_package(error) else check_vae(run.vae, rows).problem
        if problem is None:
            raise
        raise ValueError(problem) from error
    except Exception as error:
        # The check would lack it too.
        if lacks_memory(error):
            raise
        problem = None if run.vae is None else check_vae(run.vae, rows).problem
        raise ValueError(problem or described_error(error)) from error


def _of_package(error: BaseException) -> bool:
    """Whether this package raised it, or had more to say of it than whoever did."""
    root = error
    while root.__cause__ is not None:
        root = root.__cause__
    frame = list(traceback.walk_tb(root.__traceback__))[-1][0]
    return frame.f_globals.get("__name__", "").startswith("pyrovae.") or str(root) != str(error)
