"""Comparing stored runs on the same test rows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyrovae.runs.objective_options import OBJECTIVE_OPTIONS, WITHOUT_EFFECT
from pyrovae.runs.objectives import describe_objective
from pyrovae.runs.part import PARTS
from pyrovae.runs.parts import describe_parts
from pyrovae.runs.score_tables import scored_rows
from pyrovae.runs.stored_config import says_nothing, stored_config
from pyrovae.runs.stored_files import read_summary
from pyrovae.runs.systems import system_of

if TYPE_CHECKING:
    import pandas as pd

FEW_UNRELIABLE = 0.1
"""Up to this part of a run's rows may have a k-hat above its limit, or none, before its mean is doubtful."""

# What the numbers of two runs must agree on to be of the same rows.
_SAME = {"data_checksum": "rows, or splits of them", "data_variant": "data variant"}
# Options that are no part of what was fitted, or are said in other words.
_ASIDE = {
    *PARTS,
    *OBJECTIVE_OPTIONS,
    *WITHOUT_EFFECT,
    "config",
    "model",
    "data",
    "stream",
    "num_samples",
    "device",
    "system",
    "corruption",
    "corruption_level",
    "condition",
    "condition_columns",
    "reconstruction_loss",
    "pretrain_epochs",
    "upper_dim",
}


