"""Latents as ArviZ objects have them."""

from torch import Tensor

from pyrovae.programs import Latents, PairStructure


def rows_after_draws(latents: Latents, structure: PairStructure) -> Latents:
    """Latents ``(draws, *plates, rows, *event)`` as ``(draws, rows, *plates, *event)``, each with its own plates only.

    Args:
        latents: as a sampler of the pair gives them.
        structure: of the pair.
    """
    return {name: _rows_after_draws(latents[name], dim) for name, dim in structure.latent_event_dims.items()}


def _rows_after_draws(value: Tensor, event_dim: int) -> Tensor:
    value = value.movedim(value.dim() - event_dim - 1, 1)
    plates = range(2, value.dim() - event_dim)
    # Dimensions of plates that the latent is not in.
    return value.squeeze([dim for dim in plates if value.shape[dim] == 1])
