"""Commands in this process, ``python -m pyrovae.fit`` above all, and what they write."""

import csv

from pyrovae.fit import main

QUICK = ["--epochs", "2", "--num-samples", "50", "--no-report", "--quiet"]


RUN_FILES = {
    "config.yaml",
    "weights.pt",
    "metrics.csv",
    "evaluation.csv",
    "reconstructions.png",
    "samples.png",
    "learning_curves.png",
    "summary.json",
    "report.html",
}


def run(*arguments: str, command=main) -> int:
    """A command in this process, of none other the fit; argparse leaves by SystemExit."""
    try:
        return command(list(arguments))
    except SystemExit as stop:
        return stop.code


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


OWN_MODEL = """
import pyro, torch
import pyro.distributions as dist
from torch import nn


def make(data_shape):
    size = data_shape[0]
    decoder, encoder = nn.Linear(2, size), nn.Linear(size, 2)

    def model(x):
        pyro.module("decoder", decoder)
        noise = pyro.param("noise", torch.tensor(1.0), constraint=dist.constraints.positive)
        with pyro.plate("data", len(x)):
            z = pyro.sample("code", dist.Normal(x.new_zeros(2), 1).to_event(1))
            pyro.sample("obs", dist.Normal(decoder(z), noise).to_event(1), obs=x)

    def guide(x):
        pyro.module("encoder", encoder)
        scale = pyro.param("scale", torch.ones(2), constraint=dist.constraints.positive)
        with pyro.plate("data", len(x)):
            pyro.sample("code", dist.Normal(encoder(x), scale).to_event(1))

    return model, guide


def broken():
    return 3


def failing():
    raise RuntimeError("no such table")


def two_sites(data_shape):
    size, noise = data_shape[0], nn.Parameter(torch.tensor(0.0))

    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.noise = noise

        def model(self, x):
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1).to_event(1))
                pyro.sample("length", dist.Normal(z[..., 0], 1), obs=x.norm(dim=-1))
                pyro.sample("x", dist.Normal(z, self.noise.exp()).expand([*z.shape[:-1], size]).to_event(1), obs=x)

        def guide(self, x):
            # Rows of zeros would give NaN.
            scale = pyro.param("scale", torch.ones(1), constraint=dist.constraints.positive)
            with pyro.plate("data", len(x)):
                loc = (x / x.norm(dim=-1, keepdim=True)).sum(-1, keepdim=True)
                pyro.sample("z", dist.Normal(loc, scale).to_event(1))

    pair = Pair()
    return pair.model, pair.guide
"""


def text(folder, name, content):
    (folder / name).write_text(content)
    return name
