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
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} has a relative import"
            if node.module == "pyrovae":
                rooms |= {alias.name for alias in node.names}
            elif node.module.startswith("pyrovae."):
                rooms.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            assert "pyrovae" not in names, f"{path} imports all of pyrovae"
            rooms |= {name.split(".")[1] for name in names if name.startswith("pyrovae.")}
        # After `import pyrovae.version` it is any folder.
        assert not (isinstance(node, ast.Name) and node.id == "pyrovae"), f"{path} uses pyrovae by its name"
    assert rooms <= LEVEL.keys(), f"{path} imports {rooms - LEVEL.keys()}, which no layer is called"
    return rooms


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("from pyrovae import priors, compare_bounds", "imports {'compare_bounds'}, which no layer is called"),
        ("from pyrovae import *", r"imports {'\*'}"),
        ("import pyrovae", "imports all of pyrovae"),
        ("import pyrovae as everything", "imports all of pyrovae"),
        ("import pyrovae.version; pyrovae.evaluation.ais()", "uses pyrovae by its name"),
        ("from .evaluation import ais", "has a relative import"),
    ],
)
def test_imports_that_hide_their_layer_are_found(line, message, tmp_path):
    path = tmp_path / "module.py"
    path.write_text(f"def function():\n    {line}")
    with pytest.raises(AssertionError, match=message):
        imported_rooms(path)


def test_the_layers_of_all_other_imports_are_found(tmp_path):
    path = tmp_path / "module.py"
    path.write_text("import pyrovae.version\nfrom pyrovae import plots\ndef f():\n    from pyrovae.data.load import a")
    assert imported_rooms(path) == {"version", "plots", "data"}


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


COMMANDS = ["compare", "encode", "evaluate", "fill", "fit", "label_efficiency", "look"]


def test_no_name_of_a_command_is_exported():
    import pyrovae

    assert not set(COMMANDS) & set(pyrovae.__all__)


RUN_EACH = """
import runpy
import sys

for name in sys.argv[1:]:
    sys.argv = [name, "--help"]
    try:
        runpy.run_module(f"pyrovae.{name}", run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        assert stop.code == 0, name
"""


def test_commands_are_modules():
    """Each as ``python -m`` runs it, but in one process: most of the time would go into the starts of six."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN_EACH, *COMMANDS], capture_output=True, text=True, cwd=PACKAGE.parent
    )
    assert done.returncode == 0, done.stderr
    assert [name for name in COMMANDS if f"usage: python -m pyrovae.{name} " not in done.stdout] == []
