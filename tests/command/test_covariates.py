"""Covariates of a conditional VAE in units of their own, against the same ones standardised by hand."""

import csv
import hashlib
import json

import numpy as np
import pandas as pd
import pytest
import torch

from pyrovae import load, load_data
from pyrovae.evaluate import main as evaluate_main
from pyrovae.fit import main as fit_main
from pyrovae.networks.covariates import CovariateUnits

OPTIONS = ["--system", "conditional-vae", "--latent-dim", "2", "--lr", "1e-2", "--num-samples", "20"]
TABLE = ["--columns", "{smoker: binary, visits: count}", "--likelihood", "Columns", "--epochs", "20"]
QUICK = [*OPTIONS, "--decoder.hidden_dims", "[20]", "--no-report", "--quiet"]
C, X = ["income", "children", "smoker"], ["height", "visits"]
ENCODERS = {
    "ColumnEncoder": ["--encoder", "ColumnEncoder", "--encoder.hidden_dims", "[20]"],
    "MLP": ["--encoder", "MLP", "--encoder.hidden_dims", "[20]"],
    "ResidualMLP": ["--encoder", "ResidualMLP", "--encoder.hidden_dim", "20"],
}
# Of a run, on its test rows and on new ones.
SCORES = "{}/evaluation.csv", "{}.csv"


def people(seed: int, rows: int = 200) -> pd.DataFrame:
    """x = (height, visits) that depend on an income of tens of thousands, a count of children and a bit."""
    random = np.random.default_rng(seed)
    income, children, smoker = random.normal(40_000, 13_000, rows), random.poisson(2, rows), random.integers(0, 2, rows)
    score = (income - 40_000) / 13_000
    height = 2 * score - children + 0.3 * random.normal(size=rows)
    visits = random.poisson(np.exp(0.5 * score + smoker))
    return pd.DataFrame({"income": income, "children": children, "smoker": smoker, "height": height, "visits": visits})


def by_hand(frame: pd.DataFrame, train: np.ndarray) -> pd.DataFrame:
    """Income and children by their mean and standard deviation over the training rows."""
    scaled = (frame[["income", "children"]] - train.mean(0)) / train.std(0)
    return pd.concat([scaled, frame[["smoker", "height", "visits"]]], axis=1)


