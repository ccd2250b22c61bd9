"""Variational autoencoders as Pyro programs, with ELBO and log p(x) side by side for every row."""

from pyrovae import likelihoods, networks, posteriors, priors
from pyrovae.data import DataSplits, load_data
from pyrovae.evaluation import (
    AnnealedEstimate,
    Auroc,
    BidirectionalEstimate,
    BitsPerDim,
    BoundComparison,
    InferenceGap,
    LatentSummary,
    OutOfDistributionScores,
    PriorEstimate,
    ais,
    auroc,
    bdmc,
    bits_per_dim,
    compare_bounds,
    inference_gap,
    latent_summary,
    log_weights,
    ood_scores,
    posterior_samples,
    prior_log_px,
    to_arviz,
)
from pyrovae.models import VAE
from pyrovae.objectives import kl_forms
from pyrovae.runs import Run, RunComparison, compare_runs, load, save
from pyrovae.training import FitResult, NonFiniteLossError, fit_svi
from pyrovae.version import __version__

__all__ = [
    "VAE",
    "AnnealedEstimate",
    "Auroc",
    "BidirectionalEstimate",
    "BitsPerDim",
    "BoundComparison",
    "DataSplits",
    "FitResult",
    "InferenceGap",
    "LatentSummary",
    "NonFiniteLossError",
    "OutOfDistributionScores",
    "PriorEstimate",
    "Run",
    "RunComparison",
    "__version__",
    "ais",
    "auroc",
    "bdmc",
    "bits_per_dim",
    "compare_bounds",
    "compare_runs",
    "fit_svi",
    "inference_gap",
    "kl_forms",
    "latent_summary",
    "likelihoods",
    "load",
    "load_data",
    "log_weights",
    "networks",
    "ood_scores",
    "posterior_samples",
    "posteriors",
    "prior_log_px",
    "priors",
    "save",
    "to_arviz",
]
