"""How right classifiers are, by the number of labels that they learn from."""

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from pyrovae.checkpoints import Checkpoints
from pyrovae.data import DataSplits
from pyrovae.programs import isolated_rng
from pyrovae.semi_supervised.compared_models import ComparedModels, number_of_unlabelled
from pyrovae.semi_supervised.comparison_settings import Settings
from pyrovae.semi_supervised.labels import UNLABELLED, as_labels, check_labels
from pyrovae.semi_supervised.m1 import M1, Embedding
from pyrovae.semi_supervised.m1m2 import M1M2
from pyrovae.training.losses import minimize_losses

KeptIn = Callable[[str], Checkpoints]


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
        ValueError: no labels, labels that ``check_labels`` refuses, test rows without any label or of a class that no
                training row has.

    Example:
        >>> from pyrovae.data import load_data
        >>> from pyrovae.semi_supervised.comparison_settings import Settings
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
        self.models = ComparedModels(data, settings, self.num_classes)
        self.test_labels = as_labels(data.test_labels, len(data.test), argument="test_labels")
        highest = int(self.test_labels.max())
        if highest == UNLABELLED:
            raise ValueError(
                f"none of the {len(data.test):,} test rows of {data.name} has a label; expected some to compare "
                "predictions with: label test rows too, or leave rows without a label out of them"
            )
        if highest >= self.num_classes:
            raise ValueError(
                f"{data.name} has test rows with the label {highest}, which no training row has: give training rows of "
                "this label, leave these test rows out or label them -1, or divide the rows by another seed"
            )
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
            first, second = self._m1(seed), self.models.second_layer(known, seed)
            epochs = self.settings.fine_tune_epochs
            epochs = self.models.epochs(number_of_unlabelled(known)) if epochs is None else epochs
            model = M1M2(first, second, fine_tune_epochs=epochs)
            accuracy = model.fit(self.data.train, known, **kept).score(test, labels)
        else:
            together = self.models.pc_vae(known, seed) if method == "pc-vae" else self.models.m2(known, seed)
            accuracy = together.fit(self.data.train, known, **kept).score(test, labels)
        return accuracy, seconds_before + time.perf_counter() - start

    def _fit_vae(self, known: Tensor, seed: int, kept_in: KeptIn | None) -> float:
        """Fit the VAE of this seed, unless it is there; the seconds that its fit took."""
        if seed in self._vaes:
            return self._vaes[seed][1]
        first = self.models.vae_of_m1(seed)
        kept = _kept(kept_in, f"vae-seed-{seed}")
        vae = first.fit(self.data.train, known, (self.data.validation, None), **kept).vae_
        seconds = sum(terms["seconds"] for terms in first.history_)
        parts = {slot: getattr(vae, slot) for slot in ("prior", "likelihood", "posterior")}
        self._vaes[seed] = parts, seconds
        return self._vaes[seed][1]

    def _m1(self, seed: int, embedding: Embedding = "mean") -> M1:
        """M1 with the VAE of this seed."""
        return self.models.m1(self._vaes[seed][0], seed, embedding)

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
            network = self.models.network().to(settings.device)

        def losses(x: Tensor, y: Tensor) -> Tensor:
            return F.cross_entropy(network(x if transform is None else transform(x)), y, reduction="none")

        minimize_losses(
            network,
            losses,
            (self.data.train[labelled].to(settings.device), known[labelled].to(settings.device)),
            epochs=self.models.epochs(int(labelled.sum())),
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
