"""The plain variational autoencoder."""

from collections.abc import Mapping
from typing import Any

from pyrovae.models import VAE
from pyrovae.runs.imports import users_errors
from pyrovae.runs.systems.system import DENSITY_OPTIONS, Sizes, System
from pyrovae.runs.systems.vae_parts import build_parts


class PlainVAE(System):
    """``VAE`` of the five parts."""

    name = "vae"
    title = "variational autoencoder"
    options = (*DENSITY_OPTIONS, "missing", "missing_indicators", "stream")

    def build(self, config: Mapping[str, Any], sizes: Sizes) -> VAE:
        """The VAE of a configuration."""
        parts = build_parts(config, sizes)
        with users_errors(parts.prior_name):
            # The VAE asks the prior for the size of z.
            return VAE(parts.prior, parts.likelihood, parts.posterior)

    def describe(self, config: Mapping[str, Any]) -> dict[str, str]:
        """Its corruption, if any: a plain VAE goes without saying."""
        return {name: text for name, text in super().describe(config).items() if name != "system"}
