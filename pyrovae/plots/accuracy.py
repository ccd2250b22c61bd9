"""Curves of accuracy."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyrovae.plots.figures import BLACK, BLUE, GREEN, GREY, ORANGE, in_style, new_figure, spaced_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pyrovae.semi_supervised.scores import Score

_COLOURS = (GREY, BLACK, "#56B4E9", BLUE, GREEN, "#E69F00", ORANGE, "#CC79A7")
_MARKERS = "sDv^oP*X"


def accuracy_by_labels(scores: "Sequence[Score]") -> "Figure":
    """Test accuracy of each classifier against the number of labels, with standard errors over draws of the labels.

    Args:
        scores: ``mean_scores`` of the results of a comparison; they stand side by side around their number of labels.

    Raises:
        ValueError: no score.

    Example:
        >>> from pyrovae.semi_supervised.scores import Score
        >>> figure = accuracy_by_labels([Score("m2", 100, 95.0, 0.5, 3), Score("m2", 1000, 97.0, 0.2, 3)])
        >>> figure.axes[0].get_ylabel()
        'test accuracy, %'
    """
    from pyrovae.semi_supervised.scores import METHODS

    if not scores:
        raise ValueError("there are no scores to show")
    figure = new_figure(7.2, 4.2)
    axes = figure.subplots()
    for index, (method, colour, marker) in enumerate(zip(METHODS, in_style(_COLOURS), _MARKERS, strict=False)):
        # Side by side, where they would hide one another.
        aside = 1.02 ** (index - len(METHODS) // 2)
        own = [score for score in scores if score.method == method]
        if own:
            axes.errorbar(
                [score.labels * aside for score in own],
                [score.accuracy for score in own],
                [score.standard_error for score in own],
                color=colour,
                marker=marker,
                markersize=5,
                capsize=3,
                linewidth=1.2,
                label=METHODS[method],
            )
    counts = sorted({score.labels for score in scores})
    axes.set(xscale="log", xlabel="labelled rows", ylabel="test accuracy, %")
    axes.set_xticks(counts, spaced_names(counts))
    axes.set_xticks([], minor=True)
    draws = sorted({score.seeds for score in scores})
    over = " to ".join(map(str, dict.fromkeys((draws[0], draws[-1]))))
    bars = f"bars of one standard error over {over} draws of the labels"
    axes.set_title(bars if draws[-1] > 1 else "one draw of the labels, so no bars of errors", fontsize=10)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
