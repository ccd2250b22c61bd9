"""Runs that are cut off by real signals, and go on to the files that they would have written."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from processes import take_interrupts

from pyrovae import fit

ROOT = Path(__file__).parents[2]
OPTIONS = ["--latent-dim", "2", "--encoder.hidden_dims", "[16]", "--decoder.hidden_dims", "[16]", "--epochs", "6"]
QUICK = ["--num-samples", "20", "--checkpoint-every", "0", "--no-report", "--quiet"]
SYSTEMS = {
    "vae": [],
    "autoencoder": ["--system", "autoencoder", "--pretrain-epochs", "2"],
    "conditional": ["--system", "conditional-vae"],
    "two layers": ["--system", "two-layer-vae"],
    "a bound of several draws": ["--objective", "IWAE", "--step", "recorded"],
}


# By the tests that take minutes.
LONGER = ("conditional", "two layers", "a bound of several draws")


def options_of(system):
    options = [*OPTIONS, *QUICK, *SYSTEMS[system]]
    return options if system != "autoencoder" else [o for o in options if o not in ("--num-samples", "20")]


def run(*arguments):
    """In a process of its own, with the status that a shell would see."""
    code = f"import sys; from pyrovae.fit import main; sys.exit(main({list(map(str, arguments))!r}))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=take_interrupts,
    )


def wait_for_checkpoint(folder, process, number=1):
    while sum(int(path.name.split("-")[1]) >= number for path in folder.glob("checkpoints/*/step-*.pt")) == 0:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def assert_same_run(ours, theirs):
    assert sorted(path.name for path in ours.iterdir()) == sorted(path.name for path in theirs.iterdir())
    weights = [torch.load(folder / "weights.pt", weights_only=True) for folder in (ours, theirs)]
    assert list(weights[0]) == list(weights[1])
    assert all(torch.equal(weights[0][name], value) for name, value in weights[1].items())
    tables = [pd.read_csv(folder / "metrics.csv").drop(columns="seconds") for folder in (ours, theirs)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    if (theirs / "evaluation.csv").exists():
        assert (ours / "evaluation.csv").read_text() == (theirs / "evaluation.csv").read_text()
    configs = [yaml.safe_load((folder / "config.yaml").read_text()) for folder in (ours, theirs)]
    assert configs[0] | {"output_dir": None} == configs[1] | {"output_dir": None}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Runs without a break, by system."""
    folder = tmp_path_factory.mktemp("whole")

    def of(system):
        if not (folder / system).exists():
            assert fit.main([*options_of(system), "--output-dir", str(folder / system)]) == 0
        return folder / system

    return of


@pytest.mark.parametrize(
    "system", ["vae", *(pytest.param(s, marks=pytest.mark.slow) for s in ("autoencoder", *LONGER))]
)
@pytest.mark.ci
def test_killed_runs_go_on(tmp_path, capsys, whole, system):
    folder, expected = tmp_path / "cut", whole(system)
    process = run(*options_of(system), "--output-dir", folder)
    wait_for_checkpoint(folder, process, random.Random(system).randrange(1, 60))
    process.kill()
    process.communicate()
    assert not (folder / "weights.pt").exists()
    assert fit.main(["--resume", str(folder), "--quiet"]) == 0
    assert "resumed     from step" in capsys.readouterr().out
    assert_same_run(folder, expected)
    assert fit.main(["--resume", str(folder)]) == 0
    assert f"the run in {folder} is complete: there is nothing to go on with" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("number", "status"),
    [pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow), pytest.param(signal.SIGINT, 130, marks=pytest.mark.ci)],
)
def test_signals_keep_the_run(tmp_path, whole, number, status):
    folder = tmp_path / "cut"
    process = run(*options_of("vae"), "--output-dir", folder)
    wait_for_checkpoint(folder, process, 5)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == status
    assert "stopping after step" in error
    assert f"error: interrupted; to go on: python -m pyrovae.fit --resume {folder}" in error
    assert "Traceback" not in error
    assert fit.main(["--resume", str(folder), "--quiet"]) == 0
    assert_same_run(folder, whole("vae"))


