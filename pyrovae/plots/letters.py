"""Fonts for letters that the usual one lacks; imported when a picture is drawn, as matplotlib takes its time."""

from functools import cache
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.text import Text

# Their glyphs are boxes, or pictures that matplotlib cannot draw.
_NO_LETTERS = ("last resort", "lastresort", "color emoji")


def writable(text: str) -> str:
    r"""A text in which letters that no installed font has are written as their codes.

    Example:
        >>> print(writable("20 °C \U0010fffe"))
        20 °C \U0010fffe
    """
    missing = _missing(text, FontProperties())
    lost = missing - _families().keys() if missing else missing
    return "".join(letter.encode("unicode_escape").decode() if ord(letter) in lost else letter for letter in text)


def give_fonts(figure: Figure) -> None:
    """Let each text of a figure take the letters that its own fonts lack from others that are installed."""
    for text in figure.findobj(Text):
        # All common fonts have these, and most texts no others.
        if text.get_text().isascii():
            continue
        properties = text.get_fontproperties()
        missing = _missing(text.get_text(), properties)
        others = {_families()[code] for code in missing & _families().keys()} if missing else set()
        if others:
            text.set_fontfamily([*properties.get_family(), *sorted(others)])


def _missing(text: str, properties: FontProperties) -> set[int]:
    """The codes of letters that none of the fonts has."""
    codes = {ord(letter) for letter in text if letter != "\n"}
    for family in properties.get_family():
        font = get_font(findfont(FontProperties(family=[family])))
        codes = {code for code in codes if not font.get_char_index(code)}
    return codes


@cache
def _families() -> dict[int, str]:
    """Of each code an installed font that has it: the one with the most letters, so that a name has few fonts."""
    files = {font.name: font.fname for font in fontManager.ttflist if font.style == "normal"}
    found: dict[int, tuple[int, str]] = {}
    for name, path in files.items():
        # The list is kept from run to run, and a font may be gone.
        if any(word in name.lower() for word in _NO_LETTERS) or not Path(path).exists():
            continue
        codes = get_font(path).get_charmap()
        for code in codes:
            found[code] = max(found.get(code, (0, "")), (len(codes), name))
    return {code: name for code, (_, name) in found.items()}
