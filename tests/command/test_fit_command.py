"""``python -m pyrovae.fit`` as a user runs it: options, files, exit statuses."""

import csv
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
from PIL import Image
from processes import take_interrupts
from terminals import OnATerminal

import pyrovae
from pyrovae import compare_bounds, load, load_data
from pyrovae.command_line import execution
from pyrovae.command_line.slots import SLOTS
from pyrovae.fit import main

ROOT = Path(__file__).parents[2]
QUICK = ["--epochs", "2", "--num-samples", "50", "--no-report", "--quiet"]
RUN_FILES = {
    "config.yaml",
    "weights.pt",
    "metrics.csv",
    "evaluation.csv",
    "reconstructions.png",
    "samples.png",
    "learning_curves.png",
    "summary.json",
    "report.html",
}


def run(*arguments: str) -> int:
    """The command in this process; argparse leaves by SystemExit."""
    try:
        return main(list(arguments))
    except SystemExit as stop:
        return stop.code


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


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


def test_parts_and_their_arguments_by_name(in_tmp):
    arguments = ["--likelihood", "Normal", "--likelihood.scale", "per_dimension", "--latent-dim", "3"]
    networks = ["--encoder", "ConvEncoder", "--encoder.channels", "[4, 8]", "--decoder", "ConvDecoder"]
    assert run(*QUICK, *arguments, *networks, "--decoder.channels", "[8, 4]", "--output-dir", "out") == 0
    vae = load("out").vae
    assert vae.likelihood.scale.shape == (1, 8, 8)
    assert type(vae.posterior.encoder).__name__ == "ConvEncoder"
    summary = json.loads((in_tmp / "out" / "summary.json").read_text())
    # Grey values stay as they are under a likelihood of real values.
    assert summary["data"]["support"] == "unit_interval"


OWN_PARTS = '''
import pyro.distributions as dist
import torch
from torch import nn


class MyPrior(nn.Module):
    """A wide prior."""

    def __init__(self, latent_dim: int, width: float = 2.0):
        super().__init__()
        self.log_width = nn.Parameter(torch.full((latent_dim,), width).log())

    def forward(self):
        return dist.Normal(torch.zeros_like(self.log_width), self.log_width.exp()).to_event(1)


class MyPoisson(nn.Module):
    def __init__(self, decoder: nn.Module):
        super().__init__()
        self.decoder = decoder

    def forward(self, z):
        rate = nn.functional.softplus(self.decoder(z)) + 1e-3
        return dist.Poisson(rate).to_event(rate.dim() - z.dim() + 1)
'''


def test_parts_of_ones_own_by_import_path(in_tmp):
    (in_tmp / "own_parts.py").write_text(OWN_PARTS)
    counts = np.random.default_rng(0).poisson(3.0, size=(200, 6))
    np.save(in_tmp / "counts.npy", counts)
    arguments = ["--data", "counts.npy", "--likelihood", "own_parts.MyPoisson", "--prior", "own_parts.MyPrior"]
    assert run(*QUICK, *arguments, "--prior.width", "3.0", "--batch-size", "50", "--output-dir", "out") == 0
    loaded = load("out")
    assert loaded.config["prior"]["init_args"] == {"width": 3.0}
    assert type(loaded.vae.likelihood).__name__ == "MyPoisson"
    assert {path.name for path in (in_tmp / "out").iterdir()} == RUN_FILES - {"report.html"}
    assert all(float(row["log_px"]) < 0 for row in rows_of(in_tmp / "out" / "evaluation.csv"))


OWN_MODEL = """
import pyro, torch
import pyro.distributions as dist
from torch import nn


def make(data_shape):
    size = data_shape[0]
    decoder, encoder = nn.Linear(2, size), nn.Linear(size, 2)

    def model(x):
        pyro.module("decoder", decoder)
        noise = pyro.param("noise", torch.tensor(1.0), constraint=dist.constraints.positive)
        with pyro.plate("data", len(x)):
            z = pyro.sample("code", dist.Normal(x.new_zeros(2), 1).to_event(1))
            pyro.sample("obs", dist.Normal(decoder(z), noise).to_event(1), obs=x)

    def guide(x):
        pyro.module("encoder", encoder)
        scale = pyro.param("scale", torch.ones(2), constraint=dist.constraints.positive)
        with pyro.plate("data", len(x)):
            pyro.sample("code", dist.Normal(encoder(x), scale).to_event(1))

    return model, guide


def broken():
    return 3


def failing():
    raise RuntimeError("no such table")


def two_sites(data_shape):
    size, noise = data_shape[0], nn.Parameter(torch.tensor(0.0))

    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.noise = noise

        def model(self, x):
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1).to_event(1))
                pyro.sample("length", dist.Normal(z[..., 0], 1), obs=x.norm(dim=-1))
                pyro.sample("x", dist.Normal(z, self.noise.exp()).expand([*z.shape[:-1], size]).to_event(1), obs=x)

        def guide(self, x):
            # Rows of zeros would give NaN.
            scale = pyro.param("scale", torch.ones(1), constraint=dist.constraints.positive)
            with pyro.plate("data", len(x)):
                loc = (x / x.norm(dim=-1, keepdim=True)).sum(-1, keepdim=True)
                pyro.sample("z", dist.Normal(loc, scale).to_event(1))

    pair = Pair()
    return pair.model, pair.guide
"""


