"""Posteriors q(z|x): modules that map rows of data to a Pyro distribution over z."""

from pyrovae.posteriors.diagonal_normal import DiagonalNormal

__all__ = ["DiagonalNormal"]
