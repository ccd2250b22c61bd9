"""Judging a pair of Pyro programs: importance weights, log p(x), and how far to believe it."""

from pyrovae.evaluation.bounds import K_HAT_LIMIT, BoundComparison, compare_bounds
from pyrovae.evaluation.importance import log_weights
from pyrovae.evaluation.predictive import reconstruct_rows, sample_rows

__all__ = ["K_HAT_LIMIT", "BoundComparison", "compare_bounds", "log_weights", "reconstruct_rows", "sample_rows"]
