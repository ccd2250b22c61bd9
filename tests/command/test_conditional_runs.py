"""``python -m pyrovae.fit --system conditional-vae``: classes and columns that rows are conditioned on."""

import dataclasses
import json

import numpy as np
import pytest
import torch
import yaml
from fit_runs import rows_of, run
from PIL import Image
from system_runs import SCORED, summary_of, write_table

from pyrovae import compare_bounds, load, load_data
from pyrovae.compare import main as compare
from pyrovae.data import label_covariates
from pyrovae.evaluate import main as evaluate


def test_log_px_given_the_class_is_that_of_joined_rows(in_tmp, capsys):
    assert run("--system", "conditional-vae", *SCORED, "--latent-dim", "3", "--output-dir", "out") == 0
    said = capsys.readouterr().out
    assert "log p(x|c)  " in said
    assert "log p(x) " not in said
    assert "given the label" in said
    loaded, data = load("out"), load_data("digits", binarize="dynamic")
    joined = loaded.module.join(data.test, data.test_labels)
    bounds = compare_bounds(loaded.model, loaded.guide, joined, num_samples=20, seed=0)
    table = rows_of(in_tmp / "out" / "evaluation.csv")
    assert [float(row["log_px"]) for row in table] == pytest.approx(bounds.log_px.tolist(), abs=1e-9)
    assert summary_of(in_tmp / "out")["evaluation"]["of"] == "log p(x|c)"
    assert run("out", "--num-samples", "30", "--quiet", command=evaluate) == 0
    assert "log p(x|c)  " in capsys.readouterr().out
    again = compare_bounds(loaded.model, loaded.guide, joined, num_samples=30, seed=0).log_px
    rows = rows_of(in_tmp / "out" / "evaluation-30.csv")
    assert [float(row["log_px"]) for row in rows] == pytest.approx(again.tolist(), abs=1e-4)
    # A line for each class in the picture of samples, so it is nearly as high as wide.
    with Image.open(in_tmp / "out" / "samples.png") as picture:
        assert picture.height > 0.7 * picture.width
    assert run(*SCORED, "--latent-dim", "3", "--output-dir", "plain") == 0
    capsys.readouterr()
    assert run("out", "plain", command=compare) == 0
    said = capsys.readouterr().out
    assert "out is told c of each row, and its numbers are of log p(x|c)" in said
    assert "is better than" not in said


def write_classes(folder, levels):
    """Images of some classes, each of its own grey."""
    generator = np.random.default_rng(0)
    for name, level in levels.items():
        (folder / name).mkdir(parents=True)
        for number in range(12):
            grey = generator.normal(level, 10, (6, 6)).clip(0, 255).astype(np.uint8)
            Image.fromarray(grey).save(folder / name / f"{number}.png")


def test_folders_of_other_data_are_the_classes_of_their_names(in_tmp, capsys):
    levels = {"cat": 40, "dog": 120, "horse": 200}
    write_classes(in_tmp / "train", levels)
    write_classes(in_tmp / "new", {"dog": 120, "horse": 200})
    options = ["--system", "conditional-vae", "--data", "train", "--likelihood", "Normal", *SCORED]
    assert run(*options, "--output-dir", "out") == 0
    assert "given c     label=cat, label=dog, label=horse" in capsys.readouterr().out
    other = ["--data", "new", "--all-rows", "--num-samples", "20", "--quiet"]
    assert run("out", *other, "--output", "new.csv", command=evaluate) == 0
    found = [float(row["log_px"]) for row in rows_of(in_tmp / "new.csv")]
    loaded, rows = load("out"), load_data("new", test_fraction=1).test
    true_class = torch.tensor([1] * 12 + [2] * 12)
    bounds = compare_bounds(loaded.model, loaded.guide, loaded.module.join(rows, true_class), num_samples=20, seed=0)
    assert found == pytest.approx(bounds.log_px.tolist(), abs=1e-4)
    write_classes(in_tmp / "birds", {"bird": 250, "cat": 40})
    capsys.readouterr()
    assert run("out", "--data", "birds", "--all-rows", command=evaluate) == 2
    said = capsys.readouterr().err
    assert "birds has rows with the label bird, which no training row has (cat, dog, horse)" in said
    # Runs of earlier versions know numbers alone, and their own rows are still theirs.
    summary = summary_of(in_tmp / "out")
    del summary["data"]["label_names"]
    numbers = {f"label={number}": "binary" for number in range(3)}
    summary["covariates"] = summary["data"]["covariates"] = numbers
    data = dataclasses.replace(load_data("train"), label_names=())
    summary["data"]["covariates_checksum"] = label_covariates(data).checksum
    (in_tmp / "out" / "summary.json").write_text(json.dumps(summary))
    assert run("out", "--num-samples", "20", "--quiet", "--output", "own.csv", command=evaluate) == 0
    own = [float(row["log_px"]) for row in rows_of(in_tmp / "own.csv")]
    first = [float(row["log_px"]) for row in rows_of(in_tmp / "out" / "evaluation.csv")]
    assert own == pytest.approx(first, abs=1e-4)
    assert "by their numbers alone" not in capsys.readouterr().out
    assert run("out", *other, "--output", "by_number.csv", command=evaluate) == 0
    remark = "the run knows its classes by their numbers alone, and folders are numbered here: dog is 0, horse is 1"
    assert remark in capsys.readouterr().out


def score_numbers(folder, capsys, labels, rows, run_folder):
    """The status, the scores where there are any, and what was said of rows with numbers for classes."""
    np.savez(folder / "numbered.npz", x=rows, y=labels)
    capsys.readouterr()
    options = [
        "--data",
        "numbered.npz",
        "--all-rows",
        "--num-samples",
        "20",
        "--quiet",
        "--output",
        "n.csv",
        "--overwrite",
    ]
    status = run(run_folder, *options, command=evaluate)
    scores = [float(row["log_px"]) for row in rows_of(folder / "n.csv")] if status == 0 else None
    said = capsys.readouterr()
    return status, scores, said.out + said.err


