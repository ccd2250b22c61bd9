"""Building a pair of programs from a plain configuration."""

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from pyrovae import likelihoods, posteriors
from pyrovae.models import VAE
from pyrovae.programs import Program
from pyrovae.runs.imports import find, find_class, users_errors

PARTS = ("prior", "likelihood", "posterior", "encoder", "decoder")
"""What a VAE is made of, in a configuration: each has ``class_path`` and ``init_args``."""


def build_pair(
    config: Mapping[str, Any], data_shape: tuple[int, ...], column_kinds: Sequence[str] | None = None
) -> tuple[Program, Program]:
    """The model and the guide that a configuration describes, with fresh weights.

    Args:
        config: ``model``, an import path ``file.py:factory`` or ``module:factory``; or, where that is None, the
            parts of a VAE. A part or a factory that has an argument ``latent_dim``, ``data_shape``,
            ``input_shape``, ``output_shape``, ``column_kinds``, ``encoder``, ``decoder`` or ``posterior`` gets it
            from the data, the latent size, and the parts that stand before it. A likelihood's
            ``decoder_shape(data_shape, ...)`` and a posterior's ``encoder_shape(latent_dim, ...)`` say what the
            networks have to give; without them that is ``data_shape`` and ``2 * latent_dim``.
            ``missing: keep`` wraps likelihood and posterior in ``PartlyObserved``; with ``missing_indicators`` the
            encoder is told which entries are observed.
        data_shape: shape of one row.
        column_kinds: what the columns of a table are, where the data say so.

    Raises:
        ValueError: a part that cannot be found or built.
    """
    latent_dim = config["latent_dim"]
    known = {"latent_dim": latent_dim, "data_shape": data_shape}
    if column_kinds is not None:
        known["column_kinds"] = tuple(column_kinds)
    if config["model"] is not None:
        return _pair_from_factory(config["model"], known)
    posterior, likelihood, prior, encoder, decoder = (
        _Part(config, slot) for slot in ("posterior", "likelihood", "prior", "encoder", "decoder")
    )
    for part in (posterior, likelihood, prior, encoder, decoder):
        part.check_kinds(known)
    encoder_shape = posterior.size("encoder_shape", known, otherwise=2 * latent_dim)
    decoder_shape = likelihood.size("decoder_shape", known, otherwise=data_shape)
    indicators = config["missing_indicators"]
    if indicators and config["missing"] != "keep":
        raise ValueError("--missing-indicators tells the encoder which entries are missing; it needs --missing keep")
    input_shape = (2 * data_shape[0], *data_shape[1:]) if indicators else data_shape
    known["encoder"] = encoder.build({**known, "input_shape": input_shape, "output_shape": encoder_shape})
    q_z = posterior.build(known)
    if config["missing"] == "keep" and not getattr(known["encoder"], "takes_missing", False):
        q_z = posteriors.PartlyObserved(q_z, data_shape, append_mask=indicators)
    elif indicators:
        raise ValueError(f"--missing-indicators: {encoder.name} takes missing entries as they are; leave it out")
    p_z = prior.build({**known, "posterior": q_z})
    known["decoder"] = decoder.build({**known, "input_shape": latent_dim, "output_shape": decoder_shape})
    p_x = likelihood.build(known)
    with users_errors(prior.name):
        # The VAE asks the prior for the size of z.
        vae = VAE(p_z, likelihoods.PartlyObserved(p_x) if config["missing"] == "keep" else p_x, q_z)
    return vae.model, vae.guide


def class_name(path: str) -> str:
    """The class's own name at the end of an import path."""
    return re.split(r"[.:]", path)[-1]


def describe_parts(config: Mapping[str, Any]) -> dict[str, str]:
    """What a configuration is made of, for reports: each part with its arguments, or the user's own model."""
    if config["model"] is not None:
        return {"model": config["model"]}
    return {slot: _described(config[slot]) for slot in PARTS}


def _described(part: Mapping[str, Any]) -> str:
    arguments = ", ".join(f"{name}={value}" for name, value in part.get("init_args", {}).items())
    return class_name(part["class_path"]) + (f"({arguments})" if arguments else "")


class _Part:
    """A part of the configuration: a class by its import path, and the arguments that the user gave."""

    def __init__(self, config: Mapping[str, Any], slot: str) -> None:
        path = config[slot]["class_path"]
        self.name = f"--{slot} {class_name(path)}"
        self.arguments = config[slot].get("init_args", {})
        with users_errors(self.name):
            self.part = find_class(path, nn.Module)

    def check_kinds(self, known: Mapping[str, Any]) -> None:
        """Refuse a part that needs the kinds of the columns where the data do not say them."""
        kinds = inspect.signature(self.part).parameters.get("column_kinds")
        if kinds is not None and kinds.default is inspect.Parameter.empty and "column_kinds" not in known:
            raise ValueError(
                f"{self.name} needs to know of what kind each column is: give --columns, by name as in "
                "--columns '{age: count, smoker: binary}' or in their order; those not named are real"
            )

    def build(self, known: dict[str, Any]) -> nn.Module:
        with users_errors(self.name):
            return self.part(**{**self.arguments, **_accepted(self.part, known)})

    def size(self, method: str, known: dict[str, Any], otherwise: Any) -> Any:
        """What the part says that its network has to give."""
        if not hasattr(self.part, method):
            return otherwise
        function = getattr(self.part, method)
        with users_errors(self.name):
            return function(**_accepted(function, {**self.arguments, **known}))


def _accepted(function: Any, known: dict[str, Any]) -> dict[str, Any]:
    """Those of the known arguments that a function names."""
    names = inspect.signature(function).parameters
    return {name: value for name, value in known.items() if name in names}


def _pair_from_factory(path: str, known: dict[str, Any]) -> tuple[Program, Program]:
    place, separator, name = path.rpartition(":")
    if not separator:
        raise ValueError(f"--model is {path!r}; expected file.py:factory or module:factory")
    with users_errors(f"--model {path}"):
        factory = find(place, name, again=True)
        pair = factory(**_accepted(factory, known))
    if isinstance(pair, tuple) and len(pair) == 2 and all(map(callable, pair)):
        return pair[0], pair[1]
    if callable(getattr(pair, "model", None)) and callable(getattr(pair, "guide", None)):
        return pair.model, pair.guide
    raise ValueError(
        f"--model {path}: {name}() gave a {type(pair).__name__}; expected a pair (model, guide) of Pyro programs, or "
        "an object with the methods model and guide"
    )
