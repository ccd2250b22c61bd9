"""Storing a fitted pair of programs, and loading it again."""

import io
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml

from pyrovae.checkpoints import write_whole
from pyrovae.programs import isolated_rng, owned_modules
from pyrovae.programs.modules import called_modules
from pyrovae.runs.imports import users_errors
from pyrovae.runs.parts import build_pair
from pyrovae.runs.run import Run, first_difference, weights_of
from pyrovae.runs.stored_columns import columns_to_store, stored_columns
from pyrovae.runs.stored_config import check_config, says_nothing, stored_config, stored_shapes
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
from pyrovae.runs.systems import system_of
from pyrovae.version import __version__

_STATEMENT = "pyro.param:"
_EXAMPLE = "example"
# Runs that were stored before networks standardised covariates lack them, and begin with c as it is.
_UNITS = (".covariate_units.center", ".covariate_units.unit")


def save(run: Run, folder: str | Path, summary: Mapping[str, Any] | None = None) -> None:
    """Write the configuration, the weights and a summary of a run whose configuration builds its pair.

    Such are the runs of ``load`` and of ``build_pair``. A VAE of one's own that no configuration builds is stored by
    ``torch.save(vae.state_dict(), path)``.

    ``weights.pt`` is a dictionary of tensors, for a VAE its ``state_dict``, and loads with ``weights_only=True``;
    ``config.yaml`` is what ``python -m pyrovae.fit --config`` reads; ``summary.json`` says what was done, with the
    checksum of the weights.

    Args:
        run: the pair and its configuration, from which the pair is built once more, to compare the names and shapes of
            the weights.
        folder: where to; it is made if it is not there.
        summary: what else to say, as plain values.

    Raises:
        ValueError: no run, or a configuration that builds no such pair; nothing is written then.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import torch
        >>> from pyrovae.runs import Run, build_pair, load, save
        >>> folder = tempfile.mkdtemp()
        >>> code = '''
        ... from pyrovae import VAE, likelihoods, networks, posteriors, priors
        ... def make(data_shape, latent_dim):
        ...     likelihood = likelihoods.Bernoulli(networks.MLP(latent_dim, data_shape))
        ...     posterior = posteriors.DiagonalNormal(networks.MLP(data_shape, 2 * latent_dim))
        ...     return VAE(priors.StandardNormal(latent_dim), likelihood, posterior)
        ... '''
        >>> _ = Path(folder, "my_model.py").write_text(code)
        >>> config = {"model": f"{folder}/my_model.py:make", "latent_dim": 2}
        >>> run = Run(*build_pair(config, (5,)), config, (5,))
        >>> save(run, f"{folder}/run")
        >>> x = torch.ones(3, 5)
        >>> torch.equal(load(f"{folder}/run").vae.reconstruct(x), run.vae.reconstruct(x))
        True
    """
    if not isinstance(run, Run):
        raise ValueError(
            f"run is a {type(run).__name__}; expected a Run, of model, guide and configuration, as load gives it; "
            "weights alone are stored by torch.save(vae.state_dict(), path)"
        )
    _check_config(run)
    store(run, folder, summary)


def store(run: Run, folder: str | Path, summary: Mapping[str, Any] | None = None) -> None:
    """``save`` for a run that was built from its configuration, which is not built again.

    After a long fit the files of the user's own parts may be others, and the weights have to be kept.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / CONFIG_FILE, yaml.safe_dump(dict(run.config), sort_keys=False).encode())
    with weights_of(run) as weights:
        tensors = weights.copy()
    if run.example is not None and any(name.startswith(_STATEMENT) for name in tensors):
        tensors[_EXAMPLE] = run.example[:1].detach().clone()
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    write_whole(folder / WEIGHTS_FILE, buffer.getbuffer())
    write_summary(run, folder, summary or {})


def _check_config(run: Run) -> None:
    """Refuse a run that ``load`` could not give back, as its configuration does not build its pair."""
    repair = (
        "save stores runs whose config builds them, as those of load and of pyrovae.runs.build_pair; the weights of a "
        "VAE of your own are stored by torch.save(vae.state_dict(), path)"
    )
    try:
        config = yaml.safe_load(yaml.safe_dump(dict(run.config)))
        check_config(config, "run.config")
        with isolated_rng(0, torch.device("cpu")):
            pair = build_pair(config, run.data_shape, run.column_kinds, run.covariates)
        example = None if run.example is None else run.example.cpu()
        built_run = replace(run, model=pair[0], guide=pair[1], config=config, example=example)
        with users_errors("its programs"), weights_of(built_run) as weights:
            built = weights.copy()
    except KeyError as error:
        raise ValueError(f"run.config says nothing of {error}: {repair}") from error
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"run.config builds no pair ({error}): {repair}") from error
    with weights_of(run) as weights:
        different = first_difference(weights.tensors, built)
    if different is not None:
        raise ValueError(f"the pair is not the one that run.config builds: {different}; {repair}")


def write_summary(run: Run, folder: Path, summary: Mapping[str, Any]) -> None:
    """Write ``summary.json``, with the version, the shape of a row and the checksum of the stored weights added."""
    contents = {
        "pyrovae": __version__,
        "format": FORMAT,
        "weights_sha256": weights_checksum(folder),
        "data_shape": list(run.data_shape),
        "column_kinds": run.column_kinds,
        "covariates": run.covariates,
        **columns_to_store(run.known_columns),
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


@torch.inference_mode(False)
def load(folder: str | Path, *, device: str | torch.device = "cpu") -> Run:
    """Build the programs of a stored run and give them their weights.

    The modules that own the programs or are called by them are in evaluation mode; a fit puts them in training mode,
    also parts that the code of a pair of one's own holds in evaluation mode, unless its ``train`` leaves them there.
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
    known_columns = stored_columns(folder, summary, config, covariates)
    run = Run(*pair, config, data_shape, saved.pop(_EXAMPLE, None), column_kinds, covariates, known_columns)
    for module in owned_modules(run.model, run.guide):
        module.to(device)
    # The programs run, and may be the user's own.
    with called_modules() as called, users_errors(str(folder)), weights_of(run, device) as weights:
        as_they_begin = {name: tensor for name, tensor in weights.tensors.items() if name.endswith(_UNITS)}
        saved = {**as_they_begin, **saved}
        different = first_difference(saved, weights.tensors)
        if different is None:
            weights.restore(saved)
    for module in (*owned_modules(run.model, run.guide), *called):
        module.eval()
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
    with weights_of(other, device) as weights:
        values = weights.copy()
    with weights_of(run, device) as weights:
        different = first_difference(values, weights.tensors)
        if different is not None:
            raise ValueError(f"the weights of {folder} are of other parts or sizes: {different}. Give the same parts")
        weights.restore(values)


def _json_safe(value: Any) -> Any:
    """The same with NaN and infinities as null, which JSON does not have."""
    if isinstance(value, Mapping):
        return {key: _json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_safe(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
