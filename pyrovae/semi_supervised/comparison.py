"""How right classifiers are, by the number of labels that they learn from."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from pyrovae.checkpoints import Checkpoints
from pyrovae.data import DataSplits, Translation
from pyrovae.networks import MLP, ConvEncoder
from pyrovae.posteriors import DiagonalNormal
from pyrovae.programs import isolated_rng
from pyrovae.semi_supervised.labels import UNLABELLED, as_labels, check_labels
from pyrovae.semi_supervised.m1 import M1, Embedding
from pyrovae.semi_supervised.m1m2 import M1M2
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
from pyrovae.training.losses import minimize_losses

NetworkKind = Literal["mlp", "conv"]
KeptIn = Callable[[str], Checkpoints]


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


class Comparison:
    """Classifiers trained with few labels and scored on the same test rows.

    Where the data are binarised so, VAEs and the network on pixels see training bits that are drawn anew at every step,
    logistic regression on posterior draws and the second layer of M1+M2 other bits for each draw, and logistic
    regression on pixels and on means those of one draw, as the test rows are. The VAE of M1 does not depend on labels:
    it is fitted once for each seed, to the training rows, its epoch chosen by the ELBO of the validation rows. No
    validation label is used: of all else the last weights are kept.

    Args:
        data: rows and labels, from 0, for training and test.
        settings: what the classifiers share.

    Raises:
        ValueError: no labels, or labels that ``check_labels`` refuses.

    Example:
        >>> from pyrovae.data import load_data
        >>> from pyrovae.semi_supervised.label_draws import draw_labels
        >>> comparison = Comparison(load_data("digits", binarize="dynamic"), Settings())
        >>> known = draw_labels(comparison.labels, 200, seed=0)
        >>> accuracy, seconds = comparison.score("pixels-logistic", known, seed=0)
        >>> accuracy > 0.8
        True
    """

    def __init__(self, data: DataSplits[Tensor], settings: Settings) -> None:
        if data.train_labels is None or data.test_labels is None:
            raise ValueError(
                f"{data.name} has no labels; expected a class for each row, to learn from and to compare predictions "
                "with: give a .npz file with 'labels', a .csv file with a column 'label', a folder of folders of "
                "images, or digits, mnist, fashion-mnist or cifar10"
            )
        self.data, self.settings = data, settings
        self.labels, self.num_classes = check_labels(data.train_labels, len(data.train))
        self.test_labels = as_labels(data.test_labels, len(data.test), self.num_classes)
        with isolated_rng(data.seed, torch.device("cpu")):
            self.fixed = data.train if data.train_transform is None else data.train_transform(data.train)
        # Parts and seconds of the VAE of M1, by seed.
        self._vaes: dict[int, tuple[dict[str, Any], float]] = {}

    def score(self, method: str, known: Tensor, seed: int, kept_in: KeptIn | None = None) -> tuple[float, float]:
        """Train one classifier.

        Args:
            method: a key of ``scores.METHODS``.
            known: labels of the training rows ``(rows,)``, -1 where the classifier may not see them.
            seed: of the weights, of shuffling and of all draws.
            kept_in: checkpoints of a fit by its name, ``fit_name`` or that of the VAE of a seed, from which it goes on;
                None keeps none.

        Returns:
            The share of test rows that are classified rightly; the seconds it took, with the fit of the VAE of M1 even
            if that was fitted already, and without those before it was cut off.

        Raises:
            ValueError: what the models refuse, a checkpoint of another fit.
            NonFiniteLossError: a VAE, or the network on pixels, diverged.
        """
        test, labels = self.data.test, self.test_labels
        seconds_before = self._fit_vae(known, seed, kept_in) if method.startswith("m1") else 0.0
        start = time.perf_counter()
        kept = _kept(kept_in, fit_name(method, int((known != UNLABELLED).sum()), seed))
        if method == "pixels-logistic":
            accuracy = self._logistic(known)
        elif method == "pixels-network":
            accuracy = self._network(known, seed, kept)
        elif method in ("m1-means", "m1-draws"):
            embedding: Embedding = "mean" if method == "m1-means" else "draws"
            accuracy = self._m1(seed, embedding).fit(self.data.train, known).score(test, labels)
        elif method == "m1-m2":
            first, second = self._m1(seed), self._second_layer(known, seed)
            epochs = self.settings.fine_tune_epochs
            epochs = self._epochs(self._unlabelled_rows(known)) if epochs is None else epochs
            model = M1M2(first, second, fine_tune_epochs=epochs)
            accuracy = model.fit(self.data.train, known, **kept).score(test, labels)
        else:
            together = self._pc_vae(known, seed) if method == "pc-vae" else self._m2(known, seed)
            accuracy = together.fit(self.data.train, known, **kept).score(test, labels)
        return accuracy, seconds_before + time.perf_counter() - start

    def _fit_vae(self, known: Tensor, seed: int, kept_in: KeptIn | None) -> float:
        """Fit the VAE of this seed, unless it is there; the seconds that its fit took."""
        if seed in self._vaes:
            return self._vaes[seed][1]
        first = M1(
            latent_dim=self.settings.latent_dim,
            likelihood=self._likelihood(),
            posterior=self._posterior,
            epochs=self.settings.epochs,
            train_transform=self.data.train_transform,
            **self._common(seed),
        )
        kept = _kept(kept_in, f"vae-seed-{seed}")
        vae = first.fit(self.data.train, known, (self.data.validation, None), **kept).vae_
        seconds = sum(terms["seconds"] for terms in first.history_)
        parts = {slot: getattr(vae, slot) for slot in ("prior", "likelihood", "posterior")}
        self._vaes[seed] = parts, seconds
        return self._vaes[seed][1]

    def _m1(self, seed: int, embedding: Embedding = "mean") -> M1:
        """M1 with the VAE of this seed."""
        parts = self._vaes[seed][0]
        return M1(
            self.settings.latent_dim,
            **parts,
            embedding=embedding,
            train_transform=self.data.train_transform,
            epochs=0,
            **self._common(seed),
        )

    def _second_layer(self, known: Tensor, seed: int) -> M2:
        hidden_dims, epochs = tuple(self.settings.second_hidden_dims), self.settings.second_epochs
        return M2(
            latent_dim=self.settings.second_latent_dim,
            likelihood=partial(predicted_normal_likelihood, hidden_dims=hidden_dims),
            classifier=partial(MLP, hidden_dims=hidden_dims),
            classification_weight=self.settings.second_classification_weight,
            closed_form_kl=True,
            epochs=self._epochs(self._unlabelled_rows(known), epochs),
            **{**self._common(seed), "hidden_dims": hidden_dims},
        )

    def _m2(self, known: Tensor, seed: int) -> M2:
        return M2(
            latent_dim=self.settings.m2_latent_dim,
            classifier=self._classifier,
            classification_weight=self.settings.classification_weight,
            **self._together(known),
            **self._common(seed),
        )

    def _pc_vae(self, known: Tensor, seed: int) -> PCVAE:
        # The default sees masked rows.
        plain = self.settings.network == "mlp" and not self.settings.translation
        return PCVAE(
            latent_dim=self.settings.latent_dim,
            posterior=None if plain else self._cautious_posterior,
            multiplier_start=self.settings.multiplier,
            **self._together(known),
            **self._common(seed),
        )

    def _classifier(self, data_shape: Sequence[int], num_classes: int) -> nn.Module:
        """The encoder's architecture for classes, with dropout, so that it does not learn a few rows by heart."""
        if self.settings.network == "conv":
            return self._moved(DropoutConv(data_shape, num_classes))
        return self._moved(DropoutMLP(data_shape, num_classes, self.settings.hidden_dims))

    def _encoder(self, data_shape: Sequence[int], output_dim: int) -> nn.Module:
        if self.settings.network == "conv":
            return self._moved(ConvEncoder(data_shape, output_dim))
        return self._moved(MLP(data_shape, output_dim, self.settings.hidden_dims))

    def _moved(self, network: nn.Module) -> nn.Module:
        translation = self.settings.translation
        return CorruptedInput(network, Translation(translation)) if translation else network

    def _posterior(self, data_shape: Sequence[int], latent_dim: int) -> nn.Module:
        return DiagonalNormal(self._encoder(data_shape, 2 * latent_dim))

    def _cautious_posterior(self, data_shape: Sequence[int], latent_dim: int) -> nn.Module:
        """One with dropout."""
        return DiagonalNormal(self._classifier(data_shape, 2 * latent_dim))

    def _together(self, known: Tensor) -> dict[str, Any]:
        """Arguments of M2 and the PC-VAE, whose epochs are passes over the unlabelled rows."""
        return {
            "likelihood": self._likelihood(),
            "train_transform": self.data.train_transform,
            "epochs": self._epochs(self._unlabelled_rows(known)),
        }

    def _unlabelled_rows(self, known: Tensor) -> int:
        return int((known == UNLABELLED).sum()) or len(known)

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

    def _likelihood(self) -> Part:
        if self.data.support == "binary":
            return None
        return partial(normal_likelihood, hidden_dims=self.settings.hidden_dims)

    def _epochs(self, rows: int, epochs: int | None = None) -> int:
        """Passes over some of the rows that have as many steps as those over all."""
        size = self.settings.batch_size
        return math.ceil((epochs or self.settings.epochs) * math.ceil(len(self.labels) / size) / math.ceil(rows / size))

    def _logistic(self, known: Tensor) -> float:
        labelled = known != UNLABELLED
        regression: Any = LogisticRegression(max_iter=1000)
        # Pixels are on one scale as they are; the columns of a table need not be.
        if self.data.support not in ("binary", "unit_interval"):
            regression = make_pipeline(StandardScaler(), regression)
        regression.fit(self.fixed[labelled].flatten(1).numpy(), known[labelled].numpy())
        scored = self.test_labels != UNLABELLED
        return float(regression.score(self.data.test[scored].flatten(1).numpy(), self.test_labels[scored].numpy()))

    def _network(self, known: Tensor, seed: int, kept: dict[str, Any]) -> float:
        settings, transform, labelled = self.settings, self.data.train_transform, known != UNLABELLED
        with isolated_rng(seed, torch.device("cpu")):
            network = self._encoder(self.data.data_shape, self.num_classes).to(settings.device)

        def losses(x: Tensor, y: Tensor) -> Tensor:
            return F.cross_entropy(network(x if transform is None else transform(x)), y, reduction="none")

        minimize_losses(
            network,
            losses,
            (self.data.train[labelled].to(settings.device), known[labelled].to(settings.device)),
            epochs=self._epochs(int(labelled.sum())),
            batch_size=settings.batch_size,
            lr=settings.lr,
            patience=None,
            seed=seed,
            progress=settings.progress,
            **kept,
        )
        scored = self.test_labels != UNLABELLED
        network.eval()
        with torch.no_grad():
            rows = self.data.test[scored].to(settings.device)
            predicted = torch.cat([network(block).argmax(1) for block in rows.split(1000)]).cpu()
        return float((predicted == self.test_labels[scored]).double().mean())


def fit_name(method: str, labels: int, seed: int) -> str:
    """What the fit of a classifier is called, where it is kept.

    Example:
        >>> fit_name("m2", 100, 0)
        'm2-100-labels-seed-0'
    """
    return f"{method}-{labels}-labels-seed-{seed}"


def _kept(kept_in: KeptIn | None, name: str) -> dict[str, Any]:
    return {} if kept_in is None else {"checkpoints": kept_in(name), "resume": True}
