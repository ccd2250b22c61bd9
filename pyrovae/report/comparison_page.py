"""The page of several runs."""

import shlex
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pyrovae import plots
from pyrovae.checkpoints import write_whole
from pyrovae.evaluation import BoundComparison
from pyrovae.evaluation.bounds import column_of
from pyrovae.report.page import Answer, Block, Command, Missing, Page, Section, Table, attempt, picture
from pyrovae.runs import RunComparison, in_options, read_summary, scored_rows

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# Of a path, what stands in a picture.
_LONG = 32
_HALVES = ("approximation", "amortisation")
_TERMS = {"elbo": "ELBO", "reconstruction": "reconstruction", "kl": "KL"}


def write_comparison(comparison: RunComparison, file: Path) -> None:
    """Write a page on several runs: their differences, learning curves side by side, bounds against K, gaps.

    Like the report of a run it needs no other file, no network and no script.

    Args:
        comparison: ``compare_runs`` of the runs, whose folders are still there.
        file: where to; what is there is replaced.

    Raises:
        ValueError: a folder that is no run any more.
        OSError: it cannot be written.
    """
    runs = [str(name) for name in comparison.table["run"]]
    tables = {name: scored_rows(Path(name)) for name in runs}
    page = Page(
        title=f"{len(runs)} runs compared",
        about=f"Scored on the same {comparison.rows:,} test rows; the best first",
        answers=[_verdict(comparison)],
        first=[_differences(comparison), *_told(comparison)],
        sections=[_fits(runs), _curves(runs), _bounds(tables), _gaps(tables)],
    )
    write_whole(file, page.render().encode())


def _verdict(comparison: RunComparison) -> Answer:
    apart, doubtful = comparison.apart, bool(comparison.doubtful)
    word = "The best two differ" if apart else "The best two cannot be told apart"
    word += ", as far as the numbers can be believed" if apart and doubtful else ""
    if comparison.unlike:
        word = "The numbers of the best two do not compare"
    question = "Which is the best, and is the difference real?"
    good = apart and not doubtful and not comparison.unlike
    return Answer(question, word, comparison.verdict(), "good" if good else "care")


def _differences(comparison: RunComparison) -> Table:
    lines = [
        [
            str(row["run"]),
            f"{row['log_px']:z.3f}",
            f"{row['log_px_standard_error']:.3f}",
            f"{row['elbo']:z.3f}",
            f"{row['difference']:z.3f}",
            f"{row['difference_standard_error']:.3f}",
            f"{row['difference_draws_error']:.4f}",
            f"{row['num_samples']:,}",
            f"{row['unreliable_rows']:,}",
        ]
        for row in comparison.table.to_dict("records")
    ]
    target = " or ".join(dict.fromkeys(comparison.targets.values()))
    head = ["run", target, "se (rows)", "ELBO", "difference", "se (paired)", "se (draws)", "K", "unreliable"]
    note = (
        "Nats per row. The difference is that to the best run, row by row, so that what makes a row hard for all runs "
        "does not blur it; unreliable are rows whose k-hat is above its limit or unknown."
    )
    return Table(head, lines, note=note)


def _told(comparison: RunComparison) -> list[Block]:
    """In what the runs were told to differ."""
    names = list(dict.fromkeys(name for told in comparison.settings.values() for name in told))
    if not names:
        return ["All runs were told the same."]
    lines = [[run, *(told.get(name, "not given") for name in names)] for run, told in comparison.settings.items()]
    return [Table(["told otherwise", *names], lines, numbers=False)]


def _fits(runs: list[str]) -> Section:
    """How each fit went."""

    def table() -> list[Block]:
        lines, signs = [], list[Block]()
        for run in runs:
            summary = read_summary(Path(run))
            training, seconds = summary.get("training") or {}, summary.get("seconds") or {}
            fitted = seconds.get("fit")
            lines.append(
                [
                    run,
                    str(summary.get("status")),
                    str(training.get("epochs")),
                    str(training.get("best_epoch")),
                    "not known" if fitted is None else f"{fitted:.1f}",
                ]
            )
            signs += [f"{run}, sign of trouble: {in_options(sign)}" for sign in training.get("signs_of_trouble") or []]
        return [Table(["run", "status", "epochs", "kept epoch", "seconds of the fit"], lines), *signs]

    return Section("The fits", attempt("how the fits went", table))


def _curves(runs: list[str]) -> Section:
    """The same term of all runs side by side, in one scale."""
    histories = dict[str, list[dict[str, Any]]]()
    blocks: list[Block] = []
    for run in runs:
        blocks += attempt(f"learning curves of {run}", partial(_read_history, run, histories))
    if not histories:
        return Section("Learning curves", blocks)
    for term, title in _TERMS.items():
        blocks += attempt(f"learning curves of the {title}", partial(_term, histories, term, title))
    return Section("Learning curves", blocks)


