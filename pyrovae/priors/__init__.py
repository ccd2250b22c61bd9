"""Priors p(z): modules that, called without arguments, return a Pyro distribution."""

from pyrovae.priors.standard_normal import StandardNormal

__all__ = ["StandardNormal"]
