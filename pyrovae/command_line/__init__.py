"""What the commands share: parts as options, errors in one line, exit statuses, devices."""

from pyrovae.command_line.autoencoders import fit_reconstructions
from pyrovae.command_line.execution import (
    EXIT_BAD_INPUT,
    EXIT_INTERRUPTED,
    EXIT_NON_FINITE,
    choose_device,
    claim_folder,
    print_error,
    run_command,
)
from pyrovae.command_line.fit_options import fit_parser, system_asked
from pyrovae.command_line.objective import add_objective_options
from pyrovae.command_line.pairs import errors_of_parts, fit_pair
from pyrovae.command_line.parser import CommandParser
from pyrovae.command_line.slots import FILLED_IN, SLOTS
from pyrovae.command_line.stored_rows import rows_of_run

__all__ = [
    "EXIT_BAD_INPUT",
    "EXIT_INTERRUPTED",
    "EXIT_NON_FINITE",
    "FILLED_IN",
    "SLOTS",
    "CommandParser",
    "add_objective_options",
    "choose_device",
    "claim_folder",
    "errors_of_parts",
    "fit_pair",
    "fit_parser",
    "fit_reconstructions",
    "print_error",
    "rows_of_run",
    "run_command",
    "system_asked",
]
