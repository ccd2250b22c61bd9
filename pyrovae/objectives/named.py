"""Objectives by name."""

import inspect
from typing import Any

import pyro.infer

from pyrovae.objectives.elbo import Trace_ELBO, TraceMeanField_ELBO
from pyrovae.objectives.importance_weighted import IWAE, Renyi
from pyrovae.objectives.objective import Objective
from pyrovae.objectives.path_gradients import DReG, StickingTheLanding
from pyrovae.objectives.schedules import Schedule
from pyrovae.objectives.score_function import ScoreFunction
from pyrovae.objectives.wake_sleep import ReweightedWakeSleep

OBJECTIVES: dict[str, type[Objective]] = {
    objective.__name__: objective
    for objective in (
        TraceMeanField_ELBO,
        Trace_ELBO,
        IWAE,
        Renyi,
        DReG,
        StickingTheLanding,
        ReweightedWakeSleep,
        ScoreFunction,
    )
}


def as_objective(
    objective: str | Objective | pyro.infer.ELBO,
    num_particles: int | None = None,
    beta: float | Schedule | None = None,
) -> Objective:
    """The objective of a name, of a Pyro estimator, or itself.

    Args:
        objective: a name from this package, an object of one of its classes, or a ``Trace_ELBO`` or
            ``TraceMeanField_ELBO`` of Pyro, which gives its number of particles.
        num_particles: draws of the latents for each row and step, for a name; None takes the objective's own default.
        beta: weight of the KL term, for a name or an estimator of Pyro; None is 1.

    Raises:
        ValueError: an unknown name or estimator, a number that the objective brings itself or does not take.

    Example:
        >>> as_objective("IWAE", num_particles=50).num_particles
        50
    """
    given: dict[str, Any] = {"num_particles": num_particles, "beta": beta}
    given = {name: value for name, value in given.items() if value is not None}
    if isinstance(objective, Objective):
        if given:
            raise ValueError(
                f"the objective {objective.name} brings its own {' and '.join(given)}: give them to it, not beside it"
            )
        return objective
    if isinstance(objective, pyro.infer.ELBO):
        kind = type(objective).__name__
        if type(objective) not in (pyro.infer.Trace_ELBO, pyro.infer.TraceMeanField_ELBO):
            raise ValueError(
                f"objective is a {kind} of Pyro; expected its Trace_ELBO or TraceMeanField_ELBO, or an objective of "
                f"pyrovae: {', '.join(OBJECTIVES)}"
            )
        if num_particles is not None:
            raise ValueError(f"the {kind} brings its own num_particles: give it there, and not beside it")
        return OBJECTIVES[kind](**{"num_particles": objective.num_particles, **given})
    if not isinstance(objective, str) or objective not in OBJECTIVES:
        raise ValueError(
            f"objective is {objective!r}; expected one of {', '.join(OBJECTIVES)}, or an object of these classes"
        )
    refused = [name for name in given if name not in inspect.signature(OBJECTIVES[objective]).parameters]
    if refused:
        raise ValueError(f"the objective {objective} takes no {' and no '.join(refused)}: leave it out")
    return OBJECTIVES[objective](**given)
