"""Several processes that fit and evaluate together, as torchrun starts them."""

from pyrovae.processes.draws import draws_of_all_rows
from pyrovae.processes.gradients import AveragedGradients
from pyrovae.processes.group import (
    ProcessEndedError,
    Processes,
    alone,
    is_of_own_rows,
    processes_now,
    refuse_several,
)
from pyrovae.processes.start import several_processes

__all__ = [
    "AveragedGradients",
    "ProcessEndedError",
    "Processes",
    "alone",
    "draws_of_all_rows",
    "is_of_own_rows",
    "processes_now",
    "refuse_several",
    "several_processes",
]
