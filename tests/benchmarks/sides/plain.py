"""Hand-written PyTorch: in-memory batches, fused Adam, eager; no Pyro and nothing of the package."""

import math
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

PIXELS, LATENT_DIM, HIDDEN_DIM, CLASSES, DRAWS = 784, 50, 400, 10, 50
LABELLED_ROWS, CLASSIFICATION_WEIGHT, LEARNING_RATE = 96, 3.0, 1e-3
SCALE_FLOOR = 1e-6


def rows(path: str, shape: tuple[int, ...] = (PIXELS,)) -> Tensor:
    """The rows of a file, whose memory the sides share."""
    return torch.from_numpy(np.load(path, mmap_mode="c")).reshape(-1, *shape)


def mlp(*widths: int, activation: type[nn.Module] = nn.Softplus) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inner, outer in pairwise(widths):
        layers += [nn.Linear(inner, outer), activation()]
    return nn.Sequential(*layers[:-1])


class Networks(nn.Module):
    """784-400-50-400-784, softplus."""

    data_shape: tuple[int, ...] = (PIXELS,)

    def __init__(self) -> None:
        super().__init__()
        self.decoder = mlp(LATENT_DIM, HIDDEN_DIM, PIXELS)
        self.encoder = mlp(PIXELS, HIDDEN_DIM, 2 * LATENT_DIM)

    def loss(self, x: Tensor) -> Tensor:
        """Minus the ELBO of a row, with one draw, the KL in closed form."""
        loc, scale = moments(self.encoder(x))
        z = loc + scale * torch.randn_like(loc)
        error = F.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="sum")
        kl = 0.5 * (loc.square() + scale.square() - 1).sum() - scale.log().sum()
        return (error + kl) / len(x)

    def drawn_loss(self, x: Tensor) -> Tensor:
        """The same with the KL drawn, as Pyro's ``Trace_ELBO`` has it."""
        return -self.log_weights(x, 1).mean()

    def log_weights(self, x: Tensor, draws: int) -> Tensor:
        """Log p(x, z) - log q(z|x) ``(draws, rows)``."""
        loc, scale = moments(self.encoder(x))
        noise = torch.randn(draws, *loc.shape)
        z = loc + scale * noise
        return log_likelihood(self.decoder(z), x) + log_ratio(z, noise, scale)


class ConvolutionalNetworks(Networks):
    """Two convolutions of stride 2 each way."""

    data_shape = (1, 28, 28)

    def __init__(self) -> None:
        super().__init__()
        self.decoder = nn.Sequential(
            nn.Linear(LATENT_DIM, 64 * 7 * 7),
            nn.Unflatten(-1, (64, 7, 7)),
            nn.ReLU(),
            nn.ConvTranspose2d(64, 32, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(32, 1, 4, 2, 1),
        )
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 32, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 4, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * 7 * 7, 2 * LATENT_DIM),
        )


class ImportanceWeightedNetworks(Networks):
    """The same as the MLP, fitted by the bound of 50 draws."""

    def loss(self, x: Tensor) -> Tensor:
        """Minus the importance-weighted bound of a row."""
        return math.log(DRAWS) - self.log_weights(x, DRAWS).logsumexp(0).mean()


class SemiSupervisedNetworks(Networks):
    """M2: the class as a latent, summed over for rows without a label, all classes in one pass."""

    def __init__(self, labelled_share: float) -> None:
        super().__init__()
        self.labelled_share = labelled_share
        self.decoder = mlp(LATENT_DIM + CLASSES, HIDDEN_DIM, PIXELS)
        self.encoder = mlp(PIXELS + CLASSES, HIDDEN_DIM, 2 * LATENT_DIM)
        self.classifier = mlp(PIXELS, HIDDEN_DIM, CLASSES)

    def bounds(self, x: Tensor, one_hot: Tensor) -> Tensor:
        """Of log p(x, y), by one draw: ``x`` and ``one_hot`` have equal batch dimensions."""
        loc, scale = moments(self.encoder(torch.cat([x, one_hot], -1)))
        noise = torch.randn_like(loc)
        z = loc + scale * noise
        logits = self.decoder(torch.cat([z, one_hot], -1))
        return log_likelihood(logits, x) + log_ratio(z, noise, scale) - math.log(CLASSES)

    def loss(self, labelled: Tensor, y: Tensor, unlabelled: Tensor) -> Tensor:
        """Minus the bound of a row, and the weighted cross-entropy."""
        of_labelled = self.bounds(labelled, F.one_hot(y, CLASSES).float()).mean()
        cross_entropy = F.cross_entropy(self.classifier(labelled), y)
        log_q = self.classifier(unlabelled).log_softmax(-1).T
        classes = torch.eye(CLASSES)[:, None].expand(-1, len(unlabelled), -1)
        of_classes = self.bounds(unlabelled.expand(CLASSES, -1, -1), classes)
        of_unlabelled = (log_q.exp() * (of_classes - log_q)).sum(0).mean()
        bound = self.labelled_share * of_labelled + (1 - self.labelled_share) * of_unlabelled
        return CLASSIFICATION_WEIGHT * cross_entropy - bound


