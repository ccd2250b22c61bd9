"""Fitting a pair of Pyro programs by stochastic variational inference."""

import time
import warnings
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import torch
from pyro.infer import ELBO
from pyro.params.param_store import StateDict
from torch import Tensor
from tqdm.auto import tqdm

from pyrovae.objectives import BoundObjective, BoundTerms, KlForm, ObjectiveName
from pyrovae.programs import (
    PairStructure,
    Program,
    Weights,
    check_missing,
    check_positive,
    check_rows,
    check_support,
    evaluation_mode,
    inspect_pair,
    isolated_rng,
    keep_params,
    owned_modules,
    param_values,
    private_param_store,
    training_mode,
)
from pyrovae.training.diagnosis import first_non_finite_site
from pyrovae.training.result import EpochTerms, FitResult, NonFiniteLossError

_TERMS = ("elbo", "reconstruction", "kl")


def fit_svi(
    model: Program,
    guide: Program,
    train: Tensor,
    *,
    validation: Tensor | None = None,
    train_transform: Callable[[Tensor], Tensor] | None = None,
    epochs: int = 100,
    batch_size: int = 128,
    lr: float = 1e-3,
    objective: ObjectiveName | ELBO = "TraceMeanField_ELBO",
    num_particles: int = 1,
    patience: int | None = 20,
    optimizer: Callable[[Iterable[Tensor]], torch.optim.Optimizer] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> FitResult:
    r"""Fit a model and a guide by maximising the ELBO of the training rows.

    .. math:: \max \sum_i E_{q(z_i|x_i)}[\log p(x_i, z_i) - \log q(z_i|x_i)]

    Parameters are found by themselves: those of an ``nn.Module`` given as program or owning the bound method, and
    what ``pyro.module`` and ``pyro.param`` touch. They never pass through the global param store, so models of
    equal names do not meet. The rows are moved to the device of the parameters once. Whatever ends a fit, an error or
    an interrupt, the best weights so far are put back.

    Args:
        model: Pyro program of a batch of rows, observing them inside a plate ``len(x)`` at dim -1.
        guide: Pyro program of a batch of rows, drawing the model's latents inside the same plate.
        train: rows ``(rows, *data_shape)``.
        validation: rows to judge each epoch by. With them the weights of the best epoch are kept, else the last.
        train_transform: applied to each training batch, ``load_data(...).train_transform`` for example.
        epochs: passes over the rows, at most.
        batch_size: rows of each step.
        lr: learning rate of Adam.
        objective: ``"TraceMeanField_ELBO"`` takes the KL in closed form where there is one, so its gradients vary
            less, and draws it elsewhere; ``"Trace_ELBO"`` always draws it, and takes guides of any structure. Or
            an ELBO object of Pyro's.
        num_particles: draws of the latents for each row and step.
        patience: epochs without a better validation ELBO before stopping; None never stops early.
        optimizer: maker of another torch optimiser from the parameters; ``lr`` is then unused.
        seed: of shuffling and of all draws; the caller's generators stay as they are.
        progress: show a progress bar.

    Raises:
        ValueError: a pair that breaks the contract of ``inspect_pair``, data outside the likelihood's support,
            NaN in the data unless the programs take missing entries, a batch larger than the data, numbers out of
            range. Nothing was changed then.
        NonFiniteLossError: the loss became NaN or infinite.

    Example:
        >>> import torch
        >>> from pyrovae import VAE, fit_svi, likelihoods, networks, posteriors, priors
        >>> vae = VAE(
        ...     priors.StandardNormal(1),
        ...     likelihoods.Normal(networks.MLP(1, 3, ())),
        ...     posteriors.DiagonalNormal(networks.MLP(3, 2, ())),
        ... )
        >>> x = torch.randn(200, 3) * torch.tensor([3.0, 0.1, 0.1])
        >>> result = fit_svi(vae.model, vae.guide, x, epochs=50, batch_size=50, lr=0.03, progress=False)
        >>> result.history[-1]["train_elbo"] > result.history[0]["train_elbo"]
        True
    """
    check_rows(train, "train")
    if validation is not None:
        check_rows(validation, "validation")
    _check_numbers(len(train), epochs, batch_size, lr, patience)
    bound = BoundObjective(objective, num_particles)
    device = _parameter_device(model, guide, default=train.device)
    _check_dtype(model, guide, train)
    train = train.to(device)
    validation = None if validation is None else validation.to(device)

    check_missing(model, guide, train, "train")
    if validation is not None:
        check_missing(model, guide, validation, "validation")
    with ExitStack() as stack:
        outside = stack.enter_context(private_param_store(model, guide))
        stack.enter_context(isolated_rng(seed, device))
        stack.enter_context(warnings.catch_warnings())
        # A loss that is not finite stops the fit with an error that says more.
        warnings.filterwarnings("ignore", message="Encountered NaN", category=UserWarning)
        first_rows = train[:5] if train_transform is None else train_transform(train[:5])
        with evaluation_mode(model, guide):
            structure = inspect_pair(model, guide, first_rows)
            bound.check(structure)
            kl_forms = bound.kl_forms(model, guide, first_rows, structure)
            check_support(model, guide, train if train_transform is None else first_rows)
            if validation is not None:
                check_support(model, guide, validation)
        loop = _Loop(model, guide, bound, structure, kl_forms, outside, patience, train_transform)
        make_optimizer = optimizer or (lambda parameters: _adam(parameters, lr))
        try:
            with training_mode(loop.modules):
                # A program may differ in training, by a scale of its own for example.
                inspect_pair(model, guide, first_rows)
            loop.weights.restore(loop.best_weights)
            return loop.run(train, validation, epochs, batch_size, make_optimizer, seed, progress)
        except BaseException:
            # Whatever stops a fit, a pair is left with its best weights, not halfway through a step.
            loop.keep_best()
            raise


class _Loop:
    """The state of one fit."""

    def __init__(
        self,
        model: Program,
        guide: Program,
        bound: BoundObjective,
        structure: PairStructure,
        kl_forms: dict[str, KlForm],
        outside: StateDict,
        patience: int | None,
        train_transform: Callable[[Tensor], Tensor] | None,
    ) -> None:
        self.model, self.guide, self.bound, self.structure, self.outside = model, guide, bound, structure, outside
        self.patience, self.train_transform, self.kl_forms = patience, train_transform, kl_forms
        self.modules = [*owned_modules(model, guide), *structure.modules]
        self.weights = Weights.of(model, guide, structure)
        if not self.weights.parameters:
            raise ValueError(
                "model and guide have no trainable parameters: give an nn.Module or its bound method, or use "
                "pyro.module or pyro.param in the programs"
            )
        self.history: list[EpochTerms] = []
        self.best_epoch = 0
        self.best_elbo = float("-inf")
        self.best_weights = self.weights.copy()

    def run(
        self,
        train: Tensor,
        validation: Tensor | None,
        epochs: int,
        batch_size: int,
        make_optimizer: Callable[[Iterable[Tensor]], torch.optim.Optimizer],
        seed: int,
        progress: bool,
    ) -> FitResult:
        optimizer = make_optimizer(self.weights.parameters)
        # Shuffling has a generator of its own: the order of rows is the same whatever the programs draw.
        shuffler = torch.Generator().manual_seed(seed)
        steps = -(-len(train) // batch_size)
        with tqdm(total=epochs * steps, disable=not progress, desc="fitting", unit="step") as bar:
            for epoch in range(1, epochs + 1):
                start = time.perf_counter()
                order = torch.randperm(len(train), generator=shuffler).to(train.device)
                terms = {
                    "epoch": epoch,
                    **self._train_epoch(epoch, train, order.split(batch_size), optimizer, bar),
                    **({} if validation is None else self._validate(epoch, validation, batch_size, seed)),
                }
                terms["seconds"] = time.perf_counter() - start
                self.history.append(terms)
                judged = terms.get("validation_elbo", float("inf"))
                if judged > self.best_elbo or validation is None:
                    self.best_elbo, self.best_epoch = judged, epoch
                    self.best_weights = self.weights.copy()
                bar.set_postfix_str(
                    ", ".join(
                        f"{name.replace('_', ' ')} {terms[name]:.2f}"
                        for name in ("train_elbo", "validation_elbo")
                        if name in terms
                    )
                    + " nats",
                    refresh=False,
                )
                if self.patience is not None and epoch - self.best_epoch >= self.patience:
                    return self._finish(stopped_early=epoch < epochs)
        return self._finish(stopped_early=False)

    def _train_epoch(
        self,
        epoch: int,
        train: Tensor,
        batches: tuple[Tensor, ...],
        optimizer: torch.optim.Optimizer,
        bar: "tqdm[Any]",
    ) -> EpochTerms:
        totals = dict.fromkeys(_TERMS, 0.0)
        with training_mode(self.modules):
            for step, rows in enumerate(batches, start=1):
                x = train[rows] if self.train_transform is None else self.train_transform(train[rows])
                terms = self._terms(x)
                if terms is None:
                    raise self._non_finite(epoch, step, x)
                optimizer.zero_grad(set_to_none=True)
                (terms.loss / len(x)).backward()
                optimizer.step()
                for name in _TERMS:
                    totals[name] += getattr(terms, name).item()
                bar.update()
            # The last step's weights have been through no loss yet.
            if not self.weights.finite():
                raise self._non_finite(epoch, step, x)
        return {f"train_{name}": total / len(train) for name, total in totals.items()}

    @torch.no_grad()
    def _validate(self, epoch: int, validation: Tensor, batch_size: int, seed: int) -> EpochTerms:
        totals = dict.fromkeys(_TERMS, 0.0)
        # The same draws at every epoch, so that epochs are compared by their weights and not by luck.
        with evaluation_mode(self.model, self.guide), isolated_rng(seed, validation.device):
            for x in validation.split(batch_size):
                terms = self._terms(x)
                if terms is None:
                    raise self._non_finite(epoch, None, x)
                for name in _TERMS:
                    totals[name] += getattr(terms, name).item()
        return {f"validation_{name}": total / len(validation) for name, total in totals.items()}

    def _terms(self, x: Tensor) -> BoundTerms | None:
        """The terms of a batch; None if they are not finite."""
        try:
            terms = self.bound(self.model, self.guide, x)
        except ValueError:
            # Pyro refuses distributions whose parameters became NaN; any other error passes.
            if first_non_finite_site(self.model, self.guide, x) is None:
                raise
            return None
        return terms if torch.isfinite(terms.loss) else None

    def _non_finite(self, epoch: int, step: int | None, x: Tensor) -> NonFiniteLossError:
        site = first_non_finite_site(self.model, self.guide, x) or self.structure.observed[0]
        return NonFiniteLossError(epoch, step, site, self._finish(stopped_early=False))

    def keep_best(self) -> None:
        """Put the best weights back, and keep the values of ``pyro.param`` statements."""
        self.weights.restore(self.best_weights)
        keep_params(self.model, self.guide, self.structure, self.outside)

    def _finish(self, *, stopped_early: bool) -> FitResult:
        self.keep_best()
        return FitResult(
            history=self.history,
            best_epoch=self.best_epoch,
            stopped_early=stopped_early,
            params=param_values(self.model, self.guide, self.structure),
            kl_forms=self.kl_forms,
        )


def _adam(parameters: Iterable[Tensor], lr: float) -> torch.optim.Optimizer:
    parameters = list(parameters)
    # One fused kernel in place of a dozen small ones for each tensor; other devices have none.
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in parameters)
    return torch.optim.Adam(parameters, lr=lr, fused=fused)


def _check_numbers(rows: int, epochs: int, batch_size: int, lr: float, patience: int | None) -> None:
    check_positive(epochs=epochs, batch_size=batch_size, patience=patience)
    if not 0 < lr < float("inf"):
        raise ValueError(f"lr is {lr!r}; expected a positive number")
    if rows < 2:
        raise ValueError(f"train has {rows} row; a model needs several to learn from")
    if batch_size > rows:
        raise ValueError(f"batch_size is {batch_size}, more than the {rows} training rows: give at most {rows}")


def _parameter_device(model: Program, guide: Program, default: torch.device) -> torch.device:
    for module in owned_modules(model, guide):
        for parameter in module.parameters():
            return parameter.device
    return default


def _check_dtype(model: Program, guide: Program, train: Tensor) -> None:
    if not train.is_floating_point():
        return
    for module in owned_modules(model, guide):
        for name, parameter in module.named_parameters():
            if parameter.is_floating_point() and parameter.dtype != train.dtype:
                raise ValueError(
                    f"train is {train.dtype} and the parameter {name!r} is {parameter.dtype}: convert the data, "
                    f"train.to({parameter.dtype}), or the module"
                )
