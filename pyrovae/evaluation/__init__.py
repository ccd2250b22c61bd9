"""Judging a pair of Pyro programs: importance weights, log p(x), and how far to believe it."""

from pyrovae.evaluation.bounds import BoundComparison, compare_bounds
from pyrovae.evaluation.gap import InferenceGap, inference_gap
from pyrovae.evaluation.importance import log_weights
from pyrovae.evaluation.predictive import reconstruct_rows, sample_rows

__all__ = [
    "BoundComparison",
    "InferenceGap",
    "compare_bounds",
    "inference_gap",
    "log_weights",
    "reconstruct_rows",
    "sample_rows",
]
