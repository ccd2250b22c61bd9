"""M2: the class as a latent of the model."""

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pyro.infer import Trace_ELBO, TraceEnum_ELBO
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from pyrovae import priors
from pyrovae.evaluation.blocks import evaluations_at_once
from pyrovae.programs import Program, check_not_negative, check_positive, isolated_rng
from pyrovae.recording import Stepping
from pyrovae.semi_supervised.batches import Batch
from pyrovae.semi_supervised.closed_form import with_closed_form_kl
from pyrovae.semi_supervised.labels import as_labels
from pyrovae.semi_supervised.loop import Step
from pyrovae.semi_supervised.m2_programs import M2Programs
from pyrovae.semi_supervised.parts import (
    DropoutMLP,
    Part,
    bernoulli_likelihood,
    build_parts,
    check_takes_classes,
    diagonal_posterior,
)
from pyrovae.semi_supervised.rows import blocks, check_density
from pyrovae.semi_supervised.trained_together import TrainedTogether
from pyrovae.training.diagnosis import first_non_finite_site


class M2(TrainedTogether):
    r"""A VAE with the class of each row as a latent, known for some rows (Kingma et al., 2014, model M2).

    Training minimises, over N rows of which some are labelled,

    .. math::
        -\frac1N \Big(\sum_{labelled} L(x, y) + \sum_{unlabelled} U(x)\Big)
        + w \cdot \mathrm{mean}_{labelled}\left(-\log q(y|x)\right)

    with the bounds :math:`L(x, y) \le \log p(x, y)` and :math:`U(x) \le \log p(x)` of ``M2Programs``. The sum over
    classes in U is exact: Pyro's ``TraceEnum_ELBO`` enumerates y. Each step has labelled and unlabelled rows, and the
    two bounds are weighted by the shares that their rows have in all the data. So w stands beside nats per row, and
    w = 0.1 is the weight alpha = 0.1 N of the paper, which the sum of bounds over all rows has there.

    Args:
        latent_dim: dimensions of z; with many of them z can say all of x, and little is left for y.
        prior: p(z): a module, a function of ``latent_dim`` that makes one, or None for a standard normal.
        likelihood: p(x|z, y) of ``[z, one-hot y]``, with any number of leading dimensions: a module, a function of
            ``(latent_dim + num_classes, data_shape)``, or None for bits by a multilayer perceptron. A ``Normal`` with
            ``scale="optimal"`` is refused: its one scale would be that of all classes, the improbable ones too.
        posterior: q(z|x, y) of ``[x flattened, one-hot y]``, with any number of leading dimensions: a module, a
            function of ``((data_size + num_classes,), latent_dim)``, or None for a mean-field Gaussian of a multilayer
            perceptron.
        classifier: network of q(y|x), from rows to a number for each class: a module, a function of
            ``(data_shape, num_classes)``, or None for a multilayer perceptron with dropout.
        hidden_dims: widths of the hidden layers of the default networks.
        num_classes: number of classes; None is one more than the highest label.
        class_probs: p(y), ``(num_classes,)``; None is uniform.
        classification_weight: w, in nats per row. The default is above the paper's: while z and the decoder are
            still poor, the bounds of unlabelled rows pull q(y|x) away from what the labels say.
        closed_form_kl: take the KL of z in training in closed form where there is one, not from the draw of z: the
            gradient of the encoder is less noisy.
        train_transform: applied to each training batch, ``load_data(...).train_transform`` for example.
        epochs: passes over the unlabelled rows.
        batch_size: unlabelled rows of each step, and labelled rows where there are as many.
        lr: learning rate of Adam.
        step: how the programs run in a step; see ``fit_svi``.
        seed: of the first weights, of shuffling and of all draws; the caller's generators stay as they are.
        progress: show a progress bar.
        device: where to compute; None is where the rows are.

    Attributes:
        classes_: the labels 0, 1, ...
        programs_: the fitted ``M2Programs``, with the Pyro programs ``model`` and ``guide``.
        history_: for each epoch means over rows in nats: ``train_elbo`` of all rows, ``train_labelled_elbo``,
            ``train_unlabelled_elbo``, ``train_cross_entropy`` of labelled rows, ``train_loss``; with validation rows
            ``validation_accuracy`` and ``validation_cross_entropy``; ``seconds``.
        best_epoch_: the epoch whose weights were kept.

    Example:
        >>> import torch
        >>> x = torch.bernoulli(torch.tensor([[0.9] * 8 + [0.1] * 8, [0.1] * 8 + [0.9] * 8]).repeat(100, 1))
        >>> y = torch.tensor([0, 1] * 100)
        >>> known = torch.where(torch.arange(200) < 10, y, -1)
        >>> model = M2(latent_dim=2, hidden_dims=(16,), epochs=20, batch_size=20, progress=False).fit(x, known)
        >>> model.score(x, y) > 0.9
        True
    """

    def __init__(
        self,
        latent_dim: int = 10,
        prior: Part = None,
        likelihood: Part = None,
        posterior: Part = None,
        classifier: Part = None,
        hidden_dims: Sequence[int] = (500,),
        num_classes: int | None = None,
        class_probs: Sequence[float] | None = None,
        classification_weight: float = 3.0,
        closed_form_kl: bool = False,
        train_transform: Callable[[Tensor], Tensor] | None = None,
        epochs: int = 100,
        batch_size: int = 100,
        lr: float = 3e-3,
        step: Stepping = "auto",
        seed: int = 0,
        progress: bool = True,
        device: str | torch.device | None = None,
    ) -> None:
        self.latent_dim, self.hidden_dims = latent_dim, hidden_dims
        self.prior, self.likelihood, self.posterior, self.classifier = prior, likelihood, posterior, classifier
        self.num_classes, self.class_probs = num_classes, class_probs
        self.classification_weight, self.closed_form_kl = classification_weight, closed_form_kl
        self.train_transform = train_transform
        self.epochs, self.batch_size, self.lr, self.step = epochs, batch_size, lr, step
        self.seed, self.progress, self.device = seed, progress, device

    programs_: M2Programs

    def labelled_bounds(self, x: Any, y: Any, num_samples: int = 10, seed: int = 0) -> Tensor:
        """Estimates of the lower bound L of log p(x, y) for each row, in nats; see ``M2Programs``.

        Args:
            x: rows ``(rows, *data_shape)``.
            y: classes ``(rows,)``.
            num_samples: draws of z for each row.
            seed: of the draws.

        Returns:
            ``(rows,)``.

        Raises:
            ValueError: rows of another shape or that the likelihood is no density for, a label that is missing or out
                of range.
        """
        rows = self._rows(x)
        labels = as_labels(y, len(rows), len(self.classes_))
        if bool((labels < 0).any()):
            raise ValueError("y has rows without a label; expected a class for each row: see unlabelled_bounds")
        return self._bounds(rows, labels, num_samples, seed)

    def unlabelled_bounds(self, x: Any, num_samples: int = 10, seed: int = 0) -> Tensor:
        """Estimates of the lower bound U of log p(x) for each row, in nats; see ``M2Programs``.

        Args:
            x: rows ``(rows, *data_shape)``.
            num_samples: draws of z for each row and class.
            seed: of the draws.

        Returns:
            ``(rows,)``.

        Raises:
            ValueError: rows of another shape or that the likelihood is no density for.
        """
        return self._bounds(self._rows(x), None, num_samples, seed)

    @torch.no_grad()
    def sample(self, y: int, num_samples: int, *, mean: bool = False, seed: int = 0) -> Tensor:
        """New rows of one class: z from the prior, then a draw from p(x|z, y), or its mean.

        Args:
            y: the class.
            num_samples: number of rows.
            mean: give the mean of p(x|z, y) in place of a draw.
            seed: of the draws.

        Returns:
            ``(num_samples, *data_shape)``.

        Raises:
            ValueError: no such class, no positive number of rows.
        """
        check_positive(num_samples=num_samples)
        check_is_fitted(self)
        programs, device = self.programs_, self.programs_.class_probs.device
        labels = as_labels([y], 1, len(self.classes_))
        if int(labels) < 0:
            raise ValueError(f"y is {y}; expected one class, 0 to {len(self.classes_) - 1}")
        with isolated_rng(seed, device):
            z = programs.prior().sample((num_samples,))
            p_x = programs.likelihood(programs.with_class(z, labels.to(device)))
            return p_x.mean.detach() if mean else p_x.sample()

    @torch.no_grad()
    def _bounds(self, rows: Tensor, labels: Tensor | None, num_samples: int, seed: int) -> Tensor:
        check_positive(num_samples=num_samples)
        programs, like, start, bounds = self.programs_, self.programs_.class_probs, 0, []
        # All at once: the error counts the rows as they were given.
        check_density(programs, rows.to(like))
        # So many draws of one row, or one draw of so many rows.
        at_once = max(1, evaluations_at_once(rows) // (len(self.classes_) if labels is None else 1))
        draws = [min(at_once, num_samples - first) for first in range(0, num_samples, at_once)]

        def of_draws(block: Tensor, count: int) -> Tensor:
            if labels is None:
                return programs.marginal_bounds(block, count)
            return programs.joint_bounds(block, labels[start : start + len(block)].to(like.device), count)

        with isolated_rng(seed, like.device):
            for block in blocks(rows, like, max(1, at_once // num_samples)):
                bounds.append(torch.stack([count / num_samples * of_draws(block, count) for count in draws]).sum(0))
                start += len(block)
        return torch.cat(bounds).cpu()

    def _check_own_arguments(self, num_classes: int) -> None:
        check_positive(latent_dim=self.latent_dim)
        check_not_negative(classification_weight=self.classification_weight)
        if self.class_probs is not None:
            probs = np.asarray(self.class_probs, dtype=float)
            if probs.shape != (num_classes,) or not (probs > 0).all() or abs(probs.sum() - 1) > 1e-6:
                raise ValueError(
                    f"class_probs is {self.class_probs!r}; expected {num_classes} positive numbers that sum to 1, the "
                    "probability of each class; or None for equal ones"
                )

    def _build(self, data_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        input_dim = self.latent_dim + num_classes
        parts = build_parts(
            self,
            prior=(priors.StandardNormal, (self.latent_dim,)),
            likelihood=(partial(bernoulli_likelihood, hidden_dims=self.hidden_dims), (input_dim, data_shape)),
            posterior=(
                partial(diagonal_posterior, hidden_dims=self.hidden_dims),
                ((prod(data_shape) + num_classes,), self.latent_dim),
            ),
            classifier=(partial(DropoutMLP, hidden_dims=self.hidden_dims), (data_shape, num_classes)),
        )
        probs = np.full(num_classes, 1 / num_classes) if self.class_probs is None else self.class_probs
        like = next(parts["likelihood"].parameters())
        return M2Programs(**parts, class_probs=torch.as_tensor(probs, dtype=like.dtype))

    def _check_parts(self, programs: Any, rows: Tensor, num_classes: int) -> None:
        super()._check_parts(programs, rows, num_classes)
        prior_shape = tuple(programs.prior().event_shape)
        first_class = torch.zeros(len(rows), dtype=torch.long, device=rows.device)
        with torch.no_grad():
            posterior_shape = tuple(programs.encode(rows, first_class).event_shape)
        if prior_shape != posterior_shape:
            raise ValueError(
                f"posterior is over {posterior_shape}, the prior over {prior_shape}: give both the same latent_dim"
            )
        classes = torch.arange(num_classes, device=rows.device)[:, None]
        z = rows.new_zeros(len(rows), *prior_shape)
        runs: tuple[tuple[str, int, Callable[[Tensor], object]], ...] = (
            ("posterior", rows[0].numel(), partial(programs.encode, rows)),
            ("likelihood", z.shape[1], lambda y: programs.likelihood(programs.with_class(z, y))),
        )
        with torch.no_grad():
            for slot, size, run in runs:
                # What fails with one class has an error of its own.
                run(first_class)
                check_takes_classes(slot, partial(run, classes), (num_classes, len(rows), size + num_classes))

    def _step(self, programs: Any) -> tuple[Step, dict[str, float]]:
        # With the class observed there is nothing to enumerate.
        with_class, without = Trace_ELBO(), TraceEnum_ELBO(max_plate_nesting=1)
        pair: tuple[Program, Program] = (programs.model, programs.guide)
        if self.closed_form_kl:
            pair = with_closed_form_kl(*pair, "z")

        def step(batch: Batch) -> dict[str, Tensor]:
            labelled = -with_class.differentiable_loss(*pair, batch.labelled, batch.y) / len(batch.labelled)
            cross_entropy = F.cross_entropy(programs.classifier(batch.labelled), batch.y)
            terms = {"labelled_elbo": labelled, "cross_entropy": cross_entropy}
            if len(batch.unlabelled):
                unlabelled = -without.differentiable_loss(*pair, batch.unlabelled) / len(batch.unlabelled)
                terms["unlabelled_elbo"] = unlabelled
            elbo = batch.mean(labelled, terms.get("unlabelled_elbo"))
            return {"loss": self.classification_weight * cross_entropy - elbo, "elbo": elbo, **terms}

        return step, {}

    @torch.no_grad()
    def _non_finite_site(self, programs: Any, batch: Batch) -> str | None:
        # A class cannot be drawn with a probability that is NaN, so the sites are looked at with the classes given.
        if not bool(torch.isfinite(programs.classifier(torch.cat([batch.labelled, batch.unlabelled]))).all()):
            return "y"
        model, guide = partial(programs.model, y=batch.y), partial(programs.guide, y=batch.y)
        return first_non_finite_site(model, guide, batch.labelled)

    def _seen_by_classifier(self, programs: Any, rows: Tensor) -> Tensor:
        return rows

    def _class_probs(self, programs: Any, rows: Tensor) -> Tensor:
        return programs.classifier(rows).double().softmax(1)
