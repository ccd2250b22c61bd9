"""Likelihoods p(x|z): modules that map z to a Pyro distribution over one row of data."""

from pyrovae.likelihoods.bernoulli import Bernoulli
from pyrovae.likelihoods.normal import Normal

__all__ = ["Bernoulli", "Normal"]
