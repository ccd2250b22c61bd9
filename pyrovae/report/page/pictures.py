"""Pictures within a page, and what to say where there is none."""

import base64
import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pyrovae.report.page.blocks import Block, Missing, Picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Sharp on screens of two pixels for one.
_DOTS_PER_INCH = 160
# How large an inch of a picture is on the page. Wide pictures keep their size on a phone, so they are a little smaller.
_PAGE_PIXELS, _PAGE_PIXELS_OF_WIDE = 100, 80
_WIDE_INCHES = 6.5


def picture(figure: "Figure", description: str, note: str = "") -> Picture:
    """A figure as a PNG within the page.

    Args:
        figure: to be drawn; one wider than a phone shows it well keeps its width there.
        description: what it shows, for those who do not see it.
        note: below it.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH)
    width, height = figure.get_size_inches()
    fixed = bool(width > _WIDE_INCHES)
    scale = _PAGE_PIXELS_OF_WIDE if fixed else _PAGE_PIXELS
    source = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return Picture(source, description, round(width * scale), round(height * scale), note, fixed)


def attempt(what: str, make: Callable[[], Sequence[Block]]) -> list[Block]:
    """Some blocks, or why they are missing: a picture that fails takes nothing else with it.

    Args:
        what: they show.
        make: makes them; whatever it raises is said, as parts of the user's own run in it.
    """
    try:
        return list(make())
    except Exception as error:  # a user's own part may raise anything
        said = str(error) or "no more is known"
        return [Missing(what, said if isinstance(error, ValueError) else f"{type(error).__name__}: {said}")]
