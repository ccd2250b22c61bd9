"""Importing the package loads nothing that it does not need yet."""

import json
import subprocess
import sys
from pathlib import Path

# Each takes long to import, and is loaded by what uses it.
HEAVY = {
    "arviz",
    "arviz_stats",
    "jsonargparse",
    "matplotlib",
    "pandas",
    "sklearn",
    "torch._inductor",
    "torch.fx.experimental.proxy_tensor",
    "torchvision",
}

CODE = """
import json, sys
import torch, pyro
before, validates = set(sys.modules), torch.distributions.Distribution._validate_args
import pyrovae
assert torch.distributions.Distribution._validate_args == validates
assert torch.get_default_dtype() == torch.float32
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_import_is_light_and_leaves_global_settings_alone():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CODE],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    # Beside those of torch and Pyro.
    loaded = set(json.loads(done.stdout))
    assert "pyrovae.models" in loaded
    assert not HEAVY & loaded


SCORES = """
import sys
import torch
from pyrovae import VAE, compare_bounds, likelihoods, networks, posteriors, priors

vae = VAE(
    priors.StandardNormal(2),
    likelihoods.Normal(networks.MLP(2, 3)),
    posteriors.DiagonalNormal(networks.MLP(3, 2 * 2)),
)
compare_bounds(vae.model, vae.guide, torch.randn(4, 3), num_samples=30)
assert "torch._dynamo" not in sys.modules
"""


def test_scoring_does_not_wait_for_the_compiler_of_torch():
    subprocess.run([sys.executable, "-c", SCORES], check=True, cwd=Path(__file__).parents[1])
