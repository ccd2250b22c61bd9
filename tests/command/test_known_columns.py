"""New rows of a table in Python, by the columns that a stored run knows."""

import csv
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from pyrovae import compare_bounds, load, load_data, save
from pyrovae.evaluate import main as evaluate_main
from pyrovae.fit import main as fit_main

QUICK = ["--epochs", "1", "--num-samples", "5", "--latent-dim", "2", "--no-report", "--quiet"]
KINDS = ["--likelihood", "Columns", "--encoder", "ColumnEncoder", "--columns", "{visits: count, group: categorical}"]
LEVELS = ("hi", "lo", "mid")  # in their order, as the command numbers them


def test_one_word_is_the_kind_of_all_columns(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    counts = np.random.default_rng(0).poisson(4, (90, 6))
    np.save("counts.npy", counts)
    table = pd.DataFrame(counts[:40], columns=list("abcdef"))
    table.to_csv("counts.csv", index=False)
    for columns in ("count", ["count"] * 6):
        assert load_data("counts.csv", columns=columns).column_kinds == ("count",) * 6
    likelihood = ["--likelihood", "NegativeBinomial", "--encoder", "ColumnEncoder"]
    runs = {"word": "count", "list": json.dumps(["count"] * 6)}
    for name, kinds in runs.items():
        options = ["--data", "counts.npy", *likelihood, "--columns", kinds, *QUICK, "--output-dir", name]
        assert fit_main(options) == 0
    assert fit_main(["--config", "word/config.yaml", "--output-dir", "again", "--quiet"]) == 0
    assert fit_main(["--resume", "word"]) == 0
    scores = [(tmp_path / name / "evaluation.csv").read_text() for name in ("word", "list", "again")]
    assert scores[0] == scores[1] == scores[2]
    assert load("word").config["columns"] == "count"
    assert load("word").column_kinds == ("count",) * 6
    np.save("new.npy", counts[:30])
    assert evaluate_main(["word", "--data", "new.npy", "--num-samples", "5", "--quiet"]) == 0
    assert fit_main(["--data", "counts.npy", *likelihood, *QUICK, "--output-dir", "none"]) == 2
    assert "one word stands for all columns, as in --columns real or --columns count" in capsys.readouterr().err
    for columns, said in (
        ("counts", "columns is 'counts'; expected one kind for all"),
        (["count"], "one word for all, such as"),
    ):
        with pytest.raises(ValueError, match=said):
            load_data("counts.npy", columns=columns)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A run on a table, one that is conditioned on a column of it, and one on an array."""
    folder = tmp_path_factory.mktemp("stored")
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"income": random.normal(size=90), "visits": random.poisson(3, 90)})
    frame["group"] = random.choice(LEVELS, 90)
    frame.to_csv(folder / "table.csv", index=False)
    np.save(folder / "array.npy", np.stack([random.normal(size=90), random.choice([2, 5, 9], 90)], 1))
    table = ["--data", str(folder / "table.csv"), *KINDS]
    given = ["--system", "conditional-vae", "--condition-columns", "group", "--likelihood", "Normal"]
    array = ["--data", str(folder / "array.npy"), *KINDS[:4], "--columns", "{'2': categorical}"]
    assert fit_main([*QUICK, *table, "--output-dir", str(folder / "table")]) == 0
    assert fit_main([*QUICK, *table, *given, "--encoder", "MLP", "--output-dir", str(folder / "given")]) == 0
    assert fit_main([*QUICK, *array, "--output-dir", str(folder / "array")]) == 0
    return folder


@pytest.fixture
def new(stored, tmp_path):
    """Rows of two groups, in a file whose columns stand in another order, and their numbers as the run has them."""
    frame = pd.read_csv(stored / "table.csv").query("group != 'hi'").head(20)
    frame[["group", "visits", "income"]].to_csv(tmp_path / "new.csv", index=False)
    numbers = [(row.income, row.visits, LEVELS.index(row.group)) for row in frame.itertuples()]
    return tmp_path / "new.csv", torch.tensor(numbers, dtype=torch.float32)


def test_new_rows_have_the_log_px_of_their_numbers(stored, new, tmp_path):
    path, rows = new
    run = load(stored / "table")
    assert run.known_columns.names == ("income", "visits", "group")
    data = load_data(path, known_columns=run.known_columns, test_fraction=1)
    torch.testing.assert_close(data.test, rows, rtol=0, atol=0)
    assert data.column_kinds == ("real", "count", "categorical(3)")
    bounds = [
        compare_bounds(run.model, run.guide, x, num_samples=20, seed=0, progress=False) for x in (data.test, rows)
    ]
    assert torch.equal(bounds[0].log_px, bounds[1].log_px)
    # The command finds the same; it draws by one seed too.
    scores = tmp_path / "scores.csv"
    arguments = [str(stored / "table"), "--data", str(path), "--all-rows", "--num-samples", "20", "--quiet"]
    assert evaluate_main([*arguments, "--output", str(scores)]) == 0
    with scores.open() as file:
        found = [float(line["log_px"]) for line in csv.DictReader(file)]
    assert found == pytest.approx(bounds[0].log_px.tolist(), abs=1e-4)
    # Numbered anew, the groups mean others.
    anew = load_data(path, columns={"group": "categorical"}, test_fraction=1)
    assert anew.categories == {"group": ("lo", "mid")}


def test_numbers_of_an_array_that_name_categories(stored, tmp_path):
    np.save(tmp_path / "new.npy", np.array([[0.5, 9], [1.5, 5]]))
    data = load_data(tmp_path / "new.npy", known_columns=load(stored / "array").known_columns, test_fraction=1)
    assert data.test.tolist() == [[0.5, 2.0], [1.5, 1.0]]


@pytest.mark.parametrize("name", ["table", "given"])
def test_what_is_saved_again_knows_the_same(name, stored, tmp_path):
    run = load(stored / name)
    save(run, tmp_path / "again")
    assert load(tmp_path / "again").known_columns == run.known_columns


def test_columns_that_are_conditioned_on_stand_behind_the_others(stored, new):
    data = load_data(new[0], known_columns=load(stored / "given").known_columns, test_fraction=1)
    assert data.column_names == ("income", "visits", "group")
    assert torch.equal(data.test, new[1])


@pytest.mark.parametrize(
    "data",
    [
        {"column_names": "income"},
        {"column_names": ["income", "visits", 3]},
        {"column_names": ["income"], "column_kinds": ["real", "count"]},
        {"column_names": ["income"], "categories": {"income": "ab"}},
    ],
)
def test_columns_that_are_none_are_refused(data, stored, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(stored / "table", folder)
    path = folder / "summary.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "data": data}))
    with pytest.raises(ValueError, match=r"summary.json: column_names, column_kinds and categories are .*; expected"):
        load(folder)


def test_runs_that_do_not_say_their_columns_know_none(stored, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(stored / "table", folder)
    path = folder / "summary.json"
    summary = json.loads(path.read_text())
    del summary["data"]["column_names"]
    path.write_text(json.dumps(summary))
    assert load(folder).known_columns is None


def test_missing_cells_are_refused_with_what_evaluate_can_do(stored, tmp_path, capsys):
    frame, rows = pd.read_csv(stored / "table.csv"), np.load(stored / "array.npy")
    parts = ["--data", str(stored / "array.npy"), "--likelihood", "Normal"]
    assert fit_main([*QUICK, *parts, "--output-dir", str(tmp_path / "plain")]) == 0
    frame.loc[3, "income"], rows[3, 0] = np.nan, np.nan
    frame.to_csv(tmp_path / "new.csv", index=False)
    np.save(tmp_path / "new.npy", rows)
    again = ", or fit again with --missing keep"
    cell = "row 5 (line of the file), column 'income' is missing (1 such cells)"
    for folder, data, place, repair in (
        (stored / "table", "new.csv", cell, again),
        # A conditional VAE takes no missing cells.
        (stored / "given", "new.csv", cell, ""),
        (tmp_path / "plain", "new.npy", "the first (nan) in row 3 at position (0,), both counted from 0", again),
    ):
        assert evaluate_main([str(folder), "--data", str(tmp_path / data), "--quiet"]) == 2
        said = capsys.readouterr().err
        assert f"{place}; the run was fitted to rows without missing cells: leave such rows out{repair}\n" in said
