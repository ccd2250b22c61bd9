"""Posteriors q(z|x): modules that map rows of data to a Pyro distribution over z."""

from pyrovae.posteriors.diagonal_normal import DiagonalNormal
from pyrovae.posteriors.partly_observed import PartlyObserved

__all__ = ["DiagonalNormal", "PartlyObserved"]
