"""Whether the rows of data are values that a model's likelihood has a density for."""

from typing import Any

import pyro
import torch
from torch import Tensor
from torch.distributions import constraints

from pyrovae.programs.contract import Site, probe_rows, sample_sites, trace_pair
from pyrovae.programs.modules import Program, evaluation_mode
from pyrovae.programs.parameters import private_param_store
from pyrovae.programs.random_state import isolated_rng


def observes(site: Site, rows: Tensor) -> bool:
    """Whether a site observes the rows as they are, in their shape or flattened."""
    value = site["value"]
    return bool(
        site["is_observed"] and value.numel() == rows.numel() and torch.equal(value.reshape(rows.shape).to(rows), rows)
    )


@torch.no_grad()
def observing_site(model: Program, guide: Program, x: Tensor) -> str:
    """Name of the first site of the model that observes the rows as they are.

    Raises:
        ValueError: there is none.
    """
    for name, site in sample_sites(trace_pair(model, guide, x)[0]).items():
        if observes(site, x):
            return name
    raise ValueError("no site of the model observes the rows as they are, so it cannot give rows of its own")


@torch.no_grad()
def check_support(model: Program, guide: Program, x: Tensor) -> None:
    """Refuse rows that the likelihood is no density for.

    Supports with bounds that differ from row to row are left to Pyro's own check at each step.

    Args:
        model: Pyro program of the rows.
        guide: Pyro program of the latents.
        x: all rows of data ``(rows, *data_shape)``.

    Raises:
        ValueError: values outside the support, with the first of them and the repairs.
    """
    rows = probe_rows(x, 3)
    with pyro.validation_enabled(False):
        sites = sample_sites(trace_pair(model, guide, rows)[0])
    for name, site in sites.items():
        if not observes(site, rows):
            continue
        support = _elementwise(site["fn"].support)
        if constraints.is_dependent(support) or any(
            isinstance(bound, Tensor) and bound.dim() for bound in vars(support).values()
        ):
            continue
        if not support.event_dim or site["value"].shape == rows.shape:
            _check_values(name, site["fn"], support, x)


@torch.no_grad()
def observes_bits(model: Program, guide: Program, x: Tensor) -> bool:
    """Whether a site that the model observes takes the values 0 and 1 only."""
    with (
        private_param_store(model, guide),
        isolated_rng(0, x.device),
        evaluation_mode(model, guide),
        pyro.validation_enabled(False),
    ):
        sites = sample_sites(trace_pair(model, guide, probe_rows(x, 3))[0])
    return any(
        site["is_observed"] and _elementwise(site["fn"].support) is constraints.boolean for site in sites.values()
    )


def _elementwise(support: Any) -> Any:
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    return support


def _check_values(name: str, distribution: Any, support: Any, x: Tensor) -> None:
    outside = ~support.check(x)
    if not bool(outside.any()):
        return
    while hasattr(distribution, "base_dist"):
        distribution = distribution.base_dist
    family = type(distribution).__name__
    position = tuple(int(index) for index in outside.nonzero()[0])
    value = x[position]
    shown = f"{value.item():g}" if value.dim() == 0 else str(value.tolist())
    repair = "transform the data into the support, or choose a likelihood whose support holds them"
    if family == "Bernoulli":
        repair = "use a likelihood for real values such as Normal"
        if bool(((x >= 0) & (x <= 1)).all()):
            repair = (
                "binarise the grey values (load_data(..., binarize='dynamic'), 'static' or 'threshold'; --binarize "
                "on the command line; in training pass on its train_transform), or " + repair
            )
    raise ValueError(
        f"{family} at site {name!r} is no density for these data: row {position[0]} has the value {shown}, outside "
        f"its support {support}; {repair}"
    )
