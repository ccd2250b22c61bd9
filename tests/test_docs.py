"""The code of each page in docs/ runs in the order of the page, and prints what the page shows."""

import contextlib
import importlib
import io
import re
import shlex
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Commands in full, which take minutes or files from elsewhere: ``test_readme.py`` has them.
OF_COMMANDS = ("measurements.md", "systems.md")
PAGES = sorted(page for page in (ROOT / "docs").glob("*.md") if page.name not in OF_COMMANDS)
NAMING = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^ *```(\w+)(?: file=([\w.]+))?\n(.*?)```", re.DOTALL | re.MULTILINE)
SECONDS = re.compile(r"in \d+ s\b")
NUMBER = re.compile(r"-?\d[\d,]*(\.\d+)?")
OWN_MODULES = ("my_parts", "predicted", "my_networks", "my_model", "my_mixture", "my_objective")


def same(shown: str, printed: str) -> bool:
    """Words as shown, in the same order, and numbers close to them: other machines round otherwise while training.

    Counts, of rows that are not reliable, vary more than means do.
    """
    words, others = (SECONDS.sub("in some s", text).split() for text in (shown, printed))
    return len(words) == len(others) and all(map(close, words, others))


def close(word: str, other: str) -> bool:
    numbers = [NUMBER.fullmatch(text.strip(",.")) for text in (word, other)]
    if not all(numbers) or (word.isdigit() and len(word) == 1):
        return word == other
    number, printed = (float(text.strip(",.").replace(",", "")) for text in (word, other))
    return number == pytest.approx(printed, rel=0.1 if "." in word.strip(".") else 0.5, abs=0.1)


def run_shell(code: str) -> str:
    """Commands, here in this process, as most of their time would go into its start; what the last one printed.

    Of a command that fails it is the error, and the last one of its block has to be that command.
    """
    shown = ""
    for command in code.replace("\\\n", " ").strip().splitlines():
        assert not shown.startswith("error: "), shown
        python, option, module, *arguments = shlex.split(command)
        assert (python, option) == ("python", "-m"), command
        printed, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors):
            status = main_of(module)(arguments)
        forget_own_modules()
        shown = errors.getvalue() if status else printed.getvalue()
    return shown


def main_of(module: str) -> Callable[[list[str]], int]:
    def main(arguments: list[str]) -> int:
        try:
            return importlib.import_module(module).main(arguments)
        except SystemExit as stop:  # of --help
            return int(stop.code or 0)

    return main


def forget_own_modules() -> None:
    for name in OWN_MODULES:
        sys.modules.pop(name, None)


def run_python(code: str, page: Path, names: dict) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, page.name, "exec"), names)
    return printed.getvalue()


# What their fits take: more than a minute, and ten seconds to half a minute.
LONG = {"exercises.md": pytest.mark.slow}
LONG |= dict.fromkeys(
    ("evaluation.md", "extending.md", "likelihoods.md", "objectives.md", "pictures.md"), pytest.mark.ci
)


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=LONG.get(page.name, ()), id=page.stem) for page in PAGES],
)
def test_the_page_runs_and_shows_what_is_printed(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    names: dict = {}
    printed = ""
    try:
        for language, file, indented in BLOCK.findall(page.read_text()):
            code = textwrap.dedent(indented)
            if language != "text":
                # A command that fails is one whose error the page shows next.
                assert not printed.startswith("error: "), printed
            if file:
                Path(file).write_text(code)
            elif language == "python":
                printed = run_python(code, page, names)
            elif language == "sh":
                printed = run_shell(code)
            elif language == "text":
                assert same(code, printed), printed
                printed = ""
            else:
                pytest.fail(f"a block of {language}")
    finally:
        forget_own_modules()
    assert not printed.startswith("error: "), printed


@pytest.mark.parametrize("page", NAMING, ids=[page.stem for page in NAMING])
def test_files_of_the_repository_that_a_page_names_are_there(page):
    """Words in backquotes that begin with a folder of the repository, but for NAME and for what Sphinx builds."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    words = [word for quoted in re.findall(r"`([^`]+)`", text) for word in quoted.split()]
    paths = [
        word for word in words if re.match(r"(pyrovae|tests|docs|tutorials)/(?!api/built)", word) and "NAME" not in word
    ]
    assert [path for path in paths if not any(ROOT.glob(path))] == []
