"""Complete models: pairs of Pyro programs."""

from pyrovae.models.vae import VAE

__all__ = ["VAE"]