def _read_history(run: str, histories: dict[str, list[dict[str, Any]]]) -> list[Block]:
    import pandas as pd

    history: Any = pd.read_csv(Path(run) / "metrics.csv").to_dict("records")
    if not history:
        raise ValueError("metrics.csv has no epoch")
    histories[run] = history
    return []


def _term(histories: dict[str, list[dict[str, Any]]], term: str, title: str) -> list[Block]:
    settled = torch.cat([_values(history[len(history) // 20 :], term) for history in histories.values()])
    settled = settled[settled.isfinite()]
    low, high = settled.min().item(), settled.max().item()
    margin = 0.05 * (high - low) or 1.0
    pictures: list[Block] = []
    for run, history in histories.items():
        best = (read_summary(Path(run)).get("training") or {}).get("best_epoch") or 0
        figure = plots.term_curve(history, term, title, best, limits=(low - margin, high + margin))
        pictures.append(picture(figure, f"{title} of {run} by epoch, for training and validation rows", run))
    return pictures


def _values(history: list[dict[str, Any]], term: str) -> Tensor:
    """A term of all epochs, of training and validation in turn."""
    keys = [f"{split}_{term}" for split in ("train", "validation")]
    return torch.tensor([terms[key] for terms in history for key in keys if key in terms], dtype=torch.float64)


def _bounds(tables: "dict[str, pd.DataFrame]") -> Section:
    """The bounds of all runs against the number of draws."""
    alt = "mean bound over the test rows for growing numbers of draws K, for each run"

    def draw() -> list[Block]:
        names = _short_names(tables)
        bounds = {names[run]: _comparison(table) for run, table in tables.items()}
        numbers = sorted({k for found in bounds.values() for k in found.sweep})
        lines = []
        for run, found in bounds.items():
            known = dict(zip(found.sweep, found.sweep_bounds.mean(1).tolist(), strict=True))
            lines.append([run, *(f"{known[k]:.3f}" if k in known else "not computed" for k in numbers)])
        table = Table(["nats per row, K =", *(f"{k:,}" for k in numbers)], lines)
        return [picture(plots.bound_by_draws(bounds), alt), table]

    return Section("The bound against K", attempt(alt, draw))


def _gaps(tables: "dict[str, pd.DataFrame]") -> Section:
    """The gap of each run, with its two halves where its table has them."""
    figures = dict[str, "Figure"]()
    blocks: list[Block] = []
    for run, table in tables.items():
        blocks += attempt(f"gap histogram of {run}", partial(_gap, run, table, figures))
    # Side by side in one scale.
    ends = [figure.axes[0].get_xlim() for figure in figures.values()]
    for run, figure in figures.items():
        figure.axes[0].set_xlim(min(low for low, _ in ends), max(high for _, high in ends))
        blocks.append(picture(figure, f"histogram of the gap of {run}", run))
    without = [run for run, table in tables.items() if not all(half in table for half in _HALVES)]
    if without:
        why = "the tables of these runs were scored without --gap. To have them:"
        blocks.append(Missing(f"the two halves of the gap of {', '.join(without)}", why))
        blocks += [_to_split(run, tables[run]["num_samples"].iloc[0]) for run in without]
    return Section("The gap", blocks)


def _to_split(run: str, draws: int) -> Command:
    """What writes a table with the halves that counts in place of the compared one, beside which it may lie."""
    table = shlex.quote(str(Path(run) / f"evaluation-{draws}-gap.csv"))
    return Command(f"python -m pyrovae.evaluate {shlex.quote(run)} --num-samples {draws} --gap --output {table}")


def _gap(run: str, table: "pd.DataFrame", figures: "dict[str, Figure]") -> list[Block]:
    halves = [column_of(table, half) for half in _HALVES] if all(half in table for half in _HALVES) else []
    figures[run] = plots.gap_histogram(column_of(table, "log_px") - column_of(table, "elbo"), *halves)
    return []


def _comparison(table: "pd.DataFrame") -> BoundComparison:
    try:
        return BoundComparison.from_frame(table, int(table["num_samples"].iloc[0]))
    except (KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"the table of scored rows lacks a column of the bounds ({error}): score it again") from error


def _short_names(runs: Iterable[str]) -> dict[str, str]:
    """For each run the end of its path, which is where runs differ, or all of it where that is not enough."""
    short = {run: run if len(run) <= _LONG else f"...{run[3 - _LONG :]}" for run in runs}
    return short if len(set(short.values())) == len(short) else {run: run for run in short}
