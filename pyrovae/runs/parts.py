"""Building a pair of programs from a plain configuration."""

from collections.abc import Mapping, Sequence
from typing import Any

from pyrovae import likelihoods
from pyrovae.data import num_categories
from pyrovae.programs import Program
from pyrovae.runs.imports import find, users_errors
from pyrovae.runs.part import Part, accepted, class_name
from pyrovae.runs.systems import Sizes, system_of


def build_pair(
    config: Mapping[str, Any],
    data_shape: tuple[int, ...],
    column_kinds: Sequence[str] | None = None,
    covariates: Mapping[str, str] | None = None,
) -> tuple[Program, Program]:
    """The model and the guide that a configuration describes, with fresh weights.

    Args:
        config: ``model``, an import path ``file.py:factory`` or ``module:factory``; or, where that is None, the
            ``system`` and its parts. A part or a factory that has an argument ``latent_dim``, ``data_shape``,
            ``input_shape``, ``output_shape``, ``column_kinds``, ``encoder``, ``decoder`` or ``posterior`` gets it
            from the data, the latent size, and the parts that stand before it. A likelihood's
            ``decoder_shape(data_shape, ...)`` and a posterior's ``encoder_shape(latent_dim, ...)`` say what the
            networks have to give; without them that is ``data_shape`` and ``2 * latent_dim``.
            ``missing: keep`` wraps likelihood and posterior in ``PartlyObserved``; with ``missing_indicators`` the
            encoder is told which entries are observed. ``corruption`` wraps the posterior in ``Denoising``.
        data_shape: shape of one row.
        column_kinds: what the columns of a table are, where the data say so.
        covariates: what is known of each row beside it, the kinds of numbers by name, for a conditional system.

    Returns:
        Methods of the module of the system; those of an autoencoder refuse to run, as it has no p(x).

    Raises:
        ValueError: a part that cannot be found or built.
    """
    kinds = None if column_kinds is None else tuple(column_kinds)
    sizes = Sizes(config["latent_dim"], tuple(data_shape), kinds, dict(covariates or {}))
    if config["model"] is not None:
        return _pair_from_factory(config["model"], sizes.known())
    module: Any = system_of(config).build(config, sizes)
    return module.model, module.guide


def describe_parts(config: Mapping[str, Any]) -> dict[str, str]:
    """What a configuration is made of, for reports: each part with its arguments, or the user's own model."""
    if config["model"] is not None:
        return {"model": config["model"]}
    system = system_of(config)
    return {**system.describe(config), **{slot: _described(config[slot]) for slot in system.slots}}


def _described(part: Mapping[str, Any]) -> str:
    arguments = ", ".join(f"{name}={value}" for name, value in part.get("init_args", {}).items())
    return class_name(part["class_path"]) + (f"({arguments})" if arguments else "")


def factory_takes(path: str, argument: str) -> bool:
    """Whether a ``--model`` factory has an argument of this name.

    Raises:
        ValueError: there is no such factory.
    """
    with users_errors(f"--model {path}"):
        return argument in accepted(find(*_place_and_name(path)), {argument: None})


def check_categories(config: Mapping[str, Any], column_kinds: Sequence[str] | None) -> str | None:
    """Refuse a built-in likelihood under which the numbers of three categories or more would be amounts.

    Args:
        config: of the run.
        column_kinds: of the columns of x, where the data say so.

    Returns:
        A line on a likelihood or a model of the user's own that does not take the kinds; None where there is none.

    Raises:
        ValueError: the likelihood, and one of the kinds.
    """
    kinds = column_kinds or ()
    # Two categories are 0 and 1, as those of binary columns.
    ordered = [kind for kind in kinds if (num_categories(kind) or 0) > 2]
    if not ordered or (config["model"] is None and "likelihood" not in system_of(config).slots):
        return None
    if config["model"] is not None:
        name, takes = f"--model {config['model']}", factory_takes(config["model"], "column_kinds")
    else:
        likelihood = Part(config, "likelihood")
        name, takes = likelihood.name, likelihood.takes("column_kinds")
        if likelihood.part is likelihoods.Categorical and len(set(kinds)) == 1:
            return None
        if not takes and likelihood.is_built_in:
            raise ValueError(
                f"{name} does not take the kinds of columns: the numbers 0, 1, ... of a column that is {ordered[0]} "
                "would be amounts; take --likelihood Columns, or leave such columns out"
            )
    return None if takes else f"{name} is not told that a column is {ordered[0]}: it has no argument column_kinds"


def _place_and_name(path: str) -> tuple[str, str]:
    place, separator, name = path.rpartition(":")
    if not separator:
        raise ValueError(f"--model is {path!r}; expected file.py:factory or module:factory")
    return place, name


def _pair_from_factory(path: str, known: Mapping[str, Any]) -> tuple[Program, Program]:
    place, name = _place_and_name(path)
    with users_errors(f"--model {path}"):
        factory = find(place, name, again=True)
        pair = factory(**accepted(factory, known))
    if isinstance(pair, tuple) and len(pair) == 2 and all(map(callable, pair)):
        return pair[0], pair[1]
    if callable(getattr(pair, "model", None)) and callable(getattr(pair, "guide", None)):
        return pair.model, pair.guide
    raise ValueError(
        f"--model {path}: {name}() gave a {type(pair).__name__}; expected a pair (model, guide) of Pyro programs, or "
        "an object with the methods model and guide"
    )
