"""``python -m pyrovae.encode``: the codes of rows as a table."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from pyrovae import load, load_data
from pyrovae.encode import main
from pyrovae.fit import main as fit_main

QUICK = ["--epochs", "1", "--no-report", "--quiet", "--batch-size", "80", "--latent-dim", "2"]
LABELS = """
import pyro, torch
import pyro.distributions as dist


class Pair(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.logits = torch.nn.Linear(3, 2)

    def model(self, x):
        pyro.module("pair", self)
        with pyro.plate("data", len(x), dim=-1):
            k = pyro.sample("k", dist.Categorical(torch.ones(2)))
            pyro.sample("x", dist.Normal(k[..., None].float() * torch.ones(3), 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("k", dist.Categorical(logits=self.logits(x)))


def make():
    pair = Pair()
    return pair.model, pair.guide
"""


def fitted(folder, *arguments):
    assert fit_main([*QUICK, "--num-samples", "5", *map(str, arguments), "--output-dir", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return fitted(tmp_path_factory.mktemp("digits") / "run")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A run on a table with a column of words, and the file."""
    path = tmp_path_factory.mktemp("table") / "table.csv"
    numbers = np.random.default_rng(0).normal(size=(200, 2))
    pd.DataFrame({"a": numbers[:, 0], "b": numbers[:, 1], "kind": ["low", "high"] * 100}).to_csv(path, index=False)
    parts = ("--likelihood", "Columns", "--encoder", "ColumnEncoder", "--columns", "{kind: categorical}")
    return fitted(path.parent / "run", "--data", path, *parts), path


def test_the_test_rows_of_a_run(digits, capsys):
    before = {file.name for file in digits.iterdir()}
    assert main([str(digits)]) == 0
    assert {file.name for file in digits.iterdir()} - before == {"codes.csv"}
    codes = pd.read_csv(digits / "codes.csv", index_col="row")
    data = load_data("digits", binarize="dynamic", seed=0)
    q = load(digits).vae.encode(data.test)
    assert codes["label"].tolist() == data.test_labels.tolist()
    np.testing.assert_allclose(codes[["z[0]", "z[1]"]], q.mean.detach(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(codes.filter(like="deviation"), q.stddev.detach(), rtol=1e-5, atol=1e-6)
    assert set(codes["data_checksum"]) == {data.checksum}
    out = capsys.readouterr().out
    assert "180 rows, mean of q(z|x) and its standard deviation for each latent dimension" in out
    assert f"table: {digits / 'codes.csv'}" in out
    assert main([str(digits)]) == 2
    assert "is there already: give another --output, or --overwrite" in capsys.readouterr().err
    assert main([str(digits), "--overwrite"]) == 0


def test_all_rows_of_a_table_in_their_order(table, tmp_path):
    run, path = table
    place = tmp_path / "codes.csv"
    assert main([str(run), "--data", str(path), "--all-rows", "--output", str(place), "--quiet"]) == 0
    codes = pd.read_csv(place, index_col="row")
    stored = load(run)
    rows = load_data(path, known_columns=stored.known_columns, test_fraction=1).test
    assert len(codes) == 200
    np.testing.assert_allclose(codes["z[0]"], stored.vae.encode(rows).mean[:, 0].detach(), rtol=1e-5, atol=1e-6)


def test_an_autoencoder_has_codes_without_a_spread(tmp_path, capsys):
    run = tmp_path / "run"
    assert fit_main([*QUICK, "--system", "autoencoder", "--output-dir", str(run)]) == 0
    assert main([str(run)]) == 0
    codes = pd.read_csv(run / "codes.csv", index_col="row")
    assert list(codes) == ["label", "z[0]", "z[1]", "data_name", "data_variant", "data_seed", "data_checksum"]
    test = load_data("digits", seed=0).test
    with torch.no_grad():
        np.testing.assert_allclose(codes[["z[0]", "z[1]"]], load(run).autoencoder.encode(test), rtol=1e-5, atol=1e-5)
    assert "the code of the autoencoder" in capsys.readouterr().out


def test_a_run_that_is_fitted_again_has_no_codes_of_the_old_weights(tmp_path):
    run = fitted(tmp_path / "run")
    assert main([str(run)]) == 0
    fitted(run, "--overwrite")
    assert not (run / "codes.csv").exists()


def test_a_two_layer_vae_has_codes_of_both_layers(tmp_path):
    run = fitted(tmp_path / "run", "--system", "two-layer-vae", "--upper-dim", 1)
    assert main([str(run), "--num-samples", "20"]) == 0
    codes = pd.read_csv(run / "codes.csv", index_col="row")
    assert {"z1[0]", "z1[1]", "z2[0]", "z2[0]_standard_error"} <= set(codes)


def test_labels_have_the_names_of_folders(tmp_path):
    for number, name in enumerate(["cats", "=dogs"]):
        (tmp_path / "images" / name).mkdir(parents=True)
        for image in range(60):
            values = np.full((4, 4), 40 * number + image, dtype=np.uint8)
            Image.fromarray(values).save(tmp_path / "images" / name / f"{image}.png")
    run = fitted(tmp_path / "run", "--data", tmp_path / "images", "--likelihood", "Normal")
    assert main([str(run)]) == 0
    # What a spreadsheet would run begins with an apostrophe.
    assert set(pd.read_csv(run / "codes.csv")["label"]) == {"cats", "'=dogs"}


def test_labels_as_latents_are_no_codes(tmp_path, capsys):
    (tmp_path / "pair.py").write_text(LABELS)
    np.save(tmp_path / "table.npy", np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32))
    given = [
        "--data",
        str(tmp_path / "table.npy"),
        "--model",
        f"{tmp_path / 'pair.py'}:make",
        "--objective",
        "Trace_ELBO",
    ]
    assert fit_main([*QUICK[:-2], *given, "--output-dir", str(tmp_path / "run")]) == 0
    assert main([str(tmp_path / "run")]) == 2
    assert "no latent has a code: of latent 'k', its values are labels" in capsys.readouterr().err
    assert not (tmp_path / "run" / "codes.csv").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--all-rows"], "add --data, or leave --all-rows out"),
        (["--output", "nowhere/codes.csv"], "there is no folder nowhere; make it first"),
        (["--output", "."], "it is a folder; expected a place for a CSV file"),
        (["--num-samples", "1"], "one draw says nothing of a standard deviation"),
    ],
)
def test_what_cannot_be_is_refused(digits, options, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([str(digits), "--output", "codes.csv", *options]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
