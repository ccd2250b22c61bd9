"""Parts that do not fit the data or one another, given to ``python -m pyrovae.fit``: one clear error each."""

import re
from pathlib import Path

import numpy as np
import pytest

from pyrovae.fit import main

OWN_PARTS = """
import pyro.distributions as dist
import torch
from torch import nn
from pyrovae import networks, priors


class WideDecoder(networks.MLP):
    def __init__(self, input_shape, output_shape):
        super().__init__(input_shape, (7,), (8,))


class Decoder(nn.Module):
    '''Without what the package's networks know of themselves.'''

    def __init__(self, input_shape):
        super().__init__()
        self.layer = nn.Linear(input_shape, 7)

    def forward(self, z):
        return self.layer(z)


class Three(priors.StandardNormal):
    def __init__(self):
        super().__init__(3)


class Unchecked(nn.Module):
    def __init__(self, decoder, scale: float = 1.0):
        super().__init__()
        self.decoder, self.scale = decoder, scale

    def forward(self, z):
        return dist.Normal(self.decoder(z), torch.tensor(self.scale)).to_event(1)


class OneEventMore(Unchecked):
    def forward(self, z):
        return dist.Normal(self.decoder(z), torch.tensor(self.scale)).to_event(2)


class TwoEventsMore(Unchecked):
    def forward(self, z):
        return dist.Normal(self.decoder(z), torch.tensor(self.scale)).to_event(3)


class TwoNumbers(Unchecked):
    def forward(self, z):
        loc, raw_scale = self.decoder(z)
        return dist.Normal(loc, raw_scale.exp()).to_event(1)
"""


def table(folder, values, *arguments):
    np.save(folder / "x.npy", np.asarray(values, dtype=np.float64))
    return ["--data", "x.npy", *arguments]


def counts(folder, *arguments, odd=None):
    values = np.tile([[0.0, 1.0, 2.0]], (40, 1))
    if odd is not None:
        values[:, 1] = odd
    return table(folder, values, *arguments)


def reals(folder, *arguments):
    return table(folder, np.random.default_rng(0).normal(size=(40, 3)), *arguments)


def text(folder, content, *arguments):
    (folder / "x.csv").write_text(content)
    return ["--data", "x.csv", *arguments]


def with_empty_row(folder):
    values = np.ones((40, 3))
    values[7] = np.nan
    return table(folder, values, "--missing", "keep", "--likelihood", "Normal")


