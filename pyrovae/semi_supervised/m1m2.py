"""M1 and M2, one on the other."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import Any, Self, get_args

import numpy as np
import torch
from sklearn.base import clone
from torch import Tensor

from pyrovae.checkpoints import Checkpoints, Keeper, State, begin_or_resume, fingerprint
from pyrovae.networks import MLP
from pyrovae.programs import check_not_negative, check_positive, for_gradients, isolated_rng, private_param_store
from pyrovae.semi_supervised.estimator import (
    Array,
    SemiSupervisedClassifier,
    arguments_of_fit,
    check_learning_rate,
    settings_of_labelled,
)
from pyrovae.semi_supervised.fine_tuning import joint_loop, refit_classifier
from pyrovae.semi_supervised.judging import judge_by
from pyrovae.semi_supervised.labels import as_labels, check_labels
from pyrovae.semi_supervised.loop import TrainingPlan
from pyrovae.semi_supervised.m1 import M1, Embedding, posterior_latents
from pyrovae.semi_supervised.m1m2_programs import M1M2Programs
from pyrovae.semi_supervised.m2 import M2
from pyrovae.semi_supervised.parts import predicted_normal_likelihood
from pyrovae.semi_supervised.rows import as_rows, check_column_names, check_held_out_shape, column_names, pair_of
from pyrovae.semi_supervised.trained_together import check_trained
from pyrovae.training import EpochTerms
from pyrovae.training.transform import transformed


class M1M2(SemiSupervisedClassifier):
    r"""M2 on the latents of an M1 (Kingma, Mohamed, Rezende and Welling, 2014, model M1+M2).

    M1 is fitted to all rows; then, with M1 as it is, M2 with a Gaussian likelihood to its latents :math:`z_1`,

    .. math:: p(x, z_1, z_2, y) = p(x \mid z_1)\, p(z_1 \mid y, z_2)\, p(y)\, p(z_2).

    With ``fine_tune_epochs`` a third stage trains all of these together, from where the two have brought them. Over N
    rows of which some are labelled it minimises

    .. math::
        -\frac1N \Big(\sum_{labelled} L(x, y) + \sum_{unlabelled} U(x)\Big)
        + w \cdot \mathrm{mean}_{labelled}\left(-\log q(y|z_1)\right), \qquad z_1 \sim q(z_1|x)

    with the bounds :math:`L(x, y) \le \log p(x, y)` and :math:`U(x) \le \log p(x)` of ``M1M2Programs``, in steps like
    those of ``M2``. The prior of M1 plays no part then: :math:`p(z_1|y, z_2)` has its place, so that the ELBO of
    ``m1_.vae_`` says nothing of the fit any more. The paper's authors trained the layers one after the other; Maaloe,
    Sonderby, Sonderby and Winther (2016) train models with two layers of latents at once.

    Args:
        m1: the first layer, not fitted; None is ``M1()``.
        m2: the second, whose likelihood is one of real numbers; None is ``M2`` with a Normal of predicted scales, a
            classifier without dropout, hidden layers of 200, a classification weight of 0.1 and ``closed_form_kl``.
        embedding: what of :math:`z_1` the second layer sees: ``"draws"`` from the posterior, of which each training
            step takes another one, as the authors do, of a row that went through the ``train_transform`` of M1 for it;
            or ``"mean"``, the posterior means. Of latents that M1 leaves unused draws are noise from the prior, and
            means next to constants, whose differences fill the second layer.
        num_draws: draws of each row, for training and for predictions, which are means over them.
        fine_tune_epochs: passes of the third stage over the unlabelled rows, with the ``train_transform`` of M1, and
            ``batch_size``, ``closed_form_kl``, ``step``, ``seed`` and ``progress`` of M2; 0 leaves it out, as the paper
            does. On images as many as those of M2 are worth several points of accuracy. Each step takes one new draw
            of :math:`z_1` for each row, whatever ``embedding`` and ``num_draws`` are.
        fine_tune_weight: w, in nats per row.
        fine_tune_lr: learning rate of Adam in the third stage.

    Attributes:
        classes_: the labels 0, 1, ...
        m1_: the fitted first layer, with a classifier of its own, that of its latents as they are at the end.
        m2_: the fitted second layer.
        programs_: the fitted ``M1M2Programs``, of the modules of ``m1_.vae_`` and ``m2_.programs_``.
        history_: that of the last stage; ``m1_`` and ``m2_`` have those of the first two. Of the second it is in nats
            per row of z_1. Of the third it is in nats per row of x and has the terms of that of ``M2``.
        best_epoch_: the epoch of the last stage whose weights were kept. With validation rows 0 says that none of the
            third stage was better than the two layers before it.

    Example:
        >>> import torch
        >>> from pyrovae import likelihoods, networks
        >>> from pyrovae.semi_supervised import M1, M2
        >>> x = torch.bernoulli(torch.tensor([[0.9] * 8 + [0.1] * 8, [0.1] * 8 + [0.9] * 8]).repeat(100, 1))
        >>> y = torch.tensor([0, 1] * 100)
        >>> known = torch.where(torch.arange(200) < 10, y, -1)
        >>> first = M1(latent_dim=4, hidden_dims=(16,), epochs=20, batch_size=20, progress=False)
        >>> second = M2(2, likelihood=lambda inputs, shape: likelihoods.Normal(networks.MLP(inputs, shape, (16,))))
        >>> second.set_params(hidden_dims=(16,), epochs=20, batch_size=20, progress=False)
        M2(...)
        >>> model = M1M2(first, second, fine_tune_epochs=5).fit(x, known)
        >>> model.score(x, y) > 0.9, len(model.m2_.history_), len(model.history_)
        (True, 20, 5)
    """

    def __init__(
        self,
        m1: M1 | None = None,
        m2: M2 | None = None,
        embedding: Embedding = "draws",
        num_draws: int = 10,
        fine_tune_epochs: int = 0,
        fine_tune_weight: float = 3.0,
        fine_tune_lr: float = 1e-3,
    ) -> None:
        self.m1, self.m2, self.embedding, self.num_draws = m1, m2, embedding, num_draws
        self.fine_tune_epochs, self.fine_tune_weight = fine_tune_epochs, fine_tune_weight
        self.fine_tune_lr = fine_tune_lr

    m1_: M1
    m2_: M2
    programs_: M1M2Programs
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
        """Fit the first layer to all rows, then the second to its latents, then, where asked for, both together.

        Args:
            x: rows ``(rows, *data_shape)``, a tensor or an array.
            y: integer labels from 0, ``(rows,)``; -1 for rows without one.
            validation: rows and labels to judge each epoch of all stages by. In the third the weights with the highest
                accuracy are kept, those before its first epoch among them; without validation the last.
            checkpoints: a folder in which the state of each stage is kept as in ``fit_svi``, in folders ``m1``, ``m2``
                and ``fine-tuning``.
            resume: go on from the newest checkpoint, if there is one, to the same result as without a break.

        Returns:
            The fitted model itself.

        Raises:
            ValueError: what ``M1`` and ``M2`` refuse, numbers out of range, a checkpoint of another fit; in the third
                stage weights that would not be trained.
            NonFiniteLossError: the loss became NaN or infinite; in the third stage the best weights so far were kept.
        """
        rows = for_gradients(as_rows(x, "x", missing=True))
        m1 = M1() if self.m1 is None else clone(self.m1)
        m2 = default_second_layer() if self.m2 is None else clone(self.m2)
        if not isinstance(m1, M1) or not isinstance(m2, M2):
            raise ValueError(
                f"m1 is a {type(m1).__name__} and m2 a {type(m2).__name__}; expected an M1 and an M2, or None"
            )
        labels, num_classes = check_labels(y, len(rows), m2.num_classes)
        self._check_numbers()
        if self.embedding not in get_args(Embedding):
            raise ValueError(f"embedding is {self.embedding!r}; expected 'mean' or 'draws'")
        if m2.train_transform is not None:
            raise ValueError("m2 has a train_transform, and M1M2 chooses what m2 is given: set that of m1, or neither")
        # Before the minutes that the first layer takes.
        m2.check_arguments(len(rows), num_classes)
        held_out: tuple[Tensor, Tensor] | None = None
        if validation is not None:
            its_rows = as_rows(pair_of(validation)[0], "validation x", missing=True)
            check_column_names(validation[0], column_names(x), "validation x")
            check_held_out_shape(its_rows, tuple(rows.shape[1:]))
            held_out = its_rows, as_labels(validation[1], len(its_rows), num_classes, "validation y")
        kept_in = partial(_folder_of, checkpoints)
        m1.fit(rows, y, validation, checkpoints=kept_in("m1"), resume=resume)
        # Latents may be rounded otherwise elsewhere: the fits on them are known by the rows that they are of.
        settings = partial(self._settings, m1, m2, rows, labels, held_out)
        if self.embedding == "draws":
            m2.train_transform = one_of_its_draws
        judge = None if held_out is None else (self._latents(m1, held_out[0])[0], held_out[1])
        # What the second layer learns from is what the first one learned from.
        latents = self._latents(m1, rows, m1.train_transform)
        latents = latents[0] if self.embedding == "mean" else latents.transpose(0, 1)
        m2.fit_as(latents, y, judge, kept_in("m2"), resume, settings)
        m2.train_transform = None
        programs = M1M2Programs(m1.vae_.likelihood, m1.vae_.posterior, m2.programs_)
        if self.fine_tune_epochs:
            like = next(m1.vae_.parameters())
            # M2 may be of another type, or in another place, than the latents it was given.
            programs.to(like)
            with isolated_rng(m2.seed, like.device), private_param_store(programs.model, programs.guide):
                check_trained(programs, transformed(rows[:5].to(like), m1.train_transform))
            own = "fine_tune_epochs", "fine_tune_weight", "fine_tune_lr"
            third = begin_or_resume(kept_in("fine-tuning"), resume, partial(settings, *own))
        # What is refused leaves an earlier fit as it was.
        self.m1_, self.m2_, self.programs_ = m1, m2, programs
        self.history_, self.best_epoch_ = m2.history_, m2.best_epoch_
        self.classes_, self.data_shape_ = m2.classes_, m1.data_shape_
        self.column_names_ = column_names(x)
        if self.fine_tune_epochs:
            self._fine_tune(rows, labels, held_out, *third)
        return self

    def predict_proba(self, x: Any) -> Array:
        """The probability of each class for each row.

        Args:
            x: rows ``(rows, *data_shape)``, a tensor or an array.

        Returns:
            ``(rows, num_classes)``.
        """
        rows = self._rows(x, missing=True)
        return np.mean([self.m2_.predict_proba(z) for z in self._latents(self.m1_, rows)], axis=0)

    def embed(self, x: Any) -> Array:
        """The latents of the first layer that the second is given.

        Args:
            x: rows ``(rows, *data_shape)``, a tensor or an array.

        Returns:
            The posterior means ``(rows, latent_dim)``, or draws ``(num_draws, rows, latent_dim)``.
        """
        rows = self._rows(x, missing=True)
        latents = self._latents(self.m1_, rows).cpu().numpy()
        return latents[0] if self.embedding == "mean" else latents

    def _check_numbers(self) -> None:
        check_positive(num_draws=self.num_draws)
        epochs = self.fine_tune_epochs
        if not isinstance(epochs, Integral) or isinstance(epochs, bool) or epochs < 0:
            raise ValueError(
                f"fine_tune_epochs is {epochs!r}; expected passes over the rows, a positive integer, or 0 for none"
            )
        check_not_negative(fine_tune_weight=self.fine_tune_weight)
        check_learning_rate(fine_tune_lr=self.fine_tune_lr)

    def _settings(
        self, m1: M1, m2: M2, x: Tensor, y: Tensor, validation: tuple[Tensor, Tensor] | None, *own: str
    ) -> dict[str, str]:
        """What a stage goes by: the arguments of both layers, and those of the model's own that are named."""
        arguments = {name: getattr(self, name) for name in ("embedding", "num_draws", *own)}
        for layer, model in (("m1", m1), ("m2", m2)):
            arguments |= {f"{layer}__{name}": value for name, value in arguments_of_fit(model).items()}
        if not m1.epochs:
            # Fitted elsewhere, its weights are all that is known of it.
            arguments["m1__weights"] = fingerprint(
                torch.cat([w.flatten().float() for w in m1.vae_.state_dict().values()])
            )
        return settings_of_labelled(x, y, validation, **arguments)

    def _fine_tune(
        self,
        rows: Tensor,
        labels: Tensor,
        held_out: tuple[Tensor, Tensor] | None,
        keeper: Keeper,
        kept: State | None,
    ) -> None:
        m1, m2, programs = self.m1_, self.m2_, self.programs_
        like = next(m1.vae_.parameters())
        judge = None
        if held_out is not None:
            judge = judge_by(lambda x: torch.from_numpy(self.predict_proba(x)), *held_out)
        plan = TrainingPlan(
            self.fine_tune_epochs, m2.batch_size, self.fine_tune_lr, m2.seed, m2.progress, m2.step, m1.train_transform
        )
        loop = joint_loop(
            programs, rows.to(like), labels.to(like.device), self.fine_tune_weight, m2.closed_form_kl, judge, plan
        )
        # Whatever ends a fit, what was reached is there.
        self.history_ = loop.history
        try:
            with isolated_rng(m2.seed, like.device), private_param_store(programs.model, programs.guide):
                if kept is not None:
                    loop.restore(kept)
                loop.run(keeper)
        finally:
            self.best_epoch_ = loop.best_epoch
            refit_classifier(m1, rows, labels)

    def _latents(self, m1: M1, rows: Tensor, transform: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        return posterior_latents(m1.vae_, rows, self.embedding, self.num_draws, m1.seed, transform)


def _folder_of(checkpoints: Checkpoints | str | Path | None, stage: str) -> Checkpoints | None:
    if checkpoints is None:
        return None
    given = checkpoints if isinstance(checkpoints, Checkpoints) else Checkpoints(checkpoints)
    return replace(given, folder=Path(given.folder) / stage)


def default_second_layer() -> M2:
    """M2 for real numbers."""
    # Latents are few and smooth: with dropout the classifier loses more than it learns by heart without.
    return M2(
        likelihood=partial(predicted_normal_likelihood, hidden_dims=(200,)),
        classifier=partial(MLP, hidden_dims=(200,)),
        hidden_dims=(200,),
        classification_weight=0.1,
        closed_form_kl=True,
    )


def one_of_its_draws(draws: Tensor) -> Tensor:
    """For each row one of its draws ``(rows, draws, latent_dim)``, by chance."""
    rows, num_draws = draws.shape[:2]
    return draws[torch.arange(rows, device=draws.device), torch.randint(num_draws, (rows,), device=draws.device)]
