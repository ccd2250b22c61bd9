"""How good the numbers of the test rows are, and how far to believe them."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyrovae.plots.figures import BLUE, GREEN, GREY, ORANGE, literal, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pyrovae.evaluation import BoundComparison

_MARKERS = "osD^vP*X"
_COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", GREY, "#000000")


def gap_histogram(gap: Tensor, approximation: Tensor | None = None, amortisation: Tensor | None = None) -> "Figure":
    """How many rows have which gap between log p(x) and ELBO, its mean marked, and its two halves where known.

    Args:
        gap: nats, ``(rows,)``, on the CPU as all tensors here; rows without a finite number are counted in the title.
        approximation: what the family of the posterior cannot express, the same shape; or None.
        amortisation: what the encoder misses, the same shape; or None.

    Raises:
        ValueError: no row has a finite gap.

    Example:
        >>> figure = gap_histogram(torch.tensor([0.1, 0.4, 0.7]))
        >>> figure.axes[0].get_xlabel()
        'gap, nats per row'
    """
    known = gap[gap.isfinite()].double()
    if not len(known):
        raise ValueError(f"no row of {len(gap)} has a finite gap")
    named = {"gap": known}
    for name, half in (("approximation gap", approximation), ("amortisation gap", amortisation)):
        if half is not None:
            named[name] = half[half.isfinite()].double()
    everything = torch.cat(list(named.values()))
    low, high = min(everything.min().item(), 0.0), everything.max().item()
    bins = min(max(round(2 * math.sqrt(len(known))), 5), 40)
    figure = new_figure(4.8, 3.4)
    axes = figure.subplots()
    styles = (("stepfilled", "#9ecae1", BLUE, "-"), ("step", ORANGE, ORANGE, "--"), ("step", GREEN, GREEN, ":"))
    for (name, values), (kind, colour, edge, line) in zip(named.items(), styles, strict=False):
        axes.hist(
            values.numpy(),
            bins=bins,
            range=(low, high) if high > low else None,
            histtype="stepfilled" if kind == "stepfilled" else "step",
            facecolor=colour if kind == "stepfilled" else "none",
            edgecolor=edge,
            linestyle=line,
            linewidth=1.4,
            label=f"{name}, mean {values.mean().item():.3g}",
        )
    axes.axvline(known.mean().item(), color=BLUE, linestyle="-", linewidth=1)
    lost = len(gap) - len(known)
    axes.set(xlabel="gap, nats per row", ylabel="rows", title=f"{lost} rows without a number left out" if lost else "")
    axes.locator_params(axis="y", integer=True)
    axes.legend(frameon=False, fontsize=8)
    return figure


def k_hat_scatter(bounds: "BoundComparison") -> "Figure":
    """k-hat of each row against its log p(x), with the limit above which a row is not to be believed.

    Rows within the limit are dots, rows above it triangles; of rows whose k-hat is unknown the title says how many.

    Args:
        bounds: ``compare_bounds`` of the rows.

    Raises:
        ValueError: no row has a k-hat and a finite log p(x).

    Example:
        >>> from pyrovae.evaluation.estimates import estimates
        >>> from pyrovae.evaluation import BoundComparison
        >>> numbers = estimates(torch.randn(200, 3), (1, 200))
        >>> figure = k_hat_scatter(BoundComparison(**numbers, sweep=(1, 200), num_samples=200))
        >>> figure.axes[0].get_ylabel()
        'k-hat'
    """
    known = bounds.k_hat.isfinite() & bounds.log_px.isfinite()
    if not bool(known.any()):
        raise ValueError(f"no row of {len(known)} has a k-hat, which needs at least 25 draws and finite weights")
    figure = new_figure(4.8, 3.4)
    axes = figure.subplots()
    size = min(max(6000 / len(known), 4.0), 20.0)
    for chosen, colour, marker, label in (
        (known & bounds.reliable, BLUE, "o", "within the limit"),
        (known & ~bounds.reliable, ORANGE, "^", "above it"),
    ):
        if bool(chosen.any()):
            axes.scatter(
                bounds.log_px[chosen].numpy(),
                bounds.k_hat[chosen].numpy(),
                s=size,
                color=colour,
                marker=marker,
                alpha=0.7,
                linewidths=0,
                label=f"{label}: {int(chosen.sum()):,} rows",
            )
    axes.axhline(bounds.k_hat_limit, color=GREY, linestyle="--", label=f"limit {bounds.k_hat_limit:.2f}")
    lost = int((~known).sum())
    axes.set(xlabel="log p(x), nats per row", ylabel="k-hat", title=f"{lost:,} rows without k-hat" if lost else "")
    axes.legend(framealpha=0.85, edgecolor="white", fontsize=8)
    return figure


def bound_by_draws(runs: "Mapping[str, BoundComparison]") -> "Figure":
    """The mean bound over rows against the number of draws K, from the ELBO at K = 1 up towards log p(x).

    Bars are two standard errors of the draws: these rows are held fixed, as they are the same for every K.

    Args:
        runs: ``compare_bounds`` of the same rows by the name of the run.

    Raises:
        ValueError: no run, or none with a finite bound.

    Example:
        >>> from pyrovae.evaluation.estimates import estimates
        >>> from pyrovae.evaluation import BoundComparison
        >>> numbers = estimates(torch.randn(200, 3), (1, 10, 200))
        >>> bounds = BoundComparison(**numbers, sweep=(1, 10, 200), num_samples=200)
        >>> bound_by_draws({"a run": bounds}).axes[0].get_xscale()
        'log'
    """
    if not any(bool(bounds.sweep_bounds.mean(1).isfinite().any()) for bounds in runs.values()):
        raise ValueError("no finite bound to show")
    figure = new_figure(4.8, 3.4 + 0.15 * max(len(runs) - 1, 0))
    axes = figure.subplots()
    for index, (name, bounds) in enumerate(runs.items()):
        errors = bounds.sweep_standard_errors.square().sum(1).sqrt() / bounds.sweep_bounds.shape[1]
        # One draw says nothing of its error.
        axes.errorbar(
            bounds.sweep,
            bounds.sweep_bounds.mean(1).numpy(),
            2 * errors.nan_to_num(nan=0.0, posinf=0.0).numpy(),
            color=_COLOURS[index % len(_COLOURS)],
            marker=_MARKERS[index % len(_MARKERS)],
            markersize=5,
            capsize=3,
            label=literal(name),
        )
    axes.set(xscale="log", xlabel="draws K", ylabel="bound, nats per row")
    numbers = sorted({k for bounds in runs.values() for k in bounds.sweep})
    axes.set_xticks(numbers, [f"{k:,}" for k in numbers])
    axes.set_xticks([], minor=True)
    if len(runs) > 1:
        figure.legend(loc="outside lower center", frameon=False, fontsize=8)
    return figure
