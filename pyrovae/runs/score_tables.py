"""The tables of scored rows that a run folder has."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from pyrovae.runs.storage import refuse_without_density, stored_data
from pyrovae.runs.stored_files import (
    CONFIG_FILE,
    SUMMARY_FILE,
    check_run_folder,
    read_mapping,
    read_summary,
    read_table,
)

if TYPE_CHECKING:
    import pandas as pd

# Columns that a comparison needs.
_COLUMNS = ("log_px", "standard_error", "elbo", "num_samples", "reliable", "data_checksum", "data_variant")


def scored_rows(folder: Path) -> "pd.DataFrame":
    """The table of a run's own test rows that counts.

    It is the most complete one, of those that of the most draws, and of those one with the halves of the gap.

    Args:
        folder: of a run with a density.

    Raises:
        ValueError: no run folder, no scored rows, or a damaged table.
    """
    check_run_folder(folder, (CONFIG_FILE, SUMMARY_FILE))
    refuse_without_density(folder)
    checksum = stored_data(folder)["checksum"]
    weights = read_summary(folder).get("weights_sha256")
    tables = {
        path: read_table(path, _COLUMNS)
        for path in sorted(folder.glob("evaluation*.csv"))
        if weights is None or _weights_of(path) in (None, weights)
    }
    # Tables of other data lie there, too.
    own = {path: table for path, table in tables.items() if len(table) and table["data_checksum"].iloc[0] == checksum}
    if not own:
        status = read_summary(folder).get("status")
        command = f"python -m pyrovae.evaluate {shlex.quote(str(folder))}"
        raise ValueError(f"{folder} has no scored rows ({status}): score them with {command}")
    for path, table in own.items():
        if not (table["data_checksum"] == checksum).all():
            raise ValueError(
                f"{path} is cut off, or has rows of other data among its own: remove it and score the rows again with "
                "python -m pyrovae.evaluate"
            )
    return max(own.values(), key=lambda table: (len(table), table["num_samples"].iloc[0], "approximation" in table))


def _weights_of(table: Path) -> str | None:
    """The checksum of the weights that a table was scored by; None where nothing beside it says so."""
    beside = table.with_name(f"{table.name}.json")
    return read_mapping(beside).get("weights") if beside.is_file() else None
