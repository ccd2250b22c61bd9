"""What the pages are built of: blocks, sections and answers, and how they become HTML."""

from pyrovae.report.page.blocks import (
    Answer,
    Block,
    Command,
    Folded,
    Missing,
    Page,
    Picture,
    Section,
    Table,
)
from pyrovae.report.page.pictures import attempt, picture

__all__ = [
    "Answer",
    "Block",
    "Command",
    "Folded",
    "Missing",
    "Page",
    "Picture",
    "Section",
    "Table",
    "attempt",
    "picture",
]
