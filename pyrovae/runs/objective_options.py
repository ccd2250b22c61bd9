"""The options that weigh the terms of an objective: what they may be, and the numbers and schedules that they mean."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from pyrovae.objectives import Cosine, Cyclical, Linear, Schedule, Sigmoid

GENERAL = ("num_particles", "beta", "free_bits", "free_bits_per", "capacity")
"""Arguments of objectives that are options of the command, the same for all objectives."""

OBJECTIVE_OPTIONS = (
    "objective",
    *GENERAL,
    "beta_schedule",
    "beta_start",
    "beta_length",
    "beta_cycles",
    "capacity_length",
)
"""All keys of a configuration that say what is maximised."""

SCHEDULES: dict[str, type[Schedule]] = {"linear": Linear, "sigmoid": Sigmoid, "cosine": Cosine, "cyclical": Cyclical}
"""Schedules by the name that ``--beta-schedule`` takes."""

DEFAULT_OBJECTIVE = "pyrovae.objectives.TraceMeanField_ELBO"
"""What is maximised if nothing is said."""

WITHOUT_EFFECT = (
    *("resume", "quiet", "no_report", "output_dir", "overwrite", "checkpoint_every", "keep_checkpoints"),
    *("data_root", "chunk_size"),
)
"""Keys of a configuration that change no result."""

_CAPACITY_LENGTH = 0.5


def _is_weight(value: float) -> bool:
    return 0 <= value < math.inf


_ALLOWED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "num_particles": (lambda number: number >= 1, "a whole number of at least 1"),
    "beta": (_is_weight, "a number of at least 0; 1 is the weight in the ELBO"),
    "beta_start": (_is_weight, "a number of at least 0"),
    "beta_length": (
        lambda length: 0 < length <= 1,
        "a fraction of the run, above 0 and at most 1, or beta would not reach its end",
    ),
    "beta_cycles": (lambda number: number >= 1, "a whole number of at least 1"),
    "free_bits": (_is_weight, "a number of nats of at least 0, which is no floor"),
    "capacity": (_is_weight, "a number of nats of at least 0"),
    "capacity_length": (
        lambda length: 0 <= length <= 1,
        "a fraction of the run, from 0 for a constant capacity to 1, or it would not be reached",
    ),
}


def as_option(name: str) -> str:
    """The option of a key of the configuration."""
    return f"--{name.replace('_', '-')}"


def given_options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the options beside ``objective`` that a configuration gives.

    Raises:
        ValueError: a number out of range.
    """
    told = {name: config.get(name) for name in OBJECTIVE_OPTIONS[1:]}
    if told["beta_schedule"] == "constant":
        del told["beta_schedule"]
    given = {name: value for name, value in told.items() if value is not None}
    for name, (allowed, expected) in _ALLOWED.items():
        if name in given and not allowed(given[name]):
            raise ValueError(f"{as_option(name)} is {given[name]}; expected {expected}")
    return given


def refuse_idle(given: Mapping[str, Any]) -> None:
    """Refuse an option that would change nothing.

    Raises:
        ValueError: its name, and what it needs.
    """
    schedule = given.get("beta_schedule")
    needed = {
        **dict.fromkeys(("beta_start", "beta_length", "beta_cycles"), ("beta_schedule", "--beta-schedule linear")),
        "free_bits_per": ("free_bits", "--free-bits 0.1"),
        "capacity_length": ("capacity", "--capacity 10"),
    }
    for name, (other, example) in needed.items():
        if name in given and not given.get(other):
            raise ValueError(
                f"{as_option(name)} {given[name]} has no effect without {as_option(other)}: add it, as in {example}, "
                f"or leave {as_option(name)} out"
            )
    if "beta_cycles" in given and schedule != "cyclical":
        raise ValueError(
            f"--beta-cycles {given['beta_cycles']} has no effect on a schedule that is {schedule}: take "
            "--beta-schedule cyclical, or leave --beta-cycles out"
        )
    start, end = given.get("beta_start", 0), given.get("beta", 1)
    if schedule is not None and start == end:
        raise ValueError(
            f"--beta-schedule {schedule} has no effect from {start:g} to {end:g}: give another --beta-start or --beta, "
            "or leave --beta-schedule out"
        )


def beta_of(given: Mapping[str, Any]) -> float | Schedule | None:
    """The weight of the KL term; None for the objective's own."""
    if "beta_schedule" not in given:
        return given.get("beta")
    # A length or a number of cycles that is not given is the schedule's own.
    told = {
        "start": given.get("beta_start", 0.0),
        "end": given.get("beta", 1.0),
        "length": given.get("beta_length"),
        "cycles": given.get("beta_cycles"),
    }
    arguments = {name: value for name, value in told.items() if value is not None}
    return SCHEDULES[given["beta_schedule"]](**arguments)


def capacity_of(given: Mapping[str, Any]) -> float | Schedule | None:
    """The target of the KL term; None for none."""
    capacity, length = given.get("capacity"), given.get("capacity_length", _CAPACITY_LENGTH)
    return Linear(0.0, capacity, length) if capacity and length else capacity
