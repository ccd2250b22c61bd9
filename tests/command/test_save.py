"""``save`` writes what ``load`` can give back, and nothing else."""

import pytest
import torch

from pyrovae import VAE, Run, likelihoods, load, networks, posteriors, priors, save
from pyrovae.runs import build_pair, store

FACTORY = """
from pyrovae import VAE, likelihoods, networks, posteriors, priors


def make(data_shape, latent_dim):
    decoder, encoder = networks.MLP(latent_dim, data_shape, (WIDTH,)), networks.MLP(data_shape, 2 * latent_dim)
    return VAE(priors.StandardNormal(latent_dim), likelihoods.Bernoulli(decoder), posteriors.DiagonalNormal(encoder))
"""


def own_vae():
    encoder, decoder = networks.MLP(5, 2 * 2), networks.MLP(2, 5)
    return VAE(priors.StandardNormal(2), likelihoods.Bernoulli(decoder), posteriors.DiagonalNormal(encoder))


@pytest.fixture
def factory(tmp_path):
    def write(width):
        path = tmp_path / "model.py"
        path.write_text(FACTORY.replace("WIDTH", str(width)))
        return f"{path}:make"

    return write


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"latent_dim": 2}, "run.config says nothing of 'model': save stores runs whose config builds them"),
        ({}, "run.config says nothing of 'latent_dim'"),
        ({"latent_dim": "2", "model": None}, "latent_dim is '2'; expected a whole number"),
        ({"latent_dim": 2, "model": "nowhere.py:make"}, "there is no file 'nowhere.py'"),
        ({"latent_dim": 2, "model": own_vae}, "run.config builds no pair .*cannot represent"),
    ],
)
def test_a_run_that_its_configuration_does_not_build_is_refused_before_anything_is_written(config, message, tmp_path):
    vae = own_vae()
    with pytest.raises(ValueError, match=message) as caught:
        save(Run(vae.model, vae.guide, config, (5,)), tmp_path / "run")
    assert "torch.save(vae.state_dict(), path)" in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_what_save_takes_load_gives_back(factory, tmp_path):
    config = {"latent_dim": 2, "model": factory(7)}
    run = Run(*build_pair(config, (5,)), config, (5,))
    state = torch.get_rng_state()
    save(run, tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), state)
    loaded = load(tmp_path / "run")
    for name, value in run.vae.state_dict().items():
        assert torch.equal(loaded.vae.state_dict()[name], value)


def test_a_factory_that_has_changed_is_refused_by_save_and_costs_no_fit(factory, tmp_path):
    """The command stores what it fitted even then."""
    config = {"latent_dim": 2, "model": factory(7)}
    run = Run(*build_pair(config, (5,)), config, (5,))
    # A longer text: Python tells sources of one second apart by their size.
    factory(10)
    with pytest.raises(ValueError, match=r"decoder.*has shape \(7, 2\), and the model needs \(10, 2\)"):
        save(run, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    store(run, tmp_path / "run")
    stored = torch.load(tmp_path / "run" / "weights.pt", weights_only=True)
    assert torch.equal(stored["likelihood.decoder.layers.0.weight"], run.vae.likelihood.decoder.layers[0].weight)
