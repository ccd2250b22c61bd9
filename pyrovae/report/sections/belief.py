"""Which rows are to be believed: their k-hat, and a table of the worst of them."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pyrovae import plots
from pyrovae.evaluation import BoundComparison
from pyrovae.pictures.levels import levels_of
from pyrovae.plots.images import are_images
from pyrovae.report.decoded_rows import reconstruct
from pyrovae.report.page import Block, Missing, Section, Table, attempt, picture
from pyrovae.runs import ModelRows, Run

TITLE = "Which rows to believe"
_WORST = 8
# Rows of a table with more entries are not written out.
_MOST_ENTRIES = 12
_LARGEST_COUNT = 1e15


def belief_section(
    run: Run, rows: ModelRows, bounds: BoundComparison | None, device: torch.device, why_not: str
) -> Section:
    """k-hat of all rows, and the worst of them.

    Args:
        run: the pair with its weights.
        rows: what it was fitted to.
        bounds: the test rows' numbers; None without any.
        device: where the weights are.
        why_not: why there are none.
    """
    if bounds is None:
        return Section(TITLE, [Missing("k-hat of the rows, and the worst of them", why_not)])
    target = run.system.target
    alt = f"k-hat of each test row against its {target}, with the limit above which it is not to be believed"
    blocks = attempt("k-hat scatter", lambda: [picture(plots.k_hat_scatter(bounds, target=target), alt)])
    worst = _worst_rows(bounds)
    blocks.append(_table_of(bounds, worst, rows.data.test_labels, target))
    blocks += attempt("pictures of these rows", lambda: _look_of(run, rows, worst, device))
    return Section(
        TITLE,
        [
            "k-hat is the tail index of a row's importance weights. Above its limit a few draws decide the estimate: "
            f"{target} of the row is then likely too low, and its error too small.",
            *blocks,
        ],
    )


def _worst_rows(bounds: BoundComparison) -> Tensor:
    """The rows with the largest k-hat, unknown ones first."""
    return bounds.k_hat.nan_to_num(nan=torch.inf).argsort(descending=True, stable=True)[:_WORST]


def _table_of(bounds: BoundComparison, chosen: Tensor, labels: Tensor | None, target: str) -> Table:
    columns: dict[str, Sequence[str]] = {"row": [str(row) for row in chosen.tolist()]}
    if labels is not None:
        columns["class"] = [str(label) for label in labels[chosen].tolist()]
    columns |= {
        "k-hat": [f"{value:.2f}" for value in bounds.k_hat[chosen].tolist()],
        "effective draws": [f"{value:,.0f}" for value in bounds.ess[chosen].tolist()],
        target: [f"{value:.2f}" for value in bounds.log_px[chosen].tolist()],
        "ELBO": [f"{value:.2f}" for value in bounds.elbo[chosen].tolist()],
        "gap": [f"{value:.2f}" for value in bounds.gap[chosen].tolist()],
    }
    note = (
        f"The test rows with the largest k-hat; {len(bounds.unreliable_rows):,} of {len(bounds.k_hat):,} are above the "
        f"limit of {bounds.k_hat_limit:.2f} or have none. All are in evaluation.csv; rows count from 0."
    )
    return Table(list(columns), list(zip(*columns.values(), strict=True)), note=note)


def _look_of(run: Run, rows: ModelRows, chosen: Tensor, device: torch.device) -> list[Block]:
    x = rows.data.test[chosen]
    numbers = ", ".join(map(str, chosen.tolist()))
    if are_images(x):
        found, given = reconstruct(run, rows, chosen, device), run.system.given
        figure = plots.image_blocks(
            {"data": x, f"mean of p(x|z{given}), z from q(z|x{given})": found.means}, shared=torch.cat([x, found.means])
        )
        return [
            picture(figure, "the test rows with the largest k-hat as images", f"From left to right: rows {numbers}.")
        ]
    shape = "x".join(map(str, x.shape[1:]))
    missing = Missing("these rows as images", f"a row of shape {shape} is no image of one or three channels")
    if x[0].numel() > _MOST_ENTRIES:
        return [missing]
    names = rows.data.column_names or [f"entry {entry}" for entry in range(x[0].numel())]
    levels = levels_of(rows.data)
    lines = [
        [str(row), *(_written(value, levels.get(name)) for name, value in zip(names, values, strict=True))]
        for row, values in zip(chosen.tolist(), x.flatten(1).tolist(), strict=True)
    ]
    return [missing, Table(["row", *names], lines, note="Their values.")]


def _written(value: float, levels: Sequence[str] | None) -> str:
    """A value of a row; of a category its name."""
    if math.isnan(value):
        return "missing"
    if levels is not None:
        return levels[int(value)]
    # Counts are written out; beyond that a float is no count.
    return f"{value:.0f}" if value.is_integer() and abs(value) < _LARGEST_COUNT else f"{value:.4g}"
