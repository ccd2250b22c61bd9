"""How much the gradients of several objectives vary, measured on a pair and its rows."""

import statistics
import time
import warnings
from collections.abc import Mapping, Sequence

import pyro.infer
import torch
from torch import Tensor

from pyrovae.objectives.gradient_comparison import GradientComparison, ObjectiveGradients
from pyrovae.objectives.gradient_moments import Moments
from pyrovae.objectives.named import as_objective
from pyrovae.objectives.objective import Objective
from pyrovae.objectives.score_function import ScoreFunction
from pyrovae.programs import (
    Program,
    Sampler,
    Weights,
    buffers_put_back,
    check_missing,
    check_positive,
    check_rows,
    check_support,
    evaluation_mode,
    for_gradients,
    inspect_pair,
    isolated_rng,
    make_sampler,
    named_parameters,
    private_param_store,
    tried_in_training,
    used_by_programs,
)
from pyrovae.progress import Progress

AnyObjective = str | Objective | pyro.infer.ELBO

_FEWEST_REPEATS = 3


def compare_gradients(
    model: Program,
    guide: Program,
    x: Tensor,
    objectives: AnyObjective | Sequence[AnyObjective] | Mapping[str, AnyObjective] | None = None,
    *,
    num_repeats: int = 100,
    seed: int = 0,
    progress: bool = False,
) -> GradientComparison:
    r"""Variance and signal-to-noise ratio of the gradients of several objectives, on one pair and the same rows.

    .. math::

        g = \nabla \frac{\mathrm{loss}(x_1, \ldots, x_N)}{N}, \qquad \mathrm{SNR} = \|E g\| / \sqrt{\mathrm{tr\,Cov}(g)}

    Where two objectives have the same expectation of the gradient, the variance tells how many repeats of the one are
    worth one of the other. Where they have not, the signal-to-noise ratio (Rainforth et al., 2018) does.

    The gradients are those of a training step: modules in training mode, weights that move over a run at their final
    values, plate scales left out. Each objective starts from the same seed. Parameters are split in two: those that
    the guide's density or its draws depend on, also where the model uses them too (the encoder of a ``VampPrior``), and
    the others that the model's density depends on; those of neither are left out. Nothing is changed: parameters, their
    ``.grad``, buffers, the param store and the global random generators stay as they are.

    Args:
        model: Pyro program of the rows, observing them inside a plate ``len(x)`` at dim -1.
        guide: Pyro program of the rows, drawing the model's latents inside the same plate.
        x: rows ``(rows, *data_shape)``, on the device of the parameters.
        objectives: one or several names, or objects with options, as ``fit_svi`` takes them; or a mapping from labels
            to these, where one name comes twice. None takes the ELBO in its forms, as far as they are defined for the
            pair: KL in closed form, KL drawn, sticking the landing, score function with and without baseline.
        num_repeats: independent gradients of each objective, at least 3, and 20 or more for standard errors that are of
            use. Memory does not grow with it: some 20 float64 numbers for each parameter.
        seed: of all draws.
        progress: show a progress bar.

    Raises:
        ValueError: numbers out of range, NaN in the data, a pair that breaks the contract of ``check_pair`` or
            without parameters, an objective that is unknown or not defined for the pair, two of one name, a gradient
            that is NaN or infinite.

    Example:
        >>> import torch
        >>> from pyrovae import VAE, compare_gradients, likelihoods, networks, posteriors, priors
        >>> vae = VAE(
        ...     priors.StandardNormal(2),
        ...     likelihoods.Normal(networks.MLP(2, 5)),
        ...     posteriors.DiagonalNormal(networks.MLP(5, 2 * 2)),
        ... )
        >>> comparison = compare_gradients(vae.model, vae.guide, torch.randn(8, 5), num_repeats=20)
        >>> ratio, standard_error = comparison.variance_ratio("ScoreFunction, no baseline")
        >>> ratio > 10
        True
    """
    check_positive(num_repeats=num_repeats)
    if num_repeats < _FEWEST_REPEATS:
        raise ValueError(f"num_repeats is {num_repeats}; a spread needs at least {_FEWEST_REPEATS}: give 100 or more")
    chosen = _by_label(_default() if objectives is None else objectives)
    check_rows(x, "x")
    check_missing(model, guide, x, "x")
    with (
        private_param_store(model, guide),
        isolated_rng(seed, x.device),
        warnings.catch_warnings(),
        torch.enable_grad(),
    ):
        # A gradient that is not finite raises an error that says more.
        warnings.filterwarnings("ignore", message="Encountered NaN", category=UserWarning)
        x = for_gradients(x)
        with evaluation_mode(model, guide), buffers_put_back(model, guide):
            structure = inspect_pair(model, guide, x)
            check_support(model, guide, x)
            sampler = make_sampler(model, guide, x, structure)
        with buffers_put_back(model, guide), tried_in_training(model, guide, structure, x):
            left_out = _undefined(chosen, sampler, x)
            if objectives is not None and left_out:
                raise ValueError(next(iter(left_out.values())))
            parameters = named_parameters(Weights.of(model, guide, structure))
            guides, models = used_by_programs(sampler, x, parameters)
            of_guide = {name: parameter for name, parameter in parameters.items() if name in guides}
            of_model = {name: parameter for name, parameter in parameters.items() if name in models - guides}
            measured = {}
            defined = {label: objective for label, objective in chosen.items() if label not in left_out}
            with Progress("gradients", len(defined) * num_repeats, "repeat", shown=progress) as bar:
                for label, objective in defined.items():
                    with isolated_rng(seed, x.device):
                        measured[label] = _measure(label, objective, sampler, x, of_guide, of_model, num_repeats, bar)
    shared = tuple(name for name in of_guide if name in models)
    return GradientComparison(measured, left_out, shared, len(x), num_repeats)