def moments(output: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of q(z|x)."""
    loc, raw = output.chunk(2, -1)
    return loc, F.softplus(raw) + SCALE_FLOOR


def log_likelihood(logits: Tensor, x: Tensor) -> Tensor:
    """Of rows that are vectors."""
    return -F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(-1)


def log_ratio(z: Tensor, noise: Tensor, scale: Tensor) -> Tensor:
    """Log p(z) - log q(z|x) of z = loc + scale * noise."""
    return 0.5 * (noise.square() - z.square()).sum(-1) + scale.log().sum(-1)


NETWORKS = {"mlp": Networks, "convolutional": ConvolutionalNetworks, "iwae": ImportanceWeightedNetworks}


def copy_parameters(start: Iterable[Tensor], module: nn.Module) -> None:
    """Give the networks these parameters, which are those of the decoder, then the encoder, then the classifier."""
    with torch.no_grad():
        for parameter, value in zip(module.parameters(), start, strict=True):
            parameter.copy_(value)


def adam(networks: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(networks.parameters(), lr=LEARNING_RATE, fused=True)


def step(optimizer: torch.optim.Optimizer, loss: Tensor) -> Tensor:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


def train(clock, data: str, kind: str, batch_size: int) -> None:
    """Steps of a VAE."""
    networks = NETWORKS[kind]()
    x, optimizer = rows(data, networks.data_shape), adam(networks)
    clock.tick(0)
    while True:
        total = torch.zeros(())
        for index in torch.randperm(len(x)).split(batch_size):
            total += step(optimizer, networks.loss(x[index]))
            clock.tick()


def train_m2(clock, data: str, batch_size: int) -> None:
    """Steps of M2."""
    x = rows(data)
    networks = SemiSupervisedNetworks(LABELLED_ROWS / len(x))
    optimizer = adam(networks)
    labelled, y, unlabelled = x[:LABELLED_ROWS], labels(len(x))[:LABELLED_ROWS], x[LABELLED_ROWS:]
    clock.tick(0)
    while True:
        total = torch.zeros(())
        for index in torch.randperm(len(unlabelled)).split(batch_size):
            mixed = torch.randperm(LABELLED_ROWS)
            total += step(optimizer, networks.loss(labelled[mixed], y[mixed], unlabelled[index]))
            clock.tick()


def labels(num_rows: int) -> Tensor:
    """Made-up classes of the first rows, and -1 for the others."""
    number = torch.arange(num_rows)
    return torch.where(number < LABELLED_ROWS, number % CLASSES, -1)


def multiply(clock, block: int = 2048) -> None:
    """The matrix multiplications of the decoder, and nothing else."""
    clock.tick(0)
    widths = (LATENT_DIM, HIDDEN_DIM, PIXELS)
    while True:
        matrix_multiplications(widths, 8 * block, block)
        clock.tick(8 * block)


def matrix_multiplications(widths: tuple[int, ...], evaluations: int, block: int = 2048) -> None:
    """Those of a multilayer perceptron, for so many evaluations."""
    layers = list(pairwise(widths))
    inputs = [torch.randn(block, inner) for inner, _ in layers]
    weights = [torch.randn(inner, outer) for inner, outer in layers]
    outputs = [torch.empty(block, outer) for _, outer in layers]
    for _ in range(evaluations // block):
        for values, weight, output in zip(inputs, weights, outputs, strict=True):
            torch.mm(values, weight, out=output)
