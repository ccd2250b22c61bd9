"""``python -m pyrovae.fill``: rows with their missing cells filled in."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from pyrovae import impute, load, load_data
from pyrovae.fill import main
from pyrovae.fit import main as fit_main

QUICK = ["--epochs", "2", "--no-report", "--quiet", "--batch-size", "40", "--latent-dim", "2", "--num-samples", "25"]
DRAWS = {"num_samples": 60, "num_proposals": 80}
OPTIONS = ["--quiet", "--num-samples", "60", "--num-proposals", "80"]
COLUMNS = "{visits: count, group: categorical, owns: binary}"


def fitted(folder, *arguments):
    assert fit_main([*QUICK, "--missing", "keep", *map(str, arguments), "--output-dir", str(folder)]) == 0
    return folder


def mixed(rows, seed):
    """Columns of all kinds as text, with holes, of which more rows have one than a block holds."""
    random = np.random.default_rng(seed)
    z = random.normal(size=rows)
    table = pd.DataFrame(
        {
            "income": [f"{value:.2f}" for value in 30000 + 8000 * z],
            "visits": random.poisson(np.exp(1 + 0.6 * z)).astype(str),
            "label": (z > 0).astype(int).astype(str),
            "group": np.where(z + 0.3 * random.normal(size=rows) > 0, "=high", "-low"),
            "owns": (random.random(rows) < 0.5).astype(int).astype(str),
        }
    )
    holes = random.random(table.shape) < 0.2
    holes[:, 2], holes[:2] = False, False
    return table.mask(holes), holes


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A run on a table with columns of all kinds, and the file."""
    folder = tmp_path_factory.mktemp("table")
    mixed(200, 0)[0].to_csv(folder / "table.csv", index=False)
    parts = ("--columns", COLUMNS, "--likelihood", "Columns", "--encoder", "ColumnEncoder")
    return fitted(folder / "run", "--data", folder / "table.csv", *parts), folder / "table.csv"


@pytest.fixture(scope="module")
def array(tmp_path_factory):
    """A run on small images in a ``.npy`` file, and the file."""
    folder = tmp_path_factory.mktemp("array")
    x = np.random.default_rng(0).normal(size=(90, 1, 2, 3)).astype("float32")
    x[::3, 0, 1, 2] = np.nan
    np.save(folder / "rows.npy", x)
    return fitted(folder / "run", "--data", folder / "rows.npy", "--likelihood", "Normal"), folder / "rows.npy"


def as_text(file):
    return pd.read_csv(file, dtype=str, keep_default_na=False)


def test_missing_cells_alone_change_and_have_values_of_their_columns(table, tmp_path, capsys):
    run, _ = table
    filled = tmp_path / "filled.csv"
    assert main([str(run), *OPTIONS, "--output", str(filled), "--num-tables", "3"]) == 0
    before, holes = mixed(200, 0)
    assert {path.name for path in tmp_path.iterdir()} == {
        "filled.csv",
        "filled_cells.csv",
        *(f"filled_{number}.csv" for number in (1, 2, 3)),
    }
    for path in (filled, *tmp_path.glob("filled_[0-9].csv")):
        after = as_text(path)
        assert list(after) == list(before)
        assert (after.to_numpy()[~holes] == before.to_numpy()[~holes]).all()
        assert set(after["group"]) == {"=high", "-low"}
        assert set(after["owns"]) == {"0", "1"}
        assert after["visits"].str.fullmatch(r"\d+").all()
        # They are rows without holes to the run.
        load_data(path, known_columns=load(run).known_columns, test_fraction=1)
    out = capsys.readouterr().out
    assert (
        f"{holes.sum()} of 800 cells filled in, in {holes.any(1).sum()} of 200 rows; 60 draws from 80 proposals" in out
    )
    assert f"tables: {filled}, {tmp_path / 'filled_cells.csv'}, {tmp_path / 'filled_1.csv'}, " in out


