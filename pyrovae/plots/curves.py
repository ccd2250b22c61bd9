"""Curves of training."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pyrovae.plots.figures import BLUE, GREY, ORANGE, legend_below, new_figure, say
from pyrovae.plots.names import literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pyrovae.training import EpochTerms

_SPLITS = ("train", "validation")
# Of fewer epochs all are shown, and of more where they span no more than so many times what the later ones do.
_FEW, _FAR = 8, 5.0


def learning_curves(history: "Sequence[EpochTerms]", best_epoch: int) -> "Figure":
    """ELBO, reconstruction and KL of every epoch, for training and validation rows; the objective where it is another.

    Where the first epochs are far from the rest they are left out of the panel, and its title says so.

    Args:
        history: ``FitResult.history``.
        best_epoch: ``FitResult.best_epoch``, marked by a line; 0 marks none.

    Example:
        >>> history = [{"epoch": 1, "train_elbo": -9.0}, {"epoch": 2, "train_elbo": -7.0}]
        >>> [axes.get_title() for axes in learning_curves(history, 2).axes]
        ['ELBO', 'reconstruction', 'KL']
    """
    panels = curve_terms(history)
    figure = new_figure(3.2 * len(panels), 3.2)
    for axes, (term, title) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        _draw_term(axes, history, term, title, best_epoch)
    legend_below(figure, figure.axes[0], 3)
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
        limits: of the values shown, nats per row; None chooses. Where epochs are outside the title says so.

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
    _draw_term(axes, history, term, literal(title), best_epoch, limits)
    legend_below(figure, axes, 3)
    return figure


def _draw_term(
    axes: "Axes",
    history: "Sequence[EpochTerms]",
    term: str,
    title: str,
    best_epoch: int,
    limits: tuple[float, float] | None = None,
) -> None:
    _draw_splits(axes, history, term, best_epoch)
    axes.set(title=title, xlabel="epoch", ylabel="nats per row")
    epochs = [[terms[key] for key in terms if key in _keys(term)] for terms in history]
    if limits is None:
        cut = "first epochs" if _focus(axes, epochs) else ""
    else:
        axes.set_ylim(*limits)
        cut = _cut_by(limits, epochs)
    if cut:
        axes.set_title(f"{title}\n{cut} cut off", fontsize=10)


def _cut_by(limits: tuple[float, float], epochs: Sequence[Sequence[float]]) -> str:
    """Which epochs have a finite value outside of limits; nothing where none has."""
    low, high = limits
    outside = [any(math.isfinite(value) and not low <= value <= high for value in epoch) for epoch in epochs]
    if not any(outside):
        return ""
    return "first epochs" if outside == sorted(outside, reverse=True) else "some epochs"


def _draw_splits(axes: "Axes", history: Sequence[Mapping[str, float]], term: str, best_epoch: int) -> None:
    """One term of every epoch, or why there is none."""
    if not history:
        say(axes, "no epoch was finished")
        return
    epochs = [terms["epoch"] for terms in history]
    # The thin line lies on the thick one, so that both are seen where they are equal.
    for key, label, colour, width in zip(_keys(term), _SPLITS, (BLUE, ORANGE), (2.4, 1.2), strict=True):
        if key in history[0]:
            values = [terms[key] for terms in history]
            axes.plot(
                epochs, values, color=colour, linewidth=width, label=label, marker="o" if len(epochs) == 1 else ""
            )
    if best_epoch:
        axes.axvline(best_epoch, color=GREY, linestyle=":", label=f"kept: epoch {best_epoch}")
    axes.locator_params(axis="x", integer=True)
    if len(epochs) == 1:
        axes.set_xticks(epochs)


def loss_curves(history: Sequence[Mapping[str, float]], best_epoch: int, unit: str) -> "Figure":
    """The loss of every epoch, for training and validation rows.

    Args:
        history: ``LossResult.history``.
        best_epoch: ``LossResult.best_epoch``, marked by a line; 0 marks none.
        unit: of the loss, ``"squared error per row"`` for example.

    Example:
        >>> history = [{"epoch": 1, "train_loss": 9.0}, {"epoch": 2, "train_loss": 7.0}]
        >>> loss_curves(history, 2, "squared error per row").axes[0].get_yscale()
        'log'
    """
    from matplotlib.ticker import LogFormatter

    class Plain(LogFormatter):
        """Numbers where the usual labels of a logarithmic axis stand, all without exponents."""

        def __call__(self, x: float, pos: int | None = None) -> str:
            return f"{x:g}" if super().__call__(x, pos) else ""

    figure = new_figure(4.8, 3.4)
    axes = figure.subplots()
    # Equal ratios of a loss are equal distances, so that the first epochs do not flatten the rest.
    axes.set(xlabel="epoch", ylabel=unit, yscale="log", title="reconstruction loss")
    axes.yaxis.set_major_formatter(Plain())
    axes.yaxis.set_minor_formatter(Plain())
    _draw_splits(axes, history, "loss", best_epoch)
    legend_below(figure, axes, 3)
    return figure


def _keys(term: str) -> list[str]:
    return [f"{split}_{term}" for split in _SPLITS]


def _differs(terms: "EpochTerms", split: str) -> bool:
    """Whether an epoch's objective is another number than its ELBO, by more than rounding."""
    elbo = terms.get(f"{split}_elbo", 0.0)
    objective = terms.get(f"{split}_objective", elbo)
    return math.isfinite(objective - elbo) and not math.isclose(objective, elbo, rel_tol=1e-5)


def _focus(axes: "Axes", epochs: Sequence[Sequence[float]]) -> bool:
    """Leave the first epochs out where they would flatten what matters; the result says whether any is outside."""
    settled, every = (
        [value for epoch in epochs[start:] for value in epoch if math.isfinite(value)]
        for start in (len(epochs) // 4, 0)
    )
    if len(epochs) < _FEW or not settled:
        return False
    reach = max(settled) - min(settled)
    if not 0 < _FAR * reach < max(every) - min(every):
        return False
    low, high = max(min(every), min(settled) - reach), min(max(every), max(settled) + reach)
    edge = 0.05 * (high - low)
    axes.set_ylim(low - edge, high + edge)
    return True
