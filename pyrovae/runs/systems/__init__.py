"""The kinds of models that ``python -m pyrovae.fit`` fits, one module for each."""

from collections.abc import Mapping
from typing import Any

from pyrovae.data import AnyRows, DataSplits
from pyrovae.runs.objective_options import as_option
from pyrovae.runs.systems.autoencoder import PlainAutoencoder
from pyrovae.runs.systems.conditional_vae import CONDITIONS, Conditional
from pyrovae.runs.systems.corruptions import CORRUPTIONS, check_corrupted_values, check_corruption
from pyrovae.runs.systems.system import ModelRows, Sizes, System
from pyrovae.runs.systems.two_layer_vae import TwoLayers
from pyrovae.runs.systems.vae import PlainVAE

__all__ = [
    "CONDITIONS",
    "CORRUPTIONS",
    "SYSTEMS",
    "ModelRows",
    "Sizes",
    "System",
    "check_system",
    "model_rows",
    "system_of",
]

SYSTEMS: dict[str, System] = {
    system.name: system for system in (PlainVAE(), PlainAutoencoder(), Conditional(), TwoLayers())
}
"""The systems by the name that ``--system`` takes."""


def system_of(config: Mapping[str, Any]) -> System:
    """The system of a configuration; runs that were stored before there were others are VAEs."""
    return SYSTEMS[config.get("system", PlainVAE.name)]


def check_system(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Refuse options that have no effect for the system of a configuration, or contradict one another.

    Args:
        config: of the run.
        defaults: values of options of which nothing is said.

    Raises:
        ValueError: their names and the repair.
    """
    system = system_of(config)
    optional = dict.fromkeys(option for other in SYSTEMS.values() for option in other.options)
    for option in optional:
        if option not in system.options and config[option] != defaults[option]:
            others = " or ".join(name for name, other in SYSTEMS.items() if option in other.options)
            raise ValueError(
                f"--system {system.name} takes no {as_option(option)}{system.why_not(option)}: leave it out, or take "
                f"--system {others}"
            )
    system.check(config)
    check_corruption(config)


def model_rows(
    config: Mapping[str, Any], data: DataSplits[AnyRows], covariates: Mapping[str, str] | None = None
) -> ModelRows:
    """The rows of a data set as the programs of a configuration take them.

    Args:
        config: of the run; a model of the user's own takes the rows as they are.
        data: ``load_data(...)``.
        covariates: those that a stored run was fitted with.

    Raises:
        ValueError: data that lack what the system needs.
    """
    check_corrupted_values(config, data)
    return system_of(config).rows(config, data, covariates)
