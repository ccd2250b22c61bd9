"""Training: the loop around an objective, early stopping, the weights that are kept."""

from pyrovae.training.autoencoders import fit_autoencoder, pretrain_layers
from pyrovae.training.losses import LossResult
from pyrovae.training.result import EpochTerms, FitResult, NonFiniteLossError
from pyrovae.training.svi import fit_svi

__all__ = [
    "EpochTerms",
    "FitResult",
    "LossResult",
    "NonFiniteLossError",
    "fit_autoencoder",
    "fit_svi",
    "pretrain_layers",
]
