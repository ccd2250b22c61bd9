"""``python -m pyrovae.fit --stream``: the numbers of the same rows in memory, from the first to the last command."""

import csv
import os
import re

import numpy as np
import pytest
import torch
import yaml

from pyrovae import compare, evaluate, fit, look
from pyrovae.data import StreamedRows

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (300, 4, 3), dtype=np.uint8)
QUICK = ["--epochs", "2", "--num-samples", "30", "--latent-dim", "3", "--no-report", "--quiet"]


def run(command, *arguments: str) -> int:
    """A command in this process; argparse leaves by SystemExit."""
    try:
        return command.main(list(arguments))
    except SystemExit as stop:
        return stop.code


@pytest.fixture
def in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "x.npy", IMAGES)
    return tmp_path


def table(folder, name) -> list[dict[str, str]]:
    """A table of a run, without times."""
    with (folder / name).open() as file:
        return [{key: text for key, text in line.items() if key != "seconds"} for line in csv.DictReader(file)]


def said(capsys) -> str:
    """What was printed, without times and folders."""
    return re.sub(r"fitted in \d+ s|(run folder|table): .*", "", capsys.readouterr().out)


def test_all_commands_give_the_numbers_of_rows_in_memory(in_tmp, capsys):
    printed = {}
    for folder, options in (("plain", []), ("streamed", ["--stream"])):
        given = ["--data", "x.npy", "--likelihood", "Normal", "--output-dir", folder, *QUICK, *options]
        assert run(fit, *given) == 0
        assert run(evaluate, folder, "--num-samples", "40", "--quiet") == 0
        printed[folder] = said(capsys)
    assert "240 train, 30 validation, 30 test" in printed["plain"]
    assert "uint8 / 255" in printed["plain"]
    assert printed["streamed"] == printed["plain"]
    plain, ours = in_tmp / "plain", in_tmp / "streamed"
    for name, lines in (("metrics.csv", 2), ("evaluation.csv", 30), ("evaluation-40.csv", 30)):
        assert len(table(ours, name)) == lines
        assert table(ours, name) == table(plain, name)
    weights, same = (torch.load(folder / "weights.pt", weights_only=True) for folder in (plain, ours))
    assert all(torch.equal(weights[name], same[name]) for name in weights)
    pictures = [path.name for path in plain.glob("*.png")]
    assert sorted(pictures) == ["learning_curves.png", "reconstructions.png", "samples.png"]
    for name in pictures:
        assert (ours / name).read_bytes() == (plain / name).read_bytes()

    assert run(compare, "plain", "streamed") == 0
    out = capsys.readouterr().out
    assert "plain cannot be told from streamed" in out
    assert "stream True" not in out
    assert run(look, "streamed", "--rows", "3", "1") == 0
    assert re.search("drawn: .*interpolation.png, traversals.png, variants.png", capsys.readouterr().out)
    assert yaml.safe_load((ours / "config.yaml").read_text())["stream"] is True
    # Other rows of a table that cannot stream are scored in memory.
    np.savez(in_tmp / "other.npz", data=IMAGES[:40])
    assert run(evaluate, "streamed", "--data", "other.npz", "--num-samples", "30", "--quiet") == 0
    np.save(in_tmp / "x.npy", IMAGES[::-1].copy())
    assert run(evaluate, "streamed", "--num-samples", "30", "--quiet") == 2
    assert "x.npy does not hold the rows that the run was fitted to any more" in capsys.readouterr().err


def test_a_file_cut_off_during_the_fit_leaves_what_it_goes_on_from(in_tmp, capsys, monkeypatch):
    """Its checkpoints were removed, as those of a run with bad input."""
    images = RANDOM.integers(0, 256, (3000, 2, 2), dtype=np.uint8)
    np.save(in_tmp / "x.npy", images)
    options = ["--data", "x.npy", "--stream", "--likelihood", "Normal", *QUICK, "--checkpoint-every", "0"]
    assert run(fit, *options, "--output-dir", "whole") == 0
    read = StreamedRows.__getitem__

    def read_and_cut(rows, index):
        if list(in_tmp.glob("cut/checkpoints/fit/step-*.pt")):
            os.truncate("x.npy", 1000)
        return read(rows, index)

    with monkeypatch.context() as during:
        during.setattr(StreamedRows, "__getitem__", read_and_cut)
        assert run(fit, *options, "--output-dir", "cut") == 4
    error = capsys.readouterr().err
    assert re.fullmatch(r"error: x.npy has become shorter, .*; to go on: python -m pyrovae.fit --resume cut\n", error)
    # The second training row is none of the thousand that a fit compares.
    changed, second = images.copy(), torch.randperm(3000, generator=torch.Generator().manual_seed(0))[1]
    changed[second] = 255 - changed[second]
    np.save(in_tmp / "x.npy", changed)
    assert run(fit, "--resume", "cut") == 2
    assert "x.npy does not hold the rows that the run in cut began with any more" in capsys.readouterr().err
    np.save(in_tmp / "x.npy", images)
    assert run(fit, "--resume", "cut") == 0
    assert "resumed     from step" in capsys.readouterr().out
    for name in ("metrics.csv", "evaluation.csv"):
        assert table(in_tmp / "cut", name) == table(in_tmp / "whole", name)


def test_missing_entries_stream(in_tmp, capsys):
    rows = RANDOM.normal(size=(300, 4))
    rows[:, 1:][RANDOM.random((300, 3)) < 0.2] = np.nan
    np.save(in_tmp / "x.npy", rows)
    tables = []
    for folder, options in (("plain", []), ("streamed", ["--stream"])):
        given = ["--data", "x.npy", "--likelihood", "Normal", "--missing", "keep", "--output-dir", folder, *QUICK]
        assert run(fit, *given, *options) == 0
        tables.append([table(in_tmp / folder, name) for name in ("metrics.csv", "evaluation.csv")])
    assert tables[0] == tables[1]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--data", "digits"], r"stream=True \(--stream\) reads rows of a .npy file when they are needed, and digits"),
        (["--binarize", "dynamic"], r"\(--binarize dynamic\) changes them: leave one of the two out"),
        (["--columns", "{'1': count}"], r"columns \(--columns\) numbers the categories"),
        (
            ["--system", "autoencoder"],
            "takes no --stream, as it is fitted to rows in memory: .* --system vae or two-la",
        ),
        (["--system", "conditional-vae"], "takes no --stream, as c is put behind its rows in memory"),
    ],
    ids=lambda value: value[1] if isinstance(value, list) else "",
)
def test_what_cannot_stream_is_refused(options, reason, in_tmp, capsys):
    assert run(fit, "--data", "x.npy", "--output-dir", "out", "--stream", *options) == 2
    error = capsys.readouterr().err
    assert re.match(f"error: .*{reason}", error), error
    assert error.count("\n") == 1
    assert not (in_tmp / "out").exists()


def test_grey_values_under_bits_are_refused_as_in_memory(in_tmp, capsys):
    errors = []
    for options in ([], ["--stream"]):
        assert run(fit, "--data", "x.npy", "--output-dir", "out", *QUICK, *options) == 2
        errors.append(capsys.readouterr().err)
    assert "is no density for these data" in errors[0]
    assert errors[1] == errors[0]
