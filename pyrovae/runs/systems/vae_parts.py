"""Building the prior, the likelihood and the posterior that the systems with a p(x) are made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from pyrovae import likelihoods, posteriors
from pyrovae.networks.channels import CovariateChannels
from pyrovae.networks.covariates import CovariateUnits
from pyrovae.networks.shapes import ShapedNetwork
from pyrovae.runs.part import Part
from pyrovae.runs.systems.corruptions import OfValues, make_corruption
from pyrovae.runs.systems.system import Sizes


@dataclass(frozen=True)
class BuiltParts:
    """The three parts of a VAE, sized for one another.

    Attributes:
        prior: p(z).
        likelihood: p(x|z).
        posterior: q(z|x).
        prior_name: the prior as the user knows it, for messages.
    """

    prior: nn.Module
    likelihood: nn.Module
    posterior: nn.Module
    prior_name: str


def build_parts(config: Mapping[str, Any], sizes: Sizes, prior_dim: int | None = None) -> BuiltParts:
    """The parts of a configuration, with fresh weights.

    Args:
        config: of the run.
        sizes: what the data say. With covariates the networks get them behind their inputs, and those of this package
            standardise real ones and counts, unless a part of the user's own may rely on what they are.
        prior_dim: size of the latents that the prior is over, where they are not those of the posterior.

    Raises:
        ValueError: a part that cannot be found or built.
    """
    known, latent_dim, covariates = sizes.known(), sizes.latent_dim, len(sizes.covariates)
    posterior, likelihood, prior, encoder, decoder = (
        Part(config, slot) for slot in ("posterior", "likelihood", "prior", "encoder", "decoder")
    )
    for part in (posterior, likelihood, prior, encoder, decoder):
        part.check_kinds(known)
    encoder_shape = posterior.size("encoder_shape", known, otherwise=2 * latent_dim)
    decoder_shape = likelihood.size("decoder_shape", known, otherwise=sizes.data_shape)
    indicators = config["missing_indicators"]
    if indicators and config["missing"] != "keep":
        raise ValueError("--missing-indicators tells the encoder which entries are missing; it needs --missing keep")
    # What sees whole rows is sized for them, what sees x alone for x.
    of_rows = {**known, "data_shape": sizes.row_shape}
    if sizes.column_kinds is not None:
        of_rows["column_kinds"] = (*sizes.column_kinds, *sizes.covariates.values())
    as_channels = bool(covariates) and getattr(encoder.part, "needs_images", False)
    if as_channels:
        input_shape = (sizes.data_shape[0] + covariates, *sizes.data_shape[1:])
    else:
        input_shape = (2 * sizes.row_shape[0], *sizes.row_shape[1:]) if indicators else sizes.row_shape
    network = encoder.build({**of_rows, "input_shape": input_shape, "output_shape": encoder_shape})
    if as_channels:
        network = CovariateChannels(network, sizes.data_shape, covariates)
    _standardize_covariates(network, sizes, encoder, posterior)
    q_z = posterior.build({**of_rows, "encoder": network})
    if config["missing"] == "keep" and not getattr(network, "takes_missing", False):
        q_z = posteriors.PartlyObserved(q_z, sizes.data_shape, append_mask=indicators)
    elif indicators:
        raise ValueError(f"--missing-indicators: {encoder.name} takes missing entries as they are; leave it out")
    if prior_dim is not None and prior.takes("posterior"):
        raise ValueError(
            f"{prior.name} is made of q(z|x), and the prior of this system is over latents above z: take another prior"
        )
    p_z = prior.build({**of_rows, "latent_dim": prior_dim or latent_dim, "encoder": network, "posterior": q_z})
    networks = {"encoder": network}
    networks["decoder"] = decoder.build(
        {**known, **networks, "input_shape": latent_dim + covariates, "output_shape": decoder_shape}
    )
    _standardize_covariates(networks["decoder"], sizes, decoder, likelihood)
    p_x = likelihood.build({**known, **networks})
    corruption = make_corruption(config)
    if corruption is not None:
        # A prior that is made of the posterior has it without corruption, or p(z) would be random.
        q_z = posteriors.Denoising(q_z, OfValues(corruption, sizes.data_shape) if covariates else corruption)
    return BuiltParts(p_z, likelihoods.PartlyObserved(p_x) if config["missing"] == "keep" else p_x, q_z, prior.name)


def _standardize_covariates(network: nn.Module, sizes: Sizes, *parts: Part) -> None:
    """Let a network bring real covariates and counts to numbers around 1, where it and what calls it are built in."""
    kinds = tuple(sizes.covariates.values())
    built_in = isinstance(network, ShapedNetwork) and all(part.is_built_in for part in parts)
    if built_in and {"real", "count"} & set(kinds):
        network.covariate_units = CovariateUnits(kinds)
