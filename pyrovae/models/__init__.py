"""Complete models: pairs of Pyro programs."""

from pyrovae.models.check import VAECheck, check_vae
from pyrovae.models.vae import VAE

__all__ = ["VAE", "VAECheck", "check_vae"]