NORMAL = ("--likelihood", "Normal")
REFUSED = {
    # Values outside the support.
    "negative counts": (lambda f: counts(f, "--likelihood", "Poisson", odd=-1), "Poisson .* value -1, outside"),
    "fractions as counts": (lambda f: counts(f, "--likelihood", "NegativeBinomial", odd=0.5), "NegativeB.* value 0.5"),
    "negative under ZeroInflatedPoisson": (
        lambda f: counts(f, "--likelihood", "ZeroInflatedPoisson", odd=-3),
        "ZeroInflatedPoisson .* value -3, outside",
    ),
    "more than all": (
        lambda f: counts(f, "--likelihood", "Binomial", "--likelihood.total_count", "3", odd=5),
        "Binomial .* value 5, .*give the total_count of the data",
    ),
    "a level too high": (
        lambda f: counts(f, "--likelihood", "Categorical", "--likelihood.num_levels", "3", odd=3),
        "Categorical.* value 3, .*give the num_levels of the data",
    ),
    "a level below 0": (lambda f: counts(f, "--likelihood", "Categorical", odd=-1), "Categorical.* value -1"),
    "0 under Beta": (lambda f: counts(f, "--likelihood", "Beta"), "Beta .* value 0, .*move 0 and 1 inside"),
    "0 under LogNormal": (lambda f: counts(f, "--likelihood", "LogNormal"), "LogNormal .* value 0, outside"),
    "2 under ContinuousBernoulli": (
        lambda f: counts(f, "--likelihood", "ContinuousBernoulli"),
        r"ContinuousBernoulli .* value 2, .*scale the values to \[0, 1\]",
    ),
    "between levels": (
        lambda f: counts(f, "--likelihood", "DiscretizedLogistic", odd=0.3),
        "DiscretizedLogistic .* value 0.3, .*give num_levels, low and high",
    ),
    "no binary column": (
        lambda f: text(f, "a,b\n" + "1,2\n0,3\n" * 20, "--columns", "{a: real, b: binary}", "--likelihood", "Columns"),
        "column 'b' holds '2', which is neither 0 nor 1",
    ),
    # Arguments out of range.
    "a scale of 0": (
        lambda f: reals(f, *NORMAL, "--likelihood.scale", "0"),
        "^error: --likelihood Normal: scale is 0.0; a standard deviation has to be positive and finite$",
    ),
    "a negative scale": (
        lambda f: reals(f, "--likelihood", "Laplace", "--likelihood.scale", "-2"),
        "^error: --likelihood Laplace: scale is -2.0; a standard",
    ),
    "a floor above the start": (
        lambda f: reals(f, *NORMAL, "--likelihood.scale_floor", "2"),
        "--likelihood Normal: scale_floor is 2.0 and initial_scale 1.0; expected 0 < scale_floor < initial_scale",
    ),
    "a negative floor of columns": (
        lambda f: text(
            f,
            "a,b\n" + "1,2\n0,3\n" * 20,
            "--columns",
            "[real, real]",
            "--likelihood",
            "Columns",
            "--likelihood.scale_floor",
            "-1",
        ),
        "^error: --likelihood Columns: scale_floor is -1.0; expected a number between 0 and 1",
    ),
    "no concentration": (
        lambda f: reals(f, "--likelihood", "Beta", "--likelihood.concentration", "0"),
        "--likelihood Beta: concentration is 0.0; a concentration has to be positive",
    ),
    "no degrees of freedom": (
        lambda f: reals(f, *NORMAL, "--prior", "StudentT", "--prior.degrees_of_freedom", "0"),
        "--prior StudentT: degrees_of_freedom is 0.0; expected a positive, finite number",
    ),
    "no components": (
        lambda f: reals(f, *NORMAL, "--prior", "GaussianMixture", "--prior.num_components", "0"),
        "^error: --prior GaussianMixture: num_components is 0; expected a positive integer$",
    ),
    "rank 0": (
        lambda f: reals(f, *NORMAL, "--posterior", "LowRankNormal", "--posterior.rank", "0"),
        "--posterior LowRankNormal: rank is 0; expected a positive integer",
    ),
    "a top level as large as both": (
        lambda f: reals(f, *NORMAL, "--prior", "Hierarchical", "--prior.top_dim", "2", "--latent-dim", "2"),
        "--prior Hierarchical: top_dim is 2 of latent_dim 2, which leaves nothing",
    ),
    "a scale of one's own": (
        lambda f: reals(f, "--likelihood", "own.Unchecked", "--likelihood.scale", "-1"),
        "site 'x' of the model has a Normal with scale -1, outside .*softplus or exp",
    ),
    # Parts that do not fit one another.
    "a decoder of another size": (
        lambda f: reals(f, *NORMAL, "--decoder", "own.WideDecoder"),
        r"Normal: the decoder has output shape \(7,\), and these rows need \(3,\)",
    ),
    "a decoder of one's own, of another size": (
        lambda f: reals(f, *NORMAL, "--decoder", "own.Decoder"),
        r"Normal: the decoder gave shape \(3, 7\) .* data_shape is \(3,\); expected \(3, 3\): build the decoder with",
    ),
    "a decoder of one's own under a likelihood without data_shape": (
        lambda f: counts(f, "--likelihood", "Poisson", "--decoder", "own.Decoder"),
        r"likelihood Poisson is over rows of shape \(7,\), the data have rows of shape \(3,\): build the decoder",
    ),
    "a decoder without the scale": (
        lambda f: reals(f, *NORMAL, "--likelihood.scale", "predicted", "--decoder", "own.Decoder"),
        r"Normal needs \(\*batch, 2, \*data_shape\)",
    ),
    "a decoder for other columns": (
        lambda f: text(
            f,
            "a,b\n" + "1,2\n0,3\n" * 20,
            "--columns",
            "[real, real]",
            "--likelihood",
            "Columns",
            "--decoder",
            "own.Decoder",
        ),
        r"Columns needs \(\*batch, 2\) for these kinds",
    ),
    "more pseudo-inputs than rows": (
        lambda f: reals(f, *NORMAL, "--prior", "VampPrior"),
        "VampPrior has num_pseudo_inputs=500, and there are 32 rows to start from: take num_pseudo_inputs=32 or fewer",
    ),
    "a prior of another latent size": (
        lambda f: reals(f, *NORMAL, "--prior", "own.Three", "--latent-dim", "2"),
        r"posterior DiagonalNormal is over \(2,\), the prior Three over \(3,\): give both the same latent_dim",
    ),
    "a prior of another latent size, with missing entries": (
        lambda f: text(
            f, "1,\n2,3\n,4\n5,6\n" * 10, "--missing", "keep", *NORMAL, "--prior", "own.Three", "--latent-dim", "2"
        ),
        r"posterior PartlyObserved is over \(2,\), the prior Three over \(3,\): give .* made for it$",
    ),
    # Likelihoods of the user's own, as newcomers write them.
    "an event with the rows in it": (
        lambda f: reals(f, "--likelihood", "own.OneEventMore"),
        "its rows belong to the event too, give .to_event 1 less",
    ),
    "an event of more dimensions than there are": (
        lambda f: reals(f, "--likelihood", "own.TwoEventsMore"),
        r"reinterpreted_batch_ndims.*; .to_event takes the number of dimensions of one row, 1 for a table",
    ),
    "two numbers for each entry unasked": (
        lambda f: reals(f, "--likelihood", "own.TwoNumbers"),
        r"too many values to unpack.*decoder gave \(\d+, 3\), .*give a classmethod decoder_shape\(cls, data_shape\)",
    ),
    "a network for kinds of columns, unasked": (
        lambda f: reals(f, *NORMAL, "--encoder", "ColumnEncoder"),
        "give --columns, .*those not named are real, and one word stands for all columns, as in --columns real or",
    ),
    # Missing entries.
    "a row without entries": (with_empty_row, "x.npy has no value in row 7, .*; leave out rows without any value"),
    "a line without entries": (
        lambda f: text(f, "a,b\n1,2\n,\n3,4\n5,6\n", "--missing", "keep", *NORMAL),
        r"row 3 .*all others of the row are missing",
    ),
    "missing cells unasked": (
        lambda f: text(f, "a,b\n1,2\n3,\n3,4\n5,6\n", *NORMAL),
        r"row 3 .*column 'b' is missing .*--missing keep",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_one_clear_error_and_nothing_written(case, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own.py").write_text(OWN_PARTS)
    make, message = REFUSED[case]
    arguments = ["--batch-size", "10", "--epochs", "1", "--num-samples", "5", "--quiet", *make(tmp_path)]
    before = {path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts}
    try:
        status = main(arguments)
    except SystemExit as stop:
        status = stop.code
    error = capsys.readouterr().err
    assert status == 2, error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert re.search(message, error.rstrip()), error
    assert {path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts} == before


OWN_WITHOUT_KINDS = """
from pyrovae.likelihoods import Normal


class Mine(Normal):
    pass


def make(latent_dim, data_shape):
    from pyrovae import VAE, networks, posteriors, priors
    decoder = networks.MLP(latent_dim, Normal.decoder_shape(data_shape))
    encoder = networks.MLP(data_shape, 2 * latent_dim)
    vae = VAE(priors.StandardNormal(latent_dim), Normal(decoder), posteriors.DiagonalNormal(encoder))
    return vae.model, vae.guide
"""


@pytest.mark.parametrize(
    ("kinds", "options", "said"),
    [
        ("categorical, categorical", ["--likelihood", "Normal"], "error: --likelihood Normal does not take the kinds"),
        (
            "real, categorical",
            ["--likelihood", "Laplace"],
            "numbers 0, 1, ... of a column that is categorical(3) would",
        ),
        (
            "binary, categorical",
            ["--likelihood", "Categorical"],
            "take --likelihood Columns, or leave such columns out",
        ),
        ("categorical, categorical", ["--likelihood", "Categorical", "--likelihood.num_levels", "3"], None),
        ("real, categorical", ["--likelihood", "Columns", "--encoder", "ColumnEncoder"], None),
        ("binary, real", ["--likelihood", "Normal"], None),
        ("categorical(2), real", ["--likelihood", "Normal"], None),
        (
            "real, categorical",
            ["--system", "conditional-vae", "--condition-columns", "b", "--likelihood", "Normal"],
            None,
        ),
        ("real, categorical", ["--likelihood", "own.py:Mine"], "--likelihood Mine is not told that a column is cat"),
        ("real, categorical", ["--model", "own.py:make"], "--model own.py:make is not told that a column is cat"),
    ],
)
def test_categories_are_no_amounts(kinds, options, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    first = "012" if kinds.startswith("cat") and "(2)" not in kinds else "01"
    lines = [f"{first[i % len(first)]},{'cab'[i % 3] if kinds.endswith('categorical') else i}" for i in range(30)]
    Path("table.csv").write_text("\n".join(["a,b", *lines]))
    Path("own.py").write_text(OWN_WITHOUT_KINDS)
    refused = said is not None and "is not told" not in said
    columns = ["--data", "table.csv", "--columns", f"[{kinds}]", "--output-dir", "run"]
    quick = ["--epochs", "1", "--num-samples", "20", "--quiet", "--no-report"]
    assert main([*quick, *columns, *options]) == (2 if refused else 0)
    printed = capsys.readouterr()
    if said is not None:
        assert said in (printed.err if refused else printed.out)
    else:
        assert "is not told" not in printed.out


@pytest.mark.parametrize(
    ("likelihood", "said"),
    [
        ("Columns", "constant columns: 'd', 'e'; their density has no bound but scale_floor, and says nothing of the"),
        # Its scale is one for all columns.
        ("Normal", None),
    ],
)
def test_constant_columns_are_named_at_the_start(likelihood, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    # A count and a bit have probabilities, which are 1 at most; a missing cell is no other value.
    lines = [f"{row % 7}.5,{0.1 if row % 3 else ''},7,3,1" for row in range(40)]
    Path("table.csv").write_text("\n".join(["a,d,e,visits,smoker", *lines]))
    columns = ["--columns", "{visits: count, smoker: binary}", "--missing", "keep", "--likelihood", likelihood]
    quick = ["--epochs", "1", "--num-samples", "20", "--quiet", "--no-report", "--output-dir", "run"]
    assert main(["--data", "table.csv", *columns, *quick]) == 0
    printed = capsys.readouterr().out
    assert "constant" not in printed if said is None else said in printed
