"""New images of a stored run have the scale of those that it was fitted to."""

import json

import numpy as np
import pytest
import torch

from pyrovae import load, load_data
from pyrovae.command_line import rows_of_run
from pyrovae.fit import main as fit_main

QUICK = ["--epochs", "1", "--num-samples", "5", "--latent-dim", "2", "--no-report", "--quiet", "--likelihood"]
RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (90, 4, 4)).astype(np.uint8)
DARK = RANDOM.integers(0, 2, (30, 4, 4)).astype(np.uint8)


def fitted(folder, rows, *options):
    np.save(folder / "rows.npy", rows)
    run = folder / "run"
    assert fit_main(["--data", str(folder / "rows.npy"), *QUICK, *options, "--output-dir", str(run)]) == 0
    return run


def new_rows(run, folder, rows):
    np.save(folder / "new.npy", rows)
    return rows_of_run(load(run), run, data=str(folder / "new.npy"), all_rows=True).data.test[:][:, 0]


@pytest.mark.parametrize(
    "options", [["Normal"], ["Normal", "--stream"], ["Bernoulli", "--binarize", "threshold"]], ids=" ".join
)
def test_dark_images_are_divided_as_those_of_the_run_were(tmp_path, options):
    run = fitted(tmp_path, GREY, *options)
    expected = torch.from_numpy(DARK) / 255
    assert torch.equal(new_rows(run, tmp_path, DARK), (expected > 0.5).float() if "--binarize" in options else expected)


def test_runs_of_earlier_versions_say_in_words_that_they_divided(tmp_path):
    run = fitted(tmp_path, GREY, "Normal")
    summary = json.loads((run / "summary.json").read_text())
    assert summary["data"].pop("divided") is True
    (run / "summary.json").write_text(json.dumps(summary))
    assert torch.equal(new_rows(run, tmp_path, DARK), torch.from_numpy(DARK) / 255)


@pytest.mark.parametrize("rows", [GREY % 2, GREY.astype(np.float32)], ids=["bits", "floats to 255"])
def test_images_of_a_run_that_took_values_as_stored_are_not_divided(tmp_path, rows):
    run = fitted(tmp_path, rows, "Normal")
    assert torch.equal(new_rows(run, tmp_path, GREY[:9]), torch.from_numpy(GREY[:9]).float())


def test_another_scale_is_said(tmp_path, capsys):
    run = fitted(tmp_path, GREY, "Normal")
    capsys.readouterr()
    new_rows(run, tmp_path, GREY[:9].astype(np.float32))
    said = capsys.readouterr().out
    assert said.startswith("new.npy has values from ")
    assert said.count("\n") == 1
    assert "the run was fitted to lie in [0, 1]: bring them to the same scale, grey values for example by x / 2" in said
    new_rows(run, tmp_path, 1.2 * GREY[:9].astype(np.float32) / 255)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_asked_for_goes_before_what_is_found(tmp_path, stream):
    path = tmp_path / "rows.npy"
    for rows, divided in ((DARK, True), (DARK, False), (GREY, True), (GREY, False)):
        np.save(path, rows)
        data = load_data(path, divided=divided, stream=stream, test_fraction=1)
        assert data.divided is divided
        assert torch.equal(data.test[:][:, 0], torch.from_numpy(rows) / (255 if divided else 1))
        assert load_data(path, stream=stream).divided is (rows is GREY)
    np.save(path, GREY.astype(np.float32))
    assert load_data(path, divided=True, stream=stream, test_fraction=1).divided is None
