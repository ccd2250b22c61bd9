"""Variational autoencoders as Pyro programs, with ELBO and log p(x) side by side for every row."""

from pyrovae import likelihoods, networks, posteriors, priors
from pyrovae.data import DataSplits, load_data
from pyrovae.evaluation import (
    AnnealedEstimate,
    BidirectionalEstimate,
    BoundComparison,
    PriorEstimate,
    ais,
    bdmc,
    compare_bounds,
    log_weights,
    posterior_samples,
    prior_log_px,
)
from pyrovae.models import VAE
from pyrovae.runs import Run, load, save
from pyrovae.training import FitResult, NonFiniteLossError, fit_svi
from pyrovae.version import __version__

__all__ = [
    "VAE",
    "AnnealedEstimate",
    "BidirectionalEstimate",
    "BoundComparison",
    "DataSplits",
    "FitResult",
    "NonFiniteLossError",
    "PriorEstimate",
    "Run",
    "__version__",
    "ais",
    "bdmc",
    "compare_bounds",
    "fit_svi",
    "likelihoods",
    "load",
    "load_data",
    "log_weights",
    "networks",
    "posterior_samples",
    "posteriors",
    "prior_log_px",
    "priors",
    "save",
]
