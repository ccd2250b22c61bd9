"""The models that are compared, made by the settings that they share."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from pyrovae.data import DataSplits, Translation
from pyrovae.networks import MLP, ConvEncoder
from pyrovae.posteriors import DiagonalNormal
from pyrovae.semi_supervised.comparison_settings import Settings
from pyrovae.semi_supervised.labels import UNLABELLED
from pyrovae.semi_supervised.m1 import M1, Embedding
from pyrovae.semi_supervised.m2 import M2
from pyrovae.semi_supervised.parts import (
    CorruptedInput,
    DropoutConv,
    DropoutMLP,
    Part,
    normal_likelihood,
    predicted_normal_likelihood,
)
from pyrovae.semi_supervised.pcvae import PCVAE


class ComparedModels:
    """Classifiers that were not fitted yet, and how long each is to be fitted.

    Args:
        data: rows for training and test.
        settings: what the classifiers share.
        num_classes: how many classes the labels have.
    """

    def __init__(self, data: DataSplits[Tensor], settings: Settings, num_classes: int) -> None:
        self.data, self.settings, self.num_classes = data, settings, num_classes

    def vae_of_m1(self, seed: int) -> M1:
        """M1 whose VAE is fitted."""
        return M1(
            latent_dim=self.settings.latent_dim,
            likelihood=self._likelihood(),
            posterior=self._posterior,
            epochs=self.settings.epochs,
            train_transform=self.data.train_transform,
            **self._common(seed),
        )

    def m1(self, parts: dict[str, Any], seed: int, embedding: Embedding = "mean") -> M1:
        """M1 with the fitted prior, likelihood and posterior of a VAE."""
        return M1(
            self.settings.latent_dim,
            **parts,
            embedding=embedding,
            train_transform=self.data.train_transform,
            epochs=0,
            **self._common(seed),
        )

    def m2(self, known: Tensor, seed: int) -> M2:
        """M2 on the rows."""
        return M2(
            latent_dim=self.settings.m2_latent_dim,
            classifier=self._classifier,
            classification_weight=self.settings.classification_weight,
            **self._together(known),
            **self._common(seed),
        )

    def second_layer(self, known: Tensor, seed: int) -> M2:
        """M2 on the latents of M1."""
        hidden_dims, epochs = tuple(self.settings.second_hidden_dims), self.settings.second_epochs
        return M2(
            latent_dim=self.settings.second_latent_dim,
            likelihood=partial(predicted_normal_likelihood, hidden_dims=hidden_dims),
            classifier=partial(MLP, hidden_dims=hidden_dims),
            classification_weight=self.settings.second_classification_weight,
            closed_form_kl=True,
            epochs=self.epochs(number_of_unlabelled(known), epochs),
            **{**self._common(seed), "hidden_dims": hidden_dims},
        )

    def pc_vae(self, known: Tensor, seed: int) -> PCVAE:
        """The prediction-constrained VAE."""
        # The default sees masked rows.
        plain = self.settings.network == "mlp" and not self.settings.translation
        return PCVAE(
            latent_dim=self.settings.latent_dim,
            posterior=None if plain else self._cautious_posterior,
            multiplier_start=self.settings.multiplier,
            **self._together(known),
            **self._common(seed),
        )

    def network(self) -> nn.Module:
        """The encoder's architecture, from a row to the logits of the classes."""
        return self._encoder(self.data.data_shape, self.num_classes)

    def epochs(self, rows: int, epochs: int | None = None) -> int:
        """Passes over some of the rows that have as many steps as those over all."""
        size, epochs = self.settings.batch_size, epochs or self.settings.epochs
        return math.ceil(epochs * math.ceil(len(self.data.train) / size) / math.ceil(rows / size))

    def _encoder(self, data_shape: Sequence[int], output_dim: int) -> nn.Module:
        if self.settings.network == "conv":
            return self._moved(ConvEncoder(data_shape, output_dim))
        return self._moved(MLP(data_shape, output_dim, self.settings.hidden_dims))

    def _classifier(self, data_shape: Sequence[int], num_classes: int) -> nn.Module:
        """The encoder's architecture for classes, with dropout, so that it does not learn a few rows by heart."""
        if self.settings.network == "conv":
            return self._moved(DropoutConv(data_shape, num_classes))
        return self._moved(DropoutMLP(data_shape, num_classes, self.settings.hidden_dims))

    def _moved(self, network: nn.Module) -> nn.Module:
        translation = self.settings.translation
        return CorruptedInput(network, Translation(translation)) if translation else network

    def _posterior(self, data_shape: Sequence[int], latent_dim: int) -> nn.Module:
        return DiagonalNormal(self._encoder(data_shape, 2 * latent_dim))

    def _cautious_posterior(self, data_shape: Sequence[int], latent_dim: int) -> nn.Module:
        """One with dropout."""
        return DiagonalNormal(self._classifier(data_shape, 2 * latent_dim))

    def _likelihood(self) -> Part:
        if self.data.support == "binary":
            return None
        return partial(normal_likelihood, hidden_dims=self.settings.hidden_dims)

    def _together(self, known: Tensor) -> dict[str, Any]:
        """Arguments of M2 and the PC-VAE, whose epochs are passes over the unlabelled rows."""
        return {
            "likelihood": self._likelihood(),
            "train_transform": self.data.train_transform,
            "epochs": self.epochs(number_of_unlabelled(known)),
        }

    def _common(self, seed: int) -> dict[str, Any]:
        settings = self.settings
        return {
            "hidden_dims": tuple(settings.hidden_dims),
            "num_classes": self.num_classes,
            "batch_size": settings.batch_size,
            "lr": settings.lr,
            "seed": seed,
            "progress": settings.progress,
            "device": settings.device,
        }


def number_of_unlabelled(known: Tensor) -> int:
    """Rows without a label; all of them where each has one, as these are then what the models learn x from.

    Example:
        >>> import torch
        >>> number_of_unlabelled(torch.tensor([3, -1, -1]))
        2
    """
    return int((known == UNLABELLED).sum()) or len(known)
