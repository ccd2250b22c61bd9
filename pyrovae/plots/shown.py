"""A figure that notebooks show; imported when the first one is drawn, as matplotlib takes its time."""

import io

from matplotlib.figure import Figure


class ShownFigure(Figure):
    """A figure that is shown where it is the last line of a notebook's cell, with or without ``%matplotlib inline``.

    pyplot does not know it: it needs no backend of a display, nothing else keeps it alive, and it is not shown twice.
    ``set_dpi``, or ``matplotlib.rcParams["figure.dpi"]`` for all, makes it smaller or larger.
    """

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        # By itself savefig takes the dots per inch that the figure began with.
        self.savefig(buffer, format="png", dpi=self.dpi)
        return buffer.getvalue()
