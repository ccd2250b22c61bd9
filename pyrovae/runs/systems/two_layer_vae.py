"""The VAE with two layers of latents."""

from collections.abc import Mapping
from typing import Any

from pyrovae import likelihoods, networks, posteriors
from pyrovae.models import TwoLayerVAE
from pyrovae.runs.imports import users_errors
from pyrovae.runs.part import class_name
from pyrovae.runs.systems.system import DENSITY_OPTIONS, Sizes, System
from pyrovae.runs.systems.vae_parts import build_parts


class TwoLayers(System):
    """``TwoLayerVAE``: the five parts are of z1 and of the prior of z2; MLPs lead from the one to the other."""

    name = "two-layer-vae"
    title = "two-layer VAE"
    options = (*DENSITY_OPTIONS, "missing", "missing_indicators", "stream", "upper_dim")
    # Guide and model draw z1 and z2 in opposite orders, which TraceMeanField_ELBO is not right for.
    default_objective = "pyrovae.objectives.Trace_ELBO"

    def check(self, config: Mapping[str, Any]) -> None:
        """Refuse the objective that is not right for it.

        Raises:
            ValueError: its name and the repair.
        """
        if class_name(config["objective"]["class_path"]) == "TraceMeanField_ELBO":
            raise ValueError(
                "--objective TraceMeanField_ELBO is not right for --system two-layer-vae, whose guide draws z1 before "
                "z2 and whose model z2 before z1: leave it out for Trace_ELBO, or take IWAE, DReG or StickingTheLanding"
            )

    def build(self, config: Mapping[str, Any], sizes: Sizes) -> TwoLayerVAE:
        """The two-layer VAE of a configuration."""
        upper = upper_dim(config)
        parts = build_parts(config, sizes, prior_dim=upper)
        transition = likelihoods.Normal(
            networks.MLP(upper, likelihoods.Normal.decoder_shape((sizes.latent_dim,), "predicted")), "predicted"
        )
        upper_posterior = posteriors.DiagonalNormal(networks.MLP(sizes.latent_dim, 2 * upper))
        with users_errors(parts.prior_name):
            return TwoLayerVAE(parts.prior, transition, parts.likelihood, parts.posterior, upper_posterior)

    def describe(self, config: Mapping[str, Any]) -> dict[str, str]:
        """Its name, with both sizes."""
        told = super().describe(config)
        return {**told, "system": f"{self.title}, {config['latent_dim']} dimensions of z1, {upper_dim(config)} of z2"}


def upper_dim(config: Mapping[str, Any]) -> int:
    """Dimensions of z2: those asked for, or half of those of z1."""
    return config["upper_dim"] or max(1, config["latent_dim"] // 2)
