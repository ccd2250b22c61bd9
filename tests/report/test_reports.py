"""``report.html`` of every kind of run: what it shows, and what it says that it cannot show."""

import json
import re
import shlex
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from pages import read_page
from processes import take_interrupts
from terminals import OnATerminal

from pyrovae import load, load_data
from pyrovae.compare import main as compare
from pyrovae.evaluate import main as evaluate
from pyrovae.fit import main as fit
from pyrovae.pictures.decoded import Decoded
from pyrovae.report import comparison_page
from pyrovae.report.page import picture

SECTIONS = [
    *("Did it train?", "How good is it?", "Can I believe the number?", "What was run", "Learning curves"),
    *("The gap, and the bound against K", "Which rows to believe", "Reconstructions", "New rows from the prior"),
    *("Between two rows", "The latent space"),
]
NETWORKS = ["--encoder.hidden_dims", "[10]", "--decoder.hidden_dims", "[10]", "--latent-dim", "2"]
QUICK = ["--epochs", "3", "--batch-size", "16", "--quiet"]
SCORED = [*QUICK, *NETWORKS, "--num-samples", "50"]
NORMAL = [*SCORED, "--likelihood", "Normal"]

OWN_MODEL = """
import pyro
import pyro.distributions as dist
import torch
from torch import nn


def make(data_shape, latent_dim):
    encoder, decoder = nn.Linear(2, 2 * latent_dim), nn.Linear(latent_dim, 2)

    def model(x):
        pyro.module("decoder", decoder)
        with pyro.plate("rows", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(latent_dim), 1.0).expand([len(x), latent_dim]).to_event(1))
            pyro.sample("x", dist.Normal(decoder(z), 0.5).to_event(1), obs=x)

    def guide(x):
        pyro.module("encoder", encoder)
        with pyro.plate("rows", len(x), dim=-1):
            mean, scale = encoder(x).chunk(2, -1)
            pyro.sample("z", dist.Normal(mean, scale.exp()).to_event(1))

    return model, guide
"""


ROOT = Path(__file__).parents[2]


@pytest.fixture
def in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    np.save("two.npy", generator.normal(size=(80, 2)).astype("float32"))
    grey, colour = (generator.random((60, channels, 6, 6)).astype("float32") for channels in (1, 3))
    np.savez("two_classes.npz", data=grey, labels=np.arange(60) % 2)
    np.savez("one_class.npz", data=colour, labels=np.zeros(60, dtype=int))
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def report(folder, *arguments, status=0):
    assert fit([*arguments, "--output-dir", str(folder)]) == status
    page = read_page(folder / "report.html")
    return page, " ".join(page.text.split())


def test_the_first_screen_and_all_sections_of_images(in_tmp):
    page, text = report(in_tmp / "out", "--data", "digits", *SCORED, "--batch-size", "64")
    assert page.titles == SECTIONS
    summary = json.loads((in_tmp / "out" / "summary.json").read_text())
    means = summary["evaluation"]["nats_per_row"]
    assert f"log p(x) {means['log_px']['mean']:.2f} \u00b1 {means['log_px']['standard_error_rows']:.2f}" in text
    for name in means:
        assert all(f"{means[name][key]:.3f}" in text for key in ("mean", "standard_error_rows"))
    assert summary["evaluation"]["verdict"] in text
    first = text.index("What was run")
    assert text.index(summary["evaluation"]["verdict"]) < first
    assert text.index("Signs of trouble") < first
    for k, bound in summary["evaluation"]["bound_by_draws"].items():
        assert f"{int(k):,}{bound:.3f}" in text
    assert len(page.images) == 13
    assert text.count("Not shown:") == 1
    assert f"python -m pyrovae.evaluate {in_tmp / 'out'} --gap" in text
    shown = page.pictures()
    assert all(len(set(picture.convert("L").resize((40, 40)).tobytes())) > 2 for picture in shown.values())
    assert "the test rows with the largest k-hat as images" in shown
    # Below reconstructions, new rows and what lies between two rows.
    assert text.count("of data that are 0 or 1 it is the probability of a 1.") == 3
    worst = np.genfromtxt(in_tmp / "out" / "evaluation.csv", delimiter=",", names=True, usecols=range(12))["k_hat"]
    assert f"rows {np.argmax(np.nan_to_num(worst, nan=np.inf))}," in text


