"""Curves of training."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from pyrovae.plots.figures import BLUE, GREY, ORANGE, literal, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pyrovae.training import EpochTerms


def learning_curves(history: "Sequence[EpochTerms]", best_epoch: int) -> "Figure":
    """ELBO, reconstruction and KL of every epoch, for training and validation rows; the objective where it is another.

    Args:
        history: ``FitResult.history``.
        best_epoch: ``FitResult.best_epoch``, marked by a line.
    """
    panels = curve_terms(history)
    figure = new_figure(11 / 3 * len(panels), 3.4)
    for axes, (term, title) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        _draw_term(axes, history, term, title, best_epoch)
    if history:
        figure.axes[0].legend(frameon=False)
    return figure


def curve_terms(history: "Sequence[EpochTerms]") -> dict[str, str]:
    """The terms of an epoch that are worth a curve, and their titles.

    Args:
        history: ``FitResult.history``.

    Example:
        >>> list(curve_terms([]))
        ['elbo', 'reconstruction', 'kl']
    """
    panels = {"elbo": "ELBO", "reconstruction": "reconstruction", "kl": "KL"}
    if any(_differs(terms, split) for terms in history for split in ("train", "validation")):
        panels["objective"] = "objective"
    return panels


def term_curve(
    history: "Sequence[EpochTerms]",
    term: str,
    title: str,
    best_epoch: int,
    limits: tuple[float, float] | None = None,
) -> "Figure":
    """One term of every epoch, for training and validation rows: a panel of ``learning_curves`` by itself.

    Args:
        history: ``FitResult.history``, one epoch at least.
        term: ``"elbo"``, ``"reconstruction"``, ``"kl"`` or ``"objective"``.
        title: above the panel.
        best_epoch: marked by a line; 0 marks none.
        limits: of the values shown, nats per row; None chooses.

    Raises:
        ValueError: no epoch, or none with this term.

    Example:
        >>> figure = term_curve([{"epoch": 1, "train_kl": 2.0}, {"epoch": 2, "train_kl": 3.0}], "kl", "KL", 2)
        >>> figure.axes[0].get_ylabel()
        'nats per row'
    """
    if not any(f"{split}_{term}" in terms for terms in history for split in ("train", "validation")):
        raise ValueError(f"no epoch of {len(history)} has {term!r}: there is no curve to draw")
    figure = new_figure(4.0, 3.2)
    axes = figure.subplots()
    _draw_term(axes, history, term, literal(title), best_epoch)
    if limits is not None:
        axes.set_ylim(*limits)
    axes.legend(frameon=False, fontsize=9)
    return figure


def _draw_term(axes: "Axes", history: "Sequence[EpochTerms]", term: str, title: str, best_epoch: int) -> None:
    epochs = [terms["epoch"] for terms in history]
    for split, colour in (("train", BLUE), ("validation", ORANGE)):
        if history and f"{split}_{term}" in history[0]:
            values = [terms[f"{split}_{term}"] for terms in history]
            axes.plot(epochs, values, color=colour, label=split, marker="." if len(epochs) == 1 else "")
    if best_epoch:
        axes.axvline(best_epoch, color=GREY, linestyle=":", label=f"kept: epoch {best_epoch}")
    axes.set(title=title, xlabel="epoch", ylabel="nats per row")
    axes.locator_params(axis="x", integer=True)
    # The first epochs are far from the rest and would flatten what matters.
    _focus(axes, [terms[f"{s}_{term}"] for terms in history for s in ("train", "validation") if f"{s}_{term}" in terms])


def loss_curves(history: Sequence[Mapping[str, float]], best_epoch: int, unit: str) -> "Figure":
    """The loss of every epoch, for training and validation rows.

    Args:
        history: ``LossResult.history``.
        best_epoch: ``LossResult.best_epoch``, marked by a line.
        unit: of the loss, ``"squared error per row"`` for example.
    """
    from matplotlib.ticker import LogFormatter

    class Plain(LogFormatter):
        """Numbers where the usual labels of a logarithmic axis stand, all without exponents."""

        def __call__(self, x: float, pos: int | None = None) -> str:
            return f"{x:g}" if super().__call__(x, pos) else ""

    figure = new_figure(5.6, 3.6)
    axes = figure.subplots()
    epochs = [terms["epoch"] for terms in history]
    for split, colour in (("train", BLUE), ("validation", ORANGE)):
        if history and f"{split}_loss" in history[0]:
            values = [terms[f"{split}_loss"] for terms in history]
            axes.plot(epochs, values, color=colour, label=split, marker="." if len(epochs) == 1 else "")
    if best_epoch:
        axes.axvline(best_epoch, color=GREY, linestyle=":", label=f"kept: epoch {best_epoch}")
    # Equal ratios of a loss are equal distances, so that the first epochs do not flatten the rest.
    axes.set(xlabel="epoch", ylabel=unit, yscale="log", title="reconstruction loss")
    axes.locator_params(axis="x", integer=True)
    axes.yaxis.set_major_formatter(Plain())
    axes.yaxis.set_minor_formatter(Plain())
    if history:
        axes.legend(frameon=False)
    return figure


def _differs(terms: "EpochTerms", split: str) -> bool:
    """Whether an epoch's objective is another number than its ELBO, by more than rounding."""
    elbo = terms.get(f"{split}_elbo", 0.0)
    return not math.isclose(terms.get(f"{split}_objective", elbo), elbo, rel_tol=1e-5)


def _focus(axes: "Axes", values: Sequence[float]) -> None:
    settled = torch.tensor([value for value in values if value == value], dtype=torch.float64)
    if len(settled) >= 20:
        low, high = torch.quantile(settled, torch.tensor([0.05, 0.95], dtype=torch.float64)).tolist()
        margin = 0.15 * (high - low)
        axes.set_ylim(
            max(settled.min().item(), low - margin) - margin, min(settled.max().item(), high + margin) + margin
        )
