"""Training: the loop around an objective, early stopping, the weights that are kept."""

# To read it from the top: svi, plan, planned_fit, loop, training_step, batch_terms, gradient_step, then continuation. A
# fit by a loss, without Pyro, is losses and loss_epochs.
from pyrovae.training.autoencoders import fit_autoencoder, pretrain_layers
from pyrovae.training.result import EpochTerms, FitResult, LossResult, NonFiniteLossError
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
