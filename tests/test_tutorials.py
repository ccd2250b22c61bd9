"""The tutorials run without a warning, leave nothing behind, and store the outputs of such a run."""

import base64
import copy
import re
import shutil
import tempfile
import time
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from notebooks import read, run, tidy

FOLDER = Path(__file__).parents[1] / "tutorials"
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))
MOST_SECONDS = 300
# Of one picture; a notebook is read in pages of changes.
MOST_BYTES = 60_000

TABLE = re.compile(r"^\| symbol \| meaning \| name in code \|$", re.MULTILINE)
NOT_PROSE = re.compile(r"\$\$.*?\$\$|\$.*?\$|`.*?`", re.DOTALL)


@pytest.fixture(params=NOTEBOOKS)
def notebook(request):
    return read(FOLDER / request.param)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def text_of(notebook, cell_type):
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == cell_type)


def kinds(notebook):
    """What each code cell gave: streams by name, other outputs by their formats."""
    return [
        [output.get("name") or sorted(output.get("data", {"error": ""})) for output in cell.outputs]
        for cell in code_cells(notebook)
    ]


def files_in(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*"))


def run_in_a_copy(name, tmp_path, monkeypatch, *, fast):
    """The notebook after a run in a copy of its folder, in which, as among temporary files, nothing may be left."""
    folder, temporary = tmp_path / "tutorials", tmp_path / "temporary"
    shutil.copytree(FOLDER, folder)
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("TMPDIR", str(temporary))
    # Which torch makes as soon as it is imported.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "torch"))
    before = files_in(folder)
    done = run(read(folder / name), folder, fast=fast, seconds=MOST_SECONDS)
    assert files_in(folder) == before
    assert files_in(temporary) == []
    return done


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import warnings\nwarnings.warn('too late')", "UserWarning: too late"),
        ("import socket\nsocket.create_connection(('192.0.2.1', 80), timeout=1)", "looks at the network"),
        ("assert False, 'wrong'", "AssertionError: wrong"),
    ],
)
def test_what_a_tutorial_may_not_do_ends_its_run(code, said, tmp_path):
    wrong = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    with pytest.raises(CellExecutionError, match=said):
        run(wrong, tmp_path, fast=True, seconds=60)


@pytest.mark.ci
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_runs_in_fast_mode_and_gives_the_kinds_of_outputs_that_are_stored(name, tmp_path, monkeypatch):
    done = run_in_a_copy(name, tmp_path, monkeypatch, fast=True)
    assert kinds(done) == kinds(read(FOLDER / name))


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_runs_in_full_within_five_minutes(name, tmp_path, monkeypatch):
    start = time.monotonic()
    done = run_in_a_copy(name, tmp_path, monkeypatch, fast=False)
    assert time.monotonic() - start < MOST_SECONDS
    assert kinds(done) == kinds(read(FOLDER / name))


def test_the_stored_outputs_are_those_of_one_run(notebook):
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    given = [output for cell in cells for output in cell.outputs]
    assert given
    assert all(output.output_type != "error" and output.get("name") != "stderr" for output in given)


def test_the_file_has_no_noise_and_small_pictures(notebook):
    assert tidy(copy.deepcopy(notebook)) == notebook
    pictures = [
        base64.b64decode(output.data["image/png"])
        for cell in code_cells(notebook)
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    assert pictures
    assert max(map(len, pictures)) < MOST_BYTES


def test_it_opens_with_the_symbols_and_ends_with_exercises_and_references(notebook):
    first, last = notebook.cells[0], notebook.cells[-1]
    assert first.cell_type == last.cell_type == "markdown"
    assert first.source.startswith("# ")
    assert TABLE.search(first.source)
    _, exercises, references = re.split(r"^## (?:Exercises|References)$", last.source, flags=re.MULTILINE)
    assert re.findall(r"^(\d)\. ", exercises, re.MULTILINE) == ["1", "2"]
    lines = references.strip().splitlines()
    # Authors (year). Title.
    assert lines
    assert all(re.match(r"- .+ \((19|20)\d\d\)\. .+\.$", line) for line in lines)


def test_results_are_printed_by_code_and_nothing_is_hidden(notebook):
    prose = NOT_PROSE.sub("", text_of(notebook, "markdown"))
    assert re.findall(r"\d\.\d", prose) == []
    code = text_of(notebook, "code")
    assert re.findall(r"filterwarnings|simplefilter|catch_warnings|%%capture|setattr|mock|!pip|https?:", code) == []
    # An error is shown where it is the package's own, and none is passed over.
    assert code.count("except") == len(re.findall(r"except ValueError as error:\n +print\(", code))
    assert code.count("PYROVAE_TUTORIAL_FAST") == 2, "the comment that explains it, and the line that reads it"
