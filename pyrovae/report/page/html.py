"""HTML out of Python values, in which whatever is no markup of this module is text."""

from collections.abc import Iterable
from html import escape

# Elements that have no end.
_VOID = frozenset({"img", "meta"})

Content = str | Iterable["Content"]


class Markup(str):
    """A piece of HTML that ``element`` made; a plain ``str`` is text, and is escaped wherever it stands."""

    __slots__ = ()


def element(name: str, *content: Content, **attributes: str | int | None) -> Markup:
    """An element of HTML.

    Args:
        name: of the element.
        content: markup, which stays as it is, text, which is escaped, or several of these.
        attributes: by their names, ``_`` for ``-`` and at the end of names that Python takes; None leaves one out.

    Example:
        >>> print(element("p", "1 < 2", element("b", "&"), class_="a"))
        <p class="a">1 &lt; 2<b>&amp;</b></p>
    """
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_text(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{said}>")
    return Markup(f"<{name}{said}>{joined(content)}</{name}>")


def joined(content: Content) -> Markup:
    """Pieces one after the other, text escaped.

    Example:
        >>> print(joined(["<script>", element("b", "!")]))
        &lt;script&gt;<b>!</b>
    """
    if isinstance(content, Markup):
        return content
    if isinstance(content, str):
        return Markup(_text(content))
    return Markup("".join(joined(piece) for piece in content))


def _text(text: str) -> str:
    """Escaped, and without what no page may hold: lone surrogates of file names, and control characters."""
    shown = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return escape("".join(c if c >= " " or c in "\t\n" else "\N{REPLACEMENT CHARACTER}" for c in shown), quote=True)
