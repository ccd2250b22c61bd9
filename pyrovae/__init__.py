"""Variational autoencoders as Pyro programs, with ELBO and log p(x) side by side for every row."""

from pyrovae import likelihoods, networks, posteriors, priors
from pyrovae.data import DataSplits, load_data
from pyrovae.evaluation import BoundComparison, LatentSummary, compare_bounds, latent_summary, log_weights
from pyrovae.models import VAE
from pyrovae.runs import Run, load, save
from pyrovae.training import FitResult, NonFiniteLossError, fit_svi
from pyrovae.version import __version__

__all__ = [
    "VAE",
    "BoundComparison",
    "DataSplits",
    "FitResult",
    "LatentSummary",
    "NonFiniteLossError",
    "Run",
    "__version__",
    "compare_bounds",
    "fit_svi",
    "latent_summary",
    "likelihoods",
    "load",
    "load_data",
    "log_weights",
    "networks",
    "posteriors",
    "priors",
    "save",
]
