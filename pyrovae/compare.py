"""``python -m pyrovae.compare``: which of several runs is the best, and is the difference real."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyrovae.command_line import CommandParser, run_command
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
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the result is its exit status, 2 for bad input."""
    return run_command(make_parser(), arguments, _compare, "nothing was written")


def _compare(options: dict[str, Any]) -> int:
    file = None if options["csv"] is None else Path(options["csv"])
    if file is not None and (file.is_dir() or not file.parent.is_dir()):
        wrong = "it is a folder" if file.is_dir() else f"there is no folder {file.parent}; make it first"
        raise ValueError(f"--csv {file}: {wrong}; expected a place for a CSV file")
    comparison = compare_runs(options["runs"])
    print(comparison.summary())
    if file is not None:
        write_table(comparison.table, file, index=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
