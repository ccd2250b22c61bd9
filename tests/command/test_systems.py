"""``python -m pyrovae.fit --system``: two layers, denoising VAEs, and what does not go together."""

import numpy as np
import pytest
import torch
import yaml
from fit_runs import rows_of, run
from system_runs import FAST, SCORED, summary_of, write_table

from pyrovae import compare_bounds, load, load_data
from pyrovae.compare import main as compare
from pyrovae.evaluate import main as evaluate


def test_two_layers_are_fitted_and_scored_by_an_objective_that_is_right_for_them(in_tmp, capsys):
    options = ["--system", "two-layer-vae", *SCORED, "--latent-dim", "6"]
    assert run(*options, "--output-dir", "out") == 0
    said = capsys.readouterr().out
    assert "objective   Trace_ELBO(num_particles=1)" in said
    assert "two-layer VAE, 6 dimensions of z1, 3 of z2" in said
    loaded, data = load("out"), load_data("digits", binarize="dynamic")
    bounds = compare_bounds(loaded.model, loaded.guide, data.test, num_samples=20, seed=0)
    rows = rows_of(in_tmp / "out" / "evaluation.csv")
    assert [float(row["log_px"]) for row in rows] == pytest.approx(bounds.log_px.tolist(), abs=1e-9)
    assert run(*options, "--objective", "DReG", "--upper-dim", "2", "--output-dir", "other") == 0
    assert load("other").module.prior().event_shape == (2,)
    assert run("out", "--num-samples", "20", "--output", "scored.csv", "--quiet", command=evaluate) == 0
    scored = [float(row["log_px"]) for row in rows_of(in_tmp / "scored.csv")]
    assert scored == pytest.approx(bounds.log_px.tolist(), abs=1e-4)
    capsys.readouterr()
    assert run("out", "other", command=compare) == 0
    assert "objective DReG(num_particles=5)" in capsys.readouterr().out
    # What is printed as the configuration is read again, and what is stored.
    assert run("--system", "two-layer-vae", "--print_config") == 0
    (in_tmp / "my.yaml").write_text(capsys.readouterr().out)
    assert "Trace_ELBO" in (in_tmp / "my.yaml").read_text()
    assert run("--config", "my.yaml", *options, "--output-dir", "again") == 0
    assert rows_of(in_tmp / "again" / "evaluation.csv") == rows
    assert yaml.safe_load((in_tmp / "out" / "config.yaml").read_text())["objective"]["class_path"].endswith(
        "Trace_ELBO"
    )


def test_a_denoising_vae_sees_damage_in_training_alone(in_tmp, capsys):
    options = ["--corruption", "salt-and-pepper", "--corruption-level", "0.2"]
    prior = ["--prior", "VampPrior", "--prior.num_pseudo_inputs", "20", "--latent-dim", "3"]
    assert run(*options, *prior, *SCORED, "--output-dir", "out") == 0
    said = capsys.readouterr().out
    assert "corruption  SaltAndPepper(0.2, low=0, high=1)" in said
    assert "bound of q(z|x~), a bound of log p(x) too; the numbers above are of q(z|x), on clean rows" in said
    loaded, data = load("out"), load_data("digits", binarize="dynamic")
    clean = loaded.vae.posterior.posterior(data.test)
    loaded.vae.eval()
    torch.testing.assert_close(loaded.vae.encode(data.test).mean, clean.mean)
    assert loaded.vae.prior.posterior is loaded.vae.posterior.posterior
    bounds = compare_bounds(loaded.model, loaded.guide, data.test, num_samples=20, seed=0)
    rows = rows_of(in_tmp / "out" / "evaluation.csv")
    assert [float(row["log_px"]) for row in rows] == pytest.approx(bounds.log_px.tolist(), abs=1e-9)
    assert run(*prior, *SCORED, "--output-dir", "plain") == 0
    # Training differs, so the damage was seen there.
    assert (
        rows_of(in_tmp / "plain" / "metrics.csv")[0]["train_elbo"]
        != rows_of(in_tmp / "out" / "metrics.csv")[0]["train_elbo"]
    )


def test_a_loss_that_is_not_finite_ends_with_status_3(in_tmp, capsys):
    np.save("huge.npy", np.full((30, 4), 1e30, dtype=np.float32))
    assert run("--data", "huge.npy", "--system", "autoencoder", *FAST, "--output-dir", "out") == 3
    assert "the loss is not finite at epoch 1. The weights of epoch 0" in capsys.readouterr().err
    assert "the loss is not finite" in summary_of(in_tmp / "out")["status"]
    assert load("out").autoencoder is not None


