"""Names from outside, of columns, levels and lines, as pictures write them."""

import textwrap
from collections.abc import Mapping, Sequence
from itertools import takewhile

# Categories that are named at the ticks of a panel.
_MOST_LEVELS = 12


def literal(text: str) -> str:
    r"""A name from outside so that matplotlib writes it letter by letter; between dollars it would read a formula.

    Example:
        >>> print(literal("$100 to $200"))
        \$100 to \$200
    """
    return _dollars(_writable(text))


def _writable(text: str) -> str:
    # All common fonts have these, and matplotlib takes its time.
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    from pyrovae.plots.letters import writable

    return writable(text)


def _one_line(name: str) -> str:
    return _writable(" ".join(name.split()))


def _dollars(text: str) -> str:
    return text.replace("$", r"\$")


def short(name: str, letters: int = 22, lines: int = 2) -> str:
    """A name from outside in a few short lines, its end left out where that is not enough.

    Example:
        >>> print(short("the height of a person in centimetres, as measured"))
        the height of a person
        in centimetres, as…
        >>> print(short("self-employed", 12, 1))
        self-employ…
    """
    return _dollars(_cut(_one_line(name), letters, lines))


def short_names(names: Sequence[str], letters: int = 22, lines: int = 2) -> list[str]:
    """As ``short``, for names of one picture: those that would become equal are cut before where they differ.

    Example:
        >>> short_names(["price_in_2020_euros", "price_in_2021_euros", "size"], 12, 1)
        ['price…0_euro', 'price…1_euro', 'size']
    """
    names = list(map(_one_line, names))
    cut = [_cut(name, letters, lines) for name in names]
    found = []
    for name, text in zip(names, cut, strict=True):
        alike = [other for other, its in zip(names, cut, strict=True) if its == text and other != name]
        same = max((_same_letters(name, other) for other in alike), default=0)
        found.append(_without_middle(name, same, letters, lines) if alike else text)
    return [_dollars(text) for text in found]


def level_ticks(entry: int, names: Sequence[str] | None, levels: Mapping[str, Sequence[str]] | None) -> list[str]:
    """What to write in place of the numbers 0, 1, ... of a categorical entry; nothing where there are too many.

    Example:
        >>> level_ticks(1, ["age", "city"], {"city": ["Rome", "Oslo"]})
        ['Rome', 'Oslo']
    """
    named = [] if names is None else (levels or {}).get(names[entry], [])
    return short_names(named, 12, 1) if len(named) <= _MOST_LEVELS else []


def _cut(name: str, letters: int, lines: int) -> str:
    """Its first lines; the last of them is cut by letters, as one long word may be all that it has."""
    found = textwrap.wrap(name, letters, break_on_hyphens=False)
    if len(found) > lines:
        found[lines - 1 :] = [f"{found[lines - 1][: letters - 1].rstrip()}…"]
    return "\n".join(found)


def _same_letters(name: str, other: str) -> int:
    """How many letters two names have in common at their beginning."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(name, other, strict=False)))


def _without_middle(name: str, same: int, letters: int, lines: int) -> str:
    """A name that is too long: its beginning, and half of the room from where it differs from others."""
    half = letters * lines // 2
    start = min(same, len(name) - half)
    text = f"{name[: letters * lines - half - 1]}…{name[start : start + half]}"
    return "\n".join(text[line : line + letters] for line in range(0, len(text), letters))
