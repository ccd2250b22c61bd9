"""Pages are text wherever they are not their own markup, and say what is missing."""

import pytest
from pages import read_page

from pyrovae.report.page import Answer, Command, Folded, Missing, Page, Picture, Section, Table, attempt
from pyrovae.report.page.html import Markup, element, joined

HOSTILE = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "</title></style></section><h1>mine</h1>",
    "&lt;b&gt; & <!-- ]]> ",
    "javascript:alert(1)",
    "{{ 7 * 7 }} {% raw %}",
    "name\udcff\x00\x1b[31m",
    "http://example.org/x.png",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_text_everywhere(tmp_path, text):
    pixel = "data:image/png;base64,"
    blocks = [
        text,
        Table([text, text], [[text, text]], note=text),
        Table([text, text], [[text, text]], numbers=False),
        Missing(text, text),
        Command(text),
        Folded(text, text),
    ]
    pages = [
        Page(text, text, [Answer(text, text, text, "bad")], blocks, [Section(text, blocks)]),
        Page("a", "b", [], (), [Section("c", [Picture(pixel, text, 9, 9, text)])]),
    ]
    harmless = text.replace("\udcff", "\\udcff").translate({0: "\ufffd", 0x1B: "\ufffd"})
    for number, page in enumerate(pages):
        (tmp_path / "page.html").write_bytes(page.render().replace(pixel, pixel + PIXEL).encode())
        found = read_page(tmp_path / "page.html")
        assert harmless in found.text
        assert "script" not in found.elements
        assert found.elements.count("h1") == 1
        assert len(found.images) == number


# Sixty pixels square, white.
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAADwAAAA8AQAAAAASh+TfAAAAGklEQVR42mP8z8DAwMDA8JGJAQpGGaMMCAAAjqECaDB7o88AAAAASUVORK5CYII="
)


def test_markup_stays_and_its_text_does_not():
    assert element("p", "a < b", element("b", "&"), class_='"') == '<p class="&quot;">a &lt; b<b>&amp;</b></p>'
    assert element("img", alt="x", width=None) == '<img alt="x">'
    assert joined(["<", Markup("<")]) == "&lt;<"
    assert isinstance(joined("a"), Markup)


def test_what_fails_is_said_and_takes_nothing_else_with_it():
    def fail(error):
        raise error

    assert attempt("a", lambda: ["shown"]) == ["shown"]
    assert attempt("a", lambda: fail(ValueError("no labels"))) == [Missing("a", "no labels")]
    assert attempt("a", lambda: fail(ZeroDivisionError("<b>"))) == [Missing("a", "ZeroDivisionError: <b>")]
    assert attempt("a", lambda: fail(KeyError())) == [Missing("a", "KeyError: no more is known")]
    with pytest.raises(KeyboardInterrupt):
        attempt("a", lambda: fail(KeyboardInterrupt()))
