"""Scoring the rows of a stored run, a part at a time, so that an interruption loses none that are scored."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from pyrovae.data import AnyRows
from pyrovae.evaluation import BoundComparison, ais, compare_bounds, inference_gap
from pyrovae.evaluation.blocks import evaluations_at_once
from pyrovae.evaluation.bounds import column_of
from pyrovae.evaluation.gap import belief_in_split
from pyrovae.evaluation.hamiltonian import Start, TemperatureSchedule
from pyrovae.evaluation.log_mean import row_means
from pyrovae.evaluation.summaries import means_table
from pyrovae.processes import Processes, alone, processes_now
from pyrovae.programs import check_any_rows
from pyrovae.progress import Progress
from pyrovae.runs.run import Run
from pyrovae.runs.stored_files import check_place_of_table, data_columns, read_mapping, read_table, write_table

if TYPE_CHECKING:
    import pandas as pd

# Rows that share the draws of a seed, and are written to the disk together unless they are annealed.
_ROWS_PER_PART = 256
# Annealing takes seconds for a row on a CPU. Blocks that are smaller than its own lose less by an interrupt, a minute
# or so for images of MNIST, and are a sixth slower; on other devices a small block takes as long as a large one.
_BLOCKS_ON_CPU = 32
# What log p(x) of the split is estimated from; tables of other versions are not gone on with.
_GAP_FROM = "draws of the guide and of its best member"


@dataclass(frozen=True)
class ScoringOptions:
    """What to compute for each row.

    Attributes:
        num_samples: importance draws.
        chunk_size: draws scored at once; None chooses.
        gap: split the gap into approximation and amortisation gap.
        ais: estimate log p(x) by annealed importance sampling, too.
        ais_temperatures: its number of temperatures.
        ais_chains: its number of chains.
        ais_start: where its chains start, ``"prior"`` or ``"guide"``.
        ais_schedule: of its temperatures, ``"sigmoid"`` or ``"linear"``.
        ais_leapfrog: steps of each of its trajectories.
        ais_warm_up: temperatures of its throw-away chains.
        seed: of all draws.
    """

    num_samples: int = 5000
    chunk_size: int | None = None
    gap: bool = False
    ais: bool = False
    ais_temperatures: int = 1000
    ais_chains: int = 16
    ais_start: Start = "prior"
    ais_schedule: TemperatureSchedule = "sigmoid"
    ais_leapfrog: int = 10
    ais_warm_up: int = 200
    seed: int = 0


def score_rows(
    run: Run,
    x: AnyRows,
    options: ScoringOptions,
    table: Path,
    provenance: Mapping[str, Any],
    weights: str,
    *,
    progress: bool = False,
) -> "pd.DataFrame":
    """Score rows and write them to a table as they are done; rows that are there already are not scored again.

    Each part of 256 rows has draws of its own, and each block of rows that are annealed together, so an interrupted
    table ends as an uninterrupted one does, and one by several processes, within ``several_processes``, as one by a
    single process. What was asked, by which weights and on which data, is written beside the
    table, with ``.json`` added to its name.

    Args:
        run: the pair with its weights.
        x: rows ``(rows, *data_shape)``, on the device of the weights; or ``data.StreamedRows``.
        options: what to compute.
        table: the CSV file.
        provenance: ``DataSplits.provenance()`` of the rows.
        weights: ``weights_checksum`` of the run, so that tables of other weights are not continued.
        progress: show a progress bar.

    Returns:
        The table: the columns of ``BoundComparison.to_frame``; with ``gap`` the parts of the gap and ``gap_k_hat``, the
        k-hat behind them; with ``ais`` ``ais_log_px``, ``ais_standard_error``, ``ais_ess`` and ``ais_acceptance``.

    Raises:
        ValueError: the table is there for other options, weights or data, or is no table of this function.
    """
    check_any_rows(x, "x")
    processes, rows_per_write = processes_now(), _rows_per_write(x, options)
    # How many draws are in memory at once changes no number.
    told = {name: value for name, value in vars(options).items() if name != "chunk_size"}
    asked: dict[str, Any] = {"options": told, "weights": weights, "data": dict(provenance)}
    if options.gap:
        asked["gap_from"] = _GAP_FROM
    done = processes.from_first(lambda: _begun(table, asked, len(x), rows_per_write))
    left = range(done, len(x), rows_per_write)
    with Progress("scoring", len(x), "row", shown=progress and processes.is_first, done=done) as bar:
        for block in _in_turns(processes, left, _blocks(run, x, options, left[processes.rank :: processes.world_size])):
            block = block.assign(**data_columns(provenance))
            if processes.is_first:
                if not block.index[0]:
                    _beside(table).write_text(json.dumps(asked, indent=2) + "\n", encoding="utf-8")
                write_table(block, table, mode="a" if block.index[0] else "w", header=not block.index[0])
            bar.advance(len(block))
    return processes.from_first(lambda: read_table(table, ("log_px",)))


def _begun(table: Path, asked: Mapping[str, Any], rows: int, rows_per_write: int) -> int:
    """How many rows an interrupted table has."""
    beside = _beside(table)
    check_place_of_table(table)
    if table.exists():
        if not beside.is_file() or read_mapping(beside) != json.loads(json.dumps(asked)):
            raise ValueError(
                f"{table} is there for other options, other weights, other data or from another version: give another "
                "output, or --overwrite"
            )
        return _rows_kept(table, rows, rows_per_write)
    return 0


def _beside(table: Path) -> Path:
    """The file that says what was asked of a table; it is written with the first rows."""
    return table.with_name(f"{table.name}.json")


def _in_turns(processes: Processes, starts: range, own: Iterator["pd.DataFrame"]) -> Iterator["pd.DataFrame"]:
    """The blocks of all processes in the order of their rows; each has one of so many that follow one another."""
    for _ in range(0, len(starts), processes.world_size):
        for blocks in processes.gather(list(islice(own, 1))):
            yield from blocks


def _blocks(run: Run, x: AnyRows, options: ScoringOptions, starts: Iterable[int]) -> Iterator["pd.DataFrame"]:
    """The table of some blocks of rows, by their first rows."""
    import pandas as pd

    part_start, part = -1, pd.DataFrame()
    for start in starts:
        if part_start != start - start % _ROWS_PER_PART:
            # Where an interrupt or another process has taken some of its rows they are computed again here; the
            # numbers that have draws for the whole part take the least time.
            part_start = start - start % _ROWS_PER_PART
            rows = x[part_start : part_start + _ROWS_PER_PART]
            with alone():
                part = _score_part(run, rows, options, seed=options.seed + part_start)
            part.index = pd.RangeIndex(part_start, part_start + len(rows), name="row")
        block = part.loc[start : start + _rows_per_write(x, options) - 1]
        if options.ais:
            annealed = _anneal(run, x[start : start + len(block)], options, seed=options.seed + start)
            block = block.join(annealed.set_index(block.index))
        yield block


def _rows_kept(table: Path, rows: int, rows_per_write: int) -> int:
    """How many rows of an interrupted table count; the file is shortened to them."""
    # A part that was cut off while it was written, perhaps within a line, is scored again.
    lines = table.read_bytes().splitlines(keepends=True)
    scored = sum(line.endswith(b"\n") for line in lines) - 1
    kept = scored if scored == rows else max(scored, 0) // rows_per_write * rows_per_write
    with table.open("r+b") as file:
        file.truncate(sum(map(len, lines[: kept + 1])))
    if not kept:
        return 0
    there = len(read_table(table, ("log_px",)))
    if there != kept:
        raise ValueError(f"{table} has {there} rows in {kept} lines, so it is damaged: start it again by --overwrite")
    return kept


def _score_part(run: Run, rows: Tensor, options: ScoringOptions, seed: int) -> "pd.DataFrame":
    pair = (run.model, run.guide)
    frame = compare_bounds(
        *pair, rows, num_samples=options.num_samples, chunk_size=options.chunk_size, seed=seed
    ).to_frame()
    frame["num_samples"] = options.num_samples
    if options.gap:
        gap = inference_gap(*pair, rows, num_samples=options.num_samples, seed=seed).to_frame()
        names = ("best_elbo", "approximation", "amortisation", "approximation_standard_error")
        frame = frame.join(gap[[*names, "amortisation_standard_error"]].assign(gap_k_hat=gap["k_hat"]))
    return frame


def _rows_per_write(x: AnyRows, options: ScoringOptions) -> int:
    """Rows that are annealed together; a part holds a whole number of such blocks."""
    if not options.ais:
        return _ROWS_PER_PART
    chains = evaluations_at_once(x) // (_BLOCKS_ON_CPU if x.device.type == "cpu" else 1)
    rows = min(_ROWS_PER_PART, max(1, chains // options.ais_chains))
    return 2 ** (rows.bit_length() - 1)


def _anneal(run: Run, rows: Tensor, options: ScoringOptions, seed: int) -> "pd.DataFrame":
    annealed = ais(
        run.model,
        run.guide,
        rows,
        num_temperatures=options.ais_temperatures,
        num_chains=options.ais_chains,
        start=options.ais_start,
        schedule=options.ais_schedule,
        num_leapfrog=options.ais_leapfrog,
        warm_up=options.ais_warm_up,
        seed=seed,
    )
    return annealed.to_frame().add_prefix("ais_")


def summary_of(frame: "pd.DataFrame", options: ScoringOptions) -> str:
    """The table that ``python -m pyrovae.evaluate`` prints."""
    column = partial(column_of, frame)
    terms: dict[str, tuple[Tensor, Tensor]] = {}
    if options.gap:
        terms |= {name: (column(name), column(f"{name}_standard_error")) for name in ("approximation", "amortisation")}
    if options.ais:
        terms["AIS log p(x)"] = (column("ais_log_px"), column("ais_standard_error"))
    # The lines of the three numbers come first, with these below them.
    lines = BoundComparison.from_frame(frame, options.num_samples).summary().split("\n")
    lines[4:4] = means_table(row_means(terms))[1:]
    # The verdict, on importance sampling from the guide, stays the last line.
    if options.gap:
        lines.insert(-1, belief_in_split(column("gap_k_hat"), options.num_samples))
    if options.ais:
        ess, acceptance = column("ais_ess"), column("ais_acceptance")
        lines.insert(
            -1,
            f"AIS from the {options.ais_start}: {options.ais_chains:,} chains of {options.ais_temperatures:,} "
            f"temperatures ({options.ais_schedule}); effective chains: median {ess.median().item():,.1f}, least "
            f"{ess.min().item():,.1f}; acceptance: mean {acceptance.mean().item():.2f}, least "
            f"{acceptance.min().item():.2f}",
        )
    return "\n".join(lines)