def test_a_pyro_model_of_ones_own(in_tmp):
    (in_tmp / "own_model.py").write_text(OWN_MODEL)
    np.save(in_tmp / "table.npy", np.random.default_rng(0).normal(size=(200, 5)))
    arguments = ["--data", "table.npy", "--batch-size", "50", "--lr", "0.05"]
    assert run(*QUICK, *arguments, "--model", "own_model.py:make", "--output-dir", "a") == 0
    assert run(*QUICK, *arguments, "--model", "own_model:make", "--output-dir", "b") == 0
    assert {path.name for path in (in_tmp / "a").iterdir()} == RUN_FILES - {"report.html"}
    weights = torch.load(in_tmp / "a" / "weights.pt", weights_only=True)
    assert {"pyro.param:decoder$$$weight", "pyro.param:noise", "pyro.param:scale"} <= weights.keys()
    evaluation = rows_of(in_tmp / "a" / "evaluation.csv")
    assert evaluation == rows_of(in_tmp / "b" / "evaluation.csv")
    loaded = load("a")
    assert loaded.vae is None
    test = load_data("table.npy").test
    bounds = compare_bounds(loaded.model, loaded.guide, test, num_samples=50)
    assert bounds.log_px.tolist() == [float(row["log_px"]) for row in evaluation]


def test_a_model_that_cannot_run_on_rows_of_zeros_is_stored_and_loaded(in_tmp):
    (in_tmp / "own_model.py").write_text(OWN_MODEL)
    np.save(in_tmp / "table.npy", np.random.default_rng(0).normal(size=(200, 5)))
    arguments = ["--data", "table.npy", "--batch-size", "50", "--model", "own_model.py:two_sites"]
    assert run(*QUICK, *arguments, "--output-dir", "a") == 0
    assert {path.name for path in (in_tmp / "a").iterdir()} == RUN_FILES - {"report.html"}
    state = torch.get_rng_state()
    loaded = load("a")
    assert torch.equal(torch.get_rng_state(), state)
    bounds = compare_bounds(loaded.model, loaded.guide, load_data("table.npy").test, num_samples=50)
    assert bounds.log_px.tolist() == [float(row["log_px"]) for row in rows_of(in_tmp / "a" / "evaluation.csv")]


def test_a_likelihood_without_a_mean_leaves_the_pictures_out_and_says_so(in_tmp):
    (in_tmp / "heavy.py").write_text(
        "import pyro.distributions as dist\nfrom torch import nn\n\n\n"
        "class NoMean(dist.Normal):\n"
        "    @property\n    def mean(self):\n        raise NotImplementedError\n\n\n"
        "class Heavy(nn.Module):\n"
        "    def __init__(self, decoder):\n        super().__init__()\n        self.decoder = decoder\n\n"
        "    def forward(self, z):\n        return NoMean(self.decoder(z), 1.0).to_event(1)\n"
    )
    np.save(in_tmp / "table.npy", np.random.default_rng(0).normal(size=(100, 5)))
    assert run(*QUICK, "--data", "table.npy", "--likelihood", "heavy.Heavy", "--output-dir", "out") == 0
    assert not (in_tmp / "out" / "samples.png").exists()
    assert "has no mean" in json.loads((in_tmp / "out" / "summary.json").read_text())["pictures"]


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


UNITS = np.random.default_rng(0).normal(size=(80, 3)) * [1e-4, 1, 1e6]
LARGE = np.random.default_rng(0).normal(size=(80, 3)) * 7e4
MANY = np.random.default_rng(0).poisson([0.1, 30, 3000], size=(80, 3))
ONE_SCALE = ["--likelihood", "Columns", "--encoder", "ColumnEncoder"]


