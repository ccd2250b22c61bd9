"""Whether a guide has a density at any draw, or only at one that it has just made."""

import torch
from torch import Tensor

from pyrovae.programs.random_state import isolated_rng
from pyrovae.programs.samplers import Sampler


@torch.no_grad()
def check_any_density(sampler: Sampler, rows: Tensor, so: str) -> None:
    """Refuse a guide that can score only what it has just drawn, as flows without an inverse do.

    Args:
        sampler: of the pair.
        rows: of data, few; one draw is tried for each.
        so: what cannot be done with such a guide, and the repair.

    Raises:
        ValueError: the guide cannot score a draw that is given to it.
    """
    with isolated_rng(0, rows.device):
        latents = sampler.draw(rows, 1)[0]
        try:
            # A flow keeps what its last draw came from, and finds it by the tensor.
            sampler.log_guide(rows, {name: value.clone() for name, value in latents.items()})
        except (KeyError, NotImplementedError) as error:
            raise ValueError(
                f"the guide cannot give the density of a draw that it has not just made (a flow without an inverse?), "
                f"so {so}"
            ) from error
