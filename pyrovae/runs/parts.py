"""Building a pair of programs from a plain configuration."""

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from pyrovae.models import VAE
from pyrovae.programs import Program

PARTS = ("prior", "likelihood", "posterior", "encoder", "decoder")
"""What a VAE is made of, in a configuration: each has ``class_path`` and ``init_args``."""


def build_pair(config: Mapping[str, Any], data_shape: tuple[int, ...]) -> tuple[Program, Program]:
    """The model and the guide that a configuration describes, with fresh weights.

    Args:
        config: ``model``, an import path ``file.py:factory`` or ``module:factory``; or, where that is None, the
            parts of a VAE. A part or a factory that has an argument ``latent_dim``, ``data_shape``,
            ``input_shape``, ``output_shape``, ``encoder`` or ``decoder`` gets it from the data, the latent size
            and the networks.
        data_shape: shape of one row.

    Raises:
        ValueError: a part that cannot be found or built.
    """
    latent_dim = config["latent_dim"]
    sizes = {"latent_dim": latent_dim, "data_shape": data_shape}
    if config["model"] is not None:
        return _pair_from_factory(config["model"], sizes)
    encoder = _build(config, "encoder", {**sizes, "input_shape": data_shape, "output_shape": 2 * latent_dim})
    decoder = _build(config, "decoder", {**sizes, "input_shape": latent_dim, "output_shape": data_shape})
    vae = VAE(
        _build(config, "prior", sizes),
        _build(config, "likelihood", {**sizes, "decoder": decoder}),
        _build(config, "posterior", {**sizes, "encoder": encoder}),
    )
    return vae.model, vae.guide


def _build(config: Mapping[str, Any], slot: str, known: dict[str, Any]) -> nn.Module:
    module_name, _, class_name = config[slot]["class_path"].rpartition(".")
    with _users_errors(f"--{slot} {class_name}"):
        part = getattr(importlib.import_module(module_name), class_name)
        return part(**{**config[slot].get("init_args", {}), **_accepted(part, known)})


@contextmanager
def _users_errors(what: str) -> Iterator[None]:
    """Errors of code that the user brought, as one line that says where they came from."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from error
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        place = "" if len(frames) < 2 else f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}"
        raise ValueError(f"{what}: {type(error).__name__}{place}: {error}") from error


def _accepted(function: Any, known: dict[str, Any]) -> dict[str, Any]:
    """Those of the known arguments that a function names."""
    names = inspect.signature(function).parameters
    return {name: value for name, value in known.items() if name in names}


def _pair_from_factory(path: str, known: dict[str, Any]) -> tuple[Program, Program]:
    place, separator, name = path.rpartition(":")
    if not separator:
        raise ValueError(f"--model is {path!r}; expected file.py:factory or module:factory")
    with _users_errors(f"--model {path}"):
        factory = getattr(_import(place), name, None)
        if factory is None:
            raise ValueError(f"{place} has no {name!r}")
        pair = factory(**_accepted(factory, known))
    if isinstance(pair, tuple) and len(pair) == 2 and all(map(callable, pair)):
        return pair[0], pair[1]
    if callable(getattr(pair, "model", None)) and callable(getattr(pair, "guide", None)):
        return pair.model, pair.guide
    raise ValueError(
        f"--model {path}: {name}() gave a {type(pair).__name__}; expected a pair (model, guide) of Pyro programs, or "
        "an object with the methods model and guide"
    )


def _import(place: str) -> Any:
    if not place.endswith(".py"):
        try:
            return importlib.import_module(place)
        except ModuleNotFoundError as error:
            raise ValueError(f"there is no module {place!r} ({error}); give a file as file.py:name") from error
    path = Path(place).resolve()
    if not path.is_file():
        raise ValueError(f"there is no file {place!r}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Its own classes and functions are looked up by the module's name.
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module
