"""The commands under torchrun: shared out, cut off, resumed by another number of processes."""

import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from torchrun import Torchrun

from pyrovae import compare, evaluate, fit, label_efficiency, look

FIT = ("--data", "digits", "--latent-dim", "3", "--encoder.hidden_dims", "[20]", "--decoder.hidden_dims", "[20]")
FIT += ("--epochs", "40", "--num-samples", "100", "--no-report", "--quiet", "--output-dir")
TERMS = [f"{split}_{term}" for split in ("train", "validation") for term in ("elbo", "kl", "objective")]
LIMIT = 1e-4

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes by /proc")


@pytest.fixture(scope="module")
def by_one(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one") / "run"
    assert fit.main([*FIT, str(folder)]) == 0
    return folder


def wait_for(there):
    until = time.monotonic() + 120
    while not there():
        assert time.monotonic() < until
        time.sleep(0.05)


def check_same_run(folder, by_one):
    for name, numbers in {"metrics.csv": TERMS, "evaluation.csv": ["elbo", "log_px", "gap"]}.items():
        given, expected = (pd.read_csv(run / name)[numbers] for run in (folder, by_one))
        pd.testing.assert_frame_equal(given, expected, rtol=0, atol=LIMIT)
    assert {path.name for path in folder.iterdir()} == {path.name for path in by_one.iterdir()}


@pytest.mark.slow
def test_a_run_by_two_is_that_of_one(tmp_path, by_one):
    status, out, errors = Torchrun(2, "-m", "pyrovae.fit", *FIT, tmp_path / "run").end()
    assert status == 0, errors
    # One of the processes speaks.
    assert out.count("nats per row") == 1
    check_same_run(tmp_path / "run", by_one)


@pytest.mark.slow
@pytest.mark.parametrize("killed", [1, 0], ids=["second", "first"])
def test_a_process_that_dies_leaves_a_checkpoint(tmp_path, by_one, killed):
    folder = tmp_path / "run"
    run = Torchrun(2, "-m", "pyrovae.fit", *FIT, folder)
    wait_for((folder / "checkpoints").is_dir)
    time.sleep(1.5)
    run.kill(killed)
    status, _, errors = run.end()
    assert status == 1
    # Torchrun names the process that died; the other says what to do.
    assert "Signal 9 (SIGKILL)" in errors
    if killed:
        assert "error: another of the 2 processes ended" in errors
        assert f"to go on: python -m pyrovae.fit --resume {folder}" in errors
    (checkpoint,) = (folder / "checkpoints" / "fit").glob("step-*.pt")
    assert 0 < int(checkpoint.name.split("-")[1]) < 40 * 12
    if killed:
        assert fit.main(["--resume", str(folder), "--quiet"]) == 0
    else:
        assert Torchrun(2, "-m", "pyrovae.fit", "--resume", folder, "--quiet").end()[0] == 0
    check_same_run(folder, by_one)


@pytest.mark.ci
def test_all_stop_where_one_is_asked_to(tmp_path):
    folder = tmp_path / "run"
    run = Torchrun(2, "-m", "pyrovae.fit", *FIT, folder)
    wait_for((folder / "checkpoints").is_dir)
    time.sleep(1.5)
    run.kill(1, signal.SIGTERM)
    status, _, errors = run.end()
    assert status == 1
    assert errors.count("stopping after step") == 1
    assert "exitcode  : 143" in errors
    assert errors.count("error: interrupted; to go on") == 1
    assert len(list((folder / "checkpoints" / "fit").glob("step-*.pt"))) == 1


@pytest.mark.slow
def test_scores_by_two_are_those_of_one(tmp_path, by_one):
    options = ("--num-samples", "60", "--ais", "--ais-temperatures", "3", "--ais-warm-up", "3", "--ais-leapfrog")
    options += ("2", "--ais-chains", "2", "--quiet", "--output")
    assert evaluate.main([str(by_one), *options, str(tmp_path / "one.csv")]) == 0
    status, out, errors = Torchrun(2, "-m", "pyrovae.evaluate", by_one, *options, tmp_path / "two.csv").end()
    assert status == 0, errors
    assert out.count("AIS log p(x)") == 1
    one, two = (pd.read_csv(tmp_path / f"{name}.csv", index_col="row") for name in ("one", "two"))
    assert two.index.equals(one.index)
    np.testing.assert_allclose(two["log_px"], one["log_px"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(two["ais_log_px"], one["ais_log_px"], rtol=0, atol=1e-5)


@pytest.mark.slow
def test_what_is_wrong_is_said_once(tmp_path):
    """The options are read by all, the folder by the first alone."""
    (tmp_path / "file").touch()
    status, out, errors = Torchrun(2, "-m", "pyrovae.fit", *FIT, tmp_path / "file").end()
    assert (status, out) == (1, "")
    assert errors.count("error: ") == 1
    assert "this is a file" in errors
    assert "exitcode  : 2" in errors


@pytest.mark.parametrize("command", [look, compare, label_efficiency], ids=lambda command: command.__name__)
def test_other_commands_are_for_one_process(monkeypatch, capsys, command):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "as torchrun sets it")
    arguments = [] if command is label_efficiency else ["runs/one"]
    assert command.main(arguments) == 2
    assert f"error: python -m {command.__name__} runs in one process: start it by python" in capsys.readouterr().err


@pytest.mark.ci
def test_what_goes_wrong_in_one_process_is_said_by_it(tmp_path):
    """Of the 1,437 rows the last batch has three: two for the first process, one for the second."""
    options = ("--batch-size", "239", "--encoder.normalization", "batch")
    status, _, errors = Torchrun(2, "-m", "pyrovae.fit", *options, *FIT, tmp_path / "run").end()
    assert status == 1
    assert errors.count("error in process 1: batch normalisation got one row in training") == 1
    assert "choose a batch size that leaves no single row over, to any of several processes" in errors
    assert "error in process 0" not in errors
