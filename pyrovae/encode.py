"""``python -m pyrovae.encode``: the codes of rows under a stored run, as a table."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse.typing import NonNegativeInt, PositiveInt

from pyrovae.command_line import CommandParser, check_seed, choose_device, rows_of_run, run_command
from pyrovae.evaluation.summaries import counted
from pyrovae.report.files.folder import is_of_a_run
from pyrovae.runs import CODES_FILE, ModelRows, check_place_of_table, codes_of_rows, data_columns, load, write_table


def make_parser() -> CommandParser:
    """The options of the command, each with its reason."""
    parser = CommandParser(
        prog="python -m pyrovae.encode",
        description="Write the codes of the test rows of a stored run, or of other rows, to a CSV file: mean and "
        "standard deviation of q(z|x) for each latent dimension, or the codes of an autoencoder.",
    )
    add = parser.add_argument
    add("run", type=str, metavar="RUN", help="the run folder")
    add(
        "--data",
        type=str | None,
        default=None,
        help="rows of other data: their test rows where they bring some, else a part drawn as that of the run was "
        "(--test-fraction of python -m pyrovae.fit), or --all-rows; without it the test rows of the run",
    )
    add("--all-rows", action="store_true", help="all rows of --data, in their order, and not a part of them")
    add("--data-root", type=str | None, default=None, help="folder of the data, as in python -m pyrovae.fit")
    add("--num-samples", type=PositiveInt, default=200, help="draws for each row where a mean has no closed form")
    add("--seed", type=NonNegativeInt, default=0, help="of the draws")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    add("--output", type=str | None, default=None, help="the CSV file; without it RUN/codes.csv")
    add("--overwrite", action="store_true", help="replace a file that is there already")
    add("--quiet", action="store_true", help="no progress bar")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the result is its exit status: 0, 2 for bad input, 4 for files, 130 for an interrupt."""
    return run_command(make_parser(), arguments, _encode, "no table was written")


def _encode(options: dict[str, Any]) -> int:
    if options["all_rows"] and options["data"] is None:
        raise ValueError("--all-rows takes rows that the run was not fitted to: add --data, or leave --all-rows out")
    check_seed(options["seed"])
    table = Path(options["output"] or Path(options["run"]) / CODES_FILE)
    device = choose_device(options["device"])
    run = load(options["run"], device=device)
    check_place_of_table(table)
    if table.name != CODES_FILE and is_of_a_run(table):
        raise ValueError(f"--output {table}: it is a file of a run; give another name")
    if table.exists() and not options["overwrite"]:
        raise ValueError(f"{table} is there already: give another --output, or --overwrite")
    rows = rows_of_run(
        run, options["run"], data=options["data"], root=options["data_root"], all_rows=options["all_rows"]
    )
    codes, missing = codes_of_rows(
        run,
        rows.test.to(device),
        num_samples=options["num_samples"],
        seed=options["seed"],
        progress=not options["quiet"],
    )
    labels = _labels(rows)
    if labels is not None:
        codes.insert(0, "label", labels)
    write_table(codes.assign(**data_columns(rows.provenance())), table)
    print(f"{rows.summary()}\n\n{counted(len(codes), 'row')}, {_what(run.autoencoder is None)}")
    for name, reason in missing.items():
        print(f"left out: latent {name!r}: {reason}")
    print(f"table: {table}")
    return 0


def _labels(rows: ModelRows) -> list[int] | list[str] | None:
    """Of the test rows, by name where they have names."""
    labels, names = rows.data.test_labels, rows.data.label_names
    if labels is None:
        return None
    return [names[number] for number in labels.tolist()] if names else labels.tolist()


def _what(density: bool) -> str:
    if density:
        return "mean of q(z|x) and its standard deviation for each latent dimension"
    return "the code of the autoencoder in each latent dimension"


if __name__ == "__main__":
    sys.exit(main())
