"""What a report is made of, and how it becomes one page."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

from pyrovae.report.page.html import Markup, element
from pyrovae.report.page.style import STYLE

Tone = Literal["good", "care", "bad", "plain"]
"""How an answer is to be taken; it is said in words too, so that no colour has to be seen."""

# Nothing is loaded and nothing runs, whatever stands in the page.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True)
class Table:
    """Words and numbers in lines.

    Attributes:
        head: names of the columns.
        lines: their cells; the first column is aligned left, the others right where ``numbers`` is set.
        numbers: whether the columns behind the first hold numbers.
        note: below the table.
    """

    head: Sequence[str]
    lines: Sequence[Sequence[str]]
    numbers: bool = True
    note: str = ""

    def markup(self) -> Markup:
        """As HTML, in a box of its own that moves sideways where it is too wide."""
        head = element("thead", element("tr", [element("th", name, scope="col") for name in self.head]))
        body = [
            element("tr", element("th", line[0], scope="row"), [element("td", cell) for cell in line[1:]])
            for line in self.lines
        ]
        table = element("table", head if any(self.head) else "", element("tbody", body), class_=self._kind())
        return element("div", element("div", table, class_="wide", tabindex=0), _note(self.note))

    def _kind(self) -> str:
        return "numbers" if self.numbers else "words"


@dataclass(frozen=True)
class Picture:
    """A PNG within the page.

    Attributes:
        source: its ``data:`` address.
        description: what it shows, for those who do not see it.
        width: in pixels of the page, at most.
        height: the like.
        note: below it.
        fixed: whether it keeps its width on a narrow page, and moves sideways, as its letters would get too small.
    """

    source: str
    description: str
    width: int
    height: int
    note: str = ""
    fixed: bool = False

    def markup(self) -> Markup:
        """As HTML."""
        image = element("img", src=self.source, alt=self.description, width=self.width, height=self.height)
        box = element("div", image, class_="wide", tabindex=0) if self.fixed else image
        return element("figure", box, element("figcaption", self.note) if self.note else "")


@dataclass(frozen=True)
class Missing:
    """What is not there, and why."""

    what: str
    why: str

    def markup(self) -> Markup:
        """As HTML."""
        return element("p", element("strong", f"Not shown: {self.what}"), f" \N{EN DASH} {self.why}", class_="missing")


@dataclass(frozen=True)
class Command:
    """A command line to copy."""

    line: str

    def markup(self) -> Markup:
        """As HTML."""
        return element("pre", element("code", self.line), class_="wide", tabindex=0)


@dataclass(frozen=True)
class Folded:
    """A block that is opened by its title."""

    title: str
    block: "Block"

    def markup(self) -> Markup:
        """As HTML."""
        return element("details", element("summary", self.title), markup_of(self.block))


Block = str | Table | Picture | Missing | Command | Folded


@dataclass(frozen=True)
class Section:
    """A titled part of the page.

    Attributes:
        title: of the section.
        blocks: paragraphs, tables, pictures; what is missing of it.
    """

    title: str
    blocks: Sequence[Block]

    def markup(self) -> Markup:
        """As HTML, pictures and tables that follow one another side by side where there is room."""
        parts: list[Markup] = []
        for together, blocks in groupby(self.blocks, _is_narrow):
            group = list(blocks)
            markup = [markup_of(block) for block in group]
            kind = "tables" if any(isinstance(block, Table) for block in group) else "pictures"
            parts += [element("div", markup, class_=f"side-by-side {kind}")] if together else markup
        return element("section", element("h2", self.title), parts, id=_anchor(self.title))


@dataclass(frozen=True)
class Answer:
    """The answer to a question of the first screen.

    Attributes:
        question: as a reader has it.
        word: the answer in a word or a number.
        text: the answer in a sentence or two.
        tone: how it is to be taken.
    """

    question: str
    word: str
    text: str
    tone: Tone = "plain"

    def markup(self) -> Markup:
        """As HTML."""
        return element(
            "div",
            element("h2", self.question),
            element("p", self.word, class_="word"),
            element("p", self.text),
            class_=f"answer {self.tone}",
        )


@dataclass(frozen=True)
class Page:
    """A report.

    Attributes:
        title: its first line.
        about: below it.
        answers: the first screen.
        first: what follows the answers without a title.
        sections: the rest.
    """

    title: str
    about: str
    answers: Sequence[Answer]
    first: Sequence[Block] = ()
    sections: Sequence[Section] = field(default_factory=tuple)

    def render(self) -> str:
        """The whole page; it needs no other file, no network and no script."""
        links = [element("a", part.title, href=f"#{_anchor(part.title)}") for part in self.sections]
        head = element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
            element("meta", name_="viewport", content="width=device-width, initial-scale=1"),
            element("title", self.title),
            element("style", Markup(STYLE)),
        )
        body = element(
            "main",
            element("header", element("h1", self.title), element("p", self.about, class_="about")),
            element("div", [answer.markup() for answer in self.answers], class_="answers"),
            element("div", [markup_of(block) for block in self.first], class_="first"),
            element("nav", links, aria_label="sections") if links else "",
            [part.markup() for part in self.sections],
        )
        return f"<!DOCTYPE html>\n{element('html', head, element('body', body), lang='en')}\n"


def markup_of(block: Block) -> Markup:
    """A block as HTML; a plain string is a paragraph."""
    return element("p", block) if isinstance(block, str) else block.markup()


def _is_narrow(block: Block) -> bool:
    return isinstance(block, Table) or (isinstance(block, Picture) and not block.fixed)


def _note(text: str) -> Markup:
    return element("p", text, class_="note") if text else Markup("")


def _anchor(title: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in title.lower()).split())