REFUSED = {
    "a part of a density": (
        ["--system", "autoencoder", "--likelihood", "Normal"],
        "--system autoencoder takes no --likelihood, as it has no p(x): leave it out, or take --system vae or "
        "conditional-vae or two-layer-vae",
    ),
    "an objective": (["--system", "autoencoder", "--beta", "4"], "takes no --beta, as it has no p(x)"),
    "steps of an autoencoder": (
        ["--system", "autoencoder", "--step", "recorded"],
        "--system autoencoder takes no --step, which it has no use for",
    ),
    "draws": (["--system", "autoencoder", "--num-samples", "10"], "takes no --num-samples, as it has no p(x)"),
    "another system's size": (
        ["--upper-dim", "3"],
        "--system vae takes no --upper-dim, which it has no use for: leave it out, or take --system two-layer-vae",
    ),
    "pretraining of a VAE": (["--pretrain-epochs", "3"], "--system vae takes no --pretrain-epochs, which it has no"),
    "a loss of a VAE": (["--reconstruction-loss", "cross_entropy"], "--system vae takes no --reconstruction-loss"),
    "a condition of a VAE": (["--condition", "labels"], "or take --system conditional-vae"),
    "an unknown system": (["--system", "vea"], "--system is vea; expected one of vae, autoencoder, conditional-vae"),
    "a level alone": (["--corruption-level", "0.2"], "--corruption-level 0.2 has no effect without --corruption"),
    "a fraction above 1": (
        ["--corruption", "masking", "--corruption-level", "1.5"],
        "--corruption-level is 1.5; expected a fraction of the entries, above 0 and at most 1, for --corruption mask",
    ),
    "no noise": (
        ["--corruption", "gaussian", "--corruption-level", "0"],
        "--corruption-level is 0; expected a standard deviation above 0, for --corruption gaussian",
    ),
    "infinite noise": (["--corruption", "gaussian", "--corruption-level", "inf"], "--corruption-level: got inf"),
    "damage and gaps": (
        ["--corruption", "masking", "--missing", "keep"],
        "--corruption damages whole rows, and --missing keep has rows with gaps",
    ),
    "salt on real values": (
        ["--data", "real.npy", "--likelihood", "Normal", "--corruption", "salt-and-pepper"],
        "--corruption salt-and-pepper sets entries to 0 or 1, and the data range from ",
    ),
    "bits of real values": (
        ["--data", "real.npy", "--system", "autoencoder", "--reconstruction-loss", "cross_entropy"],
        "--reconstruction-loss cross_entropy is for values in [0, 1], and the data range from ",
    ),
    "layers of images": (
        ["--system", "autoencoder", "--pretrain-epochs", "1", "--encoder", "ConvEncoder"],
        "the encoder is a ConvEncoder; expected a networks.MLP",
    ),
    "layers that do not mirror": (
        ["--system", "autoencoder", "--pretrain-epochs", "1", "--encoder.hidden_dims", "[20]"],
        "expected mirror images",
    ),
    "no labels": (
        ["--data", "real.npy", "--likelihood", "Normal", "--system", "conditional-vae"],
        "real.npy has no labels to condition on: give data with labels",
    ),
    "one label": (
        ["--data", "one.npz", "--likelihood", "Normal", "--system", "conditional-vae"],
        "one.npz has one label, 4, on all rows: it says nothing of them",
    ),
    "rows without a label": (
        ["--data", "unlabelled.npz", "--likelihood", "Normal", "--system", "conditional-vae"],
        "unlabelled.npz has rows with the label -1; expected a class number from 0 for each",
    ),
    "a class that is not trained": (
        ["--data", "rare.npz", "--likelihood", "Normal", "--system", "conditional-vae"],
        "rare.npz has rows with the label 2, which no training row has",
    ),
    "columns of images": (
        ["--system", "conditional-vae", "--condition-columns", "age"],
        "digits has no named columns to condition on",
    ),
    "an unknown column": (
        ["--data", "table.csv", "--system", "conditional-vae", "--condition-columns", "aeg"],
        "table.csv has no column 'aeg'; its columns are age, a, b, c",
    ),
    "all columns": (
        ["--data", "table.csv", "--system", "conditional-vae", "--condition-columns", "age", "a", "b", "c"],
        "all columns of table.csv are conditioned on, and none is left to be x",
    ),
    "a column twice": (
        ["--data", "table.csv", "--system", "conditional-vae", "--condition-columns", "a", "a"],
        "a column is named twice among a, a",
    ),
    "columns without names": (
        ["--system", "conditional-vae", "--condition", "columns"],
        "--condition columns needs their names: give --condition-columns",
    ),
    "labels and columns": (
        ["--system", "conditional-vae", "--condition", "labels", "--condition-columns", "a"],
        "--condition labels takes no --condition-columns a: leave one of the two out",
    ),
    "gaps beside c": (
        ["--system", "conditional-vae", "--missing", "keep"],
        "--system conditional-vae takes no --missing, as its rows have to be complete",
    ),
    "grey values of x under Bernoulli": (
        ["--system", "conditional-vae", "--binarize", "none"],
        "Bernoulli at site 'x' is no density for these data: row 0 has the value 0.0625",
    ),
    "the mean-field objective": (
        ["--system", "two-layer-vae", "--objective", "TraceMeanField_ELBO"],
        "--objective TraceMeanField_ELBO is not right for --system two-layer-vae",
    ),
    "a prior of q(z|x) above": (
        ["--system", "two-layer-vae", "--prior", "VampPrior"],
        "--prior VampPrior is made of q(z|x), and the prior of this system is over latents above z",
    ),
    "a model of one's own": (
        ["--system", "two-layer-vae", "--model", "my.py:make"],
        "--model brings a complete pair of programs, and --system would be ignored",
    ),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_what_makes_no_sense_is_refused_and_nothing_is_written(in_tmp, capsys, options, message):
    x = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    np.save("real.npy", x)
    np.savez("one.npz", x=x, y=np.full(30, 4))
    np.savez("unlabelled.npz", x=x, y=np.arange(30) % 3 - 1)
    np.savez("rare.npz", train=x, train_labels=np.arange(30) % 2, test=x, test_labels=np.arange(30) % 3)
    write_table(in_tmp / "table.csv", "age,a,b,c")
    assert run(*options, "--epochs", "1", "--quiet", "--output-dir", "out") == 2
    said = capsys.readouterr().err
    assert said.count("\n") <= 2
    assert message in said
    assert not (in_tmp / "out").exists()


def test_the_help_says_why_and_has_the_objective_of_the_system(capsys):
    assert run("--system", "two-layer-vae", "--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "pyrovae.objectives.Trace_ELBO" in text
    for words in ("--corruption-level", "--pretrain-epochs", "--condition-columns", "--upper-dim", "greedy pretrain"):
        assert words in text
    assert "A VAE then maximises the bound of q(z|corrupted x), a bound of log p(x) too" in text
