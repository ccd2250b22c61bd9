"""Pairs with ``pyro.param`` statements, stored and scored again in another process."""

import subprocess
import sys

import pyro.distributions as dist
import pytest
import torch

from pyrovae import Run, compare_bounds, fit_svi, save
from pyrovae.runs import build_pair

CODE = """
import pyro
import pyro.distributions as dist
import torch
from torch import nn


class Mixture(nn.Module):
    def __init__(self):
        super().__init__()
        self.decoder, self.encoder = nn.Linear(1, 3), nn.Linear(3, 1)

    def model(self, x):
        locs = pyro.param("locs", torch.tensor([-1.0, 1.0]))
        scales = pyro.param("scales", torch.ones(2), constraint=dist.constraints.positive)
        with pyro.plate("rows", len(x)):
            p_z = dist.MixtureSameFamily(dist.Categorical(torch.ones(2)), dist.Normal(locs, scales))
            z = pyro.sample("z", p_z)
            pyro.sample("x", dist.Normal(self.decoder(z[..., None]), 0.5).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(self.encoder(x)[..., 0], 0.5))


def make():
    module = Mixture()
    return module.model, module.guide
"""

# Both ways that the page docs/extending.md has, each scored twice.
SCORE = """
import pyro
import pyro.distributions as dist
import torch
from mixture import Mixture
from pyrovae import compare_bounds, load

run, stored, module = load("run"), torch.load("mixture.pt"), Mixture()
module.load_state_dict(stored["modules"])
pyro.param("locs", stored["params"]["locs"])
pyro.param("scales", stored["params"]["scales"], constraint=dist.constraints.positive)
x = torch.load("x.pt")
scores = [
    compare_bounds(model, guide, x, num_samples=1000, seed=0, progress=False).log_px
    for model, guide in 2 * [(module.model, module.guide), (run.model, run.guide)]
]
torch.save(scores, "scores.pt")
"""


def exact_log_px(decoder, params, x):
    """p(x) is a mixture of Gaussians, as p(z) is one and x is linear in z."""
    weight, bias = decoder.weight.detach()[:, 0], decoder.bias.detach()
    covariances = params["scales"][:, None, None] ** 2 * torch.outer(weight, weight) + 0.25 * torch.eye(3)
    of_x = dist.MultivariateNormal(params["locs"][:, None] * weight + bias, covariances)
    return dist.MixtureSameFamily(dist.Categorical(torch.ones(2)), of_x).log_prob(x).double()


@pytest.mark.ci
def test_another_process_gives_a_stored_pair_its_log_px(tmp_path, monkeypatch):
    """Exactly, and the closed form within four standard errors, which chance breaks once in 15,000 times."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mixture.py").write_text(CODE)
    x = torch.randn(100, 3) + 2.0 * torch.randn(100, 1).sign()
    config = {"model": "mixture.py:make", "latent_dim": 1}
    run = Run(*build_pair(config, (3,)), config, (3,))
    result = fit_svi(run.model, run.guide, x, epochs=30, batch_size=50, lr=0.03, progress=False)
    assert (result.params["scales"] - 1).abs().min() > 0.05
    module = run.model.__self__
    save(run, "run")
    torch.save({"modules": module.state_dict(), "params": result.params}, "mixture.pt")
    torch.save(x, "x.pt")
    done = subprocess.run([sys.executable, "-c", SCORE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    bounds = compare_bounds(run.model, run.guide, x, num_samples=1000, seed=0, progress=False)
    for scores in torch.load("scores.pt"):
        torch.testing.assert_close(scores, bounds.log_px)
    error = bounds.standard_error.square().sum().sqrt() / len(x)
    assert (bounds.log_px - exact_log_px(module.decoder, result.params, x)).mean().abs() < 4 * error
