"""Distributions that neither Pyro nor PyTorch has, or that need to be faster than theirs."""

from pyrovae.distributions.bernoulli import IndependentBernoulli

__all__ = ["IndependentBernoulli"]
