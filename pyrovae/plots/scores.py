"""How good the numbers of the test rows are, and how far to believe them."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pyrovae.evaluation.summaries import counted
from pyrovae.plots.figures import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PALE_BLUE,
    in_style,
    legend_below,
    new_figure,
    spaced_names,
)
from pyrovae.plots.names import literal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pyrovae.evaluation import BoundComparison

_MARKERS = "osD^vP*X"
_LONGEST = 50
_LINES = ("-", "--", ":")
_COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", GREY, BLACK)


def gap_histogram(gap: Tensor, approximation: Tensor | None = None, amortisation: Tensor | None = None) -> "Figure":
    """How many rows have which gap between log p(x) and ELBO, its mean marked, and its two halves where known.

    A few rows far from all others, in the gap or in a half of it, would flatten the rest: they are left out. The title
    counts these, and the rows whose gap is not finite; all means are of all finite ones.

    Args:
        gap: nats, ``(rows,)``, on the CPU as all tensors here.
        approximation: what the family of the posterior cannot express, the same shape; or None.
        amortisation: what the encoder misses, the same shape; or None.

    Raises:
        ValueError: no row has a finite gap, or a half is of another shape.

    Example:
        >>> import torch
        >>> figure = gap_histogram(torch.tensor([0.1, 0.4, 0.7]))
        >>> figure.axes[0].get_xlabel()
        'gap, nats per row'
    """
    known = gap[gap.isfinite()].double()
    if not len(known):
        raise ValueError(f"no row of {len(gap)} has a finite gap")
    halves = {"approximation gap": approximation, "amortisation gap": amortisation}
    named = {"gap": gap.double()} | {name: half.double() for name, half in halves.items() if half is not None}
    for name, values in named.items():
        if values.shape != gap.shape:
            raise ValueError(
                f"the {name} has shape {tuple(values.shape)}; expected {tuple(gap.shape)}, that of the gap"
            )
    ends = [_most_of(values[values.isfinite()]) for values in named.values() if bool(values.isfinite().any())]
    low, high = min(0.0, *(lowest for lowest, _ in ends)), max(highest for _, highest in ends)
    bins = min(max(round(2 * math.sqrt(len(known))), 5), 40)
    edges = np.histogram_bin_edges([low, high], bins)
    figure = new_figure(4.8, 3.2 + 0.2 * len(named))
    axes = figure.subplots()
    styles = ((True, PALE_BLUE, "-"), (False, ORANGE, "--"), (False, GREEN, ":"))
    for (name, values), (fill, colour, line) in zip(named.items(), styles, strict=False):
        finite = values[values.isfinite()]
        counts = np.histogram(finite.numpy(), edges)[0]
        label = f"{name}, mean {finite.mean().item():.3g} nats" if len(finite) else f"{name}, known of no row"
        axes.stairs(counts, edges, fill=fill, color=colour, linestyle=line, linewidth=0 if fill else 1.6, label=label)
    mean = known.mean().item()
    # A few rows far outside may have taken it out of the panel.
    if edges[0] <= mean <= edges[-1]:
        axes.axvline(mean, color=BLUE, linewidth=1.2, label="mean of the gap")
    axes.set_xlim(edges[0] - 0.02 * (edges[-1] - edges[0]), edges[-1] + 0.02 * (edges[-1] - edges[0]))
    axes.set(xlabel="gap, nats per row", ylabel="rows")
    far = [values.isfinite() & ((values < edges[0]) | (values > edges[-1])) for values in named.values()]
    axes.set_title(_title_of_gap(gap, int(torch.stack(far).any(0).sum())), fontsize=10)
    axes.locator_params(axis="y", integer=True)
    legend_below(figure, axes)
    return figure


def _most_of(values: Tensor) -> tuple[float, float]:
    """An interval without values that are ten times as far from the median as nine of ten others."""
    middle = values.median()
    reach = 10 * (values - middle).abs().quantile(0.9)
    kept = values[(values - middle).abs() <= reach]
    return kept.min().item(), kept.max().item()


def _title_of_gap(gap: Tensor, outside: int) -> str:
    lost = int((~gap.isfinite()).sum())
    said = [f"gap of {counted(len(gap) - lost, 'row')}"]
    if outside:
        said.append(f"{counted(outside, 'row')} far outside not shown")
    if lost:
        said.append(f"{counted(lost, 'row')} without a number left out")
    return "\n".join(said)


def k_hat_scatter(bounds: "BoundComparison", *, target: str = "log p(x)") -> "Figure":
    """k-hat of each row against its log p(x), with the limit above which a row is not to be believed.

    Rows within the limit are dots, rows above it triangles; those whose k-hat is infinite, a tail too long for floats,
    are triangles at the top edge. Of rows whose k-hat is unknown the title says how many.

    Args:
        bounds: ``compare_bounds`` of the rows.
        target: what the bounds are of, ``"log p(x|c)"`` for example.

    Raises:
        ValueError: no row has a k-hat and a finite log p(x).

    Example:
        >>> import torch
        >>> from pyrovae.evaluation import BoundComparison
        >>> from pyrovae.evaluation.estimates import estimates
        >>> numbers = estimates(torch.randn(200, 3), (1, 200))
        >>> figure = k_hat_scatter(BoundComparison(**numbers, sweep=(1, 200), num_samples=200))
        >>> figure.axes[0].get_ylabel()
        'k-hat'
    """
    known = ~bounds.k_hat.isnan() & bounds.log_px.isfinite()
    if not bool(known.any()):
        raise ValueError(f"no row of {len(known)} has a k-hat, which needs at least 25 draws and finite weights")
    figure = new_figure(4.8, 3.8)
    axes = figure.subplots()
    size = min(max(6000 / len(known), 4.0), 20.0)
    within, above = known & bounds.reliable, known & ~bounds.reliable
    endless = above & bounds.k_hat.isinf()
    of_which = f", {int(endless.sum()):,} of them infinite" if bool(endless.any()) else ""
    for chosen, colour, marker, label in (
        (within, BLUE, "o", f"k-hat within the limit: {counted(int(within.sum()), 'row')}"),
        (above, ORANGE, "^", f"k-hat above the limit: {counted(int(above.sum()), 'row')}{of_which}"),
    ):
        if bool(chosen.any()):
            axes.scatter(
                bounds.log_px[chosen & ~endless].numpy(),
                bounds.k_hat[chosen & ~endless].numpy(),
                s=size,
                color=colour,
                marker=marker,
                alpha=0.7,
                linewidths=0,
                label=label,
            )
    axes.axhline(bounds.k_hat_limit, color=GREY, linestyle="--", label=f"limit {bounds.k_hat_limit:.2f}")
    # An empty line that is not clipped would be given room of its own.
    if bool(endless.any()):
        axes.plot(
            bounds.log_px[endless].numpy(),
            np.ones(int(endless.sum())),
            "^",
            color=ORANGE,
            markersize=math.sqrt(size),
            alpha=0.7,
            markeredgewidth=0,
            # 1 is the top of the axes.
            transform=axes.get_xaxis_transform(),
            clip_on=False,
        )
    lost = int((~known).sum())
    axes.set(xlabel=f"{target}, nats per row", ylabel="k-hat")
    without = f"; {counted(lost, 'row')} without one left out" if lost else ""
    axes.set_title(f"k-hat of {counted(len(known) - lost, 'row')}{without}", fontsize=10)
    legend_below(figure, axes)
    return figure


def bound_by_draws(runs: "Mapping[str, BoundComparison]") -> "Figure":
    """The mean bound over rows against the number of draws K, from the ELBO at K = 1 up towards log p(x).

    Bars are two standard errors of the draws: these rows are held fixed, as they are the same for every K.

    Args:
        runs: ``compare_bounds`` of the same rows by the name of the run.

    Raises:
        ValueError: no run, or none with a finite bound.

    Example:
        >>> import torch
        >>> from pyrovae.evaluation import BoundComparison
        >>> from pyrovae.evaluation.estimates import estimates
        >>> numbers = estimates(torch.randn(200, 3), (1, 10, 200))
        >>> bounds = BoundComparison(**numbers, sweep=(1, 10, 200), num_samples=200)
        >>> bound_by_draws({"a run": bounds}).axes[0].get_xscale()
        'log'
    """
    if not any(bool(bounds.sweep_bounds.mean(1).isfinite().any()) for bounds in runs.values()):
        raise ValueError("no finite bound to show")
    figure = new_figure(4.8, 3.4 + (0.2 * len(runs) if len(runs) > 1 else 0))
    axes, colours = figure.subplots(), in_style(_COLOURS)
    for index, (name, bounds) in enumerate(runs.items()):
        errors = bounds.sweep_standard_errors.square().sum(1).sqrt() / bounds.sweep_bounds.shape[1]
        # One draw says nothing of its error.
        axes.errorbar(
            bounds.sweep,
            bounds.sweep_bounds.mean(1).numpy(),
            2 * errors.nan_to_num(nan=0.0, posinf=0.0).numpy(),
            color=colours[index % len(colours)],
            marker=_MARKERS[index % len(_MARKERS)],
            linestyle=_LINES[index // len(_COLOURS) % len(_LINES)],
            markersize=5,
            capsize=3,
            # Names of runs differ at their ends.
            label=literal(name if len(name) <= _LONGEST else f"...{name[3 - _LONGEST :]}"),
        )
    axes.set(xscale="log", xlabel="draws K", ylabel="bound, nats per row")
    numbers = sorted({k for bounds in runs.values() for k in bounds.sweep})
    axes.set_xticks(numbers, spaced_names(numbers))
    axes.set_xticks([], minor=True)
    rows = sorted({bounds.sweep_bounds.shape[1] for bounds in runs.values()})
    over = " to ".join(f"{count:,}" for count in dict.fromkeys((rows[0], rows[-1])))
    title = f"mean bound of {over} row{'' if over == '1' else 's'}, bars of two standard errors"
    axes.set_title(f"{title}{_not_finite(runs)}", fontsize=10)
    if len(runs) > 1:
        legend_below(figure, axes)
    return figure


def _not_finite(runs: "Mapping[str, BoundComparison]") -> str:
    """What the title says of means that cannot be shown; nothing where all can."""
    means = [dict(zip(bounds.sweep, bounds.sweep_bounds.mean(1).tolist(), strict=True)) for bounds in runs.values()]
    lost = sorted({k for of_run in means for k, mean in of_run.items() if not math.isfinite(mean)})
    return f"\nnot finite, and left out: K = {', '.join(f'{k:,}' for k in lost)}" if lost else ""
