"""The API pages are built without a warning, and describe every public name."""

import importlib
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
