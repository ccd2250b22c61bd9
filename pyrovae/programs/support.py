"""Whether the rows of data are values that a model's likelihood has a density for."""

import copy
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pyro
import torch
from pyro.distributions import MaskedDistribution, ZeroInflatedDistribution
from torch import Tensor
from torch.distributions import TransformedDistribution, constraints

from pyrovae.data import AnyRows, blocks_of
from pyrovae.distributions import ColumnValues, EntryOrMissing, ZeroInflated
from pyrovae.distributions.layers import entry_support
from pyrovae.programs.borrowing import borrowed
from pyrovae.programs.counted import check_counted
from pyrovae.programs.modules import Program
from pyrovae.programs.random_state import isolated_rng
from pyrovae.programs.repairs import repair_of
from pyrovae.programs.site_checks import Site, counted_numbers, is_masked
from pyrovae.programs.traces import probe_rows, sample_sites, trace_pair

# They have a base distribution, and a name of their own.
_NAMED = (TransformedDistribution, ZeroInflatedDistribution)

# Rows that a model is run on where it alone knows what it observes of them.
_ROWS_AT_ONCE = 1000


def observes(site: Site, rows: Tensor) -> bool:
    """Whether a site observes the rows as they are, in their shape or flattened."""
    value = site["value"]
    if not site["is_observed"] or value.numel() != rows.numel():
        return False
    value = value.reshape(rows.shape).to(rows)
    # A missing entry is NaN in both.
    return bool(((value == rows) | (value.isnan() & rows.isnan())).all())


@torch.no_grad()
def site_of_rows(model: Program, guide: Program, x: Tensor) -> str | None:
    """Name of the first site of the model that observes the rows as they are; None without one."""
    sites = sample_sites(trace_pair(model, guide, x)[0])
    return next((name for name, site in sites.items() if observes(site, x)), None)


def observing_site(model: Program, guide: Program, x: Tensor) -> str:
    """Name of the first site of the model that observes the rows as they are.

    Raises:
        ValueError: there is none.
    """
    site = site_of_rows(model, guide, x)
    if site is None:
        raise ValueError(
            "no site of the model observes the rows as they are, so it cannot give rows of its own: observe them as a "
            "whole, pyro.sample(..., obs=x); a ConditionalVAE gives rows by its sample and reconstruct"
        )
    return site


@torch.no_grad()
def check_support(model: Program, guide: Program, x: AnyRows) -> None:
    """Refuse rows that the likelihood is no density for.

    What a site observes of the rows, a part of them for example, is found by running the model on them all, and so are
    bounds that may come from a batch, its largest count for example. Supports with bounds that differ from row to row,
    and parts of rows inside further plates, are left to Pyro's own check at
    each step.

    Args:
        model: Pyro program of the rows.
        guide: Pyro program of the latents.
        x: all rows of data ``(rows, *data_shape)``.

    Raises:
        ValueError: values outside the support, with the first of them and the repairs.
    """
    rows = probe_rows(x[:3], 3)
    with pyro.validation_enabled(False):
        sites, guide_sites = map(sample_sites, trace_pair(model, guide, rows))
    parts, refused = [], None
    for name, site in sites.items():
        # What a mask leaves out may have any value, in other rows than the first ones too.
        if observes(site, rows) and not is_masked(site):
            support = _checkable(site, rows.shape)
            if support is not None:
                try:
                    _check_values(name, site["fn"], support, partial(blocks_of, x))
                except ValueError as error:
                    # A largest count may be that of the few rows: the model knows that of the others.
                    if not (_is_bounded(support) and _observes_a_part(site, len(rows))):
                        raise
                    parts.append(name)
                    refused = error
        elif _observes_a_part(site, len(rows)) and entry_support(site["fn"].support) is not constraints.real:
            parts.append(name)
    if parts:
        try:
            _check_parts(model, guide, x, parts)
        except (IndexError, RuntimeError) as error:
            if refused is None:
                raise
            # An embedding of more values than it has fails, and does not say in which row.
            raise refused from error
    check_counted(model, guide, x, seen=[sites, guide_sites])


def _checkable(site: Site, shape: torch.Size) -> Any:
    """The support of the values of a site, one for values of this shape; None where it is left to Pyro."""
    support = entry_support(site["fn"].support)
    if _has_no_density_at_zero(site["fn"]):
        support = constraints.positive
    bounded = _of_every_row(getattr(support, "entry", support), site["value"].shape, shape)
    if bounded is None or constraints.is_dependent(bounded):
        return None
    support = EntryOrMissing(bounded) if isinstance(support, EntryOrMissing) else bounded
    return None if support.event_dim and site["value"].shape != shape else support


def _is_bounded(support: Any) -> bool:
    support = getattr(support, "entry", support)
    return hasattr(support, "lower_bound") or hasattr(support, "upper_bound")