@pytest.mark.parametrize(
    ("rows", "options", "said"),
    [
        (
            UNITS,
            ["--likelihood", "Normal"],
            "0.0001 to 9e+05: --likelihood Columns --encoder ColumnEncoder --columns '{}' takes",
        ),
        (
            UNITS,
            ["--likelihood", "Columns", "--columns", "{}"],
            "0.0001 to 9e+05: --encoder ColumnEncoder takes them to one scale",
        ),
        (UNITS, ["--likelihood", "Normal", "--stream"], "--columns '{}', without --stream takes them"),
        (UNITS, [*ONE_SCALE, "--columns", "{}"], None),
        (LARGE, ["--likelihood", "StudentT"], "values of about 7e+04: --encoder ColumnEncoder --columns '{}' takes"),
        (LARGE, ["--likelihood", "Laplace", "--encoder", "ColumnEncoder", "--columns", "{}"], None),
        (UNITS, ["--likelihood", "StudentT"], "--likelihood Columns --encoder ColumnEncoder --columns '{}' takes"),
        (
            UNITS,
            ["--likelihood", "StudentT", "--likelihood.scale", "per_dimension"],
            "9e+05: --encoder ColumnEncoder --c",
        ),
        (UNITS / [1e-4, 1, 1e6], ["--likelihood", "Normal"], None),
        (
            MANY,
            ["--likelihood", "NegativeBinomial"],
            f"counts up to {MANY.max():,}: --encoder ColumnEncoder --columns count takes",
        ),
        (MANY // 10, ["--likelihood", "NegativeBinomial"], None),
        (np.tile(UNITS[:, :, None], 4), ["--likelihood", "Normal"], None),
    ],
    ids=[
        "both",
        "encoder",
        "streamed",
        "taken",
        "tails",
        "taken tails",
        "one scale of tails",
        "scales of tails",
        "one scale",
        "counts",
        "small counts",
        "images",
    ],
)
def test_columns_too_far_apart_or_too_large_are_said_once(rows, options, said, in_tmp, capsys):
    np.save("rows.npy", rows)
    assert run("--data", "rows.npy", "--batch-size", "20", *options, *QUICK) == 0
    header = capsys.readouterr().out.split("fitted in")[0]
    assert header.count("columns have") == (said is not None)
    assert said is None or said in header


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


def grey_images(folder):
    np.save(folder / "grey.npy", np.random.default_rng(0).random((40, 8, 8)).astype("float32"))
    return ["--data", "grey.npy", "--batch-size", "10"]


def array(folder, values):
    np.save(folder / "x.npy", values)
    return ["--data", "x.npy", "--batch-size", "10", "--likelihood", "Normal"]


def text(folder, name, content):
    (folder / name).write_text(content)
    return name


def own_model(folder, factory):
    (folder / "own_model.py").write_text(OWN_MODEL)
    return ["--model", f"own_model.py:{factory}"]


def own_pair(folder, model, guide):
    (folder / "pair.py").write_text(
        "import pyro, torch\nimport pyro.distributions as dist\nfrom torch import nn\n\nlayer = nn.Linear(2, 64)\n\n\n"
        f"def model(x):\n{model}\n\n\ndef guide(x):\n{guide}\n\n\ndef make():\n    return model, guide\n"
    )
    return ["--model", "pair.py:make"]


SAMPLE = "pyro.sample('{}', dist.Normal(torch.zeros(2), pyro.param('s', torch.ones(2))).to_event(1))"
OBSERVE = "pyro.sample('x', dist.Bernoulli(logits=layer(z).reshape(-1, 1, 8, 8)).to_event(3), obs=x)"
PLATED = "    with pyro.plate('data', len(x)):\n        z = "

BAD_INPUT = {
    "grey pixels under Bernoulli": (grey_images, r"0\.\d+.*binarise the grey values.*--binarize.*such as Normal"),
    "grey digits under Bernoulli": (lambda _: ["--binarize", "none"], "binarise the grey values"),
    "NaN": (lambda f: array(f, np.full((20, 3), np.nan)), "60 values that are NaN"),
    "infinite": (lambda f: array(f, np.array([[1.0, np.inf]] * 20)), "NaN, infinite"),
    "empty": (lambda f: array(f, np.zeros((0, 3))), "holds no value"),
    "one row": (lambda f: array(f, np.zeros((1, 3))), "1 row cannot be split"),
    "no such file": (lambda _: ["--data", "nothing.npy"], "no file or folder 'nothing.npy'"),
    "no array": (lambda f: ["--data", text(f, "x.npy", "hello")], "x.npy"),
    "unknown data": (lambda _: ["--data", "mnits"], "Did you mean 'mnist'"),
    "channels last": (lambda f: array(f, np.zeros((20, 8, 8, 3))), "channels last.*np.moveaxis"),
    "unknown prior": (
        lambda _: ["--prior", "Gauss"],
        "--prior: there is no part 'Gauss' .expected one of DiagonalNormal, .*StandardNormal",
    ),
    "unknown likelihood": (
        lambda _: ["--likelihood", "Bernuoli"],
        "'Bernuoli'; did you mean Bernoulli. .expected one of Bernoulli, .*Normal",
    ),
    "unknown import path": (lambda _: ["--likelihood", "no_such.Part"], "no_such"),
    "unknown option": (lambda _: ["--latent-dmi", "3"], "unknown option --latent-dmi; did you mean --latent-dim"),
    "an option of two parts": (
        lambda _: ["--hidden-dims", "[500]"],
        "unknown option --hidden-dims; did you mean --encoder.hidden_dims and --decoder.hidden_dims?",
    ),
    "an option of a part that was given": (
        lambda _: ["--likelihood", "StudentT", "--scale-floor", "0.1"],
        "unknown option --scale-floor; did you mean --likelihood.scale_floor?",
    ),
    "unknown part option": (
        lambda _: ["--likelihood", "Normal", "--likelihood.scal", "3"],
        "--likelihood Normal has no argument 'scal'; did you mean scale. see --likelihood.help Normal",
    ),
    "an option of another part": (
        lambda _: ["--likelihood.scale", "3"],
        "--likelihood Bernoulli has no argument 'scale'",
    ),
    "a seed too large": (lambda _: ["--seed", "9000000000000000000"], "--seed 9000000000000000000: expected"),
    "a factory that fails": (
        lambda f: own_model(f, "failing"),
        r"--model own_model.py:failing: RuntimeError at own_model.py:\d+: no such table",
    ),
    "a file that is no Python": (
        lambda f: ["--model", f"{text(f, 'wrong.py', 'def f(:')}:f"],
        "--model wrong.py:f: SyntaxError.*wrong.py, line 1",
    ),
    "an option for missing entries beside a model": (
        lambda f: [*own_model(f, "make"), "--missing-indicators"],
        "--missing-indicators would be ignored",
    ),
    "a latent size beside a model that has its own": (
        lambda f: [*own_model(f, "broken"), "--latent-dim", "20"],
        "--latent-dim would be ignored",
    ),
    "options of parts beside a model": (
        lambda f: [*own_model(f, "make"), "--encoder.hidden_dims", "[3]"],
        "--encoder would be ignored",
    ),
    "half an option": (lambda _: ["--epoch", "3"], "unknown option --epoch; did you mean --epochs"),
    "option out of range": (lambda _: ["--epochs", "0"], "epochs"),
    "no number": (lambda _: ["--lr", "fast"], "lr"),
    "bad part argument": (lambda _: ["--likelihood", "Normal", "--likelihood.scale", "-1"], "positive and finite"),
    "too large a batch": (
        lambda _: ["--batch-size", "5000"],
        "--batch-size 5000 is more than the 1437 training rows: give at most 1437",
    ),
    "no such device": (lambda _: ["--device", "cuda:7"], "--device cuda:7: there is no such device here.*cpu"),
    "no device at all": (lambda _: ["--device", "abacus"], "--device abacus"),
    "no such config": (lambda _: ["--config", "none.yaml"], "--config: .*none.yaml"),
    "bad config": (
        lambda f: ["--config", text(f, "c.yaml", "latent_dmi: 3\n")],
        "key 'latent_dmi' that is no option; did you mean latent_dim",
    ),
    "kinds of columns that nobody named": (
        lambda f: [*array(f, np.zeros((20, 3))), "--likelihood", "Columns"],
        "--likelihood Columns needs to know of what kind each column is: give --columns",
    ),
    "networks for images on a table": (
        lambda f: [*array(f, np.zeros((20, 3))), "--encoder", "ConvEncoder"],
        "--encoder ConvEncoder: .*use MLP",
    ),
    "model of no form": (lambda _: ["--model", "own_model.py"], "expected file.py:factory or module:factory"),
    "model file not there": (lambda _: ["--model", "nothing.py:make"], "no file 'nothing.py'"),
    "model module not there": (lambda _: ["--model", "nothing_here:make"], "no module 'nothing_here'"),
    "factory not there": (lambda f: own_model(f, "nothing"), "has no 'nothing'"),
    "factory of something else": (lambda f: own_model(f, "broken"), r"gave a int; expected a pair \(model, guide\)"),
    "parts beside a model": (
        lambda f: [*own_model(f, "make"), "--likelihood", "Normal"],
        "--likelihood would be ignored",
    ),
    "sites that do not match": (
        lambda f: own_pair(f, f"{PLATED}{SAMPLE.format('z')}\n        {OBSERVE}", f"{PLATED}{SAMPLE.format('w')}"),
        "only in the model: 'z'; only in the guide: 'w'",
    ),
    "a latent outside the plate": (
        lambda f: own_pair(
            f,
            f"    z = {SAMPLE.format('z')}\n    with pyro.plate('data', len(x)):\n        {OBSERVE}",
            f"    z = {SAMPLE.format('z')}",
        ),
        "latent 'z' of the model is outside the data plate",
    ),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_one_clear_error(case, in_tmp, capsys):
    make, message = BAD_INPUT[case]
    arguments = make(in_tmp)
    before = {path for path in in_tmp.rglob("*") if "__pycache__" not in path.parts}
    assert run(*QUICK, *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("error: ") == 1
    assert "Traceback" not in error
    assert re.search(message, error, re.DOTALL), error
    assert {path for path in in_tmp.rglob("*") if "__pycache__" not in path.parts} == before


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


BROKEN_PARTS = """
import pyro.distributions as dist
import torch
from torch import nn


class Part(nn.Module):
    def __init__(self, decoder):
        super().__init__()
        self.decoder = decoder


class Misspelt(Part):
    def forward(self, z):
        return dist.Normal(self.decodr(z), 1.0).to_event(1)


class Sizes(Part):
    def forward(self, z):
        return dist.Normal(self.decoder(z) @ torch.ones(7, 7), 1.0).to_event(1)


class NoEvent(Part):
    def forward(self, z):
        return dist.Normal(self.decoder(z), 1.0)


class OfTorch(Part):
    def forward(self, z):
        return torch.distributions.Independent(torch.distributions.Normal(self.decoder(z), 1.0), 1)


class ATensor(Part):
    def forward(self, z):
        return self.decoder(z)


class Start(NoEvent):
    def initialize(self, rows):
        rows.nothing()


class InTraining(Part):
    def forward(self, z):
        if self.training:
            raise KeyError("mode")
        return dist.Normal(self.decoder(z), 1.0).to_event(1)


class NoSuper(nn.Module):
    def __init__(self, decoder):
        self.decoder = decoder


class Untyped(nn.Module):
    def __init__(self, width):
        super().__init__()


class NoForward(nn.Module):
    def __init__(self, latent_dim):
        super().__init__()
"""

BROKEN = {
    "likelihood Misspelt": r"likelihood\(z\) raised AttributeError: 'Misspelt' object has no attribute 'decodr'",
    "likelihood Sizes": r"likelihood\(z\) raised RuntimeError: .*8x4 and 7x7",
    "likelihood NoEvent": r"add .to_event\(1\) to the distribution",
    "likelihood OfTorch": r"likelihood\(z\) is a Independent of torch; expected a Pyro distribution: take the same",
    "likelihood ATensor": r"likelihood\(z\) is a Tensor of torch; expected a Pyro distribution: return one",
    "likelihood Start": r"starting from the data: AttributeError at broken.py:\d+: 'Tensor' object has no attribute",
    "likelihood InTraining": r"KeyError at broken.py:\d+: .*mode",
    "likelihood NoSuper": r"--likelihood NoSuper: AttributeError at broken.py:\d+: cannot assign module before",
    "prior Untyped": "--prior broken.py:Untyped: of what type is its argument 'width'. Give it a type hint",
    "prior NoForward": '--prior NoForward: NotImplementedError: .* missing the required "forward"',
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_wrong_with_a_part_of_ones_own_is_one_line(case, in_tmp, capsys):
    (in_tmp / "broken.py").write_text(BROKEN_PARTS)
    np.save(in_tmp / "table.npy", np.random.default_rng(0).normal(size=(40, 4)))
    slot, name = case.split()
    arguments = ["--data", "table.npy", "--batch-size", "16", f"--{slot}", f"broken.py:{name}"]
    likelihood = [] if slot == "likelihood" else ["--likelihood", "Normal"]
    assert run(*QUICK, *arguments, *likelihood, "--output-dir", "out") == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert re.search(BROKEN[case], error), error
    assert not (in_tmp / "out").exists()


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
