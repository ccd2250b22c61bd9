"""The API pages are built without a warning, and describe every public name."""

import ast
import builtins
import doctest
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import pyrovae

FOLDER = Path(__file__).parents[1] / "docs" / "api"
# What commands and other modules of the package share, and nobody else needs.
INTERNAL = {"command_line", "pictures", "recording", "report"}


def public_packages() -> list[str]:
    folders = {folder.parent.name for folder in Path(pyrovae.__file__).parent.glob("*/__init__.py")}
    return sorted(folders - INTERNAL)


def test_there_is_a_page_for_each_public_package():
    assert {page.stem for page in FOLDER.glob("*.rst")} == {"index", "pyrovae", *public_packages()}


def docstrings(package):
    """Those of the public names of a package, and of the methods of its classes, by name."""
    module = importlib.import_module(package)
    for name in module.__all__:
        value = getattr(module, name)
        members = vars(value).items() if inspect.isclass(value) else ()
        for of, each in [(name, value), *((f"{name}.{member}", each) for member, each in members)]:
            yield of, inspect.getdoc(each) or ""


@pytest.mark.parametrize("package", ["pyrovae", *(f"pyrovae.{name}" for name in public_packages())])
def test_examples_import_what_they_use(package):
    """But for the name itself that they are of: who copies one needs no other page."""
    for name, text in docstrings(package):
        tree = ast.parse("".join(example.source for example in doctest.DocTestParser().get_examples(text)))
        known = {*dir(builtins), name.split(".")[0]}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                known |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                known.add(node.name)
            elif isinstance(node, ast.arg):
                known.add(node.arg)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                known.add(node.id)
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert used <= known, (name, used - known)


@pytest.mark.slow
def test_pages_are_built_without_a_warning_and_have_every_public_name(tmp_path):
    pytest.importorskip("sphinx", reason="Sphinx comes with pip install '.[docs]'")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", str(FOLDER), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=FOLDER.parents[1])
    assert done.returncode == 0, done.stderr
    pages = "".join(page.read_text() for page in tmp_path.glob("*.html"))
    for package in ["pyrovae", *(f"pyrovae.{name}" for name in public_packages())]:
        module = importlib.import_module(package)
        for name in module.__all__:
            here = {f"{package}.{name}"}
            if getattr(pyrovae, name, None) is getattr(module, name):
                here.add(f"pyrovae.{name}")
            assert any(f'id="{place}"' in pages or f'id="module-{place}"' in pages for place in here), here
    # Formulas and sections of the docstrings are not left as they are typed.
    for raw in (".. math::", "Args:", "Raises:", "Attributes:"):
        assert raw not in pages, raw
