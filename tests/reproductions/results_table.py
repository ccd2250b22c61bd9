"""The table of ``docs/reproductions.md``, made from the results; run as a script this writes it there."""

import json
import re
from pathlib import Path
from typing import Any

from reproducing import RESULTS

PAGE = Path(__file__).parents[2] / "docs" / "reproductions.md"
BEGIN, END = "<!-- begin: tests/reproductions/results_table.py -->", "<!-- end -->"
_HEAD = ("row", "published", "ours (standard error)", "epochs of the protocol", "hours", "command")


def read(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """All results, in the order of their files' names, whose numbers count as numbers."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"), key=_in_order)]


def table(results: list[dict[str, Any]]) -> str:
    """A line for each result."""
    lines = [_HEAD, ("---",) * len(_HEAD), *map(_line, results)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _in_order(path: Path) -> list[str]:
    return [part.zfill(6) if part.isdigit() else part for part in re.split(r"(\d+)", path.stem)]


def _line(result: dict[str, Any]) -> tuple[str, ...]:
    figures = "<br>".join(f"{each['figure']} ({each['source']})" for each in result["published"]) or "none"
    ours = "<br>".join(f"{said}: {_said(value)}" for said, value in result["ours"].items())
    epochs = f"{result['epochs']:,} of {result['epochs_of_the_protocol']:,}"
    return result["row"], figures, ours, epochs, f"{result['hours']:.2f}", f"`{result['command']}`"


def _said(value: Any) -> str:
    if isinstance(value, list):
        return f"{_number(value[0])} ({_number(value[1])})"
    return _number(value)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}" if abs(value) >= 1e-3 else f"{value:.1e}"


def with_table(text: str, lines: str) -> str:
    """A page with the table in its place."""
    return re.sub(
        f"(?<={re.escape(BEGIN)}\n).*?(?={re.escape(END)})", lambda _: f"\n{lines}\n\n", text, flags=re.DOTALL
    )


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), table(read())), encoding="utf-8")