def _default() -> dict[str, AnyObjective]:
    return {
        "TraceMeanField_ELBO": "TraceMeanField_ELBO",
        "Trace_ELBO": "Trace_ELBO",
        "StickingTheLanding": "StickingTheLanding",
        "ScoreFunction": ScoreFunction(),
        "ScoreFunction, no baseline": ScoreFunction(baseline="none"),
    }


def _by_label(objectives: AnyObjective | Sequence[AnyObjective] | Mapping[str, AnyObjective]) -> dict[str, Objective]:
    if isinstance(objectives, Mapping):
        chosen = [(label, as_objective(objective)) for label, objective in objectives.items()]
    else:
        found = [objectives] if isinstance(objectives, AnyObjective) else objectives
        chosen = [(objective.name, objective) for objective in map(as_objective, found)]
    if not chosen:
        raise ValueError("objectives is empty; give at least one, or leave it out for those of the ELBO")
    labels = [label for label, _ in chosen]
    for label in labels:
        if labels.count(label) > 1:
            raise ValueError(f"objectives has {label} more than once: give a mapping from labels to objectives")
    return dict(chosen)


def _undefined(chosen: dict[str, Objective], sampler: Sampler, x: Tensor) -> dict[str, str]:
    """Why an objective is not defined for the pair, for those that are not."""
    reasons = {}
    for label, objective in chosen.items():
        try:
            objective.check(sampler, x[:5])
        except ValueError as error:
            reasons[label] = str(error)
    return reasons


def _measure(
    label: str,
    objective: Objective,
    sampler: Sampler,
    x: Tensor,
    of_guide: dict[str, Tensor],
    of_model: dict[str, Tensor],
    num_repeats: int,
    bar: Progress,
) -> ObjectiveGradients:
    moments = Moments(of_guide, num_repeats), Moments(of_model, num_repeats)
    parameters = of_guide | of_model
    synchronize = torch.get_device_module(x.device).synchronize
    seconds = []
    for repeat in range(num_repeats):
        start = time.perf_counter()
        loss = objective.terms(sampler, x, progress=1.0).loss / len(x)
        # Not backward(), which would leave its mark on the parameters.
        gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True, materialize_grads=True)
        synchronize()
        seconds.append(time.perf_counter() - start)
        for name, gradient in zip(parameters, gradients, strict=True):
            if not bool(gradient.isfinite().all()):
                raise ValueError(
                    f"{label}: the gradient of the parameter {name!r} is NaN or infinite in repeat {repeat + 1} of "
                    f"{num_repeats}: look for scales near 0, values far outside the data, or log-densities of -inf"
                )
        # Not every device has float64.
        numbers = torch.cat([gradient.flatten().cpu().double() for gradient in gradients])
        for part, gradient in zip(moments, numbers.split([part.num_numbers for part in moments]), strict=True):
            part.add(gradient)
        bar.advance()
    return ObjectiveGradients(moments[0].noise(), moments[1].noise(), statistics.median(seconds))
