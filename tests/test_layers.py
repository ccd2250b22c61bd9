"""A module imports only from layers above it, as the table of CONTRIBUTING.md says them."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "pyrovae"

# From top to bottom. What shares a line may not import from one another, except within one folder.
TABLE = (PACKAGE.parent / "CONTRIBUTING.md").read_text().split("| folder or file |")[1].split("\n\n")[0]
LAYERS = [set(re.findall(r"`(\w+)`", row.split("|")[1])) for row in TABLE.splitlines()[2:]]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "pyrovae":
            rooms |= {alias.name for alias in node.names if alias.name in LEVEL}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pyrovae."):
            rooms.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            rooms |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("pyrovae.")}
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path} has a relative import"
    return rooms


def test_every_module_has_one_layer():
    assert sum(map(len, LAYERS)) == len(LEVEL)
    rooms = {room(path) for path in PACKAGE.rglob("*.py")} - {"__init__"}
    assert rooms == set(LEVEL)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_come_from_above(path):
    own = room(path)
    if own == "__init__":
        return
    for other in imported_rooms(path):
        assert other == own or LEVEL[other] < LEVEL[own], f"{own} imports {other}, which is not above it"


def test_training_and_objectives_do_not_know_evaluation():
    for path in [*PACKAGE.glob("training/*.py"), *PACKAGE.glob("objectives/*.py")]:
        assert "evaluation" not in imported_rooms(path)


COMMANDS = ["compare", "evaluate", "fit", "label_efficiency", "look"]


def test_no_name_of_a_command_is_exported():
    import pyrovae

    assert not set(COMMANDS) & set(pyrovae.__all__)


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_are_modules(name):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", f"pyrovae.{name}", "--help"],
        capture_output=True,
        text=True,
        cwd=PACKAGE.parent,
    )
    assert done.returncode == 0, done.stderr
    assert f"python -m pyrovae.{name}" in done.stdout
