"""Variational autoencoders as Pyro programs, with ELBO and log p(x) side by side for every row."""

from pyrovae import likelihoods, networks, posteriors, priors
from pyrovae.data import DataSplits, load_data
from pyrovae.evaluation import BoundComparison, compare_bounds, log_weights
from pyrovae.models import VAE
from pyrovae.training import FitResult, NonFiniteLossError, fit_svi

__version__ = "0.1.0"

__all__ = [
    "VAE",
    "BoundComparison",
    "DataSplits",
    "FitResult",
    "NonFiniteLossError",
    "compare_bounds",
    "fit_svi",
    "likelihoods",
    "load_data",
    "log_weights",
    "networks",
    "posteriors",
    "priors",
]
