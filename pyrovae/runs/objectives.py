"""Building an objective from a plain configuration."""

import inspect
import re
from collections.abc import Mapping
from typing import Any

from pyrovae.objectives import Objective, Schedule
from pyrovae.objectives.named import OBJECTIVES
from pyrovae.runs.imports import find_class, users_errors
from pyrovae.runs.objective_options import GENERAL, as_option, beta_of, capacity_of, given_options, refuse_idle
from pyrovae.runs.part import class_name

# Words that mean an argument wherever they stand; beta and capacity may be of something else.
_UNMISTAKABLE = ("num_particles", "free_bits", "free_bits_per")


def build_objective(config: Mapping[str, Any]) -> Objective:
    """The objective that a configuration describes.

    Args:
        config: ``objective``, with ``class_path`` and ``init_args``; options of ``OBJECTIVE_OPTIONS`` that are not None
            go to those arguments of ``GENERAL`` that the objective has.

    Raises:
        ValueError: an objective that cannot be found or built, a number out of range, an option that would have no
            effect.

    Example:
        >>> config = {"objective": {"class_path": "pyrovae.objectives.IWAE"}, "num_particles": 50}
        >>> build_objective(config).num_particles
        50
    """
    given = given_options(config)
    path = config["objective"]["class_path"]
    name = f"--objective {class_name(path)}"
    with users_errors(name):
        kind = find_class(path, Objective)
    for option in given:
        argument = "beta" if option == "beta_schedule" else option
        if argument in GENERAL and not _takes(kind, argument):
            others = ", ".join(other for other, one in OBJECTIVES.items() if _takes(one, argument))
            raise ValueError(f"{name} takes no {as_option(option)}: leave it out, or take one of {others}")
    refuse_idle(given)
    general = {**given, "beta": beta_of(given), "capacity": capacity_of(given)}
    arguments = {argument: general[argument] for argument in GENERAL if general.get(argument) is not None}
    try:
        with users_errors(name):
            built: Objective = kind(**config["objective"].get("init_args", {}), **arguments)
            return built
    except ValueError as error:
        raise ValueError(in_options(str(error), GENERAL)) from error


def describe_objective(config: Mapping[str, Any]) -> str:
    """The objective of a configuration in one line, with its arguments and weights; nothing is imported for it.

    Args:
        config: as for ``build_objective``; ``objective`` may be a name alone, as older versions stored it.

    Example:
        >>> describe_objective({"objective": "IWAE", "beta_schedule": "linear"})
        'IWAE(num_particles=5), beta Linear(start=0, end=1, length=0.25)'
    """
    objective = config["objective"]
    if isinstance(objective, str):
        objective = {"class_path": objective}
    path, given = objective["class_path"], given_options(config)
    name, arguments = class_name(path), dict(objective.get("init_args", {}))
    if name in OBJECTIVES and re.match(rf"(pyrovae\.objectives[.:].*)?{name}$", path):
        parameters = inspect.signature(OBJECTIVES[name]).parameters.values()
        own = {one.name: one.default for one in parameters if one.name == "num_particles" or one.name not in GENERAL}
        arguments = {**own, **arguments}
    if "num_particles" in given:
        arguments["num_particles"] = given["num_particles"]
    told = ", ".join(f"{argument}={value}" for argument, value in arguments.items() if value is not None)
    words = [f"{name}({told})" if told else name]
    beta, capacity = beta_of(given), capacity_of(given)
    if beta is not None and beta != 1:
        words.append(f"beta {_in_words(beta)}")
    if given.get("free_bits"):
        per = given.get("free_bits_per", "dimension")
        words.append(f"free bits {given['free_bits']:g} per {f'{per} dimensions' if isinstance(per, int) else per}")
    if capacity is not None:
        words.append(f"capacity {_in_words(capacity)}")
    return ", ".join(words)


def in_options(message: str, names: tuple[str, ...] = _UNMISTAKABLE) -> str:
    """What an objective says, with arguments as options: ``objective='IWAE'`` becomes ``--objective IWAE``.

    Args:
        message: of an error.
        names: words that mean arguments.

    Example:
        >>> in_options("use free_bits_per='site', or objective='Trace_ELBO'")
        'use --free-bits-per site, or --objective Trace_ELBO'
    """
    given = r"\b(objective|free_bits_per)='(\w+)'"
    message = re.sub(given, lambda said: f"{as_option(said[1])} {said[2]}", message)
    message = re.sub(rf"'({'|'.join(OBJECTIVES)})'", r"\1", message)
    message = re.sub(r"\w+\(free_bits=([\d.]+)\)", r"--free-bits \1", message)
    message = message.replace("beta=Linear()", "--beta-schedule linear")
    alone = rf"(?<![\w./'-])({'|'.join(names)})(?![\w/'(=]|\.\w)"
    return re.sub(alone, lambda said: as_option(said[1]), message)


def _takes(kind: type[Objective], argument: str) -> bool:
    return argument in inspect.signature(kind).parameters


def _in_words(weight: float | Schedule) -> str:
    return repr(weight) if isinstance(weight, Schedule) else f"{weight:g}"
