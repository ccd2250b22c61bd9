"""What the evaluation says of real images, for minutes: ``PYROVAE_DATA_ROOT=DIR python -m pytest -m slow``."""

import os

import pytest

from pyrovae import bdmc, load, load_data, ood_scores
from pyrovae.fit import main

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("PYROVAE_DATA_ROOT" not in os.environ, reason="PYROVAE_DATA_ROOT names no folder with MNIST"),
]


@pytest.fixture(scope="module", params=["mnist", "fashion-mnist"])
def run(request, tmp_path_factory):
    """A run of three epochs."""
    folder = str(tmp_path_factory.mktemp("runs") / request.param)
    options = "--likelihood Bernoulli --latent-dim 20 --epochs 3 --batch-size 128 --num-samples 10 --no-report --quiet"
    assert main(["--data", request.param, *options.split(), "--output-dir", folder]) == 0
    return load(folder)


def test_annealing_brackets_log_px_within_half_a_nat(run):
    like = load_data(run.config["data"], binarize="dynamic").test[:1]
    bracket = bdmc(run.model, run.guide, like=like, num_rows=8, num_chains=8)
    mean, over_rows, _ = bracket.means()["gap"]
    assert -4 * over_rows < mean < 0.5
    assert bracket.forward.acceptance.min() > 0.3


def test_digits_are_likely_under_a_model_of_clothes_and_not_the_other_way_round(run):
    """Nalisnick et al. (2019); by 4 standard errors of the AUROC, a false alarm in 1 of 16,000 seeds each."""
    own = load_data(run.config["data"], binarize="dynamic")
    strange = load_data({"mnist": "fashion-mnist", "fashion-mnist": "mnist"}[run.config["data"]], binarize="dynamic")
    train = own.train_transform(own.train[:300])
    ins, outs = (
        ood_scores(run.model, run.guide, rows[:300], train=train, num_samples=50) for rows in (own.test, strange.test)
    )
    found = ins.aurocs(outs)
    by_log_px, by_typicality = found["negative_log_px"], found["typicality"]
    if run.config["data"] == "fashion-mnist":
        assert by_log_px.value + 4 * by_log_px.standard_error < 0.5
    else:
        assert by_log_px.value - 4 * by_log_px.standard_error > 0.9
        assert by_typicality.value - 4 * by_typicality.standard_error > 0.9