@pytest.mark.slow
def test_a_run_without_a_checkpoint_begins_again(tmp_path, capsys, whole):
    folder = tmp_path / "cut"
    process = run(*options_of("vae"), "--output-dir", folder)
    wait_for_checkpoint(folder, process)
    process.kill()
    process.communicate()
    for path in folder.glob("checkpoints/*/*.pt"):
        path.unlink()
    assert fit.main(["--resume", str(folder), "--quiet"]) == 0
    assert "resumed     from the beginning, as no checkpoint had been made" in capsys.readouterr().out
    assert_same_run(folder, whole("vae"))


@pytest.fixture
def cut(tmp_path, whole):
    """A run that was killed."""
    folder = tmp_path / "cut"
    process = run(*options_of("vae"), "--output-dir", folder)
    wait_for_checkpoint(folder, process)
    process.kill()
    process.communicate()
    return folder


def test_options_of_another_run_are_refused(cut, capsys):
    for options, message in (
        (["--lr", "0.1"], "error: --lr is 0.1, and the run in {} began with 0.001: a run goes on with its own options"),
        (["--prior", "GaussianMixture"], "error: --prior is GaussianMixture, and the run in {} began with Standard"),
        (["--data", "mnist"], "error: --data is mnist, and the run in {} began with digits"),
        (["--output-dir", "other"], "error: --output-dir is other, and the run in {} began with"),
        (["--overwrite"], "error: --overwrite is True, and the run in {} began with False"),
        (["--config", "other.yaml"], "error: --resume brings the options of the run: leave --config out"),
        (["--epocs", "3"], "--epochs"),
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(cut.parent)
            try:
                status = fit.main(["--resume", str(cut), *options])
            except SystemExit as stop:
                status = stop.code
        error = capsys.readouterr().err
        assert status == 2
        assert message.format(cut) in error
        assert "Traceback" not in error
    # Those that change no result may be others.
    assert fit.main(["--resume", str(cut), "--output-dir", str(cut), "--quiet", "--checkpoint-every", "60"]) == 0


def test_a_run_on_other_data_is_refused(tmp_path, capsys):
    table = tmp_path / "rows.csv"
    generator = torch.Generator().manual_seed(0)
    frame = pd.DataFrame(torch.randn(200, 3, generator=generator).numpy(), columns=["a", "b", "c"])
    frame.to_csv(table, index=False)
    folder = tmp_path / "cut"
    process = run(*OPTIONS, *QUICK, "--likelihood", "Normal", "--data", table, "--output-dir", folder)
    wait_for_checkpoint(folder, process)
    process.kill()
    process.communicate()
    (frame + 1).to_csv(table, index=False)
    assert fit.main(["--resume", str(folder)]) == 2
    assert "error: train is torch.float32" in capsys.readouterr().err


@pytest.mark.parametrize("found", ["nothing", "an empty folder", "a file"])
def test_no_run_to_go_on_with(tmp_path, capsys, found):
    folder = tmp_path / "run"
    if found == "an empty folder":
        folder.mkdir()
    elif found == "a file":
        folder.write_text("no run")
    assert fit.main(["--resume", str(folder)]) == 2
    assert f"error: --resume {folder}: no run was begun there: expected the folder of one" in capsys.readouterr().err


def test_a_fit_that_broke_off_is_not_gone_on_with(tmp_path, capsys):
    folder = tmp_path / "diverged"
    assert fit.main([*options_of("vae"), "--lr", "1e30", "--output-dir", str(folder)]) == 3
    assert not (folder / "checkpoints").exists()
    assert fit.main(["--resume", str(folder)]) == 2
    assert "its fit ended so: the loss is not finite" in capsys.readouterr().err


def test_an_unfinished_run_is_not_begun_over_by_mistake(cut, capsys):
    spaced = cut.with_name("cut off")
    shutil.copytree(cut, spaced)
    for folder, said in ((cut, str(cut)), (spaced, f"'{spaced}'")):
        assert fit.main([*options_of("vae"), "--output-dir", str(folder)]) == 2
        assert f"it holds a run that was cut off: go on with it by --resume {said}, or" in capsys.readouterr().err
    assert list(cut.glob("checkpoints/*/*.pt"))


def test_start_from_the_weights_of_a_run(tmp_path, capsys, whole):
    source, folder = whole("vae"), tmp_path / "new"
    options = [*options_of("vae"), "--output-dir", str(folder), "--init-from", str(source)]
    assert fit.main([*options, "--lr", "1e-12", "--epochs", "1"]) == 0
    weights = [torch.load(path / "weights.pt", weights_only=True) for path in (folder, source)]
    for name, value in weights[1].items():
        torch.testing.assert_close(weights[0][name], value, rtol=0, atol=1e-8)
    assert json.loads((folder / "summary.json").read_text())["status"] == "complete"
    capsys.readouterr()
    assert fit.main([*options, "--overwrite", "--latent-dim", "3"]) == 2
    error = capsys.readouterr().err
    assert f"error: the weights of {source} are of other parts or sizes: 'likelihood.decoder.layers.0.weight'" in error
    assert "has shape (16, 2), and the model needs (16, 3). Give the same parts" in error
    assert fit.main([*options, "--overwrite", "--init-from", str(tmp_path)]) == 2
    assert "is no run folder" in capsys.readouterr().err


@pytest.mark.ci
def test_a_run_goes_on_where_the_one_that_it_started_from_is_gone(tmp_path, whole):
    """Here it started from the run that was in its own folder, of which a cut run leaves nothing."""
    folder, expected = tmp_path / "cut", tmp_path / "expected"
    shutil.copytree(whole("vae"), folder)
    options = [*options_of("vae"), "--lr", "1e-2"]
    assert fit.main([*options, "--init-from", str(folder), "--output-dir", str(expected)]) == 0
    process = run(*options, "--init-from", folder, "--output-dir", folder, "--overwrite")
    wait_for_checkpoint(folder, process, 5)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert not (folder / "weights.pt").exists()
    # Without a checkpoint it begins again.
    for path in folder.glob("checkpoints/fit/*.pt"):
        path.unlink()
    assert fit.main(["--resume", str(folder), "--quiet"]) == 0
    assert_same_run(folder, expected)


@pytest.mark.slow
def test_where_the_disk_is_full_the_run_says_so(tmp_path, whole):
    """Files may not grow beyond 4,000 bytes: neither a checkpoint nor the weights can be written."""
    folder = tmp_path / "run"
    code = (
        "import resource, signal, sys; from pyrovae.fit import main;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000));"
        f"sys.exit(main({[*options_of('vae'), '--output-dir', str(folder)]!r}))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 4
    assert "Traceback" not in done.stderr
    assert done.stderr.count("no checkpoint at step") == 1
    assert "cannot be read or written (File too large): see that the place is there, and may be" in done.stderr
    assert f"; to go on: python -m pyrovae.fit --resume {folder}" in done.stderr
    assert fit.main(["--resume", str(folder), "--quiet"]) == 0
    assert_same_run(folder, whole("vae"))


FRAIL = '''
from pathlib import Path

from pyrovae.likelihoods import Bernoulli


class Frail(Bernoulli):
    """Fails once there is a checkpoint, while there is a file called so."""

    def forward(self, z):
        if Path("full").exists() and any(Path("cut").glob("checkpoints/fit/step-*.pt")):
            raise MemoryError("no room for 8 GB")
        return super().forward(z)
'''


def test_an_error_after_hours_keeps_the_run(tmp_path, capsys, monkeypatch):
    """Whatever else than the input may have been the reason: memory that ran out, for example."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "frail.py").write_text(FRAIL)
    options = [*options_of("vae"), "--likelihood", "frail.py:Frail"]
    assert fit.main([*options, "--output-dir", "whole"]) == 0
    (tmp_path / "full").touch()
    assert fit.main([*options, "--output-dir", "cut"]) == 2
    assert re.search(
        "not enough memory .no room for 8 GB.*; to go on: python -m pyrovae.fit --resume cut\n", capsys.readouterr().err
    )
    (tmp_path / "full").unlink()
    assert fit.main(["--resume", "cut", "--quiet"]) == 0
    assert_same_run(tmp_path / "cut", tmp_path / "whole")
