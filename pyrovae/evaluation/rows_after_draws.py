"""Latents as ArviZ objects have them."""

import re

from torch import Tensor

from pyrovae.evaluation.arviz_interface import is_path
from pyrovae.programs import Latents, PairStructure


def rows_after_draws(latents: Latents, structure: PairStructure) -> Latents:
    """Latents ``(draws, *plates, rows, *event)`` as ``(draws, rows, *plates, *event)``, each with its own plates only.

    Args:
        latents: as a sampler of the pair gives them.
        structure: of the pair.
    """
    return {name: _rows_after_draws(latents[name], dim) for name, dim in structure.latent_event_dims.items()}


def name_of_rows(structure: PairStructure) -> str:
    """What the rows are called beside the latents: ``x``, where none of these is called so.

    Raises:
        ValueError: a latent with the name of a dimension, which ArviZ leaves out without a word, or with a slash in its
            name under ArviZ 1.
    """
    for name in structure.latents:
        if is_path(name):
            raise ValueError(
                f"latent {name!r} has a slash in its name, which ArviZ 1 takes for a path: give its pyro.sample "
                "another name in model and guide"
            )
        inner = re.fullmatch(r"(.+)_dim_\d+", name)
        if name in ("chain", "draw", "row") or (inner and inner[1] in structure.latents):
            of_latent = f" of latent {inner[1]!r}" if inner else ""
            raise ValueError(
                f"latent {name!r} has the name of a dimension{of_latent} in the ArviZ object, which cannot hold both: "
                "give its pyro.sample another name in model and guide"
            )
    rows = "x"
    while rows in structure.latents:
        rows += "_observed"
    return rows


def _rows_after_draws(value: Tensor, event_dim: int) -> Tensor:
    value = value.movedim(value.dim() - event_dim - 1, 1)
    plates = range(2, value.dim() - event_dim)
    # Dimensions of plates that the latent is not in.
    return value.squeeze([dim for dim in plates if value.shape[dim] == 1])
