"""The code of each page in docs/ runs in the order of the page, and prints what the page shows."""

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
BLOCK = re.compile(r"```(\w+)(?: file=([\w.]+))?\n(.*?)```", re.DOTALL)
NUMBER = re.compile(r"-?\d[\d,]*(\.\d+)?")
OWN_MODULES = ("my_parts", "predicted", "my_networks", "my_model", "my_objective")


def same(shown: str, printed: str) -> bool:
    """Words as shown, in the same order, and numbers close to them: other machines round otherwise while training.

    Counts, of rows that are not reliable, vary more than means do.
    """
    words, others = shown.split(), printed.split()
    return len(words) == len(others) and all(map(close, words, others))


def close(word: str, other: str) -> bool:
    numbers = [NUMBER.fullmatch(text.strip(",.")) for text in (word, other)]
    if not all(numbers) or (word.isdigit() and len(word) == 1):
        return word == other
    number, printed = (float(text.strip(",.").replace(",", "")) for text in (word, other))
    return number == pytest.approx(printed, rel=0.1 if "." in word.strip(".") else 0.5, abs=0.1)


# The commands of one block after the other in one process: most of their time would go into its start.
COMMANDS = """
import contextlib, io, runpy, sys

for command in sys.argv[1:]:
    _, _, module, *sys.argv[1:] = command.split()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as stop:
            if stop.code:
                raise
    for name in {own_modules}:
        sys.modules.pop(name, None)
print(printed.getvalue(), end="")
"""


def run_shell(code: str, folder: Path) -> str:
    """A block of commands in a process of its own; what the last one printed, or the error that it ended with."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    commands = code.replace("\\\n", " ").strip().splitlines()
    assert all(command.startswith("python -m pyrovae.") for command in commands)
    arguments = [sys.executable, "-c", COMMANDS.format(own_modules=OWN_MODULES), *commands]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=folder, env=environment)
    if done.returncode:
        assert "Traceback" not in done.stderr, done.stderr
        return done.stderr
    return done.stdout


def run_python(code: str, page: Path, names: dict) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, page.name, "exec"), names)
    return printed.getvalue()


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_the_page_runs_and_shows_what_is_printed(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    names: dict = {}
    printed = ""
    try:
        for language, file, code in BLOCK.findall(page.read_text()):
            if language != "text":
                # A command that fails is one whose error the page shows next.
                assert not printed.startswith("error: "), printed
            if file:
                Path(file).write_text(code)
            elif language == "python":
                printed = run_python(code, page, names)
            elif language == "sh":
                printed = run_shell(code, tmp_path)
            elif language == "text":
                assert same(code, printed), printed
                printed = ""
            else:
                pytest.fail(f"a block of {language}")
    finally:
        for name in OWN_MODULES:
            sys.modules.pop(name, None)
    assert not printed.startswith("error: "), printed
