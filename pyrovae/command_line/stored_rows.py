"""The data of a stored run, read again."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyrovae.data import AnyRows, DataSplits, UnusableValuesError, load_data, value_range
from pyrovae.runs import ModelRows, Run, model_rows, read_summary, says_nothing, stored_data

# Values that are bytes divided by 255.
_DIVIDED = ("uint8 / 255 in [0, 1]", "intensities / 255 in [0, 1]", "pixels scaled to [0, 1]")


def rows_of_run(
    run: Run, folder: str | Path, *, data: str | None = None, root: str | None = None, all_rows: bool = False
) -> ModelRows:
    """The data that a stored run was fitted to, split and binarised as they were then; or other data in the same way.

    Args:
        run: the run, as ``load`` gives it.
        folder: its folder.
        data: name or path of other data; None reads those of the run.
        root: folder of the data; None takes that of the run.
        all_rows: take all rows of other data for test rows.

    Raises:
        ValueError: the rows are not there any more, or other data have another shape.
    """
    config = run.config
    try:
        place = data or config["data"]
        said = read_summary(Path(folder)).get("data")
        # `save` of a run of one's own may say nothing.
        fitted = said if isinstance(said, Mapping) else {}
        splits = load_data(
            place,
            root=root or config["data_root"],
            binarize=config["binarize"],
            missing=config["missing"],
            columns=config["columns"] if run.known_columns is None else run.known_columns.kinds,
            known_columns=run.known_columns,
            divided=_divided(fitted),
            seed=config["seed"],
            validation_fraction=config["validation_fraction"],
            test_fraction=1 if all_rows else config["test_fraction"],
            # Runs that were stored before there was streaming are in memory; and so are other data that cannot stream.
            stream=config.get("stream", False) and Path(place).suffix.lower() == ".npy",
        )
        # Runs of earlier versions stored no names of classes; those of other files have none.
        names = tuple(fitted.get("label_names", ()))
        given_labels = any(name.startswith("label=") for name in run.covariates)
        if splits.label_names and not names:
            if data is not None and given_labels:
                numbered = _numbered(splits.label_names)
                print(f"the run knows its classes by their numbers alone, and folders are numbered here: {numbered}")
            splits = dataclasses.replace(splits, label_names=())
        elif names and not splits.label_names and given_labels:
            splits = _named(splits, names)
        if data is not None:
            _say_scale(fitted, splits)
        found = model_rows(config, splits, run.covariates or None)
    except UnusableValuesError as error:
        if config["missing"] == "keep" or not error.any_missing:
            raise
        again = ", or fit again with --missing keep" if "missing" in run.system.options else ""
        raise ValueError(
            f"{error.wrong}; the run was fitted to rows without missing cells: leave such rows out{again}"
        ) from error
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
    return found


def _divided(fitted: Mapping[str, Any]) -> bool | None:
    """Whether new uint8 images are to be divided by 255, as the rows were that a run was fitted to; None if unknown."""
    # Runs of earlier versions say so in words alone, and nothing where values became bits.
    if "divided" in fitted or fitted.get("variant") in _DIVIDED:
        return bool(fitted.get("divided", True))
    # Values outside of [0, 1] were taken as stored.
    return False if fitted.get("support") in ("count", "real") else None


def _say_scale(fitted: Mapping[str, Any], splits: DataSplits[AnyRows]) -> None:
    """Say so where new rows have another scale than those in [0, 1] that a run was fitted to."""
    within = ("binary", "unit_interval")
    if fitted.get("support") not in within or splits.support in within:
        return
    lowest, highest = value_range(splits.train, splits.validation, splits.test)
    # What is hardly outside may have been standardised with the rows of the run.
    if lowest < -1 or highest > 2:
        print(
            f"{splits.name} has values from {lowest:g} to {highest:g}, and the rows that the run was fitted to lie in "
            "[0, 1]: bring them to the same scale, grey values for example by x / 255"
        )


def _named(splits: DataSplits[AnyRows], names: tuple[str, ...]) -> DataSplits[AnyRows]:
    """Rows whose labels are numbers, with the names of the folders that a run was fitted to.

    Raises:
        ValueError: a number may be a name or a place among the names, or is no place.
    """
    # Each number is a name then, and at its place.
    if names == tuple(map(str, range(len(names)))):
        return splits
    if any(name.isdecimal() for name in names):
        raise ValueError(
            f"the run knows its classes by the names of folders ({', '.join(names)}), and {splits.name} has numbers: "
            "give a folder"
        )
    labels = (splits.train_labels, splits.validation_labels, splits.test_labels)
    most = max((int(label.max()) for label in labels if label is not None and len(label)), default=0)
    if most >= len(names):
        raise ValueError(
            f"{splits.name} has rows with the label {most}, and the run knows the classes of {len(names)} folders: "
            f"leave them out, or number the classes from 0 to {len(names) - 1} in the order {', '.join(names)}"
        )
    print(f"the run knows its classes by their names, and numbers are taken in this order: {_numbered(names)}")
    return dataclasses.replace(splits, label_names=names)


def _numbered(names: Sequence[str]) -> str:
    return ", ".join(f"{name} is {number}" for number, name in enumerate(names))


def _checksums(provenance: Mapping[str, object]) -> list[object]:
    return [provenance.get(name) for name in ("checksum", "covariates_checksum")]
