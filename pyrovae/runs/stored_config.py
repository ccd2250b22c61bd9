"""What the configuration and the summary of a stored run have to say, checked before anything is built from them."""

import difflib
from collections.abc import Collection, Mapping
from pathlib import Path
from types import NoneType
from typing import Any

from pyrovae.data.columns import PLAIN_KINDS, num_categories
from pyrovae.runs.objective_options import SCHEDULES
from pyrovae.runs.part import PARTS
from pyrovae.runs.stored_files import CONFIG_FILE, SUMMARY_FILE, read_mapping
from pyrovae.runs.systems import CORRUPTIONS, SYSTEMS

# Types of the values, by option; what they may be beyond that is said where they are used.
_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("data", "binarize", "missing", "system", "reconstruction_loss"), (str,)),
    **dict.fromkeys(("data_root", "model", "corruption", "condition", "beta_schedule"), (str, NoneType)),
    **dict.fromkeys(("missing_indicators", "stream"), (bool,)),
    **dict.fromkeys(("latent_dim", "seed", "pretrain_epochs"), (int,)),
    **dict.fromkeys(("upper_dim", "num_particles", "beta_cycles"), (int, NoneType)),
    **dict.fromkeys(("validation_fraction", "test_fraction"), (float,)),
    **dict.fromkeys(("corruption_level", "lr_end", "beta", "beta_start", "beta_length"), (float, NoneType)),
    **dict.fromkeys(("free_bits", "capacity", "capacity_length"), (float, NoneType)),
    "columns": (dict, list, str, NoneType),
    "condition_columns": (list, NoneType),
    **dict.fromkeys((*PARTS, "objective"), (dict,)),
}
_KNOWN: dict[str, Collection[str]] = {
    "system": SYSTEMS,
    "corruption": CORRUPTIONS,
    "beta_schedule": ("constant", *SCHEDULES),
}
_WORDS = {
    str: "a word",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    dict: "names and values",
    list: "a list",
    NoneType: "null",
}


def stored_config(folder: Path) -> dict[str, Any]:
    """The configuration of a stored run, with values of the types that they have to be of.

    Raises:
        ValueError: a damaged file, or a value of another type.
    """
    config = read_mapping(folder / CONFIG_FILE)
    check_config(config, str(folder / CONFIG_FILE))
    return config


def check_config(config: Mapping[str, Any], place: str) -> None:
    """Refuse a configuration with values of other types than they have to be of, or of unknown names.

    Args:
        config: of a run.
        place: where it stands, for messages.

    Raises:
        ValueError: the option and what it is instead.
    """
    # The objective was a name alone once.
    checked = {**config, "objective": {}} if isinstance(config.get("objective"), str) else config
    for name, types in _TYPES.items():
        if name in checked and not _is_of(checked[name], types):
            expected = " or ".join(_WORDS[kind] for kind in types)
            raise ValueError(f"{place}: {name} is {checked[name]!r}; expected {expected}")
    for name, known in _KNOWN.items():
        if config.get(name) is not None and config[name] not in known:
            raise ValueError(
                f"{place}: {name} is {config[name]!r}, which this version does not know; expected {', '.join(known)}"
            )
    for name in ("columns", "condition_columns"):
        words = [*(config.get(name) or ()), *(config[name].values() if isinstance(config.get(name), dict) else ())]
        if not all(isinstance(word, str) for word in words):
            raise ValueError(f"{place}: {name} is {config[name]!r}; expected words in it")
    for slot in (*PARTS, "objective"):
        part = checked.get(slot)
        if part and not (isinstance(part.get("class_path"), str) and _is_arguments(part.get("init_args", {}))):
            raise ValueError(
                f"{place}: {slot} is {part!r}; expected class_path, the import path of a class, and init_args, its "
                "arguments by name"
            )


def says_nothing(folder: Path, config: Mapping[str, Any], error: KeyError) -> ValueError:
    """The error about a stored run that does not say what is needed, with the nearest name that it has."""
    near = difflib.get_close_matches(str(error.args[0]), [name for name in config if name not in _TYPES], n=1)
    hint = f"; {CONFIG_FILE} has {near[0]!r}, is it misspelt?" if near else ""
    return ValueError(
        f"{folder} says nothing of {error}: it was stored by another version of pyrovae; fit the run again{hint}"
    )


def stored_shapes(
    folder: Path, summary: Mapping[str, Any]
) -> tuple[tuple[int, ...], tuple[str, ...] | None, dict[str, str]]:
    """The shape of a row, the kinds of its columns and its covariates, as ``summary.json`` says them.

    Raises:
        ValueError: values that these cannot be.
        KeyError: nothing is said of one of them.
    """
    shape, kinds = summary["data_shape"], summary["column_kinds"]
    # Runs that were stored before there were covariates have none.
    covariates = summary.get("covariates", {})
    path = folder / SUMMARY_FILE
    if not (isinstance(shape, list) and shape and all(_is_of(size, (int,)) and size > 0 for size in shape)):
        raise ValueError(f"{path}: data_shape is {shape!r}; expected the sizes of a row, such as [1, 28, 28]")
    if kinds is not None and not (isinstance(kinds, list) and len(kinds) == shape[0] and all(map(_is_kind, kinds))):
        raise ValueError(f"{path}: column_kinds is {kinds!r}; expected null or the kind of each of {shape[0]} columns")
    if not (isinstance(covariates, dict) and all(map(_is_kind, covariates.values()))):
        raise ValueError(f"{path}: covariates is {covariates!r}; expected the kinds of numbers by name")
    return tuple(shape), None if kinds is None else tuple(kinds), covariates


def _is_of(value: Any, types: tuple[type, ...]) -> bool:
    # True and False are whole numbers in Python; whole numbers are numbers.
    if isinstance(value, bool):
        return bool in types
    return isinstance(value, types) or (isinstance(value, int) and float in types)


def _is_arguments(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


def _is_kind(kind: Any) -> bool:
    return isinstance(kind, str) and (kind in PLAIN_KINDS or num_categories(kind) is not None)
