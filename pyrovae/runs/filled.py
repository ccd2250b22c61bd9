"""Rows whose missing cells a stored run fills in."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyrovae.data import DataSplits, table_as_written
from pyrovae.evaluation import Imputation
from pyrovae.evaluation.imputed_blocks import ImputedBlock, impute_in_blocks
from pyrovae.evaluation.summaries import counted
from pyrovae.runs.run import Run

if TYPE_CHECKING:
    import pandas as pd

FILLED_FILE = "filled"
"""The filled rows of a run, where no other name is given; the ending is that of the data."""

_QUANTILES = (0.05, 0.95)


@dataclass(frozen=True, eq=False)
class FilledRows:
    """Rows with their missing cells filled in, and how far to believe them.

    Attributes:
        values: ``(rows, *data_shape)``, on the CPU as all. A missing cell has its mean given the observed ones; its
            median where it holds whole numbers, so that it has a value of its column; of categories the most probable.
        tables: ``(num_tables, rows, *data_shape)``, where a missing cell has a draw given the observed ones.
        cells: a table with a line for each missing cell.
        summary: how many there are, and how far to believe them.
    """

    values: Tensor
    tables: Tensor
    cells: "pd.DataFrame"
    summary: str


def fill_rows(
    run: Run,
    data: DataSplits[Any],
    x: Tensor,
    *,
    num_samples: int,
    num_proposals: int,
    num_tables: int,
    seed: int,
    progress: bool = False,
) -> FilledRows:
    """Fill in the missing cells of rows; those without any are left out of the work.

    Args:
        run: the pair with its weights.
        data: names and categories of the columns.
        x: rows ``(rows, *data_shape)``, NaN where a cell is missing, on the device of the weights.
        num_samples: draws of each missing cell.
        num_proposals: draws from the guide for each row.
        num_tables: rows filled in with draws, at most ``num_samples``.
        seed: of the draws.
        progress: show a progress bar.

    Raises:
        ValueError: nothing is missing; what ``impute`` raises.
    """
    import pandas as pd

    missing = x.isnan().cpu()
    incomplete = missing.flatten(1).any(1)
    if not bool(incomplete.any()):
        raise ValueError(f"{data.name} has no missing cell: there is nothing to fill in")
    values = x.cpu().clone(memory_format=torch.contiguous_format)
    tables = values.repeat(num_tables, *(1 for _ in values.shape))
    flat_values, flat_tables = values.flatten(1), tables.flatten(2)
    ess, k_hat = (torch.full((len(x),), torch.nan, dtype=torch.float64) for _ in range(2))
    cells: list[dict[str, NDArray[Any]]] = []

    def take(block: ImputedBlock) -> None:
        ess[block.numbers], k_hat[block.numbers] = block.ess, block.k_hat
        holes = block.rows.isnan()
        in_block, entry = holes.flatten(1).nonzero(as_tuple=True)
        row, entry = block.numbers[in_block.cpu()], entry.cpu()
        draws = block.draws[:, holes].cpu().numpy()
        chosen = _values(block.mean[holes].cpu().numpy(), draws)
        flat_values[row, entry] = torch.from_numpy(chosen)
        flat_tables[:, row, entry] = torch.from_numpy(draws[:num_tables])
        cells.append(_cells(row.numpy(), np.unravel_index(entry.numpy(), x.shape[1:]), chosen, draws))

    impute_in_blocks(
        run.model,
        run.guide,
        x,
        incomplete.nonzero().flatten(),
        take,
        num_samples=num_samples,
        num_proposals=num_proposals,
        chunk_size=None,
        seed=seed,
        progress=progress,
    )
    found = Imputation(tables, values, missing, ess, k_hat, num_proposals)
    frame = pd.concat([pd.DataFrame(part) for part in cells], ignore_index=True)
    row = frame["row"].to_numpy()
    of_row = {"ess": ess, "k_hat": k_hat, "reliable": found.reliable}
    frame = _named(frame, data).assign(**{name: numbers.numpy()[row] for name, numbers in of_row.items()})
    summary = (
        f"{int(missing.sum()):,} of {missing.numel():,} cells filled in, in {int(incomplete.sum()):,} of "
        f"{counted(len(x), 'row')}; {counted(num_samples, 'draw')} from {counted(num_proposals, 'proposal')} each\n"
        f"{found.verdict()}"
    )
    return FilledRows(values, tables, frame, summary)


def _values(means: NDArray[Any], draws: NDArray[Any]) -> NDArray[Any]:
    """What is filled in for cells ``(cells,)``, by their draws ``(draws, cells)``: values that their columns have."""
    between = _whole(draws) & (means % 1 != 0)
    return np.where(between, np.quantile(draws, 0.5, axis=0, method="inverted_cdf"), means)


def _whole(draws: NDArray[Any]) -> NDArray[np.bool_]:
    """Which cells hold whole numbers: draws of a density are none, with probability 1."""
    return (draws % 1 == 0).all(0)


def _cells(
    rows: NDArray[Any], places: tuple[NDArray[Any], ...], chosen: NDArray[Any], draws: NDArray[Any]
) -> dict[str, NDArray[Any]]:
    """The columns of the table of cells, whose places in a row have no names yet."""
    quantiles = np.quantile(draws, _QUANTILES, axis=0, method="inverted_cdf")
    return {
        "row": rows,
        "column": np.array([f"x[{', '.join(map(str, place))}]" for place in zip(*places, strict=True)], dtype=object),
        "value": chosen,
        "standard_deviation": draws.std(0, ddof=1) if len(draws) > 1 else np.full_like(chosen, np.nan),
        **{f"quantile_{part}": found for part, found in zip(_QUANTILES, quantiles, strict=True)},
        "probability": np.where(_whole(draws), (draws == chosen).mean(0), np.nan),
    }


def _named(cells: "pd.DataFrame", data: DataSplits[Any]) -> "pd.DataFrame":
    """The table of cells with the names of columns, and of categories, which have no order."""
    cells = cells.assign(value=cells["value"].map(_shown).astype(object))
    if data.column_names is None:
        return cells
    cells = cells.assign(column=[data.column_names[int(name[2:-1])] for name in cells["column"]])
    for name, levels in data.categories.items():
        ours = cells["column"] == name
        cells.loc[ours, "value"] = [levels[int(value)] for value in cells.loc[ours, "value"]]
        cells.loc[ours, ["standard_deviation", *(f"quantile_{part}" for part in _QUANTILES)]] = np.nan
    return cells


def write_filled_table(written: Path, table: Path, data: DataSplits[Any], missing: Tensor, values: Tensor) -> None:
    """Write a .csv file again, its missing cells filled in and the others as they are written there.

    Args:
        written: the file that the rows are of.
        table: the file to write.
        data: names and categories of the columns.
        missing: ``(rows, columns)``, which cells are missing.
        values: ``(rows, columns)``, what they are filled in with.
    """
    names, cells = table_as_written(written)
    ours = data.column_names or tuple(str(number) for number in range(1, missing.shape[1] + 1))
    places = names or tuple(str(number) for number in range(1, cells.shape[1] + 1))
    for number, name in enumerate(ours):
        holes = missing[:, number].numpy()
        column = cells[places.index(name)].to_numpy(dtype=object, copy=True)
        column[holes] = [_text(value, data.categories.get(name)) for value in values[holes, number].tolist()]
        cells[places.index(name)] = column
    cells.to_csv(table, index=False, header=False if names is None else list(names))


def _text(value: float, levels: tuple[str, ...] | None) -> str:
    return levels[int(value)] if levels is not None else str(_shown(value))


def _shown(value: float) -> float | int:
    """Whole numbers as such, others with the digits that single precision has."""
    return int(value) if value % 1 == 0 else float(f"{value:.7g}")
