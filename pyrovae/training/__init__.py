"""Training: the loop around an objective, early stopping, the weights that are kept."""

from pyrovae.training.loop import fit_svi
from pyrovae.training.result import EpochTerms, FitResult, NonFiniteLossError

__all__ = ["EpochTerms", "FitResult", "NonFiniteLossError", "fit_svi"]
