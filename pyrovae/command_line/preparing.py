"""What ``python -m pyrovae.fit`` fits: the rows, and a run with the weights that it starts from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from torch import Tensor

from pyrovae.command_line.part_errors import errors_of_parts
from pyrovae.command_line.resuming import start_of
from pyrovae.data import BINARIZED, AnyRows, UnusableValuesError, load_data, rows_in_memory
from pyrovae.likelihoods import Columns
from pyrovae.models import Autoencoder
from pyrovae.models.raw_columns import raw_columns
from pyrovae.programs import owned_modules
from pyrovae.runs import (
    ModelRows,
    Run,
    build_pair,
    check_categories,
    model_rows,
    start_from,
    system_of,
    users_errors,
)

_CHECKED_ROWS = 8
_BATCH_SIZE = 64


@dataclass(frozen=True, eq=False)
class Prepared:
    """A run that can be fitted.

    Attributes:
        run: the pair or the autoencoder with the weights that it starts from, and the configuration to be stored.
        rows: what it is fitted to.
        example: some training rows on the device, to find what is wrong with parts.
        device: of the weights.
        remarks: lines on columns whose kinds the likelihood is not told, that are too large, too far apart or constant.
    """

    run: Run
    rows: ModelRows
    example: Tensor
    device: torch.device
    remarks: tuple[str, ...]


def prepare_run(config: dict[str, Any], device: torch.device) -> Prepared:
    """Read the rows, and build what is fitted to them.

    Args:
        config: the command's options; the rows of a step are put in where nothing is said of them.
        device: of the weights.

    Raises:
        ValueError: data that cannot be read, more rows in a step than there are, a part that cannot be found or built,
            weights that are not of these parts.
    """
    rows = _load(config, "none" if config["binarize"] == "auto" else config["binarize"])
    _choose_batch_size(config, len(rows.train))
    pyro.set_rng_seed(config["seed"])
    # Leave to overwrite holds for this run, not for the next one that reads its configuration.
    stored = {**config, "overwrite": False, "resume": None}
    remark = check_categories(config, rows.data.column_kinds)
    run = _build(stored, rows, device)
    on_columns = (remark, _on_raw_columns(run, rows.data.train), _constant_columns(run, rows))
    example = rows.train[:_CHECKED_ROWS].to(device)
    if run.module is not None:
        with users_errors("starting from the data"):
            run.module.initialize(rows.train.to(device))
    if config["binarize"] == "auto":
        with errors_of_parts(run, example):
            stored["binarize"] = _binarization(run, example)
            if stored["binarize"] != "none":
                rows = _load(config, stored["binarize"])
    if config["init_from"] is not None:
        start_from(run, start_of(config), device)
    return Prepared(run, rows, example, device, tuple(line for line in on_columns if line is not None))


def _on_raw_columns(run: Run, x: AnyRows) -> str | None:
    """What options bring columns to one scale that the parts would take as they are; None where nothing is amiss."""
    if run.config["model"] is not None or run.module is None or isinstance(run.module, Autoencoder):
        return None
    raw = raw_columns([run.module.likelihood, run.module.posterior], rows_in_memory(x))
    if raw is None:
        return None
    parts = {"likelihood": "--likelihood Columns", "encoder": "--encoder ColumnEncoder"}
    options = " ".join(parts[slot] for slot in raw.slots)
    kinds = "'{}'" if raw.kind == "real" else "count"
    columns = f" --columns {kinds}" if run.column_kinds is None else ""
    in_memory = ", without --stream" if run.config["stream"] else ""
    return f"{raw.trouble}: {options}{columns}{in_memory} takes them to one scale"


def _load(config: Mapping[str, Any], binarize: Any) -> ModelRows:
    try:
        data = load_data(
            config["data"],
            root=config["data_root"],
            binarize=binarize,
            missing=config["missing"],
            columns=config["columns"],
            seed=config["seed"],
            validation_fraction=config["validation_fraction"],
            test_fraction=config["test_fraction"],
            stream=config["stream"],
        )
    except UnusableValuesError as error:
        # Categories are in columns of which kinds were asked alone.
        if config["resume"] is None or config["columns"] is None or not error.any_missing:
            raise
        raise ValueError(
            f"{error.wrong}; if {config['data']} has not changed since, the run was begun by an earlier version, which "
            "took blank cells for a category: go on with it by that version, or begin anew with a word in the blank "
            "cells, or with --missing keep and a likelihood that takes missing cells"
        ) from error
    return model_rows(config, data)


def _choose_batch_size(config: dict[str, Any], rows: int) -> None:
    """Put the rows of a step into the options where nothing is said of them, and refuse more than there are."""
    if config["batch_size"] is None:
        config["batch_size"] = min(_BATCH_SIZE, rows)
    elif config["batch_size"] > rows and system_of(config).no_density is None:
        raise ValueError(
            f"--batch-size {config['batch_size']} is more than the {rows} training rows: give at most {rows}"
        )


def _build(config: Mapping[str, Any], rows: ModelRows, device: torch.device) -> Run:
    """The run with fresh weights, on the device."""
    data, covariates = rows.data, rows.covariate_kinds
    pair = build_pair(config, data.data_shape, data.column_kinds, covariates)
    run = Run(*pair, config, data.data_shape, rows.test[:1].to(device), data.column_kinds, covariates)
    for module in owned_modules(run.model, run.guide):
        module.to(device)
    return run


def _constant_columns(run: Run, rows: ModelRows) -> str | None:
    """A line on real columns that have one value in all training rows, where ``Columns`` gives them a density."""
    data = rows.data
    parts = [] if run.module is None else run.module.modules()
    if data.column_kinds is None or not any(isinstance(part, Columns) for part in parts):
        return None
    values = rows_in_memory(data.train)
    equal = (values == values.nan_to_num(nan=-torch.inf).amax(0)) | values.isnan()
    constant = (equal.all(0) & ~values.isnan().all(0)).tolist()
    names = data.column_names or range(len(constant))
    columns = zip(names, data.column_kinds, constant, strict=True)
    found = ", ".join(repr(name) for name, kind, is_constant in columns if is_constant and kind == "real")
    if not found:
        return None
    return (
        f"constant columns: {found}; their density has no bound but scale_floor, and says nothing of the rows: leave "
        "them out"
    )


def _binarization(run: Run, example: Tensor) -> str:
    """What ``--binarize auto`` is for this run."""
    # Sets of grey images known by name are binarised for likelihoods of bits; a user's own data never unasked.
    is_named = run.config["data"] in BINARIZED
    return "dynamic" if is_named and run.system.observes_bits(run.model, run.guide, example) else "none"
