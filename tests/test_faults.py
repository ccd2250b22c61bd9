"""Whatever cuts a fit off, it goes on to the weights of one that was left alone.

``pytest -m slow tests/test_faults.py`` has more than two hundred cut points, the default a few of each kind.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "fault_injection.py"
FEW, MANY = {"killed": 1, "damaged": 1, "full": 1}, {"killed": 120, "damaged": 40, "full": 40}


def inject(kind, count, folder):
    """What the script says."""
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[1]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), kind, str(count), str(folder / "fits")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    totals = json.loads(done.stdout)
    assert totals["fits"] == count
    return totals


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.ci if kind == "killed" else pytest.mark.slow) for kind in FEW]
)
def test_few(tmp_path, kind):
    assert inject(kind, FEW[kind], tmp_path)["cuts"] >= 1


@pytest.mark.slow
def test_more_than_two_hundred(tmp_path):
    totals = {
        kind: inject(kind, count, tmp_path / kind) for kind, count in MANY.items() if not (tmp_path / kind).mkdir()
    }
    print(totals)
    assert sum(total["cuts"] for total in totals.values()) > 200
    # Some were killed with a checkpoint half written.
    assert totals["killed"]["half written"] > 0
