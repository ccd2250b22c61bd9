"""M1: a classifier on the latents of a VAE."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from pyrovae import priors
from pyrovae.checkpoints import Checkpoints
from pyrovae.models import VAE
from pyrovae.models.looking import mean_of
from pyrovae.programs import check_positive, isolated_rng
from pyrovae.recording import Stepping
from pyrovae.semi_supervised.estimator import Array, SemiSupervisedClassifier, check_training_numbers, device_of
from pyrovae.semi_supervised.labels import check_labels
from pyrovae.semi_supervised.parts import Part, bernoulli_likelihood, build_parts, diagonal_posterior
from pyrovae.semi_supervised.rows import (
    as_rows,
    blocks,
    check_column_names,
    check_held_out_shape,
    column_names,
    pair_of,
)
from pyrovae.training import EpochTerms, fit_svi

Embedding = Literal["mean", "draws"]


class M1(SemiSupervisedClassifier):
    r"""A VAE fitted to all rows, then a classifier of scikit-learn on the latents of the labelled ones.

    The model M1 of Kingma, Mohamed, Rezende and Welling (2014). The latents are the posterior means, or draws

    .. math:: z_{ik} \sim q(z \mid x_i), \qquad k = 1, ..., K,

    of which each is a row for the classifier, so that K draws enlarge its training set K times; predicted
    probabilities are then means over K draws.

    Args:
        latent_dim: dimensions of z.
        prior: p(z): a module, a function of ``latent_dim`` that makes one, or None for a standard normal.
        likelihood: p(x|z): a module, a function of ``(latent_dim, data_shape)``, or None for bits by a multilayer
            perceptron.
        posterior: q(z|x): a module, a function of ``(data_shape, latent_dim)``, or None for a mean-field Gaussian of a
            multilayer perceptron.
        classifier: any classifier of scikit-learn, an SVM for example; None is logistic regression with C = 0.1.
            Latents come in units of the prior. A scaler before the classifier would raise those that the VAE leaves
            unused to the size of all others.
        hidden_dims: widths of the hidden layers of the default networks.
        num_classes: number of classes; None is one more than the highest label.
        embedding: ``"mean"`` or ``"draws"``.
        num_draws: K; the draws of a row depend on its place among the rows.
        train_transform: applied to each training batch, ``load_data(...).train_transform`` for example, and to labelled
            rows before their latents are taken, anew for each draw.
        epochs: passes over the rows; 0 takes prior, likelihood and posterior as they are, fitted already.
        batch_size: rows of each step.
        lr: learning rate of Adam.
        step: how the programs run in a step; see ``fit_svi``.
        seed: of the first weights, of shuffling and of all draws; the caller's generators stay as they are.
        progress: show a progress bar.
        device: where to compute; None is where the rows are.

    Attributes:
        classes_: the labels 0, 1, ...
        vae_: the fitted ``VAE``.
        classifier_: the fitted classifier.
        history_: for each epoch the terms of ``fit_svi``, means over rows in nats.
        best_epoch_: the epoch whose weights were kept.

    Example:
        >>> import torch
        >>> x = torch.bernoulli(torch.tensor([[0.9] * 8 + [0.1] * 8, [0.1] * 8 + [0.9] * 8]).repeat(100, 1))
        >>> y = torch.tensor([0, 1] * 100)
        >>> known = torch.where(torch.arange(200) < 10, y, -1)
        >>> model = M1(latent_dim=2, hidden_dims=(16,), epochs=20, batch_size=20, progress=False).fit(x, known)
        >>> model.embed(x).shape, model.score(x, y) > 0.9
        ((200, 2), True)
    """

    def __init__(
        self,
        latent_dim: int = 50,
        prior: Part = None,
        likelihood: Part = None,
        posterior: Part = None,
        classifier: Any = None,
        hidden_dims: Sequence[int] = (500, 500),
        num_classes: int | None = None,
        embedding: Embedding = "mean",
        num_draws: int = 20,
        train_transform: Callable[[Tensor], Tensor] | None = None,
        epochs: int = 100,
        batch_size: int = 200,
        lr: float = 1e-3,
        step: Stepping = "auto",
        seed: int = 0,
        progress: bool = True,
        device: str | torch.device | None = None,
    ) -> None:
        self.latent_dim, self.hidden_dims = latent_dim, hidden_dims
        self.prior, self.likelihood, self.posterior, self.classifier = prior, likelihood, posterior, classifier
        self.num_classes, self.embedding, self.num_draws = num_classes, embedding, num_draws
        self.train_transform = train_transform
        self.epochs, self.batch_size, self.lr, self.step = epochs, batch_size, lr, step
        self.seed, self.progress, self.device = seed, progress, device

    vae_: VAE
    classifier_: Any
    history_: list[EpochTerms]
    best_epoch_: int

    @torch.inference_mode(False)
    @torch.enable_grad()
    def fit(
        self,
        x: Any,
        y: Any,
        validation: tuple[Any, Any] | None = None,
        *,
        checkpoints: Checkpoints | str | Path | None = None,
        resume: bool = False,
    ) -> Self:
        """Fit the VAE to all rows, and the classifier to those with labels.

        Args:
            x: rows ``(rows, *data_shape)``, a tensor or an array.
            y: integer labels from 0, ``(rows,)``; -1 for rows without one.
            validation: rows and labels; the rows judge each epoch of the VAE, by their ELBO.
            checkpoints: a folder in which the state of the fit of the VAE is kept, as in ``fit_svi``.
            resume: go on from the newest checkpoint, if there is one, to the same result as without a break.

        Returns:
            The fitted model itself.

        Raises:
            ValueError: labels that ``check_labels`` refuses, what ``fit_svi`` refuses, numbers out of range, a
                posterior without a mean in closed form where means are asked for.
            TypeError: a classifier that scikit-learn cannot clone.
        """
        rows = as_rows(x, "x", missing=True)
        labels, num_classes = check_labels(y, len(rows), self.num_classes)
        check_training_numbers(len(rows), self.epochs or 1, self.batch_size, self.lr, latent_dim=self.latent_dim)
        check_positive(num_draws=self.num_draws)
        if self.embedding not in get_args(Embedding):
            raise ValueError(f"embedding is {self.embedding!r}; expected 'mean' or 'draws'")
        judge = None
        if validation is not None:
            judge = as_rows(pair_of(validation)[0], "validation x", missing=True)
            check_column_names(validation[0], column_names(x), "validation x")
            check_held_out_shape(judge, tuple(rows.shape[1:]))
        device = device_of(self.device, rows)
        default = LogisticRegression(C=0.1, max_iter=1000)
        classifier = default if self.classifier is None else clone(self.classifier)
        # What is refused leaves an earlier fit as it was.
        with isolated_rng(self.seed, device):
            vae = self._build(tuple(rows.shape[1:])).to(device).eval()
            like = next(vae.parameters())
            # Latents that cannot be had are refused before the minutes that the fit takes.
            posterior_latents(vae, rows[:2].nan_to_num(), self.embedding, 1, self.seed)
            judge = None if judge is None else judge.to(like)
            history, best_epoch = self._fit_vae(vae, rows.to(like), judge, checkpoints, resume)
            known = labels >= 0
            fit_classifier(self, classifier, vae, rows[known.to(rows.device)], labels[known])
        self.vae_, self.classifier_, self.history_, self.best_epoch_ = vae, classifier, history, best_epoch
        self.data_shape_, self.classes_ = tuple(rows.shape[1:]), np.arange(num_classes)
        self.column_names_ = column_names(x)
        return self

    def predict(self, x: Any) -> Array:
        """The most probable class of each row; by votes of the draws if the classifier gives no probabilities.

        Args:
            x: rows ``(rows, *data_shape)``, a tensor or an array.

        Returns:
            Labels ``(rows,)``.
        """
        latents = self._latents(self._rows(x, missing=True))
        if hasattr(self.classifier_, "predict_proba"):
            return self.classes_[self._mean_over_draws(latents, self.classifier_.predict_proba).argmax(1)]
        votes = self._mean_over_draws(latents, lambda z: self.classifier_.predict(z)[:, None] == self.classes_)
        return self.classes_[votes.argmax(1)]

    def predict_proba(self, x: Any) -> Array:
        """The probability of each class for each row.

        Args:
            x: rows ``(rows, *data_shape)``, a tensor or an array.

        Returns:
            ``(rows, num_classes)``.

        Raises:
            ValueError: the classifier gives no probabilities.
        """
        rows = self._rows(x, missing=True)
        if not hasattr(self.classifier_, "predict_proba"):
            raise ValueError(
                f"{type(self.classifier_).__name__} has no predict_proba: wrap it in CalibratedClassifierCV of "
                "scikit-learn, or use predict"
            )
        return self._mean_over_draws(self._latents(rows), self.classifier_.predict_proba)

    def embed(self, x: Any) -> Array:
        """The latents that the classifier is given.

        Args:
            x: rows ``(rows, *data_shape)``, a tensor or an array.

        Returns:
            The posterior means ``(rows, latent_dim)``, or draws ``(num_draws, rows, latent_dim)``.
        """
        latents = self._latents(self._rows(x, missing=True))
        return latents[0] if self.embedding == "mean" else latents

    def _build(self, data_shape: tuple[int, ...]) -> VAE:
        return VAE(
            **build_parts(
                self,
                prior=(priors.StandardNormal, (self.latent_dim,)),
                likelihood=(partial(bernoulli_likelihood, hidden_dims=self.hidden_dims), (self.latent_dim, data_shape)),
                posterior=(partial(diagonal_posterior, hidden_dims=self.hidden_dims), (data_shape, self.latent_dim)),
            )
        )

    def _fit_vae(
        self,
        vae: VAE,
        rows: Tensor,
        validation: Tensor | None,
        checkpoints: Checkpoints | str | Path | None,
        resume: bool,
    ) -> tuple[list[EpochTerms], int]:
        if self.epochs == 0:
            return [], 0
        vae.initialize(rows)
        result = fit_svi(
            vae.model,
            vae.guide,
            rows,
            validation=validation,
            train_transform=self.train_transform,
            epochs=self.epochs,
            batch_size=self.batch_size,
            lr=self.lr,
            step=self.step,
            patience=None,
            checkpoints=checkpoints,
            resume=resume,
            seed=self.seed,
            progress=self.progress,
        )
        return result.history, result.best_epoch

    def _latents(self, rows: Tensor) -> Array:
        return posterior_latents(self.vae_, rows, self.embedding, self.num_draws, self.seed).cpu().double().numpy()

    def _mean_over_draws(self, latents: Array, function: Callable[[Array], Array]) -> Array:
        return np.mean([function(draw) for draw in latents], axis=0)


def fit_classifier(m1: M1, classifier: Any, vae: VAE, rows: Tensor, labels: Tensor) -> None:
    """Fit a classifier to latents of labelled rows.

    Args:
        m1: says which latents.
        classifier: of scikit-learn.
        vae: whose posterior.
        rows: ``(rows, *data_shape)``.
        labels: theirs ``(rows,)``, on the CPU.
    """
    latents = posterior_latents(vae, rows, m1.embedding, m1.num_draws, m1.seed, m1.train_transform)
    # One draw of all rows after the other.
    classifier.fit(latents.flatten(0, 1).cpu().double().numpy(), np.tile(labels.numpy(), len(latents)))


@torch.no_grad()
def posterior_latents(
    vae: VAE,
    rows: Tensor,
    embedding: Embedding,
    num_draws: int,
    seed: int,
    transform: Callable[[Tensor], Tensor] | None = None,
    *,
    otherwise: str = "use embedding='draws'",
) -> Tensor:
    """Posterior means ``(1, rows, latent_dim)``, or draws ``(num_draws, rows, latent_dim)``.

    Args:
        vae: whose posterior.
        rows: ``(rows, *data_shape)``.
        embedding: means or draws.
        num_draws: of each row.
        seed: of the draws.
        transform: applied to the rows, anew for each draw.
        otherwise: what to do where the mean is not known.

    Raises:
        ValueError: the mean of q(z|x) is not known, as that of a flow.
    """
    like = next(vae.parameters())

    def latents(x: Tensor, num_draws: int) -> Tensor:
        q_z = vae.encode(x)
        return q_z.sample((num_draws,)) if embedding == "draws" else mean_of(q_z, vae.posterior, otherwise)[None]

    with isolated_rng(seed, like.device):
        if transform is None:
            return torch.cat([latents(block, num_draws) for block in blocks(rows, like)], dim=1)
        passes = num_draws if embedding == "draws" else 1
        return torch.cat(
            [torch.cat([latents(transform(block), 1) for block in blocks(rows, like)], dim=1) for _ in range(passes)]
        )
