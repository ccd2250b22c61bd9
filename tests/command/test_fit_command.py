"""``python -m pyrovae.fit`` as a user runs it: options, files, exit statuses."""

import json
import re
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from pkgutil import resolve_name

import numpy as np
import pytest
import torch
import yaml
from fit_runs import QUICK, RUN_FILES, rows_of, run
from PIL import Image
from processes import take_interrupts
from terminals import OnATerminal

import pyrovae
from pyrovae import compare_bounds, load, load_data
from pyrovae.command_line import execution
from pyrovae.command_line.slots import SLOTS

ROOT = Path(__file__).parents[2]


@pytest.mark.ci
def test_the_default_run_in_a_process_of_its_own(tmp_path):
    """The real thing, shortened: one table, a run folder of nine files, and no bar where there is no terminal."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pyrovae.fit", "--epochs", "3"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "\r" not in done.stderr
    assert done.stdout.count("nats per row") == 1
    for text in ("ELBO", "log p(x)", "gap", "k-hat", "1437 train, 180 validation, 180 test"):
        assert text in done.stdout
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("digits-")
    assert {path.name for path in folder.iterdir()} == RUN_FILES
    assert f"run folder: runs/{folder.name}" in done.stdout


def test_steps_and_precision_are_chosen_and_written_down(in_tmp):
    assert run(*QUICK, "--output-dir", "out", "--step", "recorded", "--precision", "bf16-mixed") == 0
    assert json.loads((in_tmp / "out" / "summary.json").read_text())["training"]["stepping"] == "recorded"
    assert load("out").config["precision"] == "bf16-mixed"


def test_the_files_say_what_was_done(in_tmp, capsys):
    assert run(*QUICK, "--output-dir", "out", "--seed", "3") == 0
    folder = in_tmp / "out"
    assert {path.name for path in folder.iterdir()} == RUN_FILES - {"report.html"}
    data = load_data("digits", binarize="dynamic", seed=3)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["data"] == data.provenance()
    assert summary["status"] == "complete"

    metrics, evaluation = rows_of(folder / "metrics.csv"), rows_of(folder / "evaluation.csv")
    assert [row["epoch"] for row in metrics] == ["1", "2"]
    assert len(evaluation) == 180
    for row in (*metrics, *evaluation):
        assert (row["data_variant"], row["data_seed"]) == (data.variant, "3")
        assert row["data_checksum"] == data.checksum
    assert [int(row["label"]) for row in evaluation] == data.test_labels.tolist()
    mean = np.mean([float(row["log_px"]) for row in evaluation])
    assert summary["evaluation"]["nats_per_row"]["log_px"]["mean"] == pytest.approx(mean)
    assert f"{mean:.3f}" in capsys.readouterr().out
    for row in evaluation:
        assert float(row["gap"]) == pytest.approx(float(row["log_px"]) - float(row["elbo"]))

    weights = torch.load(folder / "weights.pt", weights_only=True)
    loaded = load(folder)
    assert loaded.vae is not None
    assert weights.keys() == loaded.vae.state_dict().keys()
    # The stored run gives the stored numbers.
    bounds = compare_bounds(loaded.model, loaded.guide, data.test, num_samples=50, seed=3)
    assert bounds.log_px.tolist() == [float(row["log_px"]) for row in evaluation]
    for name in ("reconstructions.png", "samples.png", "learning_curves.png"):
        with Image.open(folder / name) as picture:
            assert min(picture.size) > 100
            assert data.checksum in picture.info["Description"]
            assert len(set(picture.convert("L").get_flattened_data())) > 10


def test_the_same_seed_gives_the_same_numbers(in_tmp):
    for name in ("a", "b"):
        assert run(*QUICK, "--output-dir", name, "--seed", "1") == 0
    a, b = (rows_of(in_tmp / name / "evaluation.csv") for name in ("a", "b"))
    assert a == b


def test_the_resolved_configuration_runs_again(in_tmp):
    assert run(*QUICK, "--output-dir", "a", "--latent-dim", "4", "--encoder.hidden_dims", "[30]") == 0
    config = yaml.safe_load((in_tmp / "a" / "config.yaml").read_text())
    assert config["latent_dim"] == 4
    assert config["binarize"] == "dynamic"
    assert config["likelihood"]["class_path"] == "pyrovae.likelihoods.Bernoulli"
    assert config["encoder"]["init_args"]["hidden_dims"] == [30]
    assert run("--config", "a/config.yaml", "--output-dir", "b") == 0
    # What is given beside a configuration prevails, wherever it stands.
    for number, arguments in enumerate(
        (["--epochs", "1", "--config", "a/config.yaml"], ["--config=a/config.yaml", "--epochs", "1"])
    ):
        assert run(*arguments, "--output-dir", f"c{number}") == 0
        assert len(rows_of(in_tmp / f"c{number}" / "metrics.csv")) == 1
    assert rows_of(in_tmp / "a" / "evaluation.csv") == rows_of(in_tmp / "b" / "evaluation.csv")


def test_several_configurations_in_their_order_before_the_command_line(in_tmp, capsys):
    (in_tmp / "system.yaml").write_text("system: two-layer-vae\nepochs: 3\nseed: 4\n")
    (in_tmp / "epochs.yaml").write_text("epochs: 1\nlr: 0.01\n")
    for files in (["system.yaml", "epochs.yaml"], ["epochs.yaml", "system.yaml"]):
        first, second = files
        assert run("--config", first, "--epochs", "2", f"--config={second}", "--latent-dim", "3", "--print_config") == 0
        config = yaml.safe_load(capsys.readouterr().out)
        assert (config["epochs"], config["seed"], config["lr"], config["latent_dim"]) == (2, 4, 0.01, 3)
        assert config["system"] == "two-layer-vae"
        assert run("--config", first, "--config", second, "--print_config") == 0
        assert yaml.safe_load(capsys.readouterr().out)["epochs"] == (1 if second == "epochs.yaml" else 3)


def test_print_config_can_be_read_back(in_tmp, capsys):
    assert run("--print_config", "--lr", "0.01") == 0
    text = capsys.readouterr().out
    assert yaml.safe_load(text)["lr"] == 0.01
    (in_tmp / "my.yaml").write_text(text)
    assert run("--config", "my.yaml", *QUICK, "--output-dir", "out") == 0
    assert json.loads((in_tmp / "out" / "summary.json").read_text())["status"] == "complete"


def test_runs_that_begin_within_a_second_have_folders_of_their_own(in_tmp, monkeypatch):
    class Noon(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2026, 1, 2, 12)

    monkeypatch.setattr(execution, "datetime", Noon)
    for _ in range(3):
        assert run(*QUICK) == 0
    folders = sorted(path.name for path in (in_tmp / "runs").iterdir())
    assert folders == ["digits-20260102-120000", "digits-20260102-120000-2", "digits-20260102-120000-3"]


def test_an_existing_run_is_never_overwritten_unasked(in_tmp, capsys):
    assert run(*QUICK, "--output-dir", "out") == 0
    before = {path.name: path.read_bytes() for path in (in_tmp / "out").iterdir()}
    (in_tmp / "out" / "notes.txt").write_text("mine")
    assert run(*QUICK, "--output-dir", "out", "--seed", "1") == 2
    assert "--output-dir out: it holds files already" in capsys.readouterr().err
    assert {n: (in_tmp / "out" / n).read_bytes() for n in before} == before
    assert run(*QUICK, "--output-dir", "out", "--seed", "1", "--overwrite") == 0
    assert (in_tmp / "out" / "weights.pt").read_bytes() != before["weights.pt"]
    assert (in_tmp / "out" / "notes.txt").read_text() == "mine"
    # Leave to overwrite is not handed on by the configuration.
    assert run("--config", "out/config.yaml", "--seed", "5") == 2


def test_a_loss_that_is_not_finite_keeps_the_last_good_weights(in_tmp, capsys):
    np.save(in_tmp / "table.npy", np.random.default_rng(0).normal(size=(200, 5)))
    arguments = ["--data", "table.npy", "--likelihood", "Normal", "--lr", "1e30", "--batch-size", "50"]
    assert run(*QUICK, *arguments, "--epochs", "50", "--output-dir", "out") == 3
    error = capsys.readouterr().err
    assert "error: the loss is not finite at epoch 1, step 2; the first site that is not finite is 'z'" in error
    assert "run folder: out" in error
    summary = json.loads((in_tmp / "out" / "summary.json").read_text())
    assert summary["status"].startswith("the loss is not finite")
    assert summary["evaluation"] is None
    loaded = load("out")
    assert all(torch.isfinite(value).all() for value in loaded.vae.state_dict().values())


@pytest.mark.ci
def test_an_interrupt_keeps_the_fit_and_says_how_to_go_on(tmp_path):
    started = OnATerminal(
        [sys.executable, "-m", "pyrovae.fit", "--epochs", "100000", "--output-dir", "out"],
        preexec_fn=take_interrupts,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
    )
    started.wait_for(r"ELBO -?\d")
    started.process.send_signal(signal.SIGINT)
    error = started.finish()
    assert started.process.returncode == 130, error
    assert "error: interrupted; to go on: python -m pyrovae.fit --resume out" in error
    assert "Traceback" not in error
    left = ["checkpoints", "learning_curves.png", "metrics.csv", "report.html"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == left


def test_help_explains_every_option(capsys):
    assert run("--help") == 0
    text = capsys.readouterr().out
    for option in ("--data-root", "--likelihood", "--latent-dim", "--print_config", "--output-dir", "--model"):
        assert option in text
    assert "torch.nn" not in text
    named = set(re.findall(r"pyrovae\.[\w.]+", "".join(re.findall(r"known\s+subclasses:(.*?)\)", text, re.DOTALL))))
    assert set(map(resolve_name, named)) == {part for slot in SLOTS.values() for part in slot.parts}
    assert run("--likelihood.help", "Normal") == 0
    text = capsys.readouterr().out
    assert "--likelihood.scale_floor" in text
    assert "A fixed scale is a hidden weight between reconstruction and KL." in text


def test_load_refuses_what_is_no_run(in_tmp):
    with pytest.raises(ValueError, match="nowhere is no run folder: there is no such folder"):
        load("nowhere")
    assert run(*QUICK, "--output-dir", "a") == 0
    assert run(*QUICK, "--output-dir", "b", "--latent-dim", "3") == 0
    (in_tmp / "a" / "weights.pt").write_bytes((in_tmp / "b" / "weights.pt").read_bytes())
    with pytest.raises(
        ValueError, match=r"weights.pt is not what summary.json beside it was written with .other checksum."
    ):
        load("a")
    config = yaml.safe_load((in_tmp / "b" / "config.yaml").read_text())
    del config["latent_dim"]
    (in_tmp / "b" / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ValueError, match="b says nothing of 'latent_dim': it was stored by another version"):
        load("b")


def test_versions_agree(in_tmp):
    assert run(*QUICK, "--output-dir", "a") == 0
    assert json.loads((in_tmp / "a" / "summary.json").read_text())["pyrovae"] == pyrovae.__version__


def test_few_rows_make_one_batch_where_no_size_is_given(in_tmp, monkeypatch):
    """60 rows, 48 of them for training: the weights of --batch-size 48, also where the run was cut off."""
    np.save("few.npy", np.random.default_rng(0).normal(size=(60, 3)))
    options = [*QUICK, "--data", "few.npy", "--likelihood", "Normal", "--checkpoint-every", "0"]
    assert run(*options, "--batch-size", "48", "--output-dir", "given") == 0
    assert run(*options, "--output-dir", "without") == 0

    def cut(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pyrovae.command_line.pairs.compare_bounds", cut)
        assert run(*options, "--output-dir", "cut") == 130
    assert run("--resume", "cut", "--quiet") == 0
    expected = torch.load("given/weights.pt", weights_only=True)
    for folder in ("without", "cut"):
        assert yaml.safe_load(Path(folder, "config.yaml").read_text())["batch_size"] == 48
        weights = torch.load(Path(folder, "weights.pt"), weights_only=True)
        torch.testing.assert_close(weights, expected, rtol=0, atol=0)
    np.save("many.npy", np.random.default_rng(0).normal(size=(100, 3)))
    assert run(*options, "--data", "many.npy", "--output-dir", "many") == 0
    assert yaml.safe_load(Path("many", "config.yaml").read_text())["batch_size"] == 64
