"""Runs on disk: pairs of programs built from a configuration, stored, loaded, scored and compared."""

from pyrovae.runs.codes import CODES_FILE, codes_of_rows
from pyrovae.runs.comparison import FEW_UNRELIABLE, RunComparison, compare_runs
from pyrovae.runs.evaluation import ScoringOptions, score_rows, summary_of
from pyrovae.runs.filled import FILLED_FILE, FilledRows, fill_rows, write_filled_table
from pyrovae.runs.imports import described_error, find_class, users_errors
from pyrovae.runs.objective_options import (
    DEFAULT_OBJECTIVE,
    GENERAL,
    OBJECTIVE_OPTIONS,
    SCHEDULES,
    WITHOUT_EFFECT,
    as_option,
)
from pyrovae.runs.objectives import build_objective, describe_objective, in_options
from pyrovae.runs.part import PARTS, class_name
from pyrovae.runs.parts import build_pair, check_categories, describe_parts, factory_takes
from pyrovae.runs.run import Run
from pyrovae.runs.score_tables import scored_rows
from pyrovae.runs.storage import load, refuse_without_density, save, start_from, store, stored_data, write_summary
from pyrovae.runs.stored_config import says_nothing
from pyrovae.runs.stored_files import (
    CONFIG_FILE,
    SUMMARY_FILE,
    WEIGHTS_FILE,
    check_place_of_table,
    data_columns,
    read_mapping,
    read_summary,
    weights_checksum,
    write_table,
)
from pyrovae.runs.systems import (
    CONDITIONS,
    CORRUPTIONS,
    SYSTEMS,
    ModelRows,
    System,
    check_system,
    model_rows,
    system_of,
)

__all__ = [
    "CODES_FILE",
    "CONDITIONS",
    "CONFIG_FILE",
    "CORRUPTIONS",
    "DEFAULT_OBJECTIVE",
    "FEW_UNRELIABLE",
    "FILLED_FILE",
    "GENERAL",
    "OBJECTIVE_OPTIONS",
    "PARTS",
    "SCHEDULES",
    "SUMMARY_FILE",
    "SYSTEMS",
    "WEIGHTS_FILE",
    "WITHOUT_EFFECT",
    "FilledRows",
    "ModelRows",
    "Run",
    "RunComparison",
    "ScoringOptions",
    "System",
    "as_option",
    "build_objective",
    "build_pair",
    "check_categories",
    "check_place_of_table",
    "check_system",
    "class_name",
    "codes_of_rows",
    "compare_runs",
    "data_columns",
    "describe_objective",
    "describe_parts",
    "described_error",
    "factory_takes",
    "fill_rows",
    "find_class",
    "in_options",
    "load",
    "model_rows",
    "read_mapping",
    "read_summary",
    "refuse_without_density",
    "save",
    "says_nothing",
    "score_rows",
    "scored_rows",
    "start_from",
    "store",
    "stored_data",
    "summary_of",
    "system_of",
    "users_errors",
    "weights_checksum",
    "write_filled_table",
    "write_summary",
    "write_table",
]
