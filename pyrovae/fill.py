"""``python -m pyrovae.fill``: rows with their missing cells filled in by a stored run."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jsonargparse.typing import NonNegativeInt, PositiveInt
from torch import Tensor

from pyrovae.command_line import CommandParser, check_seed, choose_device, rows_of_run, run_command
from pyrovae.report.files.folder import is_of_a_run
from pyrovae.runs import (
    FILLED_FILE,
    ModelRows,
    check_place_of_table,
    data_columns,
    fill_rows,
    load,
    refuse_without_density,
    write_filled_table,
    write_table,
)


def make_parser() -> CommandParser:
    """The options of the command, each with its reason."""
    parser = CommandParser(
        prog="python -m pyrovae.fill",
        description="Fill in the missing cells of the rows that a run was fitted to with --missing keep, or of other "
        "rows: with the mean given the observed cells, the median where a column holds whole numbers, the most "
        "probable category. A second table says of each filled cell how uncertain it is, and how far to believe that.",
    )
    add = parser.add_argument
    add("run", type=str, metavar="RUN", help="the run folder")
    add("--data", type=str | None, default=None, help="other rows, all of them; without it all rows of the run's data")
    add("--data-root", type=str | None, default=None, help="folder of the data, as in python -m pyrovae.fit")
    add(
        "--num-tables",
        type=NonNegativeInt,
        default=0,
        help="more tables, in which each missing cell is one draw: analyse each of them, and their spread has the "
        "uncertainty that one filled table hides (multiple imputation)",
    )
    add("--num-samples", type=PositiveInt, default=500, help="draws of each missing cell, for its spread")
    add("--num-proposals", type=PositiveInt, default=1000, help="draws from the guide for each row, which are weighed")
    add("--seed", type=NonNegativeInt, default=0, help="of the draws")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    add(
        "--output",
        type=str | None,
        default=None,
        help="the filled rows; without it RUN/filled.csv, or RUN/filled.npy of arrays. Beside it are filled_cells.csv "
        "and, with --num-tables, filled_1.csv, filled_2.csv, ...",
    )
    add("--overwrite", action="store_true", help="replace files that are there already")
    add("--quiet", action="store_true", help="no progress bar")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the result is its exit status: 0, 2 for bad input, 4 for files, 130 for an interrupt."""
    return run_command(make_parser(), arguments, _fill, "the tables were not all written")


def _fill(options: dict[str, Any]) -> int:
    num_samples, num_tables = options["num_samples"], options["num_tables"]
    if num_tables > num_samples:
        raise ValueError(f"--num-tables {num_tables} is more than --num-samples {num_samples}: draw as many or more")
    check_seed(options["seed"])
    device = choose_device(options["device"])
    run = load(options["run"], device=device)
    refuse_without_density(options["run"])
    written = Path(options["data"] or run.config["data"]).expanduser()
    files = _files(options, written)
    if options["data"] is None:
        # The rows of the run, if they are what they were.
        rows_of_run(run, options["run"], root=options["data_root"])
    data = str(options["data"] or run.config["data"])
    rows = rows_of_run(run, options["run"], data=data, root=options["data_root"], all_rows=True)
    x = rows.test[: len(rows.test)].to(device)
    filled = fill_rows(
        run,
        rows.data,
        x,
        num_samples=num_samples,
        num_proposals=options["num_proposals"],
        num_tables=num_tables,
        seed=options["seed"],
        progress=not options["quiet"],
    )
    table, cells, *more = files
    for file, values in zip((table, *more), (filled.values, *filled.tables), strict=True):
        _write(file, values, rows, written, x.isnan().cpu())
    write_table(filled.cells.assign(**data_columns(rows.provenance())), cells, index=False)
    print(f"{rows.summary()}\n\n{filled.summary}\n{'tables' if more else 'table'}: {', '.join(map(str, files))}")
    return 0


def _files(options: dict[str, Any], written: Path) -> list[Path]:
    """Where the filled rows go, their cells, and the tables of draws.

    Raises:
        ValueError: a place where no file can be, one that is taken, another ending than that of the data.
    """
    ending = ".csv" if written.suffix.lower() == ".csv" else ".npy"
    table = Path(options["output"] or Path(options["run"]) / f"{FILLED_FILE}{ending}")
    if table.suffix.lower() != ending:
        raise ValueError(f"--output {table}: {written} is filled in as a {ending} file; give a name with this ending")
    numbers = range(1, options["num_tables"] + 1)
    files = [table, table.with_name(f"{table.stem}_cells.csv")]
    files += [table.with_name(f"{table.stem}_{number}{table.suffix}") for number in numbers]
    for file in files:
        check_place_of_table(file)
        if not file.stem.startswith(FILLED_FILE) and is_of_a_run(file):
            raise ValueError(f"--output {file}: it is a file of a run; give another name")
        if file.exists() and written.exists() and file.samefile(written):
            raise ValueError(f"--output {file}: these are the rows that are filled in; give another name")
        if file.exists() and not options["overwrite"]:
            raise ValueError(f"{file} is there already: give another --output, or --overwrite")
    return files


def _write(file: Path, values: Tensor, rows: ModelRows, written: Path, missing: Tensor) -> None:
    if file.suffix.lower() == ".csv":
        write_filled_table(written, file, rows.data, missing, values)
    else:
        np.save(file, values.numpy())


if __name__ == "__main__":
    sys.exit(main())
