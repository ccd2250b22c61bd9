"""What the commands share: parts as options, errors in one line, exit statuses, devices."""

from pyrovae.command_line.autoencoders import fit_reconstructions
from pyrovae.command_line.execution import (
    EXIT_BAD_INPUT,
    EXIT_FILES,
    EXIT_INTERRUPTED,
    EXIT_NON_FINITE,
    EXIT_PROCESS_ENDED,
    EXIT_TERMINATED,
    check_seed,
    choose_device,
    claim_folder,
    described_file_error,
    lack_of_memory_said,
    new_folder,
    print_error,
    run_command,
)
from pyrovae.command_line.fit_options import fit_parser, system_asked
from pyrovae.command_line.objective import add_objective_options
from pyrovae.command_line.pairs import fit_pair
from pyrovae.command_line.parser import CommandParser
from pyrovae.command_line.preparing import Prepared, prepare_run
from pyrovae.command_line.resuming import RunKeeper, check_resumable, check_same_options, claim_run, resumed_options
from pyrovae.command_line.slots import FILLED_IN, SLOTS
from pyrovae.command_line.stored_rows import rows_of_run

__all__ = [
    "EXIT_BAD_INPUT",
    "EXIT_FILES",
    "EXIT_INTERRUPTED",
    "EXIT_NON_FINITE",
    "EXIT_PROCESS_ENDED",
    "EXIT_TERMINATED",
    "FILLED_IN",
    "SLOTS",
    "CommandParser",
    "Prepared",
    "RunKeeper",
    "add_objective_options",
    "check_resumable",
    "check_same_options",
    "check_seed",
    "choose_device",
    "claim_folder",
    "claim_run",
    "described_file_error",
    "fit_pair",
    "fit_parser",
    "fit_reconstructions",
    "lack_of_memory_said",
    "new_folder",
    "prepare_run",
    "print_error",
    "resumed_options",
    "rows_of_run",
    "run_command",
    "system_asked",
]