@dataclass(frozen=True)
class RunComparison:
    """Runs by mean log p(x) of the same rows, the best first, and how each differs from the best.

    Runs whose mean is not finite are the last. All numbers are in nats per row.

    Attributes:
        table: a line for each run: ``run``, ``num_samples``, ``log_px``, ``log_px_standard_error``, ``elbo``,
            ``difference`` to the best run, its ``difference_standard_error`` from the paired differences of the rows
            and its ``difference_draws_error`` from the importance draws (NaN of one draw), ``unreliable_rows``.
        rows: number of test rows.
        settings: for each run, in what it was told otherwise than another: its parts and options by name.
        targets: for each run what its numbers estimate, ``"log p(x)"`` or ``"log p(x|c)"``.
        kinds: for each run whether they are ``"probabilities"`` or ``"densities"``, or which columns have densities;
            None where the run does not say.
        infinite_rows: for each run the numbers of its rows whose log p(x) is infinite or NaN.
        still_improving: those of the two best runs that more epochs would have helped, as far as runs say so.
    """

    table: "pd.DataFrame"
    rows: int
    settings: dict[str, dict[str, str]]
    targets: dict[str, str]
    kinds: dict[str, str | None]
    infinite_rows: dict[str, list[int]]
    still_improving: tuple[str, ...] = ()

    @property
    def apart(self) -> bool:
        """Whether the two best runs differ by more than two standard errors, and by more where rows are few.

        It is a quantile of Student's t with rows - 1 degrees of freedom, at the level of two standard errors of a
        normal: equal runs differ in one case of 22. With one row nothing can be told.
        """
        from scipy.special import ndtr, stdtrit

        # NaN with no degrees of freedom.
        return bool(-self._second["difference"] > stdtrit(self.rows - 1, ndtr(2.0)) * self._error)

    @property
    def doubtful(self) -> list[str]:
        """Those of the two best runs whose k-hat is above its limit or unknown in more than a tenth of the rows."""
        return [run for run, unreliable in self._unreliable.items() if unreliable > FEW_UNRELIABLE * self.rows]

    @property
    def given(self) -> list[str]:
        """Runs whose numbers are of log p(x|c), beside others of log p(x) or alone."""
        return [run for run, target in self.targets.items() if target != "log p(x)"]

    @property
    def is_mixed(self) -> bool:
        """Whether some runs are told c of each row and others are not."""
        return 0 < len(self.given) < len(self.targets)

    @property
    def unlike(self) -> bool:
        """Whether the numbers of the two best runs are of two kinds, which do not compare."""
        return len(self._known_kinds(list(self.table["run"][:2]))) > 1

    def summary(self) -> str:
        """The table as text, and one sentence on the two best."""
        lines = [
            f"{'run':<32}{'log p(x)':>12}{'se (rows)':>11}{'ELBO':>12}{'difference':>12}{'se (paired)':>13}"
            f"{'se (draws)':>12}{'K':>8}{'unreliable':>12}"
        ]
        for row in self.table.itertuples():
            lines.append(
                f"{row.run!s:<32} {row.log_px:>z11.3f} {row.log_px_standard_error:>10.3f} {row.elbo:>z11.3f}"
                f" {row.difference:>z11.3f} {row.difference_standard_error:>12.3f} {row.difference_draws_error:>11.4f}"
                f" {row.num_samples:>7,} {row.unreliable_rows:>11,}"
            )
        for run, told in self.settings.items():
            if told:
                lines.append(f"{run}: {'; '.join(f'{name} {value}' for name, value in told.items())}")
        return "\n".join([*lines, self.verdict()])

    def verdict(self) -> str:
        """Whether the best run is better than the next, and how far to believe that.

        Where the next is doubtful the best is only said to be above it: its log p(x) may be too low by as much.
        """
        best, second = self.table["run"].iloc[0], self._second
        above = "is above" if self.is_mixed or self.unlike or second["run"] in self.doubtful else "is better than"
        if math.isfinite(second["difference"]):
            apart = above if self.apart else "cannot be told from"
            error = f"standard error {self._error:.3f}" if self.rows > 1 else "and one row has no standard error"
            text = f"{best} {apart} {second['run']}: {-second['difference']:z.3f} nats per row, {error}."
        else:
            text = f"{best} and {second['run']} do not compare by their means, whose difference is not finite."
        for run, infinite in self.infinite_rows.items():
            if infinite:
                text += (
                    f" log p(x) of {run} is infinite or NaN in {len(infinite):,} of {self.rows:,} rows, the first is "
                    f"row {infinite[0]}: look there for values at the edge of the likelihood's support, or far from "
                    "all others."
                )
        if self.doubtful:
            counts = " and ".join(f"{self._unreliable[run]:,} of {self.rows:,} rows of {run}" for run in self.doubtful)
            text += (
                f" But in {counts} k-hat is above its limit or unknown: log p(x) is too low or uncertain there, and so "
                "is the difference."
            )
        if self.still_improving:
            was = "was" if len(self.still_improving) == 1 else "were"
            text += f" {' and '.join(self.still_improving)} {was} still improving: more epochs may change this."
        if len(set(self.table["num_samples"])) > 1:
            text += " The runs were scored with different numbers of draws K, and fewer draws give lower numbers."
        kinds = self._known_kinds(list(self.kinds))
        if len(kinds) > 1:
            told = "; ".join(f"those of {' and '.join(runs)} {kind}" for kind, runs in kinds.items())
            text += f" The numbers do not compare, a density depends on the units of x: {told}."
        if self.given and not self.is_mixed:
            text += " The numbers are of log p(x|c)."
        elif self.is_mixed:
            text += (
                f" {', '.join(self.given)} is told c of each row, and its numbers are of log p(x|c): the difference is "
                "what c says of the rows as much as what the models do."
            )
        return text

    @property
    def _second(self) -> "pd.Series[Any]":
        return self.table.iloc[1]

    @property
    def _error(self) -> float:
        """Standard error of the difference of the two best runs.

        That of the paired differences holds the noise of the draws already. The error of the draws is added so that no
        two runs are told apart by rounding alone, scored by the same draws; of one draw it is unknown, and left out.
        """
        paired, draws = self._second[["difference_standard_error", "difference_draws_error"]]
        return paired if math.isnan(draws) else math.hypot(paired, draws)

    @property
    def _unreliable(self) -> dict[str, int]:
        """How many rows of each of the two best runs are unreliable."""
        return {str(row["run"]): row["unreliable_rows"] for row in self.table.iloc[:2].to_dict("records")}

    def _known_kinds(self, runs: Sequence[str]) -> dict[str, list[str]]:
        """The kinds that these runs say, each with its runs."""
        said = [(kind, run) for run in runs if (kind := self.kinds[run]) is not None]
        return {kind: [run for other, run in said if other == kind] for kind, _ in said}


