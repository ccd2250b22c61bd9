"""pythae: its own model, trained by its own trainer from its own data loader, and its own estimate of log p(x)."""

import logging
import tempfile

import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import CallbackHandler, TrainingCallback
from sides.plain import LATENT_DIM, LEARNING_RATE, PIXELS, Networks, copy_parameters, moments, rows, step
from torch import Tensor


class Encoder(BaseEncoder):
    """The encoder of the others; it ticks at the beginning of each step."""

    def __init__(self, networks: Networks, tick) -> None:
        super().__init__()
        self.network, self.tick = networks.encoder, tick

    def forward(self, x: Tensor) -> ModelOutput:
        self.tick()
        loc, scale = moments(self.network(x))
        return ModelOutput(embedding=loc, log_covariance=2 * scale.log())


class Decoder(BaseDecoder):
    """The decoder of the others, with the probabilities that pythae takes."""

    def __init__(self, networks: Networks) -> None:
        super().__init__()
        self.network = networks.decoder

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.network(z).sigmoid())


def build(networks: Networks, tick=lambda: None) -> VAE:
    config = VAEConfig(input_dim=(PIXELS,), latent_dim=LATENT_DIM, reconstruction_loss="bce")
    return VAE(config, Encoder(networks, tick), Decoder(networks))


def train(clock, data: str, batch_size: int) -> None:
    """Steps of its trainer, from batch to batch."""
    logging.disable()
    x = rows(data)
    with tempfile.TemporaryDirectory() as folder:
        config = BaseTrainerConfig(
            output_dir=folder,
            learning_rate=LEARNING_RATE,
            per_device_train_batch_size=batch_size,
            optimizer_cls="Adam",
            no_cuda=True,
        )
        model = build(Networks(), clock.tick)
        trainer = BaseTrainer(model, BaseDataset(x, torch.zeros(len(x))), training_config=config)
        trainer.set_optimizer()
        trainer.set_scheduler()
        trainer.callback_handler = CallbackHandler([TrainingCallback()], trainer.model)
        for epoch in range(1, 10_000):
            trainer.train_step(epoch)


def mean_loss(start: list[Tensor], batches: list[Tensor], seed: int) -> float:
    """The loss of a row, over some steps from given parameters."""
    networks = Networks()
    copy_parameters(start, networks)
    torch.manual_seed(seed)
    model = build(networks)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    return sum(step(optimizer, model({"data": x}).loss).item() for x in batches) / len(batches)


def score(clock, data: str, num_rows: int, draws: int) -> None:
    """Its estimate of log p(x), of a few rows at a time, 100 draws at once as it does of itself."""
    model, x = build(Networks()).eval(), rows(data)
    clock.tick(0)
    with torch.no_grad():
        while True:
            for part in x.split(num_rows):
                model.get_nll(part, n_samples=draws)
                clock.tick(num_rows * draws)
