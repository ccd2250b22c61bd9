"""``python -m pyrovae.look``: the pictures of stored runs."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from pyrovae import VAE, ConditionalVAE, Run, likelihoods, load, load_data, networks, posteriors, priors
from pyrovae.fit import main as fit_main
from pyrovae.look import main as look_main
from pyrovae.models import Autoencoder
from pyrovae.pictures import PICTURE_FILES, PictureOptions, draw_pictures
from pyrovae.pictures.conditional import Conditional
from pyrovae.runs import ModelRows, model_rows

QUICK = [
    "--num-samples",
    "5",
    "--epochs",
    "1",
    "--no-report",
    "--quiet",
    "--encoder.hidden_dims",
    "[8]",
    "--decoder.hidden_dims",
    "[8]",
]
PAIR = """
import pyro, torch
import pyro.distributions as dist


class Pair(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = torch.nn.Linear(3, 2), torch.nn.Linear(2, 3)

    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            code = pyro.sample("code", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.down(code), 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("code", dist.Normal(self.up(x), 0.5).to_event(1))


def make():
    pair = Pair()
    return pair.model, pair.guide
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Stored runs: digits with two latent dimensions, a table without labels, and a pair of programs."""
    path = tmp_path_factory.mktemp("runs")
    np.save(path / "table.npy", np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32))
    (path / "pair.py").write_text(PAIR)
    table = ["--data", str(path / "table.npy"), "--batch-size", "80"]
    quick = QUICK[:5]
    assert fit_main([*QUICK, "--latent-dim", "2", "--output-dir", str(path / "digits")]) == 0
    assert (
        fit_main([*QUICK, *table, "--likelihood", "Normal", "--latent-dim", "3", "--output-dir", str(path / "table")])
        == 0
    )
    assert fit_main([*quick, *table, "--model", f"{path / 'pair.py'}:make", "--output-dir", str(path / "pair")]) == 0
    return path


def test_all_pictures_of_a_run_with_labels_and_two_dimensions(folder, capsys):
    run = folder / "digits"
    before = {file.name: file.read_bytes() for file in run.iterdir()}
    assert look_main([str(run)]) == 0
    for name in PICTURE_FILES:
        picture = Image.open(run / name)
        assert np.asarray(picture).std() > 5
        assert picture.info["Description"].startswith("data name: digits; data variant: binarised")
        assert load_data("digits", binarize="dynamic").checksum in picture.info["Description"]
    assert {name: (run / name).read_bytes() for name in before} == before
    text = capsys.readouterr().out
    assert f"drawn: {', '.join(PICTURE_FILES)}" in text
    assert "left out" not in text
    # They are there now: refused, replaced on demand, and gone with the run that they belong to.
    assert look_main([str(run)]) == 2
    assert "latent_space.png, latent_histograms.png" in capsys.readouterr().err
    assert look_main([str(run), "--overwrite", "--rows", "5", "--dims", "1"]) == 0
    assert "left out: interpolation.png: one row has none to go to: give --rows two or more" in capsys.readouterr().out
    assert not (run / "interpolation.png").exists()
    assert fit_main([*QUICK, "--latent-dim", "2", "--output-dir", str(run), "--overwrite"]) == 0
    assert not (run / "latent_space.png").exists()


def test_a_table_without_labels(folder, tmp_path, capsys):
    assert look_main([str(folder / "table"), "--output-dir", str(tmp_path / "new" / "pictures")]) == 0
    drawn = {file.name for file in (tmp_path / "new" / "pictures").iterdir()}
    assert drawn == set(PICTURE_FILES) - {"manifold.png", "class_samples.png"}
    text = capsys.readouterr().out
    assert "left out: manifold.png: the latent has 3 dimensions; a manifold is drawn of two" in text
    assert "left out: class_samples.png: table.npy has no labels" in text


def test_a_run_with_one_test_row_says_what_it_lacks(tmp_path, capsys):
    np.save(tmp_path / "few.npy", np.random.default_rng(0).normal(size=(10, 3)).astype("float32"))
    run = str(tmp_path / "run")
    data = ["--data", str(tmp_path / "few.npy"), "--likelihood", "Normal"]
    assert fit_main([*data, "--epochs", "1", "--num-samples", "25", "--no-report", "--output-dir", run, "--quiet"]) == 0
    assert look_main([run]) == 2
    assert "this is one test row: give a run with a larger --test-fraction" in capsys.readouterr().err


def test_a_pair_of_programs_has_the_pictures_of_its_latents(folder, tmp_path, capsys):
    assert look_main([str(folder / "pair"), "--output-dir", str(tmp_path)]) == 0
    assert {file.name for file in tmp_path.iterdir()} == {"latent_space.png", "latent_histograms.png"}
    left_out = [line for line in capsys.readouterr().out.splitlines() if line.startswith("left out")]
    assert len(left_out) == 1
    assert "variants.png: the run is of a pair of programs of your own" in left_out[0]


def test_the_points_are_the_posterior_means_and_the_same_seed_gives_the_same_pictures(folder):
    run = load(folder / "digits")
    data = load_data("digits", binarize="dynamic")
    rows = model_rows(run.config, data)
    state = torch.get_rng_state()
    first, second = (draw_pictures(run, rows, PictureOptions(), torch.device("cpu")) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    points = np.asarray(first.figures["latent_space.png"].axes[0].collections[0].get_offsets())
    np.testing.assert_allclose(points, run.vae.encode(data.test).mean.detach(), atol=1e-6)
    for name in ("variants.png", "class_samples.png"):
        shown = [np.asarray(pictures.figures[name].axes[0].images[0].get_array()) for pictures in (first, second)]
        np.testing.assert_array_equal(*shown)
    names = [label.get_text() for label in first.figures["class_samples.png"].axes[0].get_yticklabels()]
    assert names == [f"class {name}" for name in range(10)]
    (title,) = {axes.get_title(loc="left") for axes in first.figures["class_samples.png"].axes}
    assert title == "mean of p(x|z), z from the mixture of q(z|x) over the test rows of a class"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere is no run folder: there is no such folder"),
        (["digits", "--rows", "3", "180"], "--rows 3 180: expected numbers of test rows, 0 to 179"),
        (["digits", "--num-rows", "1"], "this is one test row: give --num-rows 2 or more"),
        (["digits", "--dims", "2"], "--dims 2: expected latent dimensions, 0 to 1"),
        (["digits", "--seed", str(2**32)], "expected a whole number below 2**32"),
        (["digits", "--device", "gpu"], "--device gpu: there is no such device"),
        (["digits", "--output-dir", "table.npy/x"], "it cannot be made"),
        (["moved"], "does not hold the rows that the run was fitted to any more"),
    ],
)
def test_bad_input_ends_with_one_line_and_writes_nothing(folder, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(folder)
    if arguments == ["moved"]:
        shutil.copytree("digits", "moved")
        config = yaml.safe_load(Path("moved/config.yaml").read_text())
        Path("moved/config.yaml").write_text(yaml.safe_dump({**config, "test_fraction": 0.2}))
    before = sorted(folder.rglob("*"))
    assert look_main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--method", "lda", "--method is lda; expected one of pca, tsne, umap"),
        ("--rows", "-1", "--rows"),
        ("--num-rows", "0", "--num-rows"),
    ],
)
def test_values_that_an_option_does_not_take(folder, capsys, option, value, message):
    with pytest.raises(SystemExit) as end:
        look_main([str(folder / "digits"), option, value])
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_umap_that_is_not_installed(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    assert look_main([str(folder / "digits"), "--method", "umap"]) == 2
    assert "pip install 'pyrovae[umap]'" in capsys.readouterr().err


def test_a_posterior_without_a_mean_leaves_out_lines_and_traverses_from_the_prior():
    flow = posteriors.Flow(3, encoder=networks.MLP((1, 8, 8), 2 * 3, (8,)))
    vae = VAE(priors.StandardNormal(3), likelihoods.Bernoulli(networks.MLP(3, (1, 8, 8), (8,))), flow)
    data = load_data("digits", binarize="static")
    pictures = draw_pictures(
        Run(vae.model, vae.guide, {"system": "vae"}, (1, 8, 8)),
        ModelRows(data, data.train, data.validation, data.test, None),
        PictureOptions(dims=[2], num_rows=30),
        torch.device("cpu"),
    )
    assert set(pictures.left_out) == {"interpolation.png", "manifold.png"}
    assert "no mean in closed form" in pictures.left_out["interpolation.png"]
    (axes,) = pictures.figures["traversals.png"].axes
    assert axes.get_title(loc="left").endswith("the others at the medians of the prior")
    assert len(axes.get_yticks()) == 1


def test_an_autoencoder_is_drawn_in_evaluation_mode_and_left_in_its_own():
    autoencoder = Autoencoder(networks.MLP((1, 8, 8), 2, (8,), normalization="batch"), networks.MLP(2, (1, 8, 8), (8,)))
    autoencoder.decoder.eval()
    modes = {name: part.training for name, part in autoencoder.named_modules()}
    data = load_data("digits", binarize="static")
    pictures = draw_pictures(
        Run(autoencoder.model, autoencoder.guide, {"system": "autoencoder"}, (1, 8, 8)),
        ModelRows(data, data.train, data.validation, data.test, None),
        PictureOptions(num_rows=30),
        torch.device("cpu"),
    )
    assert {name: part.training for name, part in autoencoder.named_modules()} == modes
    points = np.asarray(pictures.figures["latent_space.png"].axes[0].collections[0].get_offsets())
    np.testing.assert_allclose(points, autoencoder.eval().encode(data.test[:30]), atol=1e-6)


SYSTEMS = {
    "autoencoder": {"latent_space.png", "latent_histograms.png", "interpolation.png"},
    "conditional-vae": {"latent_space.png", "latent_histograms.png", "class_samples.png", "variants.png"},
    "two-layer-vae": {"latent_space.png", "latent_histograms.png"},
}


@pytest.mark.parametrize("system", SYSTEMS)
def test_other_systems_have_the_pictures_that_apply(system, tmp_path, capsys):
    options = ["--system", system, "--epochs", "1", "--latent-dim", "2", "--quiet", "--output-dir", str(tmp_path)]
    assert fit_main([*options, *([] if system == "autoencoder" else ["--num-samples", "10"])]) == 0
    weights = (tmp_path / "weights.pt").read_bytes()
    capsys.readouterr()
    assert look_main([str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert {name for name in PICTURE_FILES if (tmp_path / name).exists()} == SYSTEMS[system]
    (left_out,) = (line for line in printed.splitlines() if line.startswith("left out: "))
    assert all(name in left_out for name in set(PICTURE_FILES) - SYSTEMS[system])
    assert (tmp_path / "weights.pt").read_bytes() == weights


def test_variants_of_a_conditional_vae_are_named_by_their_class():
    vae = ConditionalVAE(
        priors.StandardNormal(2),
        likelihoods.Bernoulli(networks.MLP(2 + 10, (1, 8, 8))),
        posteriors.DiagonalNormal(networks.MLP(64 + 10, 2 * 2)),
        (1, 8, 8),
        10,
    )
    data = load_data("digits", binarize="static")
    joined = [vae.join(x, y) for x, y in ((data.train, data.train_labels), (data.test, data.test_labels))]
    rows = ModelRows(data, joined[0], joined[1], joined[1], None)
    pictures = Conditional(vae, rows, [f"label={name}" for name in range(10)], [4, 7], torch.device("cpu"))
    (axes,) = pictures.variants().axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["data", *(f"as {name}" for name in range(10))]
    shown = np.asarray(axes.images[0].get_array())
    # The second line, the fourth picture: test row 7 as a three, without the white lines between pictures.
    x, c = data.test[[7]], vae.split(rows.test[[7]])[1]
    expected = vae.variants(x, c, torch.tensor([3]))[0, 0]
    assert any(
        np.allclose(shown[top : top + 8, left : left + 8], expected, atol=1e-6)
        for top in range(shown.shape[0] - 7)
        for left in range(shown.shape[1] - 7)
    )