def compare_runs(folders: Sequence[str | Path]) -> RunComparison:
    """Compare stored runs by the log p(x) of their test rows.

    Of each run the most complete table of its own test rows counts, and of those the one with the most importance
    draws. Differences are taken row by row, so that what makes a row hard for all runs does not blur them.

    Args:
        folders: two or more run folders.

    Raises:
        ValueError: fewer than two runs, a folder without scored rows, or runs on other rows or another data variant.
    """
    import numpy as np
    import pandas as pd

    if isinstance(folders, str | Path):
        raise ValueError(f"one run given, {folders}; a comparison needs a list of two or more run folders")
    if len(folders) < 2:
        raise ValueError(f"{len(folders)} run given; a comparison needs two or more run folders")
    tables = {str(folder): scored_rows(Path(folder)) for folder in folders}
    if len({Path(folder).resolve() for folder in folders}) < len(folders):
        raise ValueError("a run is named twice; give each run folder once")
    (first, reference), *others = tables.items()
    for name, table in others:
        for column, meaning in _SAME.items():
            if table[column].iloc[0] != reference[column].iloc[0]:
                raise ValueError(
                    f"{name} and {first} were scored on different {meaning} ({column} {table[column].iloc[0]!r} and "
                    f"{reference[column].iloc[0]!r}): only numbers of the same rows compare"
                )
        if len(table) != len(reference):
            raise ValueError(
                f"{name} has {len(table)} scored rows, {first} has {len(reference)}: finish scoring with "
                "python -m pyrovae.evaluate"
            )
    means = {name: table["log_px"].mean(skipna=False) for name, table in tables.items()}
    # Without a finite mean a run comes last.
    ranked = sorted(tables.items(), key=lambda item: -means[item[0]] if math.isfinite(means[item[0]]) else math.inf)
    best = ranked[0][1]
    # An infinite mean has no standard error.
    with np.errstate(invalid="ignore"):
        lines = [_line(name, table, best) for name, table in ranked]
    settings = _differences({name: _settings(Path(name)) for name, _ in ranked})
    targets = {name: system_of(stored_config(Path(name))).target for name, _ in ranked}
    kinds = {name: _kind(Path(name)) for name, _ in ranked}
    infinite = {name: table.index[~np.isfinite(table["log_px"])].tolist() for name, table in ranked}
    improving = tuple(name for name, _ in ranked[:2] if _is_still_improving(Path(name)))
    return RunComparison(pd.DataFrame(lines), len(reference), settings, targets, kinds, infinite, improving)


def _kind(folder: Path) -> str | None:
    """Whether a run's numbers are probabilities or densities; one of an earlier version does not say."""
    kind = _said(folder, "evaluation", "numbers")
    return kind if isinstance(kind, str) else None


def _is_still_improving(folder: Path) -> bool:
    """Whether more epochs would have helped a run; one that does not say is taken to be complete."""
    return bool(_said(folder, "training", "still_improving"))


def _said(folder: Path, part: str, name: str) -> Any:
    """What the summary of a run says in one of its parts; None where there is no such part."""
    said = read_summary(folder).get(part)
    return said.get(name) if isinstance(said, dict) else None


def _settings(folder: Path) -> dict[str, str]:
    """What a run was told: its parts and its objective with their arguments, and the other options."""
    config = stored_config(folder)
    options = {name: str(value) for name, value in config.items() if name not in _ASIDE}
    try:
        return {**describe_parts(config), "objective": describe_objective(config), **options}
    except KeyError as error:
        raise says_nothing(folder, config, error) from error


def _differences(settings: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """Those settings that are not the same in all runs."""
    told = list(settings.values())
    names = dict.fromkeys(key for one in told for key in one)
    differing = [name for name in names if len({one.get(name) for one in told}) > 1]
    return {run: {name: one[name] for name in differing if name in one} for run, one in settings.items()}


def _line(name: str, table: "pd.DataFrame", best: "pd.DataFrame") -> dict[str, object]:
    difference = table["log_px"] - best["log_px"]
    draws_error = math.sqrt((table["standard_error"] ** 2 + best["standard_error"] ** 2).sum(skipna=False)) / len(table)
    return {
        "run": name,
        "num_samples": int(table["num_samples"].iloc[0]),
        # A row that has no number leaves the mean without one.
        "log_px": table["log_px"].mean(skipna=False),
        "log_px_standard_error": table["log_px"].sem(skipna=False),
        "elbo": table["elbo"].mean(skipna=False),
        "difference": difference.mean(skipna=False),
        "difference_standard_error": difference.sem(skipna=False),
        "difference_draws_error": 0.0 if table is best else draws_error,
        "unreliable_rows": int((~table["reliable"].astype(bool)).sum()),
    }
