"""Storing a fitted pair of programs, and loading it again."""

import io
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from pyrovae.checkpoints import write_whole
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
    owned_modules,
    private_param_store,
)
from pyrovae.runs.imports import users_errors
from pyrovae.runs.parts import build_pair
from pyrovae.runs.stored_config import says_nothing, stored_config, stored_shapes
from pyrovae.runs.stored_files import (
    CONFIG_FILE,
    FORMAT,
    SUMMARY_FILE,
    WEIGHTS_FILE,
    check_run_folder,
    read_summary,
    read_weights,
    weights_checksum,
)
from pyrovae.runs.systems import Facts, System, system_of
from pyrovae.version import __version__

_STATEMENT = "pyro.param:"
_EXAMPLE = "example"
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
    """

    model: Program
    guide: Program
    config: Mapping[str, Any]
    data_shape: tuple[int, ...]
    example: Tensor | None = None
    column_kinds: tuple[str, ...] | None = None
    covariates: Mapping[str, str] = field(default_factory=dict)

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
        return Facts(self.config["latent_dim"], self.data_shape, covariates=dict(self.covariates)).row_shape


def save(run: Run, folder: str | Path, summary: Mapping[str, Any] | None = None) -> None:
    """Write the configuration, the weights and a summary of a run.

    ``weights.pt`` is a dictionary of tensors, for a VAE its ``state_dict``, and loads with ``weights_only=True``;
    ``config.yaml`` is what ``python -m pyrovae.fit --config`` reads; ``summary.json`` says what was done, with the
    checksum of the weights.

    Args:
        run: the pair and its configuration.
        folder: where to; it is made if it is not there.
        summary: what else to say, as plain values.

    Raises:
        ValueError: no run.
    """
    if not isinstance(run, Run):
        raise ValueError(
            f"run is a {type(run).__name__}; expected a Run, of model, guide and configuration, as load gives it; "
            "weights alone are stored by torch.save(vae.state_dict(), path)"
        )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / CONFIG_FILE, yaml.safe_dump(dict(run.config), sort_keys=False).encode())
    with _weights(run) as weights:
        tensors = weights.copy()
    if run.example is not None and any(name.startswith(_STATEMENT) for name in tensors):
        tensors[_EXAMPLE] = run.example[:1].detach().clone()
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    write_whole(folder / WEIGHTS_FILE, buffer.getbuffer())
    write_summary(run, folder, summary or {})


def write_summary(run: Run, folder: Path, summary: Mapping[str, Any]) -> None:
    """Write ``summary.json``, with the version, the shape of a row and the checksum of the stored weights added."""
    contents = {
        "pyrovae": __version__,
        "format": FORMAT,
        "weights_sha256": weights_checksum(folder),
        "data_shape": list(run.data_shape),
        "column_kinds": run.column_kinds,
        "covariates": run.covariates,
        **summary,
    }
    write_whole(folder / SUMMARY_FILE, (json.dumps(_json_safe(contents), indent=2) + "\n").encode())


def stored_data(folder: str | Path) -> dict[str, Any]:
    """``DataSplits.provenance()`` of the data that a stored run was fitted to.

    Raises:
        ValueError: nothing is said of them, or a damaged file.
    """
    data = read_summary(Path(folder)).get("data")
    if not isinstance(data, dict) or not isinstance(data.get("checksum"), str):
        raise ValueError(
            f"{Path(folder) / SUMMARY_FILE} does not say which data the run was fitted to: give save(run, folder, "
            '{"data": data.provenance()}), or fit with python -m pyrovae.fit'
        )
    return data


def refuse_without_density(folder: str | Path) -> None:
    """Refuse a stored run of a system that has no p(x), which cannot be scored.

    Raises:
        ValueError: why it has none, and what to do.
    """
    reason = system_of(stored_config(Path(folder))).no_density
    if reason is not None:
        raise ValueError(
            f"{folder} cannot be scored: {reason}. Its summary.json has its reconstruction loss; for log p(x) fit a "
            "VAE of the same networks, --system vae"
        )


def load(folder: str | Path, *, device: str | torch.device = "cpu") -> Run:
    """Build the programs of a stored run and give them their weights.

    Parts and models of the user's own are imported as the configuration says, so load only runs whose code you
    trust; the weights themselves run no code.

    Args:
        folder: a run folder, as ``save`` and ``python -m pyrovae.fit`` write it.
        device: where the weights go.

    Raises:
        ValueError: no run folder, one of a later version, a damaged file, or weights that do not fit the configuration.
    """
    folder = Path(folder)
    check_run_folder(folder)
    summary, config = read_summary(folder), stored_config(folder)
    saved = read_weights(folder, summary, device)
    try:
        data_shape, column_kinds, covariates = stored_shapes(folder, summary)
        with isolated_rng(0, torch.device("cpu")):
            pair = build_pair(config, data_shape, column_kinds, covariates)
    except KeyError as error:
        raise says_nothing(folder, config, error) from error
    run = Run(*pair, config, data_shape, saved.pop(_EXAMPLE, None), column_kinds, covariates)
    for module in owned_modules(run.model, run.guide):
        module.to(device)
    # The programs run, and may be the user's own.
    with users_errors(str(folder)), _weights(run, device) as weights:
        different = _first_difference(saved, weights.tensors)
        if different is None:
            weights.restore(saved)
    if different is not None:
        raise ValueError(
            f"{folder / WEIGHTS_FILE} does not fit {CONFIG_FILE} beside it: {different}. Put the two files of one run "
            "together, or fit the run again"
        )
    return run


def start_from(run: Run, folder: str | Path, device: str | torch.device = "cpu") -> None:
    """Give a run the weights of a stored one.

    Args:
        run: to be fitted; its weights are on ``device``.
        folder: a run folder of the same parts and sizes.
        device: where the weights are.

    Raises:
        ValueError: no run folder, or weights of other parts.
    """
    other = load(folder, device=device)
    with _weights(other, device) as weights:
        values = weights.copy()
    with _weights(run, device) as weights:
        different = _first_difference(values, weights.tensors)
        if different is not None:
            raise ValueError(f"the weights of {folder} are of other parts or sizes: {different}. Give the same parts")
        weights.restore(values)


@contextmanager
def _weights(run: Run, device: str | torch.device = "cpu") -> Iterator[Weights]:
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


def _first_difference(saved: Mapping[str, Tensor], needed: Mapping[str, Tensor]) -> str | None:
    """What is the first to be there on one side alone, or of another shape."""
    for name, tensor in needed.items():
        if name not in saved:
            return f"it has no {name!r}"
        if saved[name].shape != tensor.shape:
            return f"{name!r} has shape {tuple(saved[name].shape)}, and the model needs {tuple(tensor.shape)}"
    more = [name for name in saved if name not in needed]
    return f"it has {more[0]!r}, which the model has not" if more else None


def _json_safe(value: Any) -> Any:
    """The same with NaN and infinities as null, which JSON does not have."""
    if isinstance(value, Mapping):
        return {key: _json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_safe(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
