"""Runs on real images, for minutes: ``PYROVAE_DATA_ROOT=DIR python -m pytest -m slow``."""

import json
import os

import pytest

from pyrovae.fit import main

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("PYROVAE_DATA_ROOT" not in os.environ, reason="PYROVAE_DATA_ROOT names no folder with MNIST"),
]


def test_mnist_reaches_minus_97_nats(tmp_path):
    """784-200-200-50, dynamic binarisation, 20 epochs; a plain PyTorch loop gives -95.9 with ReLU."""
    options = "--data mnist --likelihood Bernoulli --latent-dim 50 --epochs 20 --batch-size 128 --lr 1e-3 --quiet"
    assert main([*options.split(), "--output-dir", str(tmp_path / "run")]) == 0
    numbers = json.loads((tmp_path / "run" / "summary.json").read_text())["evaluation"]["nats_per_row"]
    assert numbers["log_px"]["mean"] >= -97
    assert numbers["elbo"]["mean"] < numbers["log_px"]["mean"]


@pytest.mark.parametrize("encoder", ["MLP", "ConvEncoder"])
def test_fashion_mnist_trains(tmp_path, encoder):
    options = "--data fashion-mnist --likelihood Normal --latent-dim 10 --epochs 1 --batch-size 128 --num-samples 20"
    decoder = {"MLP": "MLP", "ConvEncoder": "ConvDecoder"}[encoder]
    # From 1.0, a scale moves by about 0.4 in an epoch at this learning rate; it starts near that of the pixels.
    arguments = [*options.split(), "--quiet", "--encoder", encoder, "--decoder", decoder]
    arguments += ["--likelihood.initial_scale", "0.35"]
    assert main([*arguments, "--output-dir", str(tmp_path / "run")]) == 0
    numbers = json.loads((tmp_path / "run" / "summary.json").read_text())["evaluation"]["nats_per_row"]
    # Far above the density of one Gaussian for all pixels: -784 * log(0.353 * sqrt(2 * pi * e)) = -296 nats.
    assert numbers["log_px"]["mean"] > 0