def _observes_a_part(site: Site, num_rows: int) -> bool:
    """Whether what a site observes is one event for each row."""
    value = site["value"]
    return site["is_observed"] and value.shape[:1] == (num_rows,) and value.dim() == 1 + site["fn"].event_dim


def _check_parts(model: Program, guide: Program, x: AnyRows, names: list[str]) -> None:
    """Refuse values of sites that observe something of the rows, which only the model knows."""
    first = 0
    for rows in x.split(_ROWS_AT_ONCE):
        with isolated_rng(0, rows.device), pyro.validation_enabled(False):
            sites = sample_sites(trace_pair(model, guide, rows)[0])
        for name in names:
            value = sites[name]["value"]
            # The bounds may be those of these rows.
            support = _checkable(sites[name], value.shape)
            if support is not None:
                counted = counted_numbers(sites[name]).expand(value.shape) if is_masked(sites[name]) else None
                if counted is not None and support.event_dim:
                    # One value has several numbers, and one mask for all of them.
                    counted = counted.flatten(-support.event_dim).any(-1)
                _check_values(name, sites[name]["fn"], support, partial(tuple, [value]), first, counted)
        first += len(rows)


@torch.no_grad()
def observes_bits(model: Program, guide: Program, x: Tensor) -> bool:
    """Whether a site that the model observes takes the values 0 and 1 only."""
    with borrowed(model, guide, x.device), pyro.validation_enabled(False):
        sites = sample_sites(trace_pair(model, guide, probe_rows(x, 3))[0])
    supports = [entry_support(site["fn"].support) for site in sites.values() if site["is_observed"]]
    return any(getattr(support, "entry", support) is constraints.boolean for support in supports)


def _of_every_row(support: Any, value_shape: torch.Size, rows_shape: torch.Size) -> Any:
    """The support with the bounds that all rows have; None where they may differ from row to row."""
    support = copy.copy(support)
    for name, bound in vars(support).items():
        if not isinstance(bound, Tensor):
            continue
        while bound.dim() >= len(value_shape):
            # Bounds that are broadcast over rows lie in memory once; equal ones of the few rows seen may differ later.
            if bound.stride(0) and len(bound) > 1:
                return None
            bound = bound[0]
        first = bound.flatten()[0]
        if bool((bound == first).all()):
            # One number reads better in a message than a tensor of equal ones.
            setattr(support, name, first.item())
        elif value_shape == rows_shape:
            setattr(support, name, bound)
        else:
            return None
    return support


def _check_values(
    name: str,
    distribution: Any,
    support: Any,
    blocks: Callable[[], Iterable[Tensor]],
    first: int = 0,
    counted: Tensor | None = None,
) -> None:
    for block in blocks():
        outside = ~support.check(block)
        if counted is not None:
            outside &= counted
        if bool(outside.any()):
            raise _outside(name, distribution, support, blocks, outside.nonzero()[0], block, first)
        first += len(block)


def _outside(
    name: str,
    distribution: Any,
    support: Any,
    blocks: Callable[[], Iterable[Tensor]],
    found: Tensor,
    block: Tensor,
    first: int,
) -> ValueError:
    """The error about a value at the position ``found`` of a block of values that starts at row ``first``."""
    family = _family(distribution)
    position = tuple(int(index) for index in found)
    value = block[position]
    shown = f"{value.item():g}" if value.dim() == 0 else str(value.tolist())
    repair = repair_of(family, blocks())
    support = getattr(support, "entry", support)
    where = (
        f"in {support.describe(position)}" if isinstance(support, ColumnValues) else f"outside its support {support}"
    )
    entry = f"it is entry {list(position[1:])} of the row, and " if len(position) > 1 else ""
    return ValueError(
        f"{family} at site {name!r} is no density for these data: row {first + position[0]} has the value {shown}, "
        f"{where}; {repair} ({entry}rows are counted as they were given: load_data shuffles those of a file)"
    )


def _has_no_density_at_zero(distribution: Any) -> bool:
    """Whether zero is where a distribution has no finite and positive density, though PyTorch has it in its support."""
    while isinstance(distribution, torch.distributions.Independent | MaskedDistribution):
        distribution = distribution.base_dist
    return isinstance(distribution, torch.distributions.Gamma) and bool((distribution.concentration != 1).any())


def _family(distribution: Any) -> str:
    """Name of the distribution of one entry; of a mixture, that of its components."""
    while True:
        if hasattr(distribution, "component_distribution"):
            distribution = distribution.component_distribution
        elif hasattr(distribution, "base_dist") and not isinstance(distribution, _NAMED):
            distribution = distribution.base_dist
        elif type(distribution) in (ZeroInflatedDistribution, ZeroInflated):
            return f"ZeroInflated{type(distribution.base_dist).__name__}"
        else:
            return type(distribution).__name__
