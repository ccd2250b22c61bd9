"""Training: the loop around an objective, early stopping, the weights that are kept."""

from pyrovae.training.result import EpochTerms, FitResult, NonFiniteLossError
from pyrovae.training.svi import fit_svi

__all__ = ["EpochTerms", "FitResult", "NonFiniteLossError", "fit_svi"]
