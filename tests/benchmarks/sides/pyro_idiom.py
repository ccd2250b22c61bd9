"""Pyro's idiom, that of its VAE example: ``SVI`` with ``pyro.optim.Adam`` and ``Trace_ELBO``, batches from memory."""

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.optim import Adam
from sides.plain import LATENT_DIM, LEARNING_RATE, Networks, copy_parameters, moments, rows
from torch import Tensor


class Programs:
    """The example's model and guide, with the networks of the others: log-odds for sigmoid, softplus for exp."""

    def __init__(self) -> None:
        self.networks = Networks()

    def model(self, x: Tensor) -> None:
        pyro.module("decoder", self.networks.decoder)
        with pyro.plate("data", x.shape[0]):
            z_loc = x.new_zeros(torch.Size((x.shape[0], LATENT_DIM)))
            z_scale = x.new_ones(torch.Size((x.shape[0], LATENT_DIM)))
            z = pyro.sample("latent", dist.Normal(z_loc, z_scale).to_event(1))
            logits = self.networks.decoder(z)
            pyro.sample("obs", dist.Bernoulli(logits=logits, validate_args=False).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        pyro.module("encoder", self.networks.encoder)
        with pyro.plate("data", x.shape[0]):
            z_loc, z_scale = moments(self.networks.encoder(x))
            pyro.sample("latent", dist.Normal(z_loc, z_scale).to_event(1))


def inference(programs: Programs) -> SVI:
    return SVI(programs.model, programs.guide, Adam({"lr": LEARNING_RATE}), loss=Trace_ELBO())


def train(clock, data: str, batch_size: int) -> None:
    """Steps of ``SVI``."""
    x, svi = rows(data), inference(Programs())
    clock.tick(0)
    while True:
        total = 0.0
        for index in torch.randperm(len(x)).split(batch_size):
            total += svi.step(x[index])
            clock.tick()


def mean_loss(start: list[Tensor], batches: list[Tensor], seed: int) -> float:
    """The loss of a row, over some steps from given parameters."""
    pyro.clear_param_store()
    programs = Programs()
    copy_parameters(start, programs.networks)
    pyro.set_rng_seed(seed)
    svi = inference(programs)
    return sum(svi.step(x) / len(x) for x in batches) / len(batches)
