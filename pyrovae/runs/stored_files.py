"""The files of a run folder: read without running code, and refused by name where they are not what they should be."""

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
import yaml
from torch import Tensor

from pyrovae.version import __version__

if TYPE_CHECKING:
    import pandas as pd

CONFIG_FILE = "config.yaml"
"""All options of a run."""

WEIGHTS_FILE = "weights.pt"
"""Its weights, a ``state_dict``."""

SUMMARY_FILE = "summary.json"
"""What came of it."""

FORMAT = 1
"""Version of the layout of a run folder; one that this package cannot read has a higher one."""

_REPAIR = "put a whole copy back, or fit the run again"
# Folders of other commands, by a file that only they have.
_OTHER_FOLDERS = {"label_efficiency.csv": "the results of python -m pyrovae.label_efficiency"}
# A cell that begins with one of these is a formula for a spreadsheet.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def check_run_folder(folder: Path, names: Collection[str] = (CONFIG_FILE, WEIGHTS_FILE, SUMMARY_FILE)) -> None:
    """Refuse a folder that lacks files of a run.

    Args:
        folder: what is said to be a run folder.
        names: the files that it has to have.

    Raises:
        ValueError: what is there instead.
    """
    lacking = [name for name in names if not (folder / name).is_file()]
    if not lacking:
        return
    if not folder.is_dir():
        what = "it is a file" if folder.exists() else "there is no such folder"
        raise ValueError(f"{folder} is no run folder: {what}; give a folder that python -m pyrovae.fit wrote")
    kinds = [kind for name, kind in _OTHER_FOLDERS.items() if (folder / name).is_file()]
    instead = f", it holds {kinds[0]}" if kinds else ""
    raise ValueError(
        f"{folder} is no run folder: there is no {', '.join(lacking)} in it{instead}; give a folder that "
        "python -m pyrovae.fit wrote to its end"
    )


def read_summary(folder: Path) -> dict[str, Any]:
    """What ``summary.json`` says of a run.

    Raises:
        ValueError: a damaged file, or one of a later version of the package.
    """
    path = folder / SUMMARY_FILE
    summary = read_mapping(path)
    stored = summary.get("format", FORMAT)
    if not isinstance(stored, int) or stored > FORMAT:
        raise ValueError(
            f"{folder} is a run folder of format {stored!r}, written by pyrovae {summary.get('pyrovae', '(unknown)')}; "
            f"this is pyrovae {__version__}, which reads format {FORMAT}: install the version that wrote it, or a "
            "later one"
        )
    return summary


def read_mapping(path: Path) -> dict[str, Any]:
    """The contents of a .json or .yaml file whose keys are words; YAML is read without running code.

    Raises:
        ValueError: it cannot be read, or holds something else.
    """
    kind = "YAML" if path.suffix == ".yaml" else "JSON"
    try:
        text = path.read_text(encoding="utf-8")
        contents = yaml.safe_load(text) if kind == "YAML" else json.loads(text)
    except Exception as error:  # a damaged file fails in any way, with a RecursionError too
        raise unreadable(path, f"a {kind} file", error) from error
    if not isinstance(contents, dict) or not all(isinstance(key, str) for key in contents):
        held = f"a {type(contents).__name__}" if not isinstance(contents, dict) else "keys that are no words"
        raise ValueError(
            f"{path} holds {'nothing' if contents is None else held}; expected names and values: {_REPAIR}"
        )
    return contents


def read_weights(folder: Path, summary: Mapping[str, Any], device: str | torch.device) -> dict[str, Tensor]:
    """The stored weights by name; nothing but tensors is loaded, so that no code runs.

    Args:
        folder: of the run.
        summary: what ``summary.json`` says; a checksum in it has to be that of the weights.
        device: where the weights go.

    Raises:
        ValueError: a damaged file, that of another run, or no file of weights.
    """
    path = folder / WEIGHTS_FILE
    # Runs that were stored before there were checksums have none.
    if "weights_sha256" in summary and summary["weights_sha256"] != weights_checksum(folder):
        raise ValueError(
            f"{path} is not what {SUMMARY_FILE} beside it was written with (other checksum): it is damaged, or the "
            f"weights of another run: {_REPAIR}"
        )
    try:
        saved = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # a damaged file fails in any way
        # PyTorch advises to load with weights_only=False, which runs what is in the file; that is not passed on.
        raise ValueError(
            f"{path} is no readable file of weights: it is empty, cut off or damaged, or holds Python objects "
            f"({type(error).__name__}): {_REPAIR}"
        ) from error
    if not isinstance(saved, dict) or not all(isinstance(key, str) and isinstance(saved[key], Tensor) for key in saved):
        raise ValueError(f"{path} holds a {type(saved).__name__}; expected a dictionary of tensors by name: {_REPAIR}")
    return saved


