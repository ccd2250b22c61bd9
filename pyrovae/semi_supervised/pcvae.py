"""The prediction-constrained VAE: labels are predicted from z."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from pyro.infer import TraceMeanField_ELBO
from torch import Tensor, nn

from pyrovae import priors
from pyrovae.models import VAE
from pyrovae.networks import MLP
from pyrovae.programs import check_not_negative, check_positive
from pyrovae.recording import Stepping
from pyrovae.semi_supervised.batches import Batch
from pyrovae.semi_supervised.estimator import Array
from pyrovae.semi_supervised.loop import Step
from pyrovae.semi_supervised.m1 import posterior_latents
from pyrovae.semi_supervised.parts import Part, bernoulli_likelihood, build_parts, masking_posterior
from pyrovae.semi_supervised.trained_together import TrainedTogether
from pyrovae.training.diagnosis import first_non_finite_site

Multiplier = Literal["fixed", "dual"]


class PCVAEPrograms(VAE):
    """A VAE with a network from z to the classes.

    Args:
        prior: as in ``VAE``.
        likelihood: as in ``VAE``.
        posterior: as in ``VAE``.
        classifier: network from z ``(*batch, latent_dim)`` to unnormalised log-probabilities ``(*batch, num_classes)``.
    """

    def __init__(self, prior: nn.Module, likelihood: nn.Module, posterior: nn.Module, classifier: nn.Module) -> None:
        super().__init__(prior, likelihood, posterior)
        self.classifier = classifier

    def cross_entropy(self, x: Tensor, y: Tensor, num_samples: int = 1) -> Tensor:
        """The prediction loss E_q(z|x)[-log p(y|z)] of each row by draws of z, ``(rows,)`` in nats."""
        logits = self.classifier(self.encode(x).rsample((num_samples,)))
        return F.cross_entropy(logits.movedim(-1, 1), y.expand(num_samples, -1), reduction="none").mean(0)


class PCVAE(TrainedTogether):
    r"""A VAE whose latents have to predict the labels (Hughes et al., 2018; Hope et al., 2020).

    .. math::
        \min -\frac1N \sum_i \mathrm{ELBO}(x_i) \quad \text{subject to} \quad
        c = \mathrm{mean}_{labelled}\ E_{q(z|x)}[-\log p(y \mid z)] \le \epsilon

    over all N rows, by the Lagrangian :math:`-\mathrm{ELBO} + \lambda (c - \epsilon)`. The label is predicted from z
    alone, and z is inferred from x alone, with a label or without: so training asks of the labels what prediction
    does. (In a joint model of x and y the label is one more entry of a row beside all its pixels, and can be left
    unexplained.)

    With ``multiplier="fixed"`` :math:`\lambda` is given, as in both papers, and epsilon plays no part. With ``"dual"``
    each step raises or lowers it in proportion to how far the constraint is missed,

    .. math:: \lambda \leftarrow \max(0,\ \lambda + \eta (c - \epsilon)),

    gradient ascent of the dual problem beside gradient descent of the Lagrangian (Arrow, Hurwicz and Uzawa, 1958), with
    c from the labelled rows of the step. Each step has labelled and unlabelled rows, the ELBOs of both weighted by
    the shares that their rows have in all the data.

    Args:
        latent_dim: dimensions of z.
        prior: p(z): a module, a function of ``latent_dim`` that makes one, or None for a standard normal.
        likelihood: p(x|z): a module, a function of ``(latent_dim, data_shape)``, or None for bits by a multilayer
            perceptron.
        posterior: q(z|x): a module, a function of ``(data_shape, latent_dim)``, or None for a mean-field Gaussian of a
            multilayer perceptron, ``posteriors.Denoising`` with three entries of ten masked in training: an encoder
            that is not held back learns a few labelled rows by heart, and places others no better for it.
        classifier: network of p(y|z), from z to a number for each class: a module, a function of
            ``(latent_dim, num_classes)``, or None for a linear one.
        hidden_dims: widths of the hidden layers of the default networks.
        num_classes: number of classes; None is one more than the highest label.
        multiplier: ``"fixed"`` or ``"dual"``.
        multiplier_start: lambda, in nats of the ELBO per nat of prediction loss; the first one if it moves.
        multiplier_lr: eta, by which lambda moves in each step.
        epsilon: the prediction loss that is allowed, in nats per labelled row.
        num_draws: draws of z that a prediction is the mean of; those of a row depend on its place among the rows.
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
        programs_: the fitted ``VAE`` with its ``classifier``.
        multiplier_: lambda at the end.
        history_: for each epoch means over rows in nats: ``train_elbo`` of all rows, ``train_cross_entropy`` of
            labelled rows, ``train_multiplier``, ``train_loss``; with validation rows ``validation_accuracy`` and
            ``validation_cross_entropy``; ``seconds``.
        best_epoch_: the epoch whose weights were kept.

    Example:
        >>> import torch
        >>> x = torch.bernoulli(torch.tensor([[0.9] * 8 + [0.1] * 8, [0.1] * 8 + [0.9] * 8]).repeat(100, 1))
        >>> y = torch.tensor([0, 1] * 100)
        >>> known = torch.where(torch.arange(200) < 10, y, -1)
        >>> model = PCVAE(latent_dim=2, hidden_dims=(16,), epochs=20, batch_size=20, progress=False).fit(x, known)
        >>> model.embed(x).shape, model.score(x, y) > 0.9
        ((200, 2), True)
    """

    def __init__(
        self,
        latent_dim: int = 50,
        prior: Part = None,
        likelihood: Part = None,
        posterior: Part = None,
        classifier: Part = None,
        hidden_dims: Sequence[int] = (500, 500),
        num_classes: int | None = None,
        multiplier: Multiplier = "fixed",
        multiplier_start: float = 10.0,
        multiplier_lr: float = 0.1,
        epsilon: float = 0.1,
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
        self.num_classes, self.num_draws = num_classes, num_draws
        self.multiplier, self.multiplier_start, self.multiplier_lr = multiplier, multiplier_start, multiplier_lr
        self.epsilon = epsilon
        self.train_transform = train_transform
        self.epochs, self.batch_size, self.lr, self.step = epochs, batch_size, lr, step
        self.seed, self.progress, self.device = seed, progress, device

    programs_: PCVAEPrograms
    _numbers: dict[str, float]

    @property
    def multiplier_(self) -> float:
        """Lambda as it is."""
        return self._numbers["multiplier"]

    def embed(self, x: Any) -> Array:
        """The posterior means.

        Args:
            x: rows ``(rows, *data_shape)``, a tensor or an array.

        Returns:
            ``(rows, latent_dim)``.

        Raises:
            ValueError: the mean of q(z|x) is not known, as that of a flow.
        """
        rows = self._rows(x)
        otherwise = "draw from programs_.encode(x)"
        return posterior_latents(self.programs_, rows, "mean", 1, self.seed, otherwise=otherwise)[0].cpu().numpy()

    def _check_own_arguments(self, num_classes: int) -> None:
        check_positive(latent_dim=self.latent_dim, num_draws=self.num_draws)
        if self.multiplier not in get_args(Multiplier):
            raise ValueError(f"multiplier is {self.multiplier!r}; expected 'fixed' or 'dual'")
        check_not_negative(
            multiplier_start=self.multiplier_start, multiplier_lr=self.multiplier_lr, epsilon=self.epsilon
        )

    def _build(self, data_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        return PCVAEPrograms(
            **build_parts(
                self,
                prior=(priors.StandardNormal, (self.latent_dim,)),
                likelihood=(partial(bernoulli_likelihood, hidden_dims=self.hidden_dims), (self.latent_dim, data_shape)),
                posterior=(partial(masking_posterior, hidden_dims=self.hidden_dims), (data_shape, self.latent_dim)),
                classifier=(partial(MLP, hidden_dims=()), (self.latent_dim, num_classes)),
            )
        )

    def _step(self, programs: Any) -> tuple[Step, dict[str, float]]:
        estimator, numbers = TraceMeanField_ELBO(), {"multiplier": float(self.multiplier_start)}

        def mean_elbo(rows: Tensor) -> Tensor:
            return -estimator.differentiable_loss(programs.model, programs.guide, rows) / len(rows)

        def step(batch: Batch) -> dict[str, Tensor]:
            unlabelled = mean_elbo(batch.unlabelled) if len(batch.unlabelled) else None
            elbo = batch.mean(mean_elbo(batch.labelled), unlabelled)
            cross_entropy = programs.cross_entropy(batch.labelled, batch.y).mean()
            loss = numbers["multiplier"] * cross_entropy - elbo
            terms = {"loss": loss, "elbo": elbo, "cross_entropy": cross_entropy}
            terms["multiplier"] = torch.as_tensor(numbers["multiplier"])
            if self.multiplier == "dual":
                violation = cross_entropy.item() - self.epsilon
                numbers["multiplier"] = max(0.0, numbers["multiplier"] + self.multiplier_lr * violation)
            return terms

        return step, numbers

    @torch.no_grad()
    def _non_finite_site(self, programs: Any, batch: Batch) -> str | None:
        return first_non_finite_site(programs.model, programs.guide, torch.cat([batch.labelled, batch.unlabelled]))

    def _seen_by_classifier(self, programs: Any, rows: Tensor) -> Tensor:
        return programs.encode(rows).sample()

    def _class_probs(self, programs: Any, rows: Tensor) -> Tensor:
        z = programs.encode(rows).sample((self.num_draws,))
        return programs.classifier(z).double().softmax(-1).mean(0)
