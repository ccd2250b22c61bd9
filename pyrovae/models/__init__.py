"""Complete models: pairs of Pyro programs."""

from pyrovae.models.autoencoder import Autoencoder
from pyrovae.models.check import VAECheck, check_vae
from pyrovae.models.conditional_vae import ConditionalVAE
from pyrovae.models.expectation_maximisation import EMHistory, EMStep
from pyrovae.models.mixture_of_probabilistic_pca import MixtureOfProbabilisticPCA
from pyrovae.models.probabilistic_pca import ProbabilisticPCA
from pyrovae.models.two_layer_vae import TwoLayerVAE
from pyrovae.models.vae import VAE

__all__ = [
    "VAE",
    "Autoencoder",
    "ConditionalVAE",
    "EMHistory",
    "EMStep",
    "MixtureOfProbabilisticPCA",
    "ProbabilisticPCA",
    "TwoLayerVAE",
    "VAECheck",
    "check_vae",
]
