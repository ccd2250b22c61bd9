"""Files of runs that are damaged, of another kind, version or data set; text that a table may not run."""

import io
import json
import pickle
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from pyrovae import compare_runs, load
from pyrovae.compare import main as compare_main
from pyrovae.data import load_data
from pyrovae.evaluate import main as evaluate_main
from pyrovae.fit import main as fit_main
from pyrovae.label_efficiency import main as label_main
from pyrovae.look import main as look_main

QUICK = ["--epochs", "1", "--num-samples", "5", "--batch-size", "16", "--latent-dim", "2", "--no-report", "--quiet"]
SMALL = ["--encoder.hidden_dims", "[4]", "--decoder.hidden_dims", "[4]"]


def test_a_name_that_standard_output_cannot_take_is_written_in_escapes(tmp_path, monkeypatch):
    name = tmp_path / "\u65e5\u672c.npy"
    np.save(name, np.random.default_rng(0).normal(size=(40, 3)))
    stream = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", stream)
    given = ["--data", str(name), "--likelihood", "Normal", *SMALL, "--output-dir", str(tmp_path / "run")]
    assert fit_main([*QUICK, *given]) == 0
    stream.flush()
    assert rb"\u65e5\u672c.npy" in stream.buffer.getvalue()
    assert load(tmp_path / "run").config["data"] == str(name)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A run on an array and one on a table whose columns are named as formulas are written."""
    folder = tmp_path_factory.mktemp("stored")
    rng = np.random.default_rng(0)
    np.save(folder / "=x.npy", rng.normal(size=(40, 3)))
    towns = rng.choice(["ab", "cd", "ef"], 40)
    rows = [f"{count},{town}" for count, town in zip(rng.poisson(3, 40), towns, strict=True)]
    (folder / "towns.csv").write_text("\n".join(["$_{$,town", *rows]) + "\n")
    table = ["--data", str(folder / "towns.csv"), "--likelihood", "Columns", "--encoder", "ColumnEncoder"]
    table += ["--columns", "{town: categorical}"]
    array = ["--data", str(folder / "=x.npy"), "--likelihood", "Normal", *SMALL]
    assert fit_main([*QUICK, *array, "--output-dir", str(folder / "run")]) == 0
    assert fit_main([*QUICK, *table, "--output-dir", str(folder / "table")]) == 0
    return folder


@pytest.fixture
def run(stored, tmp_path):
    return Path(shutil.copytree(stored / "run", tmp_path / "run"))


def test_a_run_with_a_blank_level_is_opened_as_it_was_stored(tmp_path, capsys):
    # Earlier versions took a cell that is a space for a level, the first in order, as "!" is here.
    table = tmp_path / "towns.csv"
    towns = [("!", "ab", "cd")[n % 3] for n in range(60)]
    table.write_text("a,town\n" + "".join(f"{n % 7},{town}\n" for n, town in enumerate(towns)))
    parts = ["--likelihood", "Columns", "--encoder", "ColumnEncoder", "--columns", "{town: categorical}"]
    assert fit_main([*QUICK, "--data", str(table), *parts, "--output-dir", str(tmp_path / "run")]) == 0
    path = tmp_path / "run" / "summary.json"
    summary = json.loads(path.read_text())
    assert summary["data"]["categories"] == {"town": ["!", "ab", "cd"]}
    summary["data"]["categories"] = {"town": ["", "ab", "cd"]}
    path.write_text(json.dumps(summary))
    table.write_text(table.read_text().replace("!", " "))
    capsys.readouterr()
    assert status_of(evaluate_main, tmp_path / "run", "--num-samples", 5, "--quiet") == 0, capsys.readouterr().err


def test_a_run_under_way_with_a_blank_level_says_which_version_goes_on(tmp_path, capsys):
    table, folder = tmp_path / "towns.csv", tmp_path / "run"
    table.write_text("a,town\n" + "".join(f"{n % 7},{('!', 'ab', 'cd')[n % 3]}\n" for n in range(60)))
    parts = ["--likelihood", "Columns", "--encoder", "ColumnEncoder", "--columns", "{town: categorical}"]
    assert fit_main([*QUICK, "--data", str(table), *parts, "--output-dir", str(folder)]) == 0
    for blank in (False, True):
        # As it was before its first checkpoint.
        (folder / "checkpoints").mkdir()
        (folder / "config.yaml").rename(folder / "checkpoints" / "config.yaml")
        if blank:
            table.write_text(table.read_text().replace("!", " "))
        capsys.readouterr()
        assert status_of(fit_main, "--resume", folder, "--quiet") == (2 if blank else 0)
    said = capsys.readouterr().err
    assert "row 2 (line of the file), column 'town' is missing (20 such cells); if" in said
    assert "begun by an earlier version, which took blank cells for a category: go on with it by that version" in said
    assert "or begin anew with a word in the blank cells, or with --missing keep and a likelihood" in said
    # A run that begins is told of its own repair alone.
    assert status_of(fit_main, *QUICK, "--data", table, *parts, "--output-dir", tmp_path / "anew") == 2
    assert "earlier version" not in capsys.readouterr().err


def status_of(main, *arguments):
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return stop.code


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 64
    path.write_bytes(content)


def with_summary(folder, **changes):
    path = folder / "summary.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def with_config(folder, **changes):
    path = folder / "config.yaml"
    config = {**yaml.safe_load(path.read_text()), **changes}
    path.write_text(yaml.safe_dump({name: value for name, value in config.items() if value != "gone"}))


def with_weights(folder, contents):
    """Other weights, in a folder as it was stored before there were checksums."""
    torch.save(contents, folder / "weights.pt")
    path = folder / "summary.json"
    summary = json.loads(path.read_text())
    del summary["weights_sha256"], summary["format"]
    path.write_text(json.dumps(summary))


class Harmful:
    """What is run by an unpickler that runs anything."""

    def __reduce__(self):
        return (pytest.fail, ("a stored file ran code",))


DAMAGE = {
    "no configuration": (lambda f: (f / "config.yaml").unlink(), "is no run folder: there is no config.yaml"),
    "empty configuration": (lambda f: (f / "config.yaml").write_text(""), "config.yaml holds nothing; expected names"),
    "bytes for YAML": (lambda f: (f / "config.yaml").write_bytes(b"\x80"), "cannot be read as a YAML file"),
    "YAML that runs code": (
        lambda f: (f / "config.yaml").write_text("a: !!python/object/apply:pytest.fail [ran]"),
        "cannot be read as a YAML file",
    ),
    "half a summary": (lambda f: cut(f / "summary.json"), "summary.json is empty, cut off or damaged"),
    "a list for a summary": (lambda f: (f / "summary.json").write_text("[]"), "summary.json holds a list"),
    "a later version": (
        lambda f: with_summary(f, format=7, pyrovae="9.1"),
        "format 7, written by pyrovae 9.1; this is pyrovae .*, which reads format 1: install",
    ),
    "no shape": (lambda f: with_summary(f, data_shape="big"), "data_shape is 'big'; expected the sizes of a row"),
    "kinds of columns": (lambda f: with_summary(f, column_kinds=["real"]), "expected null or the kind of each of 3"),
    "half of the weights": (
        lambda f: cut(f / "weights.pt"),
        "weights.pt is not what summary.json beside it was written with",
    ),
    "a bit of the weights": (
        lambda f: flip(f / "weights.pt"),
        "weights.pt is not what summary.json beside it was written with",
    ),
    "weights that run code": (lambda f: with_weights(f, Harmful()), "no readable file of weights: .* Python objects"),
    "weights in a list": (lambda f: with_weights(f, [torch.ones(2)]), "holds a list; expected a dictionary of tensors"),
    "weights of another model": (
        lambda f: with_weights(f, {**torch.load(f / "weights.pt"), "likelihood.scaled_log_scale": torch.ones(7)}),
        "does not fit config.yaml beside it: 'likelihood.scaled_log_scale' has shape .7,., and the model needs",
    ),
    "weights of a larger model": (
        lambda f: with_weights(f, {**torch.load(f / "weights.pt"), "more": torch.ones(7)}),
        "it has 'more', which the model has not",
    ),
    "another latent size": (lambda f: with_config(f, latent_dim=3), "has shape .4, 2., and the model needs .4, 3."),
    "a word for a size": (lambda f: with_config(f, latent_dim="many"), "latent_dim is 'many'; expected a whole number"),
    "a system of later times": (lambda f: with_config(f, system="gan"), "system is 'gan', which this version does not"),
    "a misspelt key": (
        lambda f: with_config(f, latent_dim="gone", latent_dmi=2),
        "says nothing of 'latent_dim'.*config.yaml has 'latent_dmi', is it misspelt",
    ),
    "a part that is none": (lambda f: with_config(f, prior=[3]), "prior is .3.; expected names and values"),
    "a part without a path": (
        lambda f: with_config(f, prior={"class_path": 3}),
        "expected class_path, the import path",
    ),
    "other rows": (lambda f: with_config(f, seed=5), "does not hold the rows that the run was fitted to any more"),
    "no data": (lambda f: with_summary(f, data=None), "does not say which data the run was fitted to"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_run_is_refused_by_name(case, run, capsys):
    damage, message = DAMAGE[case]
    damage(run)
    assert evaluate_main([str(run), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert re.search(message, error), error
    assert "Traceback" not in error


def test_a_run_of_an_earlier_version_still_loads(run):
    with_weights(run, torch.load(run / "weights.pt"))
    assert load(run).vae is not None


def test_a_folder_of_another_command_is_refused_by_name(tmp_path, capsys):
    labels = ["--data", "digits", "--labels", "20", "--methods", "pixels-logistic", "--seeds", "1", "--quiet"]
    assert label_main([*labels, "--output-dir", str(tmp_path / "labels")]) == 0
    for main, arguments in ((evaluate_main, ()), (compare_main, (tmp_path / "labels",)), (look_main, ())):
        assert status_of(main, tmp_path / "labels", *arguments) == 2
        assert "it holds the results of python -m pyrovae.label_efficiency" in capsys.readouterr().err
    assert evaluate_main([str(tmp_path / "nothing")]) == 2
    assert "nothing is no run folder: there is no such folder" in capsys.readouterr().err


TABLES = {
    "no table": (lambda path: path.write_text("a,b\n1,2\n"), "cannot be read as a table with a column 'row'"),
    "half a table": (cut, "is cut off, or has rows of other data among its own"),
    "words": (
        lambda path: path.write_text(path.read_text().replace(",5,", ",five,")),
        "column 'num_samples' holds words",
    ),
    "a row twice": (
        lambda path: path.write_text(path.read_text() + path.read_text().splitlines()[-1] + "\n"),
        "its rows are not numbered 0, 1, 2",
    ),
    "no such column": (
        lambda path: path.write_text(path.read_text().replace("log_px,", "log_p,", 1)),
        "has no column 'log_px', so it is no table of scored rows",
    ),
}


@pytest.mark.parametrize("case", TABLES)
def test_a_damaged_table_is_not_compared(case, stored, run):
    damage, message = TABLES[case]
    damage(run / "evaluation.csv")
    with pytest.raises(ValueError, match=message):
        compare_runs([stored / "run", run])


@pytest.mark.parametrize("damage", [lambda path: path.write_text("{"), lambda path: path.write_bytes(b"\x80")])
def test_what_was_asked_of_a_table_is_damaged(damage, run, capsys):
    arguments = [str(run), "--num-samples", "7", "--quiet"]
    assert evaluate_main(arguments) == 0
    damage(run / "evaluation-7.csv.json")
    assert evaluate_main(arguments) == 2
    assert "evaluation-7.csv.json is empty, cut off or damaged" in capsys.readouterr().err
    assert evaluate_main([*arguments, "--overwrite"]) == 0


def test_a_place_where_no_table_can_be(stored, run, tmp_path, capsys):
    assert evaluate_main([str(run), "--quiet", "--output", str(tmp_path)]) == 2
    assert "it is a folder; expected a place for a CSV file" in capsys.readouterr().err
    for place, message in ((tmp_path, "it is a folder"), (tmp_path / "no" / "c.csv", "there is no folder")):
        assert compare_main([str(stored / "run"), str(run), "--csv", str(place)]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "town\nab\ncd\nef\n",
            r"other.csv lacks the columns '\$_\{\$', and the rows that the run was fitted to",
        ),
        (
            "town,a,$_{$\nab,1,3\ncd,1,4\nef,1,5\n",
            "other.csv has the columns 'a', and the rows that the run",
        ),
        (
            "$_{$,town\n3,ab\n4,xy\n5,ef\n7,xy\n",
            r"row 3 .*, column 'town' holds 'xy', which the run does not know; it knows 'ab', 'cd', 'ef' \(2 such",
        ),
    ],
)
def test_a_table_whose_numbers_mean_something_else(content, message, stored, tmp_path, capsys):
    (tmp_path / "other.csv").write_text(content)
    assert evaluate_main([str(stored / "table"), "--data", str(tmp_path / "other.csv"), "--quiet"]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_columns_in_another_order_are_the_same_table(stored, tmp_path):
    """The scores of the same rows; then those of rows that lack a town, as the whole table gives them."""
    frame = pd.read_csv(stored / "towns.csv")
    others = {"same": frame, "turned": frame.iloc[:, ::-1]}
    for name, other in others.items():
        other.to_csv(tmp_path / f"{name}.csv", index=False)
        arguments = [str(stored / "table"), "--data", str(tmp_path / f"{name}.csv"), "--num-samples", "20", "--quiet"]
        assert evaluate_main([*arguments, "--output", str(tmp_path / f"{name}-scores.csv")]) == 0
    one, other = (pd.read_csv(tmp_path / f"{name}-scores.csv").drop(columns="data_name") for name in others)
    pd.testing.assert_frame_equal(one, other)


def test_no_cell_is_a_formula(stored, tmp_path, monkeypatch):
    """A name that a spreadsheet would run is text in every table, and numbers stay numbers."""
    for name in ("evaluation.csv", "metrics.csv"):
        table = pd.read_csv(stored / "run" / name)
        assert set(table["data_name"]) == {"'=x.npy"}
        assert pd.api.types.is_float_dtype(table.filter(regex="elbo").iloc[:, 0])
    assert (pd.read_csv(stored / "run" / "evaluation.csv")["elbo"] < 0).all()
    assert load_data(stored / "=x.npy").name == "=x.npy"
    monkeypatch.chdir(tmp_path)
    for name in ("-1+1", "@b"):
        shutil.copytree(stored / "run", tmp_path / name)
    assert compare_main(["--csv", "c.csv", "--", "-1+1", "@b"]) == 0
    compared = pd.read_csv("c.csv")
    assert set(compared["run"]) == {"'-1+1", "'@b"}
    assert (compared["log_px"] < 0).all()


def test_names_of_columns_are_no_formulas_of_pictures(stored, tmp_path):
    assert look_main([str(stored / "table"), "--output-dir", str(tmp_path / "pictures"), "--rows", "0", "1"]) == 0
    assert (tmp_path / "pictures" / "traversals.png").is_file()


def test_options_without_effect_are_refused(run, capsys):
    assert evaluate_main([str(run), "--ais-chains", "3", "--ais-start", "guide", "--quiet"]) == 2
    assert "--ais-chains, --ais-start would be ignored, as there is no --ais" in capsys.readouterr().err


CONFIGS = {
    "": "holds nothing; expected options and their values",
    "- 3": "holds a list; expected options",
    "a: [": "cannot be read as YAML",
    "a: !!python/object/apply:pytest.fail [ran]": "cannot be read as YAML",
    "epochs: !!timestamp x": "cannot be read as YAML",
    f"a: {'[' * 3000}{']' * 3000}": "cannot be read as YAML",
    "3: 4": "the key 3 is no word",
    "epoch: 3": "the configuration has a key 'epoch' that is no option; did you mean epochs",
    "epochs: null": "epochs is null; expected a number",
    "seed: true": "seed is True; expected a number",
    "latent_dim: 2.5": "--latent-dim is 2.5; expected a positive whole number",
    "overwrite: never": "overwrite is 'never'; expected true or false",
    "data: [a]": "data is ['a']; expected a word",
    "precision: 32": "precision is 32; expected a word, in quotes",
    "condition_columns: age": "condition_columns is 'age'; expected a list",
    "system: {a: b}": "system is {'a': 'b'}; expected a word",
    "encoder: null": "encoder is None; expected the name of the part, or class_path with init_args",
    "prior: {class_path: StandardNormal, init_arg: {}}": "prior has a key 'init_arg'; did you mean init_args?",
    "prior: {class_path: 4}": "class_path of prior is 4; expected",
    "prior: {class_path: StandardNormal, init_args: 4}": "init_args of prior is 4; expected",
}


@pytest.mark.parametrize("content", CONFIGS, ids=range(len(CONFIGS)))
def test_a_configuration_that_cannot_be_read(content, tmp_path, capsys):
    (tmp_path / "config.yaml").write_text(content)
    assert status_of(fit_main, "--config", tmp_path / "config.yaml", "--output-dir", tmp_path / "out") == 2
    assert CONFIGS[content] in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_arrays_of_objects_run_no_code(name, tmp_path):
    with (tmp_path / name).open("wb") as file:
        pickle.dump(Harmful(), file)
    with pytest.raises(ValueError, match=r"is not a readable .np. file of numbers"):
        load_data(tmp_path / name)
    np.savez(tmp_path / "y.npz", x=np.array([Harmful()], dtype=object))
    with pytest.raises(ValueError, match="holds text or Python objects"):
        load_data(tmp_path / "y.npz")


def test_names_that_no_report_can_give(tmp_path):
    with pytest.raises(ValueError, match="is not UTF-8"):
        load_data(f"{tmp_path}/\udcff.npy")
    with pytest.raises(ValueError, match="there is no such home folder"):
        load_data("~nobody-of-this-name/x.npy")