KINDS = {
    "one class, one latent, colours": (
        ["--data", "one_class.npz", *NORMAL, "--latent-dim", "1"],
        [
            "All rows that are shown are of one class, 0.",
            "a plane \u2013 the latent has one dimension, and its histogram",
        ],
    ),
    "a model of one's own, streamed": (
        *(["--data", "two.npy", "--stream", *QUICK, "--model", "own.py:make", "--latent-dim", "2"],),
        ["the run is of a pair of programs of your own", "own.py:make, of two.npy", "a row of shape 2 is no image"],
    ),
    "conditional": (
        ["--data", "two_classes.npz", *NORMAL, "--system", "conditional-vae"],
        [
            *("log p(x|c)", "log p(x|c) of the row is then likely too low", "the run is of a conditional VAE"),
            *("it estimates KL(q(z|x, c) || p(z|x, c)), how far", "is the mean of p(x|z, c) at it"),
        ],
    ),
    "two layers, too few draws": (
        ["--data", "two.npy", *NORMAL, "--system", "two-layer-vae", "--num-samples", "10"],
        ["the run is of a two-layer VAE", "of 3 latent dimensions", "no row of 8 has a k-hat", "It cannot be judged"],
    ),
}


@pytest.mark.parametrize(("arguments", "said"), KINDS.values(), ids=KINDS)
def test_every_kind_of_run_has_all_sections_and_says_what_cannot_be_drawn(in_tmp, arguments, said):
    (in_tmp / "own.py").write_text(OWN_MODEL)
    page, text = report(in_tmp / "out", *arguments)
    assert page.titles == SECTIONS
    for sentence in said:
        assert sentence in text
    assert "Error:" not in text
    if "conditional-vae" in arguments:
        assert not re.search(r"p\(x\|z\)|q\(z\|x\)|p\(z\|x\)", text)


@pytest.mark.parametrize(
    "more",
    [["--corruption", "masking", "--pretrain-epochs", "1"], ["--data", "two.npy"]],
    ids=["denoising, stacked", "plain, a table"],
)
def test_an_autoencoder_has_no_density_and_says_so(in_tmp, more):
    page, text = report(in_tmp / "out", "--data", "one_class.npz", *QUICK, *NETWORKS, "--system", "autoencoder", *more)
    assert page.titles[:3] == SECTIONS[:3]
    assert "No ELBO and no log p(x): an autoencoder has no p(x), as nothing says how probable a code is" in text
    assert "Not shown: gap, k-hat and the bound against K \u2013 an autoencoder has no p(x)" in text
    assert "Not shown: new rows" in text
    assert ("Run outDenoising stacked autoencoder of" in text) == ("--corruption" in more)
    assert ("histograms of the latent dimensions by class" in page.pictures()) == ("two.npy" not in more)
    assert "the probability of a 1" not in text
    assert "an autoencoder has no distribution of codes, so there is no KL" in text
    mean = json.loads((in_tmp / "out" / "summary.json").read_text())["reconstruction"]["loss"]["mean"]
    assert f"{mean:.4f}" in text
    assert ("Layers were fitted one by one first" in text) == ("--pretrain-epochs" in more)
    assert len(page.images) >= 4


@pytest.mark.parametrize("system", ["vae", "autoencoder"])
def test_a_fit_that_broke_off_leaves_a_report_that_says_so(in_tmp, system):
    given = NORMAL if system == "vae" else [*QUICK, *NETWORKS]
    page, text = report(in_tmp / "out", "--data", "two.npy", *given, "--system", system, "--lr", "1e30", status=3)
    assert "No, it broke off" in text
    assert "not finite at epoch 1" in text
    assert "pictures of the model \u2013 the fit broke off" in text
    assert not page.images
    assert (in_tmp / "out" / "weights.pt").exists()


