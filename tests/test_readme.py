"""The README's code runs, and its commands have the options that they name."""

import re
from pathlib import Path

import numpy as np
import pytest

from pyrovae import compare, evaluate, fit, label_efficiency, load_data, look

TEXT = (Path(__file__).parents[1] / "README.md").read_text()
COMMANDS = {"fit": fit, "evaluate": evaluate, "compare": compare, "label_efficiency": label_efficiency, "look": look}


def test_python_blocks_run_one_after_the_other(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("faces.npy", load_data("digits").train.numpy())
    names: dict = {}
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    printed = ("log p(x)", "log p(x)", "", "log p(x)", "", "ScoreFunction, no baseline")
    for block, shown in zip(blocks, printed, strict=True):
        exec(compile(block, "README.md", "exec"), names)
        assert shown in capsys.readouterr().out


@pytest.mark.parametrize(("command", "line"), re.findall(r"python -m pyrovae\.(\w+)([^\n`]*)", TEXT))
def test_commands_have_the_options_they_name(command, line):
    known = {option for action in COMMANDS[command].make_parser()._actions for option in action.option_strings}
    for option in re.findall(r"--[\w-]+", line):
        assert option in known
