"""The data of a stored run, read again."""

from collections.abc import Mapping
from pathlib import Path

from pyrovae.data import load_data
from pyrovae.runs import ModelRows, Run, model_rows, read_summary, says_nothing, stored_data

# What has to be the same for numbers of a table to mean the same.
_COLUMNS = {
    "column_names": "its columns are",
    "column_kinds": "the kinds of its columns are",
    "categories": "the values of its categories are",
}


def rows_of_run(run: Run, folder: str | Path, *, data: str | None = None, root: str | None = None) -> ModelRows:
    """The data that a stored run was fitted to, split and binarised as they were then; or other data in the same way.

    Args:
        run: the run, as ``load`` gives it.
        folder: its folder.
        data: name or path of other data; None reads those of the run.
        root: folder of the data; None takes that of the run.

    Raises:
        ValueError: the rows are not there any more, or other data have another shape.
    """
    config = run.config
    try:
        place = data or config["data"]
        splits = load_data(
            place,
            root=root or config["data_root"],
            binarize=config["binarize"],
            missing=config["missing"],
            columns=config["columns"],
            seed=config["seed"],
            validation_fraction=config["validation_fraction"],
            test_fraction=config["test_fraction"],
            # Runs that were stored before there was streaming are in memory; and so are other data that cannot stream.
            stream=config.get("stream", False) and Path(place).suffix.lower() == ".npy",
        )
        found = model_rows(config, splits, run.covariates or None)
    except KeyError as error:
        raise says_nothing(Path(folder), config, error) from error
    if data is None and _checksums(found.provenance()) != _checksums(stored_data(folder)):
        raise ValueError(
            f"{config['data']} does not hold the rows that the run was fitted to any more (other checksum): put them "
            "back; python -m pyrovae.evaluate scores other rows, given by --data"
        )
    if found.data.data_shape != run.data_shape:
        raise ValueError(
            f"--data {data}: its rows have shape {found.data.data_shape}, the run was fitted to {run.data_shape}"
        )
    if data is not None:
        _check_columns(f"--data {data}", found.provenance(), read_summary(Path(folder)).get("data"))
    return found


def _check_columns(title: str, given: Mapping[str, object], fitted: object) -> None:
    """Refuse a table whose numbers mean something else than those that the run was fitted to."""
    if not isinstance(fitted, Mapping):
        return
    for name, what in _COLUMNS.items():
        one, other = given.get(name), fitted.get(name)
        # Tables without a header have no names, and runs of earlier versions stored none.
        if one != other and not (name == "column_names" and None in (one, other)):
            raise ValueError(
                f"{title}: {what} {_listed(one)}, and those that the run was fitted to {_listed(other)}: give a table "
                "with the same columns in the same order, each with the same values"
            )


def _listed(names: object) -> str:
    if isinstance(names, Mapping):
        return "; ".join(f"{name}: {', '.join(map(str, levels))}" for name, levels in names.items())
    return ", ".join(map(str, names)) if isinstance(names, list) else "not said"


def _checksums(provenance: Mapping[str, object]) -> list[object]:
    return [provenance.get(name) for name in ("checksum", "covariates_checksum")]
