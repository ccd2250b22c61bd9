"""``--missing-indicators``: the encoder sees which entries are missing."""

import numpy as np
import pytest
import torch

from pyrovae import load
from pyrovae.fit import main

QUICK = [
    "--epochs",
    "1",
    "--num-samples",
    "30",
    "--no-report",
    "--quiet",
    "--batch-size",
    "20",
    "--likelihood",
    "Normal",
]


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    values = random.normal(size=(60, 4))
    values[random.random(values.shape) < 0.2] = np.nan
    values[np.isnan(values).all(1)] = 0
    np.save("x.npy", values)
    return ["--data", "x.npy"]


@pytest.mark.parametrize("prior", ["StandardNormal", "VampPrior"])
def test_the_encoder_takes_twice_as_many_numbers(table, prior):
    options = [] if prior == "StandardNormal" else ["--prior.num_pseudo_inputs", "10"]
    arguments = ["--missing", "keep", "--missing-indicators", "--output-dir", "out", "--prior", prior, *options]
    assert main([*QUICK, *table, *arguments]) == 0
    vae = load("out").vae
    seen = []
    vae.posterior.posterior.encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    vae.encode(torch.tensor([[1.0, torch.nan, 2.0, torch.nan]]))
    assert seen[0].shape == (1, 8)
    assert seen[0][0, 4:].tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "full.npy"], "it needs --missing keep"),
        (
            ["--missing", "keep", "--encoder", "ColumnEncoder", "--columns", "[real, real, real, real]"],
            "--encoder ColumnEncoder takes missing entries as they are; leave it out",
        ),
    ],
)
def test_where_it_would_do_nothing(table, arguments, message, capsys):
    np.save("full.npy", np.zeros((60, 4)))
    if "--columns" in arguments:
        np.savetxt("x.csv", np.load("x.npy"), delimiter=",", header="a,b,c,d", comments="")
        table = ["--data", "x.csv"]
    assert main([*QUICK, *table, *arguments, "--missing-indicators"]) == 2
    assert message in capsys.readouterr().err
