"""The columns of the table that a run was fitted to, in ``summary.json``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyrovae.data import KnownColumns
from pyrovae.runs.stored_files import SUMMARY_FILE

# Beside what ``DataSplits.provenance`` says of the data, for runs that are saved without it.
_KEY = "known_columns"


def stored_columns(
    folder: Path, summary: Mapping[str, Any], config: Mapping[str, Any], covariates: Mapping[str, str]
) -> KnownColumns | None:
    """The columns of a stored run's table, those that it is conditioned on behind the others; None where it says none.

    Args:
        folder: of the run, for messages.
        summary: what ``summary.json`` says.
        config: of the run.
        covariates: what is known of each row beside x, the kinds of numbers by name.

    Raises:
        ValueError: values that columns cannot have.
    """
    said = summary.get(_KEY, summary.get("data"))
    # Runs of earlier versions stored no names.
    if not isinstance(said, Mapping) or "column_names" not in said:
        return None
    names, kinds, categories = said["column_names"], said.get("column_kinds"), said.get("categories", {})
    if not (
        _are_words(names)
        and (kinds is None or (_are_words(kinds) and len(kinds) == len(names)))
        and isinstance(categories, dict)
        and all(map(_are_words, categories.values()))
    ):
        raise ValueError(
            f"{folder / SUMMARY_FILE}: column_names, column_kinds and categories are {names!r}, {kinds!r} and "
            f"{categories!r}; expected the name of each column, the kind of each or null, and lists of levels by name"
        )
    names, categories, kind_of = [*names], {**categories}, dict(zip(names, kinds or (), strict=False))
    for name in config.get("condition_columns") or ():
        if name in names:
            continue
        names.append(name)
        kind_of[name] = covariates.get(name, "categorical")
        if name not in covariates:
            known = [covariate for covariate in covariates if covariate.startswith(f"{name}=")]
            categories[name] = [covariate.removeprefix(f"{name}=") for covariate in known]
    asked = {
        name: kind if kind == "binary" or name not in categories else "categorical" for name, kind in kind_of.items()
    }
    return KnownColumns(tuple(names), categories, None if config.get("columns") is None else asked)


def columns_to_store(known: KnownColumns | None) -> dict[str, Any]:
    """What ``summary.json`` says of the columns that a run knows; empty where it knows none."""
    if known is None or known.names is None:
        return {}
    kinds = known.kinds and [known.kinds[name] for name in known.names]
    return {_KEY: {"column_names": known.names, "column_kinds": kinds, "categories": dict(known.categories)}}


def _are_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)
