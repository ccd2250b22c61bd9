"""The autoencoder, plain, denoising or stacked."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from pyrovae.data import AnyRows, DataSplits, value_range
from pyrovae.models import Autoencoder
from pyrovae.programs import Program
from pyrovae.runs.part import Part
from pyrovae.runs.systems.corruptions import make_corruption
from pyrovae.runs.systems.system import DENSITY_OPTIONS, ModelRows, Sizes, System


class PlainAutoencoder(System):
    """``Autoencoder`` of the two networks of a VAE."""

    name = "autoencoder"
    title = "autoencoder"
    slots = ("encoder", "decoder")
    options = ("reconstruction_loss", "pretrain_epochs")
    default_objective = None
    no_density = "an autoencoder has no p(x), as nothing says how probable a code is"

    def why_not(self, option: str) -> str:
        """Most of them are of a density."""
        if option == "stream":
            return ", as it is fitted to rows in memory"
        if option in ("lr_end", "precision", "step", "clip_norm", "max_skipped_steps"):
            return super().why_not(option)
        of_density = option in (*DENSITY_OPTIONS, "missing", "missing_indicators")
        return ", as it has no p(x)" if of_density else super().why_not(option)

    def rows(
        self, config: Mapping[str, Any], data: DataSplits[AnyRows], covariates: Mapping[str, str] | None = None
    ) -> ModelRows:
        """The rows as they are.

        Raises:
            ValueError: values outside [0, 1] under the cross-entropy.
        """
        if config["reconstruction_loss"] == "cross_entropy" and data.support not in ("binary", "unit_interval"):
            low, high = value_range(data.train)
            raise ValueError(
                f"--reconstruction-loss cross_entropy is for values in [0, 1], and the data range from {low:g} to "
                f"{high:g}: scale them, or take --reconstruction-loss squared_error"
            )
        return super().rows(config, data, covariates)

    def build(self, config: Mapping[str, Any], sizes: Sizes) -> Autoencoder:
        """The autoencoder of a configuration."""
        known = sizes.known()
        encoder, decoder = (Part(config, slot) for slot in self.slots)
        for part in (encoder, decoder):
            part.check_kinds(known)
        return Autoencoder(
            encoder.build({**known, "input_shape": sizes.data_shape, "output_shape": sizes.latent_dim}),
            decoder.build({**known, "input_shape": sizes.latent_dim, "output_shape": sizes.data_shape}),
            config["reconstruction_loss"],
            make_corruption(config),
        )

    def observes_bits(self, model: Program, guide: Program, rows: Tensor) -> bool:
        """False: it reconstructs grey values as they are."""
        return False

    def called(self, config: Mapping[str, Any]) -> str:
        """Its title by what it does."""
        kinds = [kind for kind, key in (("denoising", "corruption"), ("stacked", "pretrain_epochs")) if config[key]]
        return " ".join([*kinds, self.title])

    def describe(self, config: Mapping[str, Any]) -> dict[str, str]:
        """Its name, and its loss."""
        told = super().describe(config)
        if config["pretrain_epochs"]:
            told["pretraining"] = f"layer by layer, {config['pretrain_epochs']} epochs each"
        return {**told, "loss": config["reconstruction_loss"].replace("_", " ")}
