"""The VAE of x given a class or covariates."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from pyrovae.data import AnyRows, DataSplits, all_in_memory, column_covariates, label_covariates
from pyrovae.models import ConditionalVAE
from pyrovae.runs.imports import users_errors
from pyrovae.runs.systems.system import DENSITY_OPTIONS, ModelRows, Sizes, System
from pyrovae.runs.systems.vae_parts import build_parts

CONDITIONS = ("labels", "columns")
"""What c may be."""


class Conditional(System):
    """``ConditionalVAE``: its rows are x with c behind, its numbers are of p(x|c)."""

    name = "conditional-vae"
    title = "conditional VAE"
    options = (*DENSITY_OPTIONS, "condition", "condition_columns")
    target = "log p(x|c)"
    given = ", c"

    def check(self, config: Mapping[str, Any]) -> None:
        """Refuse a condition on columns that are not named, or names beside labels.

        Raises:
            ValueError: what is lacking.
        """
        names, condition = config["condition_columns"], config["condition"]
        if condition == "columns" and not names:
            raise ValueError("--condition columns needs their names: give --condition-columns, as in age income")
        if condition == "labels" and names:
            raise ValueError(
                f"--condition labels takes no --condition-columns {' '.join(names)}: leave one of the two out"
            )

    def why_not(self, option: str) -> str:
        """The parts built here, over rows that hold c too, take no missing entries; c is put behind rows in memory."""
        if option == "stream":
            return ", as c is put behind its rows in memory"
        missing = option in ("missing", "missing_indicators")
        return ", as its rows have to be complete" if missing else super().why_not(option)

    def rows(
        self, config: Mapping[str, Any], data: DataSplits[AnyRows], covariates: Mapping[str, str] | None = None
    ) -> ModelRows:
        """The rows x with what is known of each behind it.

        Raises:
            ValueError: data without labels or without these columns, or other covariates than the run was fitted with.
        """
        if config["condition_columns"]:
            data, known = column_covariates(data, config["condition_columns"])
        else:
            known = label_covariates(data, None if covariates is None else list(covariates))
        if covariates is not None and known.kinds != dict(covariates):
            raise ValueError(
                f"{data.name} gives the covariates {', '.join(known.kinds)}, and the run was fitted with "
                f"{', '.join(covariates)}: give data with the same"
            )
        splits = ((data.train, known.train), (data.validation, known.validation), (data.test, known.test))
        train, validation, test = (torch.cat([all_in_memory(x, data.name).flatten(1), c], 1) for x, c in splits)
        of_values = None if data.train_transform is None else _of_values(data.train_transform, data.data_shape)
        return ModelRows(data, train, validation, test, of_values, known)

    def build(self, config: Mapping[str, Any], sizes: Sizes) -> ConditionalVAE:
        """The conditional VAE of a configuration."""
        parts = build_parts(config, sizes)
        with users_errors(parts.prior_name):
            return ConditionalVAE(
                parts.prior, parts.likelihood, parts.posterior, sizes.data_shape, len(sizes.covariates)
            )

    def describe(self, config: Mapping[str, Any]) -> dict[str, str]:
        """Its name, and what it is given."""
        names = config["condition_columns"]
        return {
            **super().describe(config),
            "system": f"{self.title}, given {', '.join(names) if names else 'the label'}",
        }


def _of_values(transform: Callable[[Tensor], Tensor], data_shape: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    """A transform of rows x, for rows with something behind x."""
    size = torch.Size(data_shape).numel()

    def transformed(rows: Tensor) -> Tensor:
        x = transform(rows[:, :size].unflatten(1, data_shape))
        return torch.cat([x.flatten(1), rows[:, size:]], 1)

    return transformed
