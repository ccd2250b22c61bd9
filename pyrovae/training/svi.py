"""Fitting a pair of Pyro programs by stochastic variational inference."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import get_args

import torch
from pyro.infer import ELBO
from torch import Tensor

from pyrovae.checkpoints import Checkpoints, begin_or_resume
from pyrovae.data import AnyRows
from pyrovae.distributions.arguments import is_finite_number
from pyrovae.objectives import Objective, Schedule, as_objective
from pyrovae.objectives.schedules import check_schedule
from pyrovae.programs import (
    Precision,
    Program,
    check_any_rows,
    check_missing,
    check_positive,
    check_seed,
    owned_modules,
    repair_of_dtype,
)
from pyrovae.recording import Stepping
from pyrovae.training.plan import Plan, Trained
from pyrovae.training.planned_fit import fit_as_planned
from pyrovae.training.result import FitResult
from pyrovae.training.skipping import check_skipping


def fit_svi(
    model: Program,
    guide: Program,
    train: AnyRows,
    *,
    validation: AnyRows | None = None,
    train_transform: Callable[[Tensor], Tensor] | None = None,
    epochs: int = 100,
    batch_size: int = 128,
    lr: float | Schedule = 1e-3,
    objective: str | Objective | ELBO = "TraceMeanField_ELBO",
    num_particles: int | None = None,
    beta: float | Schedule | None = None,
    trained: Trained = "all",
    patience: int | None = 20,
    optimizer: Callable[[Iterable[Tensor]], torch.optim.Optimizer] | None = None,
    precision: Precision = "32",
    step: Stepping = "auto",
    clip_norm: float | None = None,
    max_skipped_steps: int = 10,
    checkpoints: Checkpoints | str | Path | None = None,
    resume: bool = False,
    seed: int = 0,
    progress: bool = True,
) -> FitResult:
    r"""Fit a model and a guide by maximising the ELBO of the training rows.

    .. math:: \max \sum_i E_{q(z_i|x_i)}[\log p(x_i, z_i) - \log q(z_i|x_i)]

    Parameters are found by themselves: those of an ``nn.Module`` given as program or owning the bound method, and
    what ``pyro.module`` and ``pyro.param`` touch. They never pass through the global param store, so models of
    equal names do not meet; values of ``pyro.param`` are kept with the object that was fitted, so keep a lambda or
    ``functools.partial`` and do not write it again. The rows are moved to the device of the parameters once. Whatever
    ends a fit, an error or an interrupt, the best weights so far are put back. Fits and evaluations in several threads
    take turns; what another thread draws meanwhile, for new modules say, comes from the fit's generators and changes
    its draws.

    Args:
        model: Pyro program of a batch of rows, observing them inside a plate ``len(x)`` at dim -1.
        guide: Pyro program of a batch of rows, drawing the model's latents inside the same plate.
        train: rows ``(rows, *data_shape)``; larger than memory as ``data.StreamedRows``, with the same result.
        validation: rows to judge each epoch by, of either kind. With them the weights of the best epoch are kept, else
            the last.
        train_transform: applied to each training batch, of which it returns as many rows;
            ``load_data(...).train_transform`` for example.
        epochs: passes over the rows, at most.
        batch_size: rows of each step.
        lr: learning rate of Adam, or a schedule of it from ``pyrovae.objectives``, ``Cosine(1e-3, 0, length=1)`` or
            ``Stages``.
        objective: what is maximised, by name or as an object of ``pyrovae.objectives`` with options of its own:
            ``"TraceMeanField_ELBO"`` takes the KL in closed form where there is one, so its gradients vary less, and
            draws it elsewhere; ``"Trace_ELBO"`` always draws it, and takes guides of any structure; ``"IWAE"``,
            ``"Renyi"``, ``"DReG"``, ``"StickingTheLanding"``, ``"ReweightedWakeSleep"``, ``"ScoreFunction"``. Or a
            ``Trace_ELBO`` or ``TraceMeanField_ELBO`` of Pyro. It acts on training, and on which epoch is kept; the ELBO
            in the history is the true one.
        num_particles: draws of the latents for each row and step, for an objective by name; None takes its default.
        beta: weight of the KL term, a number or a schedule, for an objective by name; None is 1. While it moves no
            epoch is judged and none stops the fit.
        trained: ``"guide"`` moves the parameters that the guide's density or draws depend on and holds the others,
            ``"model"`` moves these others, ``"all"`` moves both.
        patience: epochs without a better validation objective before stopping; None never stops early.
        optimizer: maker of another torch optimiser from the parameters, whose learning rate is its own, and ``lr``
            unused; a schedule in ``lr`` sets it at each step.
        precision: ``"bf16-mixed"`` multiplies in bfloat16 in the layers of networks, in training; weights,
            log-densities and sums stay in single precision, and so does validation.
        step: how the programs run in a step. ``"plain"`` runs them; ``"recorded"`` keeps the tensor operations that
            they did in one and repeats these, which leaves out Pyro's and Python's time and changes no draw and no
            result; ``"compiled"`` has TorchInductor join them to fewer, with a C++ compiler, and rounds otherwise.
            ``"auto"`` records after a hundred steps, and compiles where some minutes are to come, small steps once
            there were so many that it pays. A recording is checked against the programs, at first and at each
            five-hundredth step. Programs that decide by values of tensors run plainly, and so do those that change what
            is none and what they name, in attributes, closures, defaults, classes and globals, and that name an
            iterator: numbers and texts are looked at before each step, lengths of lists and generators of random
            numbers where a recording is made and checked.
            ``stepping`` of the result says how they ran. What else a program does, printing for example, it does in
            plain steps only, and so does Pyro's validation.
        clip_norm: the gradient over all parameters is shortened to this norm where it is longer; None leaves it.
        max_skipped_steps: a step whose loss is not finite is left out, and with ``clip_norm`` one whose gradient is
            not, and buffers, running means for example, are what they were before it; more than so many in a row, or
            half of an epoch, stop the fit.
        checkpoints: a folder, or ``Checkpoints`` with its options, in which the state of the fit is kept: from time to
            time, at its end, and where Ctrl-C or SIGTERM ask the process to stop, which it then does after the step in
            hand. Where it cannot be written the fit goes on, and says so.
        resume: go on from the newest checkpoint, to the same result as without a break: bit for bit on one processor
            with the same versions. All other arguments have to be what they were, with weights as they may be. Without
            a checkpoint the fit begins. What programs and ``train_transform`` keep beside parameters and buffers is not
            in it.
        seed: of shuffling and of all draws; the caller's generators stay as they are.
        progress: show a progress bar.

    Raises:
        ValueError: a pair that breaks the contract of ``check_pair``, data outside the likelihood's support,
            NaN in the data unless the programs take missing entries, a batch larger than the data, numbers out of
            range, an objective that is not defined for the pair, a checkpoint of a fit with other arguments or rows.
            Nothing was changed then.
        NonFiniteLossError: the loss became NaN or infinite.
        OSError: streamed rows or checkpoints that cannot be read.

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
    check_any_rows(train, "train")
    if validation is not None:
        check_any_rows(validation, "validation")
    _check_numbers(len(train), epochs, batch_size, lr, patience)
    if precision not in get_args(Precision):
        raise ValueError(f"precision is {precision!r}; expected one of {', '.join(get_args(Precision))}")
    if step not in get_args(Stepping):
        raise ValueError(f"step is {step!r}; expected one of {', '.join(get_args(Stepping))}")
    check_skipping(clip_norm, max_skipped_steps)
    check_seed(seed)
    maximized = as_objective(objective, num_particles, beta)
    device = _parameter_device(model, guide, default=train.device)
    _check_dtype(model, guide, train)
    plan = Plan(
        train=train.to(device),
        validation=None if validation is None else validation.to(device),
        train_transform=train_transform,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        objective=maximized,
        trained=trained,
        patience=patience,
        optimizer=optimizer,
        precision=precision,
        step=step,
        clip_norm=clip_norm,
        max_skipped_steps=max_skipped_steps,
        seed=int(seed),
    )
    check_missing(model, guide, plan.train, "train")
    if plan.validation is not None:
        check_missing(model, guide, plan.validation, "validation")
    keeper, kept = begin_or_resume(checkpoints, resume, plan.settings)
    return fit_as_planned(model, guide, plan, keeper, kept, shown=progress)