def test_the_numbers_are_those_of_impute(table, tmp_path):
    run, file = table
    assert main([str(run), *OPTIONS, "--seed", "3", "--num-tables", "2", "--output", str(tmp_path / "f.csv")]) == 0
    loaded = load(run)
    data = load_data(file, missing="keep", known_columns=loaded.known_columns, test_fraction=1)
    incomplete = data.test.isnan().any(1)
    assert incomplete.sum() > 64, "more than one block"
    found = impute(loaded.model, loaded.guide, data.test[incomplete], **DRAWS, seed=3)
    cells = pd.read_csv(tmp_path / "f_cells.csv")
    holes = data.test.isnan()
    row, column = (index.numpy() for index in holes.nonzero(as_tuple=True))
    assert cells["row"].tolist() == row.tolist()
    assert cells["column"].tolist() == [data.column_names[number] for number in column]
    assert set(cells["data_checksum"]) == {data.checksum}
    of_row = incomplete.cumsum(0)[row] - 1
    np.testing.assert_allclose(cells["ess"], found.ess[of_row])
    np.testing.assert_allclose(cells["k_hat"], found.k_hat[of_row])
    assert cells["reliable"].tolist() == found.reliable[of_row].tolist()
    draws, mean = found.draws[:, holes[incomplete]].numpy(), found.mean[holes[incomplete]].numpy()
    shown = as_text(tmp_path / "f.csv")
    drawn = as_text(tmp_path / "f_2.csv")
    for number, line in cells.iterrows():
        column, values = line["column"], draws[:, number]
        in_table = shown.loc[line["row"], column]
        if column == "group":
            assert in_table == line["value"].removeprefix("'") == data.categories["group"][int(mean[number])]
            assert drawn.loc[line["row"], column] == data.categories["group"][int(values[1])]
            assert line[["standard_deviation", "quantile_0.05", "quantile_0.95"]].isna().all()
            assert line["probability"] == pytest.approx((values == mean[number]).mean())
            continue
        value = float(line["value"])
        assert float(in_table) == value
        assert float(drawn.loc[line["row"], column]) == pytest.approx(values[1], rel=1e-6)
        assert line["standard_deviation"] == pytest.approx(values.std(ddof=1), rel=1e-4)
        np.testing.assert_allclose(line["quantile_0.05"], np.sort(values)[2], rtol=1e-6)
        np.testing.assert_allclose(line["quantile_0.95"], np.sort(values)[56], rtol=1e-6)
        if column == "income":
            assert value == pytest.approx(mean[number], rel=1e-6)
            assert np.isnan(line["probability"])
        else:
            assert value in values
            assert (values < value).mean() <= 0.5 <= (values <= value).mean()
            assert line["probability"] == pytest.approx((values == value).mean())


def test_other_rows_keep_their_order_of_columns(table, tmp_path):
    run, _ = table
    before, holes = mixed(30, 1)
    order = ["group", "owns", "income", "visits"]
    before[order].to_csv(tmp_path / "new.csv", index=False)
    assert main([str(run), *OPTIONS, "--data", str(tmp_path / "new.csv"), "--output", str(tmp_path / "out.csv")]) == 0
    after = as_text(tmp_path / "out.csv")
    assert list(after) == order
    kept = ~holes[:, [list(before).index(name) for name in order]]
    assert (after.to_numpy()[kept] == before[order].to_numpy()[kept]).all()
    assert (after != "").all(axis=None)


def test_a_table_without_names(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 3)).round(3)
    x[5:20, 1] = np.nan
    pd.DataFrame(x).to_csv(tmp_path / "bare.csv", index=False, header=False)
    run = fitted(tmp_path / "run", "--data", tmp_path / "bare.csv", "--likelihood", "Normal")
    assert main([str(run), *OPTIONS]) == 0
    after = pd.read_csv(run / "filled.csv", header=None).to_numpy()
    np.testing.assert_array_equal(after[~np.isnan(x)], x[~np.isnan(x)])
    cells = pd.read_csv(run / "filled_cells.csv")
    np.testing.assert_array_equal(after[np.isnan(x)], cells["value"])
    assert set(cells["column"]) == {"x[1]"}


def test_an_array_is_filled_as_one(array):
    run, file = array
    assert main([str(run), *OPTIONS, "--num-tables", "1", "--overwrite"]) == 0
    before = np.load(file)
    holes = np.isnan(before)
    cells = pd.read_csv(run / "filled_cells.csv")
    assert set(cells["column"]) == {"x[0, 1, 2]"}
    for name in ("filled.npy", "filled_1.npy"):
        after = np.load(run / name)
        assert after.dtype == np.float32
        np.testing.assert_array_equal(after[~holes], before[~holes])
        assert np.isfinite(after).all()
    np.testing.assert_allclose(np.load(run / "filled.npy")[holes], cells["value"], rtol=1e-6)