def interrupted(folder, *arguments, epochs):
    """A fit in a process of its own that gets SIGINT after so many epochs, or within the first for 0."""
    started = OnATerminal(
        [sys.executable, "-m", "pyrovae.fit", *arguments, "--output-dir", str(folder)],
        preexec_fn=take_interrupts,
        env={"PYTHONPATH": f"{ROOT}:.", "PATH": "/usr/bin:/bin", "HOME": str(folder.parent), "OMP_NUM_THREADS": "1"},
    )
    # An epoch ends with the score of the validation rows.
    started.wait_for(r"validation -?\d" if epochs else r"\| [1-9]\d*/\d+ steps")
    started.process.send_signal(signal.SIGINT)
    # A terminal ends its lines in another way, and long ones where its width ends.
    error = started.finish().replace("\r\n", "\n")
    assert started.process.returncode == 130, error
    assert "Traceback" not in error
    assert f"error: interrupted; to go on: python -m pyrovae.fit --resume {folder}" in error
    page = read_page(folder / "report.html")
    return page, " ".join(page.text.split())


ENDLESS = [*NETWORKS, "--epochs", "100000", "--step", "plain"]


@pytest.mark.ci
def test_an_interrupted_run_has_a_report_of_what_it_reached(in_tmp):
    folder = in_tmp / "out"
    given = ["--data", "two.npy", *ENDLESS, "--batch-size", "16", "--likelihood", "Normal", "--latent-dim", "1"]
    page, text = interrupted(folder, *given, epochs=1)
    history = pd.read_csv(folder / "metrics.csv")
    assert page.titles == SECTIONS
    assert f"Not to its endIt was interrupted after {len(history):,} of 100,000 epochs, and can go on." in text
    assert "Not knownThe test rows were not scored." in text
    assert f"To go on with it:python -m pyrovae.fit --resume {folder}" in text
    for what in (
        "gap histogram, and the bound against the number of draws",
        "k-hat of the rows, and the worst of them",
    ):
        assert f"Not shown: {what} \u2013 the run was interrupted before its test rows were scored" in text
    # Beside them no classes, and no plane of one latent.
    assert text.count("Not shown:") == 4
    # Three curves, rows and new rows, the line between two, the KL of the latent and its histogram.
    assert len(page.images) == 8
    assert "Error" not in text


@pytest.mark.slow
def test_a_run_that_is_interrupted_in_its_first_epoch_says_that_there_is_nothing_to_draw(in_tmp):
    np.save("many.npy", np.random.default_rng(0).normal(size=(40_000, 2)).astype("float32"))
    given = ["--data", "many.npy", *ENDLESS, "--batch-size", "2", "--likelihood", "Normal"]
    page, text = interrupted(in_tmp / "out", *given, epochs=0)
    assert "It was interrupted after 0 of 100,000 epochs" in text
    assert "Not shown: learning curves \u2013 no epoch was finished" in text
    assert text.count("Not shown: pictures of the model \u2013 no epoch was finished") == 4
    assert not page.images


@pytest.mark.slow
def test_an_interrupted_autoencoder_has_a_report_too(in_tmp):
    given = [
        "--data",
        "one_class.npz",
        *NETWORKS,
        "--epochs",
        "100000",
        "--batch-size",
        "16",
        "--system",
        "autoencoder",
    ]
    page, text = interrupted(in_tmp / "out", *given, "--corruption", "masking", epochs=1)
    assert "Not to its endIt was interrupted after" in text
    assert "squared error of corrupted rows" in text
    assert len(page.images) >= 4


