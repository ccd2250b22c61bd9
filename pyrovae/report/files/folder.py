"""What the files of all runs have in common."""

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyro
import torch

from pyrovae import plots
from pyrovae.pictures import PICTURE_FILES
from pyrovae.runs import (
    CODES_FILE,
    CONFIG_FILE,
    FILLED_FILE,
    SUMMARY_FILE,
    WEIGHTS_FILE,
    ModelRows,
    data_columns,
    write_table,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REPORT_FILE = "report.html"

_TABLES_AND_PICTURES = (
    "metrics.csv",
    "evaluation.csv",
    "losses.csv",
    CODES_FILE,
    "learning_curves.png",
    "reconstructions.png",
    "samples.png",
    "denoising.png",
    REPORT_FILE,
)
# Tables of scored rows, and what was asked of them; rows that were filled in.
_SEVERAL = (
    "evaluation*.csv",
    "evaluation*.csv.json",
    *(f"{FILLED_FILE}{ending}" for ending in (".csv", ".npy", "_cells.csv", "_[0-9]*.csv", "_[0-9]*.npy")),
)


def clear_folder(folder: Path) -> None:
    """Remove what an overwritten run had and the new one may not have."""
    several = [path.name for pattern in _SEVERAL for path in folder.glob(pattern)]
    for name in (*_TABLES_AND_PICTURES, *PICTURE_FILES, *several):
        (folder / name).unlink(missing_ok=True)


def is_of_a_run(file: Path) -> bool:
    """Whether a run has written the file into its folder."""
    names = {CONFIG_FILE, SUMMARY_FILE, WEIGHTS_FILE, *_TABLES_AND_PICTURES, *PICTURE_FILES}
    is_named = file.name in names or any(map(file.match, _SEVERAL))
    return is_named and file.is_file() and (file.parent / SUMMARY_FILE).is_file()


def write_curves(folder: Path, rows: ModelRows, history: Sequence[Mapping[str, float]], curves: "Figure") -> None:
    """``metrics.csv`` and ``learning_curves.png``.

    Args:
        folder: of the run.
        rows: what was fitted.
        history: the terms of each epoch.
        curves: their picture.
    """
    import pandas as pd

    write_table(pd.DataFrame(history).assign(**data_columns(rows.provenance())), folder / "metrics.csv", index=False)
    about = plots.picture_metadata(rows.provenance())
    curves.savefig(folder / "learning_curves.png", dpi=plots.FILE_DPI, metadata=about)


def versions() -> dict[str, str]:
    """Of what the numbers depend on."""
    return {"python": platform.python_version(), "torch": torch.__version__, "pyro": pyro.__version__}
