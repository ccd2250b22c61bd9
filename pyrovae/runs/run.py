"""A pair of programs with its configuration, and its weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pyrovae.data import KnownColumns
from pyrovae.models import VAE, Autoencoder, ConditionalVAE, TwoLayerVAE
from pyrovae.programs import (
    Program,
    Weights,
    buffers_put_back,
    evaluation_mode,
    inspect_pair,
    isolated_rng,
    keep_params,
    owned_module,
    private_param_store,
)
from pyrovae.runs.systems import Sizes, System, system_of

_MODULES = (VAE, ConditionalVAE, TwoLayerVAE, Autoencoder)


@dataclass(frozen=True)
class Run:
    """A pair of programs, and the configuration that it was built from.

    Attributes:
        model: Pyro program of the rows; that of an autoencoder refuses to run, as it has no p(x).
        guide: Pyro program of the latents.
        config: the command's options, as plain values; ``build_pair`` reads them.
        data_shape: shape of one row.
        example: some rows ``(rows, *row_shape)`` that the programs can run on; needed to store ``pyro.param``
            statements, which make themselves known when they run.
        column_kinds: what the columns of a table are, where the data say so.
        covariates: for a conditional VAE what is known of each row beside x, the kinds of numbers by name.
        known_columns: the columns of the table that it was fitted to, which ``load_data(path, known_columns=...)``
            takes for new rows; None where the data are no table with names or kinds of columns, or the run does not
            say them.
    """

    model: Program
    guide: Program
    config: Mapping[str, Any]
    data_shape: tuple[int, ...]
    example: Tensor | None = None
    column_kinds: tuple[str, ...] | None = None
    covariates: Mapping[str, str] = field(default_factory=dict)
    known_columns: KnownColumns | None = None

    @property
    def system(self) -> System:
        """The kind of model that it is."""
        return system_of(self.config)

    @property
    def module(self) -> VAE | ConditionalVAE | TwoLayerVAE | Autoencoder | None:
        """The module that owns the two programs; None for a model of the user's own."""
        module = owned_module(self.model)
        return module if isinstance(module, _MODULES) else None

    @property
    def vae(self) -> VAE | None:
        """The module, if it is a ``VAE``."""
        return self.module if isinstance(self.module, VAE) else None

    @property
    def autoencoder(self) -> Autoencoder | None:
        """The module, if it is an ``Autoencoder``."""
        return self.module if isinstance(self.module, Autoencoder) else None

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one row as the programs take it, with its covariates behind it."""
        return Sizes(self.config["latent_dim"], self.data_shape, covariates=dict(self.covariates)).row_shape


@contextmanager
def weights_of(run: Run, device: str | torch.device = "cpu") -> Iterator[Weights]:
    """The weights of the pair; changed values of ``pyro.param`` statements are kept."""
    if run.autoencoder is not None:
        # It cannot run as a pair of programs, and all that it has is in it.
        yield Weights(run.autoencoder.state_dict(keep_vars=True), list(run.autoencoder.parameters()))
        return
    example = torch.zeros(1, *run.row_shape, device=device) if run.example is None else run.example
    with (
        private_param_store(run.model, run.guide) as outside,
        isolated_rng(0, torch.device(device)),
        evaluation_mode(run.model, run.guide),
    ):
        with buffers_put_back(run.model, run.guide):
            structure = inspect_pair(run.model, run.guide, example)
        yield Weights.of(run.model, run.guide, structure)
        keep_params(run.model, run.guide, structure, outside)


def first_difference(saved: Mapping[str, Tensor], needed: Mapping[str, Tensor]) -> str | None:
    """What is the first to be there on one side alone, or of another shape."""
    for name, tensor in needed.items():
        if name not in saved:
            return f"it has no {name!r}"
        if saved[name].shape != tensor.shape:
            return f"{name!r} has shape {tuple(saved[name].shape)}, and the model needs {tuple(tensor.shape)}"
    more = [name for name in saved if name not in needed]
    return f"it has {more[0]!r}, which the model has not" if more else None
