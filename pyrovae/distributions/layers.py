"""Distributions that are made of others: reshaped, masked, expanded, transformed."""

from collections.abc import Iterator
from typing import Any

from torch.distributions import Independent


def layers(distribution: Any) -> Iterator[Any]:
    """A distribution, the one that it is made of, and so on."""
    yield distribution
    while hasattr(distribution, "base_dist"):
        distribution = distribution.base_dist
        yield distribution


def innermost(distribution: Any) -> Any:
    """What all layers are around, of a flow the distribution that it begins from."""
    *_, last = layers(distribution)
    return last


def before_to_event(distribution: Any) -> Any:
    """The distribution that ``to_event`` was called on."""
    while isinstance(distribution, Independent):
        distribution = distribution.base_dist
    return distribution


def without_reshaping(distribution: Any) -> Any:
    """The first layer that gives values of its own: a family of distributions, or a flow."""
    return next(
        layer for layer in layers(distribution) if hasattr(layer, "transforms") or not hasattr(layer, "base_dist")
    )


def entry_support(support: Any) -> Any:
    """The values of one entry, of a support of entries that are one value together."""
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    return support