def scores(path) -> list[float]:
    with path.open() as file:
        return [float(row["log_px"]) for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Rows to fit and new ones, in their own units and standardised by hand."""
    folder = tmp_path_factory.mktemp("people")
    fitted, new = people(0), people(1, 50)
    fitted.to_csv(folder / "own.csv", index=False)
    train = load_data(folder / "own.csv").train[:, :2].double().numpy()
    new.to_csv(folder / "own_new.csv", index=False)
    by_hand(fitted, train).to_csv(folder / "hand.csv", index=False)
    by_hand(new, train).to_csv(folder / "hand_new.csv", index=False)
    return folder


@pytest.mark.parametrize(
    "encoder", [pytest.param(name, marks=() if name == "ColumnEncoder" else pytest.mark.ci) for name in ENCODERS]
)
def test_covariates_in_their_own_units_give_what_standardised_ones_give(tables, tmp_path, encoder):
    drawn, varied = [], []
    for name in ("own", "hand"):
        data = ["--data", str(tables / f"{name}.csv"), "--output-dir", str(tmp_path / name)]
        assert fit_main([*QUICK, *TABLE, "--condition-columns", *C, *ENCODERS[encoder], *data]) == 0
        new = ["--data", str(tables / f"{name}_new.csv"), "--all-rows", "--output", str(tmp_path / f"{name}.csv")]
        assert evaluate_main([str(tmp_path / name), *new, "--num-samples", "50", "--quiet"]) == 0
        # Samples and variants take c in the units of the table.
        frame, vae = pd.read_csv(tables / f"{name}_new.csv"), load(tmp_path / name).module
        c, x = (torch.tensor(frame[names].to_numpy(), dtype=torch.float32) for names in (C, X))
        torch.manual_seed(0)
        drawn.append(vae.sample(c, mean=True))
        varied.append(vae.variants(x, c, c.flip(0)))
    fitted, new = ([scores(tmp_path / path.format(name)) for name in ("own", "hand")] for path in SCORES)
    assert fitted[0] == pytest.approx(fitted[1], abs=0.01)
    assert new[0] == pytest.approx(new[1], abs=0.01)
    torch.testing.assert_close(*drawn, rtol=0.01, atol=0.01)
    torch.testing.assert_close(*varied, rtol=0.01, atol=0.01)


OWN_PARTS = """
from torch import nn

from pyrovae import likelihoods, networks


class Total(nn.Module):
    \"\"\"Means that sum to the covariate.\"\"\"

    def __init__(self, input_shape, output_shape):
        super().__init__()
        self.network = networks.MLP(input_shape - 1, output_shape)

    def forward(self, z_and_c):
        return self.network(z_and_c[..., :-1]).softmax(-1) * z_and_c[..., -1:]


class Scaled(likelihoods.Normal):
    \"\"\"It brings c to numbers around 1 by itself.\"\"\"

    def forward(self, z_and_c):
        z, c = z_and_c.tensor_split([-1], -1)
        return super().forward(torch.cat([z, (c - 40_000) / 13_000], -1))
"""


def test_parts_of_the_users_own_get_covariates_as_they_are(tables, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_parts.py").write_text(f"import torch\n{OWN_PARTS}")
    given = ["--condition-columns", "income", "--epochs", "1", "--data", str(tables / "own.csv")]
    total = ["--likelihood", "Normal", "--decoder", "own_parts.py:Total", "--output-dir", "total"]
    assert fit_main([*OPTIONS, *given, *total, "--no-report", "--quiet"]) == 0
    income = torch.tensor([[30_000.0], [60_000.0]])
    means = load("total").module.sample(income, mean=True)
    torch.testing.assert_close(means.sum(1, keepdim=True), income)
    assert fit_main([*QUICK, *given, "--likelihood", "own_parts.py:Scaled", "--output-dir", "scaled"]) == 0
    likelihood = load("scaled").module.likelihood
    z = torch.randn(2, 2)
    plain = likelihood.decoder.layers(torch.cat([z, (income - 40_000) / 13_000], 1))
    torch.testing.assert_close(likelihood(torch.cat([z, income], 1)).mean, plain)


def test_a_run_of_an_earlier_version_has_covariates_as_they_are(tables, tmp_path):
    data = ["--data", str(tables / "own.csv"), "--output-dir", str(tmp_path / "run")]
    assert fit_main([*QUICK, *TABLE, "--condition-columns", *C, *ENCODERS["MLP"], *data, "--epochs", "1"]) == 0
    path = tmp_path / "run" / "weights.pt"
    weights = torch.load(path, weights_only=True)
    torch.save({name: value for name, value in weights.items() if "covariate_units" not in name}, path)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    summary["weights_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "run" / "summary.json").write_text(json.dumps(summary))
    vae = load(tmp_path / "run").module
    rows = torch.randn(5, 5)
    assert torch.equal(vae.posterior.encoder(rows), vae.posterior.encoder.layers(rows))
    assert torch.equal(vae.likelihood.decoder(rows), vae.likelihood.decoder.layers(rows))


def test_real_covariates_and_counts_alone_are_standardised():
    rows = np.random.default_rng(0).normal([3, 40_000, 1, 0], [1, 13_000, 1, 1], size=(500, 4))
    rows[:, 2:] = np.random.default_rng(1).integers(0, [900, 2], size=(500, 2))
    units = CovariateUnits(["real", "count", "binary"])
    x = torch.tensor(rows, dtype=torch.float32)
    torch.testing.assert_close(units(x), x, rtol=0, atol=0)
    units.initialize_covariates(x[:, 1:])
    expected = rows.copy()
    expected[:, 1:3] = (rows[:, 1:3] - rows[:, 1:3].mean(0)) / rows[:, 1:3].std(0)
    np.testing.assert_allclose(units(x).numpy(), expected, rtol=1e-4, atol=1e-5)
    # One that does not vary has no spread to divide by.
    units.initialize_covariates(torch.full((7, 3), 5.0))
    assert units(torch.full((1, 4), 5.0)).tolist() == [[5, 0, 0, 5]]