def test_numbers_are_the_classes_of_folders_in_their_order(in_tmp, capsys):
    write_classes(in_tmp / "train", {"cat": 40, "dog": 120, "horse": 200})
    options = ["--system", "conditional-vae", "--data", "train", "--likelihood", "Normal", *SCORED]
    assert run(*options, "--output-dir", "out") == 0
    rows, labels = load_data("train", test_fraction=1).test, np.repeat([0, 1, 2], 12)
    loaded = load("out")
    # Two classes only, so that the numbers are not those of the classes that are there.
    for kept in (labels >= 0, labels > 0):
        status, scores, said = score_numbers(in_tmp, capsys, labels[kept], rows.numpy()[kept], "out")
        assert status == 0, said
        assert "classes by their names, and numbers are taken in this order: cat is 0, dog is 1, horse is 2\n" in said
        joined = loaded.module.join(rows[kept], torch.as_tensor(labels[kept]))
        bounds = compare_bounds(loaded.model, loaded.guide, joined, num_samples=20, seed=0)
        assert scores == pytest.approx(bounds.log_px.tolist(), abs=1e-4)
    status, _, said = score_numbers(in_tmp, capsys, labels + 1, rows.numpy(), "out")
    assert status == 2
    assert "numbered.npz has rows with the label 3, and the run knows the classes of 3 folders" in said
    assert "number the classes from 0 to 2 in the order cat, dog, horse" in said


def test_numbers_are_refused_where_folders_have_numbers_for_names(in_tmp, capsys):
    options = ["--system", "conditional-vae", "--likelihood", "Normal", *SCORED]
    for folder, levels in (("mixed", {"10": 40, "cat": 120}), ("digits", {"0": 40, "1": 120})):
        write_classes(in_tmp / folder, levels)
        assert run(*options, "--data", str(in_tmp / folder), "--output-dir", f"out_{folder}") == 0
        rows = load_data(in_tmp / folder, test_fraction=1).test.numpy()
        status, _, said = score_numbers(in_tmp, capsys, np.repeat([0, 1], 12), rows, f"out_{folder}")
        if folder == "mixed":
            assert status == 2
            assert "the run knows its classes by the names of folders (10, cat), and numbered.npz has numbers" in said
        else:
            assert status == 0
            assert "by their names" not in said


def test_columns_of_a_table_are_conditioned_on(in_tmp, capsys):
    write_table(in_tmp / "people.csv")
    table = ["--data", "people.csv", "--columns", "{group: categorical}", "--likelihood", "Normal"]
    options = [*table, "--system", "conditional-vae", "--latent-dim", "2", *SCORED]
    assert run(*options, "--condition-columns", "age", "group", "--output-dir", "out") == 0
    said = capsys.readouterr().out
    assert "shape       (3,)" in said
    assert "given c     age, group=u, group=v, group=w" in said
    data = load_data("people.csv", columns={"group": "categorical"})
    loaded = load("out")
    assert loaded.data_shape == (3,)
    c = torch.cat([data.test[:, :1], torch.nn.functional.one_hot(data.test[:, 1].long(), 3)], 1)
    bounds = compare_bounds(loaded.model, loaded.guide, loaded.module.join(data.test[:, 2:], c), num_samples=20, seed=0)
    rows = rows_of(in_tmp / "out" / "evaluation.csv")
    assert [float(row["log_px"]) for row in rows] == pytest.approx(bounds.log_px.tolist(), abs=1e-9)
    assert run("out", "--quiet", command=evaluate) == 0
    assert yaml.safe_load((in_tmp / "out" / "config.yaml").read_text())["condition_columns"] == ["age", "group"]
    assert run("--config", "out/config.yaml", "--output-dir", "again") == 0
    assert rows_of(in_tmp / "again" / "evaluation.csv") == rows
    # The same rows x with another c are not the rows of the run.
    text = (in_tmp / "people.csv").read_text()
    changed = "\n".join(f"{line.split(',')[0]},0.5,{line.split(',', 2)[2]}" for line in text.splitlines()[1:])
    (in_tmp / "people.csv").write_text(f"{text.splitlines()[0]}\n{changed}\n")
    capsys.readouterr()
    assert run("out", "--num-samples", "7", command=evaluate) == 2
    assert "does not hold the rows that the run was fitted to any more" in capsys.readouterr().err


def test_parts_that_look_at_whole_rows_serve_conditional_runs(in_tmp):
    images = ["--encoder", "ConvEncoder", "--decoder", "ConvDecoder", "--prior", "VampPrior"]
    options = ["--prior.num_pseudo_inputs", "20", "--epochs", "1", "--num-samples", "5", "--quiet"]
    assert run("--system", "conditional-vae", *images, *options, "--corruption", "masking", "--output-dir", "a") == 0
    assert load("a").module.prior.pseudo_inputs.shape == (20, 74)
    write_table(in_tmp / "people.csv")
    columns = ["--columns", "{group: categorical}", "--encoder", "ColumnEncoder", "--likelihood", "Columns"]
    given = ["--condition-columns", "group", "--epochs", "1", "--num-samples", "5", "--quiet"]
    table = ["--system", "conditional-vae", "--data", "people.csv"]
    assert run(*table, *columns, *given, "--output-dir", "b") == 0
    # Standardised by what the training rows say: the columns of c are binary, those of x real.
    kinds = load("b").module.posterior.encoder.column_kinds
    assert kinds == ("real", "real", "real", "real", "binary", "binary", "binary")
