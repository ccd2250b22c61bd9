"""The README's code runs, and its commands have the options that they name."""

import re
import shlex
from pathlib import Path

import pytest

from pyrovae.fit import make_parser

TEXT = (Path(__file__).parents[1] / "README.md").read_text()


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL))
def test_python_blocks_run(block, capsys):
    exec(compile(block, "README.md", "exec"), {})
    assert "log p(x)" in capsys.readouterr().out


@pytest.mark.parametrize("line", re.findall(r"python -m pyrovae\.fit ([^\n`]*)", TEXT))
def test_commands_have_the_options_they_name(line):
    options = set(re.findall(r"--[\w.-]+", line))
    parser = make_parser()
    known = {option for action in parser._actions for option in action.option_strings}
    for option in options:
        base = option.split(".")[0]
        assert base in known, f"{option} in: {shlex.split(line)}"
