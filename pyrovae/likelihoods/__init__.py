"""Likelihoods p(x|z): modules that map z to a Pyro distribution over one row of data."""

from pyrovae.likelihoods.bernoulli import Bernoulli
from pyrovae.likelihoods.columns import Columns
from pyrovae.likelihoods.normal import Normal
from pyrovae.likelihoods.partly_observed import PartlyObserved

__all__ = ["Bernoulli", "Columns", "Normal", "PartlyObserved"]
