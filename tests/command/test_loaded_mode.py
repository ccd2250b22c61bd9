"""Runs are loaded in evaluation mode, and fits train them all the same."""

import pytest
import torch

from pyrovae import Run, compare_bounds, fit_svi, load, save
from pyrovae.fit import main as fit_main
from pyrovae.runs import build_pair

VAE_OF = """
from pyrovae import VAE, likelihoods, networks, posteriors, priors


def make(data_shape, latent_dim):
    encoder = networks.MLP(data_shape, 2 * latent_dim, (8,), normalization="batch")
    decoder = networks.MLP(latent_dim, data_shape, (8,), normalization="batch")
    return VAE(priors.StandardNormal(latent_dim), likelihoods.Normal(decoder), posteriors.DiagonalNormal(encoder))
"""

# Functions, whose networks belong to no module of theirs.
PAIR_OF = """
import pyro
import pyro.distributions as dist
import torch
from pyrovae import networks


def make(data_shape, latent_dim):
    encoder = networks.MLP(data_shape, latent_dim, (8,), normalization="batch")
    decoder = networks.MLP(latent_dim, data_shape, (8,), normalization="batch")

    def model(x):
        pyro.module("decoder", decoder)
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(latent_dim), 1).to_event(1))
            pyro.sample("x", dist.Normal(decoder(z), 1).to_event(1), obs=x)

    def guide(x):
        pyro.module("encoder", encoder)
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(1))

    guide.encoder, model.decoder = encoder, decoder
    return model, guide
"""


@pytest.fixture
def loaded(tmp_path):
    """A run of each kind, stored after a few steps and loaded, with its networks and some rows."""

    def make(code):
        path = tmp_path / "model.py"
        path.write_text(code)
        config = {"latent_dim": 2, "model": f"{path}:make"}
        run = Run(*build_pair(config, (5,)), config, (5,))
        fit_svi(run.model, run.guide, torch.randn(40, 5) + 3, epochs=2, batch_size=10, progress=False)
        save(run, tmp_path / "run")
        run = load(tmp_path / "run")
        if run.vae is None:
            return run, (run.guide.encoder, run.model.decoder)
        return run, (run.vae.posterior.encoder, run.vae.likelihood.decoder)

    return make


def batch_norms(networks):
    return [part for network in networks for part in network.modules() if isinstance(part, torch.nn.BatchNorm1d)]


def test_the_code_of_a_row_of_a_loaded_run_depends_on_no_other_row(loaded):
    run, networks = loaded(VAE_OF)
    x, kept = torch.randn(6, 5), [norm.running_mean.clone() for norm in batch_norms(networks)]
    codes = run.vae.encode(x).mean
    torch.testing.assert_close(run.vae.encode(x[:1]).mean, codes[:1])
    torch.testing.assert_close(run.vae.decode(codes[:1]).mean, run.vae.decode(codes).mean[:1])
    # The first layer in plain PyTorch, by the running mean and variance.
    linear, norm, *rest = networks[0].layers
    hidden = (linear(x) - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
    torch.testing.assert_close(torch.nn.Sequential(*rest)(hidden)[:, :2], codes, rtol=1e-4, atol=1e-5)
    for norm, mean in zip(batch_norms(networks), kept, strict=True):
        assert torch.equal(norm.running_mean, mean)


@pytest.mark.parametrize("code", [VAE_OF, PAIR_OF], ids=["vae", "functions"])
def test_a_fit_trains_what_was_loaded_in_training_mode(code, loaded):
    run, networks = loaded(code)
    assert not any(part.training for network in networks for part in network.modules())
    before = [int(norm.num_batches_tracked) for norm in batch_norms(networks)]
    fit_svi(run.model, run.guide, torch.randn(40, 5), epochs=1, batch_size=10, progress=False)
    # Batch normalisation counts the batches that it sees in training mode, four here.
    assert [int(norm.num_batches_tracked) for norm in batch_norms(networks)] == [count + 4 for count in before]
    assert not any(part.training for network in networks for part in network.modules())


@pytest.mark.parametrize("code", [VAE_OF, PAIR_OF], ids=["vae", "functions"])
def test_a_run_is_loaded_in_inference_mode_to_be_scored_and_fitted_outside(code, loaded, tmp_path):
    run, _ = loaded(code)
    x = torch.randn(40, 5)
    expected = compare_bounds(run.model, run.guide, x, num_samples=5)
    with torch.inference_mode():
        again = load(tmp_path / "run")
        assert torch.is_inference_mode_enabled()
        found = compare_bounds(again.model, again.guide, x, num_samples=5)
    assert torch.equal(found.log_px, expected.log_px)
    fit_svi(again.model, again.guide, x, epochs=1, batch_size=10, progress=False)


def test_a_fit_that_starts_from_a_stored_run_is_in_training_mode(tmp_path):
    options = ["--data", "digits", "--likelihood", "Normal", "--encoder.normalization", "batch", "--epochs", "1"]
    options += ["--encoder.hidden_dims", "[4]", "--num-samples", "5", "--no-report", "--quiet"]
    assert fit_main([*options, "--output-dir", str(tmp_path / "first")]) == 0
    start = ["--init-from", str(tmp_path / "first"), "--output-dir", str(tmp_path / "second")]
    assert fit_main([*options, *start]) == 0
    first, second = (
        int(batch_norms([load(tmp_path / name).vae])[0].num_batches_tracked) for name in ("first", "second")
    )
    assert second == 2 * first > 0
