"""Judging a pair of Pyro programs: importance weights, log p(x), and how far to believe it."""

from pyrovae.evaluation.bounds import K_HAT_LIMIT, BoundComparison, compare_bounds
from pyrovae.evaluation.importance import log_weights
from pyrovae.evaluation.predictive import reconstruct_rows, sample_rows
from pyrovae.evaluation.representation import LatentSummary, SiteSummary, latent_summary

__all__ = [
    "K_HAT_LIMIT",
    "BoundComparison",
    "LatentSummary",
    "SiteSummary",
    "compare_bounds",
    "latent_summary",
    "log_weights",
    "reconstruct_rows",
    "sample_rows",
]