def test_all_streamed_rows_are_filled(tmp_path):
    x = np.random.default_rng(0).normal(size=(12_000, 2)).astype("float32")
    x[[5, 11_990], [0, 1]] = np.nan
    np.save(tmp_path / "many.npy", x)
    arguments = ("--data", tmp_path / "many.npy", "--likelihood", "Normal", "--stream", "--batch-size", "4000")
    run = fitted(tmp_path / "run", *arguments)
    assert main([str(run), *OPTIONS]) == 0
    filled = np.load(run / "filled.npy")
    assert np.isfinite(filled).all()
    np.testing.assert_array_equal(filled[np.isfinite(x)], x[np.isfinite(x)])
    assert pd.read_csv(run / "filled_cells.csv")["row"].tolist() == [5, 11_990]


def test_files_of_before(array, capsys, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(array[0], run)
    assert main([str(run), *OPTIONS, "--overwrite"]) == 0
    state = torch.get_rng_state()
    first = (run / "filled.npy").read_bytes()
    assert main([str(run), *OPTIONS]) == 2
    assert "filled.npy is there already: give another --output, or --overwrite" in capsys.readouterr().err
    assert main([str(run), *OPTIONS, "--overwrite"]) == 0
    assert (run / "filled.npy").read_bytes() == first
    assert torch.equal(torch.get_rng_state(), state)
    # Another run in the folder has other rows.
    arguments = ("--data", array[1], "--likelihood", "Normal", "--overwrite")
    fitted(run, *arguments)
    assert not list(run.glob("filled*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "out.npy"], "is filled in as a .csv file; give a name with this ending"),
        (["--output", "table.csv", "--overwrite"], "these are the rows that are filled in; give another name"),
        (["--output", "run/evaluation.csv"], "it is a file of a run; give another name"),
        (["--output", "nowhere/out.csv"], "there is no folder nowhere; make it first"),
        (["--num-tables", "61"], "--num-tables 61 is more than --num-samples 60"),
        (["--data", "whole.csv"], "whole.csv has no missing cell: there is nothing to fill in"),
        (["--data", "nowhere.csv", "--output", "there.csv", "--overwrite"], "There is no file or folder 'nowhere.csv'"),
    ],
)
def test_what_is_refused(table, capsys, monkeypatch, arguments, message):
    run, file = table
    monkeypatch.chdir(file.parent)
    mixed(30, 1)[0].dropna().to_csv("whole.csv", index=False)
    (file.parent / "there.csv").touch()
    before = sorted(file.parent.rglob("*"))
    assert main([str(run), *OPTIONS, *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert sorted(file.parent.rglob("*")) == before


def test_runs_that_cannot_fill(tmp_path, capsys):
    x = np.random.default_rng(0).normal(size=(60, 3))
    np.save(tmp_path / "rows.npy", x)
    fit = [*QUICK, "--data", str(tmp_path / "rows.npy"), "--likelihood", "Normal"]
    assert fit_main([*fit, "--output-dir", str(tmp_path / "vae")]) == 0
    assert main([str(tmp_path / "vae"), *OPTIONS]) == 2
    assert "rows.npy has no missing cell: there is nothing to fill in" in capsys.readouterr().err
    np.save(tmp_path / "holes.npy", np.where(x > 2, np.nan, x))
    assert main([str(tmp_path / "vae"), *OPTIONS, "--data", str(tmp_path / "holes.npy")]) == 2
    assert "the run was fitted to rows without missing cells" in capsys.readouterr().err
    scored = QUICK.index("--num-samples")
    autoencoder = [*fit[:scored], *fit[scored + 2 : -2], "--system", "autoencoder"]
    assert fit_main([*autoencoder, "--output-dir", str(tmp_path / "autoencoder")]) == 0
    assert main([str(tmp_path / "autoencoder"), *OPTIONS]) == 2
    assert "an autoencoder has no p(x)" in capsys.readouterr().err
    assert main(["nowhere"]) == 2
    assert "nowhere is no run folder: there is no such folder" in capsys.readouterr().err