def test_a_table_of_two_columns_with_hostile_names_and_200_latents(in_tmp):
    name = "<script>alert(1)<b>.csv"
    header = 'a<i>,"<img src=http://example.org/x onerror=alert(1)>"'
    rows = "\n".join(f"{a},{b}" for a, b in np.random.default_rng(0).normal(size=(60, 2)))
    (in_tmp / name).write_text(f"{header}\n{rows}\n")
    page, text = report(in_tmp / "</title><h1>out", "--data", name, *NORMAL, "--latent-dim", "200")
    assert page.titles == SECTIONS
    assert name in text
    assert "<img src=http://example.org/x onerror=alert(1)>" in text
    assert page.elements.count("h1") == 1
    for sentence in ("a row of shape 2 is no image", "the data have no labels", "its values are shown"):
        assert sentence in text
    assert "of 200 latent dimensions" in text


def test_categories_are_written_by_their_names_and_counts_whole(in_tmp):
    """The first test rows of the page against the words and numbers of the file."""
    rng = np.random.default_rng(0)
    cities, counts = rng.choice(["Rome", "Oslo", "Wien, AT"], 120), rng.integers(10_000, 99_999, 120)
    lines = [f'"{city}",{count}' for city, count in zip(cities, counts, strict=True)]
    (in_tmp / "people.csv").write_text("\n".join(["city,visits", *lines]) + "\n")
    options = ["--data", "people.csv", "--columns", "{city: categorical, visits: count}", "--likelihood", "Columns"]
    page, text = report(in_tmp / "out", *options, "--batch-size", "20", "--epochs", "1", "--num-samples", "20")
    assert "city: Oslo; Rome; Wien, AT" in text
    html = (in_tmp / "out" / "report.html").read_text()
    written = re.findall(r"<td>(Oslo|Rome|Wien, AT)</td><td>(\d+)</td>", html)
    assert len(written) == 8
    assert set(written) <= {(city, str(count)) for city, count in zip(cities, counts, strict=True)}
    assert page.titles == SECTIONS


@pytest.mark.parametrize(("likelihood", "named"), [("Columns", True), ("Bernoulli", False)])
def test_a_mean_of_two_categories_is_no_category(likelihood, named, in_tmp):
    """Under a likelihood that does not know of the categories the mean of their numbers is drawn as it is."""
    rng = np.random.default_rng(0)
    lines = [f"{a},{b}" for a, b in rng.choice(["no", "yes"], (80, 2))]
    (in_tmp / "two.csv").write_text("\n".join(["a,b", *lines]) + "\n")
    options = ["--columns", "{a: categorical, b: categorical}", "--likelihood", likelihood, "--latent-dim", "2"]
    options += ["--epochs", "1", "--num-samples", "20", "--no-report", "--quiet", "--output-dir", "run"]
    assert fit(["--data", "two.csv", *options]) == 0
    run = load("run")
    data = load_data("two.csv", columns={"a": "categorical", "b": "categorical"})
    figure = Decoded(run.vae, data, [0, 1], torch.device("cpu")).manifold()
    assert ("most probable" in figure.get_suptitle()) == named
    assert (figure.axes[0].images[0].get_cmap().N == 2) == named


