"""The tables of ``docs/reproductions.md``, made from the results; run as a script this writes it there."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reproducing import RESULTS

PAGE = Path(__file__).parents[2] / "docs" / "reproductions.md"
BEGIN, END = "<!-- begin: tests/reproductions/results_table.py -->", "<!-- end -->"
_HEAD = (
    "run",
    "row",
    "published",
    "ours (standard error)",
    "epochs of the protocol",
    "hours",
    "hardware",
    "command",
)
_HEAD_OF_OTHERS = ("run", "other figures (standard error)")
# Files begin with these.
_ORDER = (
    "iwae_dynamic",
    "dreg_dynamic",
    "iwae_static",
    "standardnormal",
    "vampprior",
    "gap_cremer_mnist",
    "gap_cremer_fashion",
    "gap_burda_mnist",
    "gap_burda_fashion",
    "m2",
    "linear_vae",
    "three_latents",
)
# What is compared with published figures, by the ends of their names.
_COMPARED = (
    "negative log p(x)",
    "gap",
    "approximation",
    "amortisation",
    "by annealing from the guide",
    "bound of 5000 draws",
    "annealing above the bound",
    "test error, %",
    "below it, by its exact log p(x)",
    "mean difference to the exact value",
)


def read(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """All results, in the order of the page: what is alike together, longer runs after shorter ones."""
    results = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}
    return [results[name] for name in sorted(results, key=lambda name: _in_order(name, results[name]))]


def table(results: list[dict[str, Any]]) -> str:
    """A line for each result with what is compared, and below it a line for each with all other figures."""
    lines = [_line(number, result) for number, result in enumerate(results, start=1)]
    others = [(str(number), _figures(result, compared=False)) for number, result in enumerate(results, start=1)]
    return f"{_markdown(_HEAD, lines)}\n\n{_markdown(_HEAD_OF_OTHERS, others)}"


def _in_order(name: str, result: dict[str, Any]) -> tuple[int, list[str], int]:
    place = next(place for place, beginning in enumerate(_ORDER) if name.startswith(beginning))
    # Numbers count as numbers.
    parts = re.split(r"(\d+)", result["row"].replace(",", ""))
    return place, [part.zfill(6) if part.isdigit() else part for part in parts], result["epochs"]


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *lines))


def _line(number: int, result: dict[str, Any]) -> tuple[str, ...]:
    figures = "<br>".join(f"{each['figure']} ({each['source']})" for each in result["published"]) or "none"
    epochs = f"{result['epochs']:,} of {result['epochs_of_the_protocol']:,}"
    ours = _figures(result, compared=True)
    hours = f"{result['hours']:.2f}"
    return str(number), result["row"], figures, ours, epochs, hours, result["machine"], f"`{result['command']}`"


def _figures(result: dict[str, Any], *, compared: bool) -> str:
    ours = {said: value for said, value in result["ours"].items() if said.endswith(_COMPARED) == compared}
    return "<br>".join(f"{said}: {_said(value)}" for said, value in ours.items())


def _said(value: Any) -> str:
    if isinstance(value, list):
        return f"{_number(value[0])} ({_number(value[1])})"
    return _number(value)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}" if abs(value) >= 1e-3 else f"{value:.1e}"


def with_table(text: str, lines: str) -> str:
    """A page with the tables in their place."""
    return re.sub(
        f"(?<={re.escape(BEGIN)}\n).*?(?={re.escape(END)})", lambda _: f"\n{lines}\n\n", text, flags=re.DOTALL
    )


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), table(read())), encoding="utf-8")