def _check_numbers(rows: int, epochs: int, batch_size: int, lr: float | Schedule, patience: int | None) -> None:
    check_positive(epochs=epochs, batch_size=batch_size, patience=patience)
    if isinstance(lr, Schedule):
        check_schedule("lr", lr)
    elif not is_finite_number(lr) or not lr > 0:
        raise ValueError(f"lr is {lr!r}; expected a positive number, or a schedule from pyrovae.objectives")
    if rows < 2:
        raise ValueError(f"train has {rows} row; a model needs several to learn from")
    if batch_size > rows:
        raise ValueError(f"batch_size is {batch_size}, more than the {rows} training rows: give at most {rows}")


def _parameter_device(model: Program, guide: Program, default: torch.device) -> torch.device:
    for module in owned_modules(model, guide):
        for parameter in module.parameters():
            return parameter.device
    return default


def _check_dtype(model: Program, guide: Program, train: AnyRows) -> None:
    if not train.is_floating_point():
        return
    for module in owned_modules(model, guide):
        for name, parameter in module.named_parameters():
            if parameter.is_floating_point() and parameter.dtype != train.dtype:
                raise ValueError(
                    f"train is {train.dtype} and the parameter {name!r} is {parameter.dtype}: "
                    f"{repair_of_dtype('train', train.dtype, parameter.dtype)}"
                )
