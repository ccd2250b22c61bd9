"""What was run on which data, in tables."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyrovae.report.files.folder import versions
from pyrovae.report.page import Block, Command, Folded, Section, Table
from pyrovae.report.sections.answers import INTERRUPTED
from pyrovae.runs import (
    CONFIG_FILE,
    OBJECTIVE_OPTIONS,
    PARTS,
    ModelRows,
    Run,
    describe_objective,
    describe_parts,
)
from pyrovae.version import __version__

# ``summary()`` of the data has its names in columns of this width.
_NAMES = 12


def what_was_run(
    folder: Path, run: Run, rows: ModelRows, seconds: Mapping[str, float], device: str, status: str
) -> Section:
    """The model, the data, all options, versions and seconds.

    Args:
        folder: of the run.
        run: the pair and its configuration.
        rows: what it was fitted to.
        seconds: time spent, by what it was spent on.
        device: where it was fitted.
        status: how it ended.
    """
    parts = describe_parts(run.config)
    if run.system.default_objective is not None:
        parts["objective"] = describe_objective(run.config)
    data = [[line[:_NAMES].strip(), line[_NAMES:]] for line in rows.summary().splitlines()]
    data += [["levels", f"{name}: {'; '.join(levels)}"] for name, levels in rows.data.categories.items()]
    spent = [[name, f"{value:.1f} s"] for name, value in seconds.items()]
    made_with = {"pyrovae": __version__, **versions(), "device": device}
    aside = {*PARTS, *OBJECTIVE_OPTIONS}
    options = [[name, _said(value)] for name, value in run.config.items() if name not in aside]
    blocks: list[Block] = [
        Table(["Model", ""], [[name, text] for name, text in parts.items()], numbers=False),
        Table(["Data", ""], data, numbers=False),
        Table(["Time", ""], spent, numbers=False),
        Folded("All options", Table(["option", "value"], options, numbers=False)),
        Folded("Versions and device", Table(["", ""], [[name, text] for name, text in made_with.items()], False)),
        *(_going_on(folder) if status == INTERRUPTED else _again(folder)),
    ]
    return Section("What was run", blocks)


def _going_on(folder: Path) -> list[Block]:
    return ["To go on with it:", Command(f"python -m pyrovae.fit --resume {shlex.quote(str(folder))}")]


def _again(folder: Path) -> list[Block]:
    config = shlex.quote(str(folder / CONFIG_FILE))
    return ["The same run again:", Command(f"python -m pyrovae.fit --config {config} --output-dir ANOTHER_FOLDER")]


def _said(value: Any) -> str:
    return "not given" if value is None else str(value)
