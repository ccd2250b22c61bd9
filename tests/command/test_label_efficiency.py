"""``python -m pyrovae.label_efficiency``: accuracies by the number of labels."""

import csv
import math
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from processes import take_interrupts
from sklearn.linear_model import LogisticRegression

from pyrovae import load_data, plots
from pyrovae.label_efficiency import main
from pyrovae.semi_supervised.comparison import Comparison
from pyrovae.semi_supervised.comparison_settings import Settings
from pyrovae.semi_supervised.label_draws import count_labels, draw_labels
from pyrovae.semi_supervised.scores import METHODS, Result, Score, mean_scores

ROOT = Path(__file__).parents[2]
QUICK = ["--epochs", "2", "--hidden-dims", "[16]", "--latent-dim", "3", "--batch-size", "200", "--quiet"]
FILES = {"config.yaml", "label_efficiency.csv", "label_efficiency.png"}


def rows_of(folder):
    with (folder / "label_efficiency.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def accuracies(folder):
    return {(row["method"], int(row["labels"]), int(row["seed"])): float(row["accuracy"]) for row in rows_of(folder)}


@pytest.mark.ci
def test_all_methods_files_and_table(tmp_path, capsys):
    assert (
        main([*QUICK, "--epochs", "1", "--labels", "20", "0.1", "--seeds", "2", "--output-dir", str(tmp_path / "out")])
        == 0
    )
    folder, printed = tmp_path / "out", capsys.readouterr().out
    assert {path.name for path in folder.iterdir()} == FILES
    rows = rows_of(folder)
    assert list(rows[0]) == ["method", "labels", "seed", "accuracy", "seconds"]
    # A tenth of 1,258 training rows.
    found = accuracies(folder)
    assert set(found) == {(name, labels, seed) for name in METHODS for labels in (20, 126) for seed in (0, 1)}
    assert len(rows) == len(found)
    test_rows = 359
    for value in found.values():
        assert value * test_rows / 100 == pytest.approx(round(value * test_rows / 100), abs=1e-6)
    for name, title in METHODS.items():
        line = next(line for line in printed.splitlines() if line.startswith(title))
        for labels in (20, 126):
            pair = [found[name, labels, seed] for seed in (0, 1)]
            assert f"{np.mean(pair):.1f} ({np.std(pair, ddof=1) / math.sqrt(2):.2f})" in line
    with Image.open(folder / "label_efficiency.png") as picture:
        assert len(set(picture.convert("RGB").get_flattened_data())) > 100
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert (config["labels"], config["seeds"], config["data"]) == ([20, 0.1], 2, "digits")

    # The configuration runs again, and one seed gives the same numbers, whatever else is compared.
    # Both layers are trained together by as many steps as each of them, seven: two passes over 1,132 unlabelled rows.
    stacked = ["--config", str(folder / "config.yaml"), "--methods", "m1-m2", "--labels", "0.1", "--seeds", "1"]
    for passes in ("2", "0"):
        assert main([*stacked, "--fine-tune-epochs", passes, "--output-dir", str(tmp_path / passes)]) == 0
        assert (accuracies(tmp_path / passes)["m1-m2", 126, 0] == found["m1-m2", 126, 0]) is (passes == "2")
    again = ["--config", str(folder / "config.yaml"), "--methods", "m2", "m1-means", "--labels", "20", "--seeds", "1"]
    assert main([*again, "--output-dir", str(tmp_path / "again")]) == 0
    assert accuracies(tmp_path / "again") == {key: found[key] for key in [("m2", 20, 0), ("m1-means", 20, 0)]}


def test_logistic_regression_is_that_of_scikit_learn(tmp_path):
    options = ["--methods", "pixels-logistic", "--labels", "100", "--seeds", "1", "--seed", "4"]
    assert main([*QUICK, *options, "--output-dir", str(tmp_path)]) == 0
    data = load_data("digits", binarize="dynamic", seed=4, test_fraction=0.2)
    known = draw_labels(data.train_labels, 100, seed=4)
    comparison = Comparison(data, Settings())
    chosen = known >= 0
    # Training rows are bits like the test rows, drawn with the grey values as probabilities.
    assert comparison.fixed.unique().tolist() == [0, 1]
    assert float((comparison.fixed - data.train).mean()) == pytest.approx(0, abs=0.005)
    classifier = LogisticRegression(max_iter=1000).fit(comparison.fixed[chosen].flatten(1), known[chosen])
    expected = 100 * classifier.score(data.test.flatten(1), data.test_labels)
    assert accuracies(tmp_path)["pixels-logistic", 100, 4] == pytest.approx(expected)


@pytest.mark.ci
def test_every_method_learns_two_kinds_of_rows(tmp_path):
    """Real numbers in two clouds four standard deviations apart, so that their Bayes error is 2.3 %."""
    generator = np.random.default_rng(0)
    labels = np.arange(300) % 2
    x = generator.normal(size=(300, 5)) + np.where(labels[:, None] == 1, 4 / math.sqrt(5), 0)
    np.savez(tmp_path / "clouds.npz", data=x.astype(np.float32), labels=labels)
    options = [
        "--labels",
        "20",
        "--seeds",
        "1",
        "--epochs",
        "40",
        "--latent-dim",
        "2",
        "--hidden-dims",
        "[16]",
        "--quiet",
    ]
    data = ["--data", str(tmp_path / "clouds.npz"), "--lr", "0.01", "--batch-size", "50"]
    assert main([*data, *options, "--output-dir", str(tmp_path / "out")]) == 0
    for name, accuracy in accuracies(tmp_path / "out").items():
        assert accuracy > 85, name


@pytest.mark.parametrize(
    "options",
    [["--network", "conv"], pytest.param(["--network", "mlp", "--translation", "1"], marks=pytest.mark.slow)],
)
@pytest.mark.ci
def test_convolutions_and_moved_images_in_every_network(options, tmp_path, capsys):
    """A bright column of 16x16 images says the class by its place, left or right; every row moves."""
    generator = np.random.default_rng(0)
    labels = np.arange(200) % 2
    x = generator.normal(0, 0.3, size=(200, 16, 16))
    x[np.arange(200), :, 4 + 6 * labels + generator.integers(-1, 2, 200)] += 2
    np.savez(tmp_path / "columns.npz", data=x.astype(np.float32), labels=labels)
    arguments = ["--data", str(tmp_path / "columns.npz"), "--labels", "20", "--seeds", "1", "--epochs", "25"]
    arguments += [
        "--latent-dim",
        "4",
        "--m2-latent-dim",
        "3",
        "--second-latent-dim",
        "2",
        "--hidden-dims",
        "[32]",
        "--batch-size",
        "50",
    ]
    assert main([*arguments, *options, "--output-dir", str(tmp_path / "out")]) == 0
    by = "2" if "conv" in options else "1"
    assert f"networks    {options[1]}, images moved by up to {by} pixels" in capsys.readouterr().out
    for name, accuracy in accuracies(tmp_path / "out").items():
        assert accuracy > 85, name


def test_networks_are_chosen_by_the_images(tmp_path, capsys):
    assert main(["--methods", "pixels-logistic", "--seeds", "1", "--output-dir", str(tmp_path / "digits")]) == 0
    assert "\nnetworks    mlp\n" in capsys.readouterr().out
    np.savez(tmp_path / "large.npz", data=np.random.default_rng(0).normal(size=(50, 16, 16)), labels=np.arange(50) % 2)
    large = ["--data", str(tmp_path / "large.npz"), "--labels", "10", "--batch-size", "20"]
    assert main([*large, "--methods", "pixels-logistic", "--seeds", "1", "--output-dir", str(tmp_path / "out")]) == 0
    assert "\nnetworks    conv, images moved by up to 2 pixels\n" in capsys.readouterr().out


@pytest.mark.parametrize(("scale", "said"), [(1e4, True), (10.0, False)])
def test_columns_far_apart_in_scale_are_said(scale, said, tmp_path, capsys):
    """Logistic regression has a scaler, and the networks have none."""
    rows = np.random.default_rng(0).normal(size=(60, 3))
    np.savez(tmp_path / "table.npz", data=rows / rows.std(0) * [scale, 5, 5], labels=np.arange(60) % 2)
    options = ["--data", str(tmp_path / "table.npz"), "--labels", "10", "--batch-size", "20", "--seeds", "1"]
    assert main([*options, "--methods", "pixels-logistic", "--output-dir", str(tmp_path / "out")]) == 0
    remark = "columns have standard deviations from 5 to 1e+04, and all but logistic regression on pixels take them as"
    assert (remark in capsys.readouterr().out) is said


def test_labels_are_balanced_nested_and_true():
    labels = torch.from_numpy(np.random.default_rng(0).choice(4, p=[0.1, 0.2, 0.3, 0.4], size=500))
    labels[:50] = -1
    few, many = draw_labels(labels, 41, seed=1), draw_labels(labels, 120, seed=1)
    for known, count in ((few, 41), (many, 120)):
        shown = known >= 0
        assert int(shown.sum()) == count
        assert torch.equal(known[shown], labels[shown])
        per_class = known[shown].bincount(minlength=4)
        assert int(per_class.max() - per_class.min()) <= 1
    assert bool((many[few >= 0] == few[few >= 0]).all())
    assert not torch.equal(draw_labels(labels, 41, seed=2), few)
    # More than a class has: all of that class, and more of the others.
    nearly_all = draw_labels(labels, 440, seed=1)
    assert int((nearly_all == 0).sum()) == int((labels == 0).sum())
    assert count_labels(0.5, labels) == 225


def test_means_and_errors_of_the_plot():
    scores = [Score("m2", 100, 90.0, 1.5, 3), Score("m2", 1000, 95.0, math.nan, 1), Score("pc-vae", 100, 88.0, 2.0, 3)]
    (axes,) = plots.accuracy_by_labels(scores).axes
    assert axes.get_xscale() == "log"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("labelled rows", "test accuracy, %")
    shown = {container.get_label(): container for container in axes.containers}
    assert set(shown) == {METHODS["m2"], METHODS["pc-vae"]}
    line, _, (bars,) = shown[METHODS["m2"]]
    np.testing.assert_array_equal(line.get_ydata(), [90, 95])
    # A little aside from the number, so that none hides another.
    np.testing.assert_allclose(np.asarray(line.get_xdata(), float), [100, 1000], rtol=0.1)
    assert axes.get_xticks().tolist() == [100, 1000]
    first = bars.get_segments()[0]
    np.testing.assert_array_equal(np.asarray(first, float)[:, 1], [88.5, 91.5])
    # One seed says nothing of the error.
    assert math.isnan(mean_scores([Result("m2", 1000, 0, 95.0, 1.0)])[0].standard_error)
    assert mean_scores([]) == []


BAD = {
    "more labels than rows": (["--labels", "100", "2000"], ["--labels is 2,000", "give at most 1,258"]),
    "fewer labels than classes": (["--labels", "9"], ["--labels is 9", "10 classes", "give at least 10"]),
    "too small a fraction": (["--labels", "0.001"], ["--labels is 0.001, 1 of 1,258 rows", "10 classes"]),
    "half a label": (["--labels", "10.5"], ["--labels is 10.5", "whole number of rows"]),
    "no end of labels": (["--labels", "inf"], ["--labels is inf", "whole number of rows"]),
    "no data": (["--data", "mnits"], ["Did you mean 'mnist'?"]),
    "large batch": (["--batch-size", "5000"], ["--batch-size 5000: give at most 1258"]),
    "no number": (["--labels", "many"], ["--labels is many; expected a positive number"]),
    "unknown method": (["--methods", "m2", "pc-va"], ["--methods is pc-va", "did you mean pc-vae?"]),
    "small images": (["--network", "conv", "--data", "narrow.npz"], ["--network conv: rows have shape (1, 8, 3)"]),
    "moved rows of a table": (
        ["--translation", "1", "--data", "table.npz"],
        ["--translation 1: rows have shape (5,), and only images move"],
    ),
    "a class of test rows alone": (
        ["--data", "other.npz"],
        ["other.npz has test rows with the label 2, which no training row has: give training rows of this label"],
    ),
    "test rows without a label": (
        ["--data", "bare.npz"],
        ["none of the 3 test rows of bare.npz has a label; expected some to compare predictions with"],
    ),
    "unknown option": (["--label", "100"], ["unknown option --label; did you mean --labels?"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case, tmp_path, capsys, monkeypatch):
    arguments, expected = BAD[case]
    monkeypatch.chdir(tmp_path)
    labels = np.arange(40) % 2
    np.savez("narrow.npz", data=np.ones((40, 8, 3), dtype=np.float32), labels=labels)
    np.savez("table.npz", data=np.ones((40, 5), dtype=np.float32), labels=labels)
    parts = {"train": np.ones((40, 5)), "train_labels": labels, "test": np.ones((3, 5)), "test_labels": np.arange(3)}
    np.savez("other.npz", **parts)
    np.savez("bare.npz", **{**parts, "test_labels": np.full(3, -1)})
    try:
        status = main([*arguments, "--output-dir", str(tmp_path / "out")])
    except SystemExit as error:
        status = error.code
    assert status == 2
    printed = capsys.readouterr().err
    first, *rest = printed.splitlines()
    assert first.startswith("error: ")
    assert rest in ([], ["For all options: python -m pyrovae.label_efficiency --help"])
    for text in expected:
        assert text in first
    assert not (tmp_path / "out").exists()


def test_data_without_labels_are_refused(tmp_path, capsys):
    np.save(tmp_path / "bare.npy", np.random.default_rng(0).normal(size=(50, 3)))
    assert main(["--data", str(tmp_path / "bare.npy"), "--output-dir", str(tmp_path / "out")]) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert "bare.npy has no labels; expected a class for each row" in printed
    assert not (tmp_path / "out").exists()


def test_a_network_that_diverges_leaves_what_was_finished(tmp_path, capsys):
    options = ["--methods", "pixels-logistic", "pc-vae", "--lr", "1e30", "--output-dir", str(tmp_path / "out")]
    assert main([*QUICK, *options]) == 3
    printed = capsys.readouterr().err
    assert "the loss is not finite" in printed
    assert "finished before: 1 runs" in printed
    assert [row["method"] for row in rows_of(tmp_path / "out")] == ["pixels-logistic"]
    assert main([*QUICK, "--output-dir", str(tmp_path / "out")]) == 2
    assert "it holds files already" in capsys.readouterr().err


def cut_off(number, folder, *options):
    """The command in a process of its own, cut off once it has kept a fit; its status and last words."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "pyrovae.label_efficiency", *options, "--output-dir", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        preexec_fn=take_interrupts,
    )
    for _ in range(600):
        if any(folder.glob("checkpoints/*/**/step-*.pt")):
            break
        time.sleep(0.1)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    return process.returncode, (errors.splitlines() or [""])[-1]


@pytest.mark.parametrize(
    ("number", "status"),
    [pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow), pytest.param(signal.SIGINT, 130, marks=pytest.mark.ci)],
)
def test_an_interrupt_leaves_what_was_finished(number, status, tmp_path):
    folder = tmp_path / "out"
    options = ["--labels", "20", "--epochs", "3000", "--methods", "pixels-logistic", "m2", "--checkpoint-every", "0.2"]
    code, said = cut_off(number, folder, *options)
    assert code == status
    assert said == f"error: interrupted; to go on: python -m pyrovae.label_efficiency --resume {folder}"
    assert [row["method"] for row in rows_of(folder)] == ["pixels-logistic"]
    assert {path.name for path in folder.iterdir()} == FILES | {"checkpoints"}
    kept = {"config.yaml", "rows.txt", "label_efficiency.csv", "m2-20-labels-seed-0"}
    assert {path.name for path in (folder / "checkpoints").iterdir()} == kept


@pytest.mark.ci
def test_cut_off_it_goes_on_to_the_same_accuracies(tmp_path, capsys):
    folder = tmp_path / "out"
    options = ["--labels", "20", "--epochs", "3", "--seeds", "1", "--methods", "pixels-logistic", "m2", "m1-m2"]
    options += ["--hidden-dims", "[16]", "--latent-dim", "3", "--checkpoint-every", "0"]
    assert main([*options, "--quiet", "--output-dir", str(tmp_path / "whole")]) == 0
    code, _ = cut_off(signal.SIGKILL, folder, *options)
    assert code == -signal.SIGKILL
    assert len(rows_of(folder)) < 3
    capsys.readouterr()
    assert main(["--resume", str(folder), "--labels", "30"]) == 2
    assert "--labels is [30.0], and the run in" in capsys.readouterr().err
    assert main(["--resume", str(folder), "--checkpoint-every", "60"]) == 0
    assert "resumed     after" in capsys.readouterr().out
    assert accuracies(folder) == accuracies(tmp_path / "whole")
    assert {path.name for path in folder.iterdir()} == FILES
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert (config["resume"], config["overwrite"], config["labels"]) == (None, False, [20.0])
    assert main(["--resume", str(folder)]) == 0
    assert capsys.readouterr().out == f"the comparison in {folder} is complete: there is nothing to go on with\n"


def test_over_an_earlier_comparison_only_its_own_results_count(tmp_path, capsys):
    folder = tmp_path / "out"
    options = [*QUICK, "--labels", "20", "--seeds", "1", "--output-dir", str(folder)]
    assert main([*options, "--methods", "pixels-logistic", "m2"]) == 0
    before = rows_of(folder)
    config = (folder / "config.yaml").read_text()
    # As kill -9 leaves it before the first result.
    (folder / "checkpoints").mkdir()
    longer = yaml.safe_dump(yaml.safe_load(config) | {"epochs": 3, "methods": ["m2"]})
    (folder / "checkpoints" / "config.yaml").write_text(longer)
    capsys.readouterr()
    assert main(["--resume", str(folder)]) == 0
    (row,) = rows_of(folder)
    assert (row["method"], before[1]["method"]) == ("m2", "m2")
    assert row["accuracy"] != before[1]["accuracy"]
    assert yaml.safe_load((folder / "config.yaml").read_text())["epochs"] == 3


def test_other_rows_or_labels_in_the_same_file_are_refused(tmp_path, capsys):
    folder, path, draws = tmp_path / "out", tmp_path / "rows.npz", np.random.default_rng(0)
    rows, labels = draws.random((60, 4)), np.arange(60) % 2
    np.savez(path, data=rows, labels=labels)
    options = [*QUICK, "--batch-size", "20", "--labels", "10", "--data", str(path), "--output-dir", str(folder)]
    assert main([*options, "--methods", "pixels-logistic", "--seeds", "1", "--overwrite"]) == 0
    # As if it had been cut off after that result.
    (folder / "checkpoints").mkdir()
    config = yaml.safe_load((folder / "config.yaml").read_text()) | {"seeds": 2}
    (folder / "checkpoints" / "config.yaml").write_text(yaml.safe_dump(config))
    data = load_data(str(path), binarize="none", validation_fraction=0.1, test_fraction=0.2)
    checksum, of_labels = data.checksum, sha256(torch.cat([data.train_labels, data.test_labels]).numpy()).hexdigest()
    (folder / "checkpoints" / "rows.txt").write_text(f"{checksum}\n{of_labels}")
    np.savez(path, data=rows, labels=1 - labels)
    capsys.readouterr()
    assert main(["--resume", str(folder)]) == 2
    assert "rows.npz: the checksum of its labels is" in (printed := capsys.readouterr().err)
    assert f"and was {of_labels[:12]} when the comparison in" in printed
    np.savez(path, data=rows + 1, labels=labels)
    capsys.readouterr()
    assert main(["--resume", str(folder)]) == 2
    printed = capsys.readouterr().err
    assert "rows.npz: the checksum of its rows is" in printed
    assert f"and was {checksum[:12]} when the comparison in" in printed
    np.savez(path, data=rows, labels=labels)
    assert main(["--resume", str(folder)]) == 0
    assert [row["seed"] for row in rows_of(folder)] == ["0", "1"]


def test_what_cannot_be_gone_on_with_is_refused(tmp_path, capsys):
    assert main(["--resume", str(tmp_path / "none")]) == 2
    assert "no run was begun there: expected the folder of one" in capsys.readouterr().err
    folder = tmp_path / "out"
    assert main([*QUICK, "--methods", "pixels-logistic", "--output-dir", str(folder)]) == 0
    (folder / "label_efficiency.csv").write_text("method,labels\nm2,many\n")
    assert main(["--resume", str(folder)]) == 2
    assert "label_efficiency.csv does not hold results of a comparison" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_said_with_how_to_go_on(tmp_path, capsys):
    folder = tmp_path / "out"
    assert main([*QUICK, "--methods", "pixels-logistic", "--seeds", "1", "--output-dir", str(folder)]) == 0
    (folder / "checkpoints").mkdir()
    (folder / "config.yaml").rename(folder / "checkpoints" / "config.yaml")
    # Where the table belongs there is a folder, as a disk cannot be filled here.
    (folder / "label_efficiency.csv").unlink()
    (folder / "label_efficiency.csv").mkdir()
    assert main(["--resume", str(folder)]) == 4
    printed = capsys.readouterr().err
    assert "label_efficiency.csv" in printed
    assert "cannot be read or written" in printed
    assert printed.endswith(f"; to go on: python -m pyrovae.label_efficiency --resume {folder}\n")
    (folder / "label_efficiency.csv").rmdir()
    assert main(["--resume", str(folder)]) == 0
    assert len(rows_of(folder)) == 1


@pytest.mark.parametrize(
    ("file", "text", "wrong"),
    [
        ("t.csv", "a,label\n1,0\nx,1\n3,0\n", "column 'a' holds 'x', which is not a finite number"),
        ("t.csv", "a,label\n1,0\n,1\n3,0\n", "column 'a' is missing"),
        ("t.csv", "a,label\n1,cat\n2,dog\n3,cat\n", "column 'label' holds 'cat', which is not a finite number"),
        ("t.npz", None, "holds 1 values that are NaN, infinite or too large for float32"),
    ],
)
def test_only_tables_of_complete_numbers_are_taken(file, text, wrong, tmp_path, capsys):
    """Without options that the command lacks."""
    path = tmp_path / file
    if text is None:
        np.savez(path, data=np.array([[1.0], [np.nan], [2.0]]), labels=np.array([0, 1, 0]))
    else:
        path.write_text(text)
    assert main(["--data", str(path)]) == 2
    error = capsys.readouterr().err
    assert wrong in error
    assert "; this command takes tables of complete numbers only, with classes numbered from 0" in error
    assert "--missing" not in error
    assert "--columns" not in error
