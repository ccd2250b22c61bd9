"""What the classifiers of a comparison share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

NetworkKind = Literal["mlp", "conv"]


@dataclass(frozen=True)
class Settings:
    """What the classifiers of a comparison share.

    Args:
        latent_dim: dimensions of z in M1 and the PC-VAE.
        m2_latent_dim: dimensions of z in M2; with many, z can say what y should.
        second_latent_dim: dimensions of z in the second layer of M1+M2.
        network: what looks at rows, to encode or to classify them: a multilayer perceptron, or convolutions.
        hidden_dims: widths of the hidden layers of multilayer perceptrons; decoders are some always.
        second_hidden_dims: those of the second layer of M1+M2; wide ones learn to do without the class.
        translation: pixels by which those networks may see a training image moved; see ``data.Translation``.
        epochs: passes over all training rows; those who see fewer rows in one make as many steps.
        second_epochs: those of the second layer of M1+M2, which learns in the first few; None is ``epochs``.
        batch_size: rows of each step.
        lr: learning rate of Adam.
        classification_weight: w of M2.
        multiplier: lambda of the PC-VAE.
        second_classification_weight: w of the second layer of M1+M2.
        fine_tune_epochs: passes over the unlabelled rows that train both layers of M1+M2 together, after each of them;
            None makes as many steps as ``epochs``.
        device: where to compute.
        progress: show progress bars.
    """

    latent_dim: int = 10
    m2_latent_dim: int = 10
    second_latent_dim: int = 10
    network: NetworkKind = "mlp"
    hidden_dims: Sequence[int] = (200,)
    second_hidden_dims: Sequence[int] = (200,)
    translation: int = 0
    epochs: int = 40
    second_epochs: int | None = None
    batch_size: int = 100
    lr: float = 3e-3
    classification_weight: float = 3.0
    multiplier: float = 25.0
    second_classification_weight: float = 0.1
    fine_tune_epochs: int | None = None
    device: str | torch.device = "cpu"
    progress: bool = False
