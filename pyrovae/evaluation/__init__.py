"""Judging a pair of Pyro programs: importance weights, log p(x), and how far to believe it."""

from pyrovae.evaluation.bits import BitsPerDim, bits_per_dim
from pyrovae.evaluation.bounds import BoundComparison, compare_bounds
from pyrovae.evaluation.gap import InferenceGap, inference_gap
from pyrovae.evaluation.importance import log_weights
from pyrovae.evaluation.out_of_distribution import Auroc, OutOfDistributionScores, auroc, ood_scores
from pyrovae.evaluation.predictive import reconstruct_rows, sample_rows
from pyrovae.evaluation.representation import LatentSummary, SiteSummary, latent_summary

__all__ = [
    "Auroc",
    "BitsPerDim",
    "BoundComparison",
    "InferenceGap",
    "LatentSummary",
    "OutOfDistributionScores",
    "SiteSummary",
    "auroc",
    "bits_per_dim",
    "compare_bounds",
    "inference_gap",
    "latent_summary",
    "log_weights",
    "ood_scores",
    "reconstruct_rows",
    "sample_rows",
]