def weights_checksum(folder: str | Path) -> str:
    """Sha256 of the stored weights."""
    with (Path(folder) / WEIGHTS_FILE).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_table(path: Path, columns: Collection[str]) -> "pd.DataFrame":
    """A table of scored rows, a line for each, numbered from 0.

    Args:
        path: the CSV file.
        columns: those that it has to have.

    Raises:
        ValueError: a damaged file, or no such table.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path, index_col="row", low_memory=False)
    except Exception as error:  # a damaged file fails in any way
        raise unreadable(path, "a table with a column 'row'", error, _SCORE_AGAIN) from error
    lacking = [column for column in columns if column not in table]
    if lacking:
        raise ValueError(f"{path} has no column {lacking[0]!r}, so it is no table of scored rows: {_SCORE_AGAIN}")
    words = [name for name in _NUMBERS if name in table and not pd.api.types.is_numeric_dtype(table[name])]
    if words or table.index.tolist() != list(range(len(table))):
        wrong = f"column {words[0]!r} holds words" if words else "its rows are not numbered 0, 1, 2, ..."
        raise ValueError(f"{path} is damaged: {wrong}: {_SCORE_AGAIN}")
    return table


_SCORE_AGAIN = "remove it and score the rows again with python -m pyrovae.evaluate"
_NUMBERS = ("log_px", "standard_error", "elbo", "num_samples", "reliable")


def write_table(
    table: "pd.DataFrame", path: str | Path, *, mode: Literal["w", "a"] = "w", header: bool = True, index: bool = True
) -> None:
    """Write a table whose text no spreadsheet runs: what would be a formula begins with an apostrophe.

    Args:
        table: numbers are written as they are.
        path: the CSV file.
        mode: ``"w"`` for a new file, ``"a"`` to go on with one.
        header: write the names of the columns.
        index: write the index as the first column.
    """
    import pandas as pd

    names = {column: _as_text(column) for column in table.columns}
    words = {
        column: table[column].map(_as_text)
        for column in table.columns
        if not pd.api.types.is_numeric_dtype(table[column])
    }
    table.assign(**words).rename(columns=names).to_csv(path, mode=mode, header=header, index=index)


def check_place_of_table(table: Path) -> None:
    """Refuse a place where no CSV file can be.

    Raises:
        ValueError: a folder, or in one that is not there.
    """
    if table.is_dir() or not table.parent.is_dir():
        wrong = "it is a folder" if table.is_dir() else f"there is no folder {table.parent}; make it first"
        raise ValueError(f"{table}: {wrong}; expected a place for a CSV file")


def data_columns(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What each table says of its data, given ``ModelRows.provenance()``."""
    return {f"data_{key}": provenance[key] for key in ("name", "variant", "seed", "checksum")}


def unreadable(path: Path, expected: str, error: Exception, repair: str = _REPAIR) -> ValueError:
    """The error about a file that cannot be read.

    Args:
        path: of the file.
        expected: what it should be.
        error: what went wrong.
        repair: what to do.
    """
    if isinstance(error, OSError):
        return ValueError(f"{path} cannot be read ({error.strerror or error}): {repair}")
    said = " ".join(str(error).split())
    reason = type(error).__name__ + (f": {said[:_MOST_SAID]}" if said else "")
    return ValueError(f"{path} is empty, cut off or damaged, and cannot be read as {expected} ({reason}): {repair}")


_MOST_SAID = 160


def _as_text(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA_STARTS) else cell
