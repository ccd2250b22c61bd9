"""A figure that notebooks show; imported when the first one is drawn, as matplotlib takes its time."""

import io
from typing import Any

from matplotlib.figure import Figure

from pyrovae.plots.letters import give_fonts


class ShownFigure(Figure):
    """A figure that is shown where it is the last line of a notebook's cell, with or without ``%matplotlib inline``.

    pyplot does not know it: it needs no backend of a display, nothing else keeps it alive, and it is not shown twice.
    ``set_dpi``, or ``matplotlib.rcParams["figure.dpi"]`` for all, makes it smaller or larger.
    """

    def savefig(self, fname: Any, **settings: Any) -> None:
        """As matplotlib's, with the layout made twice where an axes has an aspect: the first does not know its place.

        Letters beside such axes were cut at the edge of the figure.
        """
        if any(axes.get_aspect() != "auto" for axes in self.axes):
            self.draw_without_rendering()
        super().savefig(fname, **settings)

    def draw(self, renderer: Any) -> None:
        """As matplotlib's, with letters that the usual font lacks from others that are installed."""
        give_fonts(self)
        super().draw(renderer)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        # By itself savefig takes the dots per inch that the figure began with.
        self.savefig(buffer, format="png", dpi=self.dpi)
        return buffer.getvalue()
