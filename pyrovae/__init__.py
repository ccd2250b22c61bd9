"""Variational autoencoders as Pyro programs, with ELBO and log p(x) side by side for every row."""

from pyrovae import likelihoods, networks, posteriors, priors
from pyrovae.data import DataSplits, load_data
from pyrovae.evaluation import (
    Auroc,
    BitsPerDim,
    BoundComparison,
    InferenceGap,
    LatentSummary,
    OutOfDistributionScores,
    auroc,
    bits_per_dim,
    compare_bounds,
    inference_gap,
    latent_summary,
    log_weights,
    ood_scores,
)
from pyrovae.models import VAE
from pyrovae.runs import Run, load, save
from pyrovae.training import FitResult, NonFiniteLossError, fit_svi
from pyrovae.version import __version__

__all__ = [
    "VAE",
    "Auroc",
    "BitsPerDim",
    "BoundComparison",
    "DataSplits",
    "FitResult",
    "InferenceGap",
    "LatentSummary",
    "NonFiniteLossError",
    "OutOfDistributionScores",
    "Run",
    "__version__",
    "auroc",
    "bits_per_dim",
    "compare_bounds",
    "fit_svi",
    "inference_gap",
    "latent_summary",
    "likelihoods",
    "load",
    "load_data",
    "log_weights",
    "networks",
    "ood_scores",
    "posteriors",
    "priors",
    "save",
]