@pytest.mark.ci
def test_several_runs_have_one_page_with_the_halves_of_the_gap_where_they_were_computed(in_tmp, capsys):
    assert fit(["--data", "two.npy", *NORMAL, "--output-dir", "b"]) == 0
    shutil.copytree("b", "a<b>")
    assert evaluate(["b", "--num-samples", "60", "--gap", "--quiet"]) == 0
    capsys.readouterr()
    assert compare(["a<b>", "b", "--html", "both.html"]) == 0
    said = capsys.readouterr().out
    page = read_page(in_tmp / "both.html")
    text = " ".join(page.text.split())
    assert page.titles[1:] == ["The fits", "Learning curves", "The bound against K", "The gap"]
    assert said.splitlines()[-1] in text
    for line in said.splitlines()[1:3]:
        assert all(number in text for number in line.split())
    # Three terms of two runs, one picture of the bounds, two of the gaps.
    assert len(page.images) == 9
    assert "Not shown: the two halves of the gap of a<b> " in text
    assert "python -m pyrovae.evaluate b" not in text
    # A table of more draws without the halves counts; the command that is advised makes one that counts instead.
    assert evaluate(["a<b>", "--num-samples", "70", "--quiet"]) == 0
    for advice in (
        "python -m pyrovae.evaluate 'a<b>' --num-samples 50 --gap --output 'a<b>/evaluation-50-gap.csv'",
        "python -m pyrovae.evaluate 'a<b>' --num-samples 70 --gap --output 'a<b>/evaluation-70-gap.csv'",
    ):
        assert advice in text
        assert evaluate(shlex.split(advice)[3:]) == 0
        assert compare(["a<b>", "b", "--html", "both.html"]) == 0
        text = " ".join(read_page(in_tmp / "both.html").text.split())
    assert "Not shown" not in text
    (in_tmp / "a<b>" / "metrics.csv").unlink()
    assert compare(["a<b>", "b", "--html", "both.html"]) == 0
    assert "Not shown: learning curves of a<b>" in read_page(in_tmp / "both.html").text
    assert compare(["a<b>", "b", "--html", "nowhere/both.html"]) == 2
    assert "--html nowhere/both.html: there is no folder nowhere" in capsys.readouterr().err


def test_the_page_of_several_runs_advises_in_options(tmp_path):
    sign = "try a KL warm-up (beta=Linear()), free bits (TraceMeanField_ELBO(free_bits=0.1)) or a weaker decoder."
    (tmp_path / "summary.json").write_text(json.dumps({"training": {"signs_of_trouble": [sign]}}))
    _, said = comparison_page._fits([str(tmp_path)]).blocks
    assert said == (
        f"{tmp_path}, sign of trouble: try a KL warm-up (--beta-schedule linear), free bits (--free-bits 0.1) or a "
        "weaker decoder."
    )


def test_curves_of_runs_with_long_names_are_named_below_and_not_cut(in_tmp, monkeypatch):
    names = [f"{'a name of a run that is rather long, ' * 2}number {number} of these" for number in (1, 2)]
    assert fit(["--data", "two.npy", *NORMAL, "--no-report", "--output-dir", names[0]]) == 0
    shutil.copytree(names[0], names[1])
    drawn = []

    def keep(figure, *said):
        figure.draw_without_rendering()
        box = figure.axes[0].title.get_window_extent()
        drawn.append(0 <= box.x0 < box.x1 <= figure.bbox.width)
        return picture(figure, *said)

    monkeypatch.setattr(comparison_page, "picture", keep)
    assert compare([*names, "--html", "both.html"]) == 0
    html = (in_tmp / "both.html").read_text()
    # Three terms and the gap.
    assert [html.count(f"<figcaption>{name}</figcaption>") for name in names] == [4, 4]
    assert drawn == [True] * 9


def test_a_likelihood_that_fails_while_it_is_drawn_loses_nothing_else(in_tmp):
    (in_tmp / "odd.py").write_text(
        "import pyro.distributions as dist\nfrom torch import nn\n\n\n"
        "class NoMean(dist.Normal):\n"
        "    @property\n    def mean(self):\n        raise ZeroDivisionError('<b>no</b>')\n\n\n"
        "class Odd(nn.Module):\n"
        "    def __init__(self, decoder):\n        super().__init__()\n        self.decoder = decoder\n\n"
        "    def forward(self, z):\n        return NoMean(self.decoder(z), 1.0).to_event(1)\n"
    )
    page, text = report(in_tmp / "out", "--data", "two.npy", *SCORED, "--likelihood", "odd.Odd")
    assert "Not shown: reconstructions \u2013 ZeroDivisionError: <b>no</b>" in text
    assert page.titles == SECTIONS
    assert {"weights.pt", "metrics.csv", "evaluation.csv"} <= {path.name for path in (in_tmp / "out").iterdir()}
