"""Judging a pair of Pyro programs: importance weights, log p(x), and how far to believe it."""

from pyrovae.evaluation.annealing import AnnealedEstimate, ais
from pyrovae.evaluation.bidirectional import BidirectionalEstimate, bdmc
from pyrovae.evaluation.bounds import K_HAT_LIMIT, BoundComparison, compare_bounds
from pyrovae.evaluation.importance import log_weights
from pyrovae.evaluation.posterior import posterior_samples
from pyrovae.evaluation.predictive import reconstruct_rows, sample_rows
from pyrovae.evaluation.prior_sampling import PriorEstimate, prior_log_px

__all__ = [
    "K_HAT_LIMIT",
    "AnnealedEstimate",
    "BidirectionalEstimate",
    "BoundComparison",
    "PriorEstimate",
    "ais",
    "bdmc",
    "compare_bounds",
    "log_weights",
    "posterior_samples",
    "prior_log_px",
    "reconstruct_rows",
    "sample_rows",
]
