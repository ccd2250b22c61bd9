"""``python -m pyrovae.compare``: which of several runs is the best, and is the difference real."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyrovae.command_line import CommandParser, run_command
from pyrovae.report import write_comparison
from pyrovae.report.files.folder import is_of_a_run
from pyrovae.runs import compare_runs, write_table


def make_parser() -> CommandParser:
    """The options of the command."""
    parser = CommandParser(
        prog="python -m pyrovae.compare",
        description="Compare runs by the mean log p(x) of the same test rows, with the paired differences of the rows "
        "and their standard errors.",
    )
    parser.add_argument("runs", nargs="+", type=str, metavar="RUN", help="run folders, two or more")
    parser.add_argument("--csv", type=str | None, default=None, help="write the table to this file, too")
    parser.add_argument(
        "--html",
        type=str | None,
        default=None,
        help="write a page to this file: the table, the learning curves side by side and the bound against K",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the result is its exit status, 2 for bad input."""
    return run_command(make_parser(), arguments, _compare, "nothing was written")


def _compare(options: dict[str, Any]) -> int:
    table, page = _place(options, "csv", "a CSV file"), _place(options, "html", "an HTML file")
    comparison = compare_runs(options["runs"])
    print(comparison.summary())
    if table is not None:
        write_table(comparison.table, table, index=False)
    if page is not None:
        write_comparison(comparison, page)
    return 0


def _place(options: dict[str, Any], name: str, kind: str) -> Path | None:
    """Where an option says that a file goes, if it says so."""
    if options[name] is None:
        return None
    file = Path(options[name])
    if file.is_dir() or not file.parent.is_dir():
        wrong = "it is a folder" if file.is_dir() else f"there is no folder {file.parent}; make it first"
        raise ValueError(f"--{name} {file}: {wrong}; expected a place for {kind}")
    if is_of_a_run(file):
        raise ValueError(f"--{name} {file}: it is a file of a run; give another name")
    return file


if __name__ == "__main__":
    sys.exit(main())
