"""The page of published numbers says what the results say, and the scripts run where MNIST's files are."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from results_table import PAGE, read, table, with_table

FOLDER = Path(__file__).parent / "reproductions"
KEYS = {
    "row",
    "protocol",
    "published",
    "ours",
    "epochs",
    "epochs_of_the_protocol",
    "seed",
    "hours",
    "command",
    "versions",
    "machine",
    "day",
}
SHORT = {
    "iwae.py": "--fraction 0.0001 --num-samples 20",
    "vamp_prior.py": "--epochs 1 --num-samples 20",
    "inference_gap.py": "--fraction 0.0001 --num-samples 20 --num-temperatures 5",
    "linear_vae.py": "--epochs 1",
    "three_latents.py": "--epochs 1 --num-samples 20 --mixture-samples 20 --num-temperatures 5 --num-chains 2 "
    "--spacing 0.4",
    "m2.py": "--epochs 1 --draws 1",
}


def test_the_page_shows_the_results():
    text = PAGE.read_text(encoding="utf-8")
    assert text == with_table(text, table(read()))


def test_each_result_says_how_it_came_about():
    for result in read():
        assert set(result) == KEYS
        assert result["command"].startswith("python tests/reproductions/")
        script = result["command"].split()[1]
        assert (FOLDER.parents[1] / script).is_file()


@pytest.mark.slow
@pytest.mark.skipif("PYROVAE_DATA_ROOT" not in os.environ, reason="PYROVAE_DATA_ROOT is not set: MNIST's files")
@pytest.mark.parametrize("script", SHORT)
def test_a_script_runs_and_goes_on_where_it_was(script, tmp_path):
    where = ["--test-rows", "16", "--work-dir", str(tmp_path / "work"), "--results", str(tmp_path / "results")]
    ours = []
    # The second run has only scored again what the first one left.
    for more in [[], [], ["--so-far"]][: 3 if script == "iwae.py" else 2]:
        done = subprocess.run(
            [sys.executable, f"tests/reproductions/{script}", *SHORT[script].split(), *where, *more],
            cwd=FOLDER.parents[1],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": str(FOLDER.parents[1])},
        )
        assert done.returncode == 0, done.stderr
        (path,) = (tmp_path / "results").iterdir()
        written = json.loads(path.read_text())
        assert set(written) == KEYS
        ours.append(written["ours"])
        path.unlink()
    assert all(each == ours[0] for each in ours)
