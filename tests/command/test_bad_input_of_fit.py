"""What ``python -m pyrovae.fit`` says of rows and options that cannot be used, in one line."""

import re

import numpy as np
import pytest
from fit_runs import OWN_MODEL, QUICK, run, text

UNITS = np.random.default_rng(0).normal(size=(80, 3)) * [1e-4, 1, 1e6]


LARGE = np.random.default_rng(0).normal(size=(80, 3)) * 7e4


MANY = np.random.default_rng(0).poisson([0.1, 30, 3000], size=(80, 3))


ONE_SCALE = ["--likelihood", "Columns", "--encoder", "ColumnEncoder"]


@pytest.mark.parametrize(
    ("rows", "options", "said"),
    [
        (
            UNITS,
            ["--likelihood", "Normal"],
            "0.0001 to 9e+05: --likelihood Columns --encoder ColumnEncoder --columns '{}' takes",
        ),
        (
            UNITS,
            ["--likelihood", "Columns", "--columns", "{}"],
            "0.0001 to 9e+05: --encoder ColumnEncoder takes them to one scale",
        ),
        (UNITS, ["--likelihood", "Normal", "--stream"], "--columns '{}', without --stream takes them"),
        (UNITS, [*ONE_SCALE, "--columns", "{}"], None),
        (LARGE, ["--likelihood", "StudentT"], "values of about 7e+04: --encoder ColumnEncoder --columns '{}' takes"),
        (LARGE, ["--likelihood", "Laplace", "--encoder", "ColumnEncoder", "--columns", "{}"], None),
        (UNITS, ["--likelihood", "StudentT"], "--likelihood Columns --encoder ColumnEncoder --columns '{}' takes"),
        (
            UNITS,
            ["--likelihood", "StudentT", "--likelihood.scale", "per_dimension"],
            "9e+05: --encoder ColumnEncoder --c",
        ),
        (UNITS / [1e-4, 1, 1e6], ["--likelihood", "Normal"], None),
        (
            MANY,
            ["--likelihood", "NegativeBinomial"],
            f"counts up to {MANY.max():,}: --encoder ColumnEncoder --columns count takes",
        ),
        (MANY // 10, ["--likelihood", "NegativeBinomial"], None),
        (np.tile(UNITS[:, :, None], 4), ["--likelihood", "Normal"], None),
    ],
    ids=[
        "both",
        "encoder",
        "streamed",
        "taken",
        "tails",
        "taken tails",
        "one scale of tails",
        "scales of tails",
        "one scale",
        "counts",
        "small counts",
        "images",
    ],
)
def test_columns_too_far_apart_or_too_large_are_said_once(rows, options, said, in_tmp, capsys):
    np.save("rows.npy", rows)
    assert run("--data", "rows.npy", "--batch-size", "20", *options, *QUICK) == 0
    header = capsys.readouterr().out.split("fitted in")[0]
    assert header.count("columns have") == (said is not None)
    assert said is None or said in header


def grey_images(folder):
    np.save(folder / "grey.npy", np.random.default_rng(0).random((40, 8, 8)).astype("float32"))
    return ["--data", "grey.npy", "--batch-size", "10"]


def array(folder, values):
    np.save(folder / "x.npy", values)
    return ["--data", "x.npy", "--batch-size", "10", "--likelihood", "Normal"]


def own_model(folder, factory):
    (folder / "own_model.py").write_text(OWN_MODEL)
    return ["--model", f"own_model.py:{factory}"]


def own_pair(folder, model, guide):
    (folder / "pair.py").write_text(
        "import pyro, torch\nimport pyro.distributions as dist\nfrom torch import nn\n\nlayer = nn.Linear(2, 64)\n\n\n"
        f"def model(x):\n{model}\n\n\ndef guide(x):\n{guide}\n\n\ndef make():\n    return model, guide\n"
    )
    return ["--model", "pair.py:make"]


SAMPLE = "pyro.sample('{}', dist.Normal(torch.zeros(2), pyro.param('s', torch.ones(2))).to_event(1))"


OBSERVE = "pyro.sample('x', dist.Bernoulli(logits=layer(z).reshape(-1, 1, 8, 8)).to_event(3), obs=x)"


PLATED = "    with pyro.plate('data', len(x)):\n        z = "


BAD_INPUT = {
    "grey pixels under Bernoulli": (grey_images, r"0\.\d+.*binarise the grey values.*--binarize.*such as Normal"),
    "grey digits under Bernoulli": (lambda _: ["--binarize", "none"], "binarise the grey values"),
    "NaN": (lambda f: array(f, np.full((20, 3), np.nan)), "60 values that are NaN"),
    "infinite": (lambda f: array(f, np.array([[1.0, np.inf]] * 20)), "NaN, infinite"),
    "empty": (lambda f: array(f, np.zeros((0, 3))), "holds no value"),
    "one row": (lambda f: array(f, np.zeros((1, 3))), "1 row cannot be split"),
    "no such file": (lambda _: ["--data", "nothing.npy"], "no file or folder 'nothing.npy'"),
    "no array": (lambda f: ["--data", text(f, "x.npy", "hello")], "x.npy"),
    "unknown data": (lambda _: ["--data", "mnits"], "Did you mean 'mnist'"),
    "channels last": (lambda f: array(f, np.zeros((20, 8, 8, 3))), "channels last.*np.moveaxis"),
    "unknown prior": (
        lambda _: ["--prior", "Gauss"],
        "--prior: there is no part 'Gauss' .expected one of DiagonalNormal, .*StandardNormal",
    ),
    "unknown likelihood": (
        lambda _: ["--likelihood", "Bernuoli"],
        "'Bernuoli'; did you mean Bernoulli. .expected one of Bernoulli, .*Normal",
    ),
    "unknown import path": (lambda _: ["--likelihood", "no_such.Part"], "no_such"),
    "unknown option": (lambda _: ["--latent-dmi", "3"], "unknown option --latent-dmi; did you mean --latent-dim"),
    "an option of two parts": (
        lambda _: ["--hidden-dims", "[500]"],
        "unknown option --hidden-dims; did you mean --encoder.hidden_dims and --decoder.hidden_dims?",
    ),
    "an option of a part that was given": (
        lambda _: ["--likelihood", "StudentT", "--scale-floor", "0.1"],
        "unknown option --scale-floor; did you mean --likelihood.scale_floor?",
    ),
    "unknown part option": (
        lambda _: ["--likelihood", "Normal", "--likelihood.scal", "3"],
        "--likelihood Normal has no argument 'scal'; did you mean scale. see --likelihood.help Normal",
    ),
    "an option of another part": (
        lambda _: ["--likelihood.scale", "3"],
        "--likelihood Bernoulli has no argument 'scale'",
    ),
    "a seed too large": (lambda _: ["--seed", "9000000000000000000"], "--seed 9000000000000000000: expected"),
    "a factory that fails": (
        lambda f: own_model(f, "failing"),
        r"--model own_model.py:failing: RuntimeError at own_model.py:\d+: no such table",
    ),
    "a file that is no Python": (
        lambda f: ["--model", f"{text(f, 'wrong.py', 'def f(:')}:f"],
        "--model wrong.py:f: SyntaxError.*wrong.py, line 1",
    ),
    "an option for missing entries beside a model": (
        lambda f: [*own_model(f, "make"), "--missing-indicators"],
        "--missing-indicators would be ignored",
    ),
    "a latent size beside a model that has its own": (
        lambda f: [*own_model(f, "broken"), "--latent-dim", "20"],
        "--latent-dim would be ignored",
    ),
    "options of parts beside a model": (
        lambda f: [*own_model(f, "make"), "--encoder.hidden_dims", "[3]"],
        "--encoder would be ignored",
    ),
    "half an option": (lambda _: ["--epoch", "3"], "unknown option --epoch; did you mean --epochs"),
    "option out of range": (lambda _: ["--epochs", "0"], "epochs"),
    "no number": (lambda _: ["--lr", "fast"], "lr"),
    "bad part argument": (lambda _: ["--likelihood", "Normal", "--likelihood.scale", "-1"], "positive and finite"),
    "too large a batch": (
        lambda _: ["--batch-size", "5000"],
        "--batch-size 5000 is more than the 1437 training rows: give at most 1437",
    ),
    "no such device": (lambda _: ["--device", "cuda:7"], "--device cuda:7: there is no such device here.*cpu"),
    "no device at all": (lambda _: ["--device", "abacus"], "--device abacus"),
    "no such config": (lambda _: ["--config", "none.yaml"], "--config: .*none.yaml"),
    "bad config": (
        lambda f: ["--config", text(f, "c.yaml", "latent_dmi: 3\n")],
        "key 'latent_dmi' that is no option; did you mean latent_dim",
    ),
    "kinds of columns that nobody named": (
        lambda f: [*array(f, np.zeros((20, 3))), "--likelihood", "Columns"],
        "--likelihood Columns needs to know of what kind each column is: give --columns",
    ),
    "networks for images on a table": (
        lambda f: [*array(f, np.zeros((20, 3))), "--encoder", "ConvEncoder"],
        "--encoder ConvEncoder: .*use MLP",
    ),
    "model of no form": (lambda _: ["--model", "own_model.py"], "expected file.py:factory or module:factory"),
    "model file not there": (lambda _: ["--model", "nothing.py:make"], "no file 'nothing.py'"),
    "model module not there": (lambda _: ["--model", "nothing_here:make"], "no module 'nothing_here'"),
    "factory not there": (lambda f: own_model(f, "nothing"), "has no 'nothing'"),
    "factory of something else": (lambda f: own_model(f, "broken"), r"gave a int; expected a pair \(model, guide\)"),
    "parts beside a model": (
        lambda f: [*own_model(f, "make"), "--likelihood", "Normal"],
        "--likelihood would be ignored",
    ),
    "sites that do not match": (
        lambda f: own_pair(f, f"{PLATED}{SAMPLE.format('z')}\n        {OBSERVE}", f"{PLATED}{SAMPLE.format('w')}"),
        "only in the model: 'z'; only in the guide: 'w'",
    ),
    "a latent outside the plate": (
        lambda f: own_pair(
            f,
            f"    z = {SAMPLE.format('z')}\n    with pyro.plate('data', len(x)):\n        {OBSERVE}",
            f"    z = {SAMPLE.format('z')}",
        ),
        "latent 'z' of the model is outside the data plate",
    ),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_one_clear_error(case, in_tmp, capsys):
    make, message = BAD_INPUT[case]
    arguments = make(in_tmp)
    before = {path for path in in_tmp.rglob("*") if "__pycache__" not in path.parts}
    assert run(*QUICK, *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("error: ") == 1
    assert "Traceback" not in error
    assert re.search(message, error, re.DOTALL), error
    assert {path for path in in_tmp.rglob("*") if "__pycache__" not in path.parts} == before
