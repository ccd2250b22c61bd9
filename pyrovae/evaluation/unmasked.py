"""A pair in which the numbers of a latent that a mask leaves out have a density too."""

import copy
from collections.abc import Collection
from typing import Any

import pyro.distributions as dist
from pyro.poutine.messenger import Messenger

from pyrovae.programs import Sampler


def unmasked(sampler: Sampler) -> Sampler:
    """A sampler of the pair without the masks of its latents; those of observed sites stay.

    To what follows a density, a number without one is free to go anywhere. What a mask leaves out says nothing of the
    rows, so that its posterior is its prior, and log p(x) is the same with its density in both programs.
    """
    messenger = _Unmasked(sampler.structure.latents)
    return type(sampler)(messenger(sampler.model), messenger(sampler.guide), sampler.structure)


class _Unmasked(Messenger):
    def __init__(self, latents: Collection[str]) -> None:
        super().__init__()
        self.latents = latents

    def _pyro_sample(self, msg: Any) -> None:
        # Masks of the program are nearer to the site, and have been put on it before.
        if msg["name"] in self.latents:
            msg["mask"], msg["fn"] = None, _without_masks(msg["fn"])


def _without_masks(fn: Any) -> Any:
    if isinstance(fn, dist.MaskedDistribution):
        return _without_masks(fn.base_dist)
    if not hasattr(fn, "base_dist"):
        return fn
    base = _without_masks(fn.base_dist)
    if base is not fn.base_dist:
        fn = copy.copy(fn)
        fn.base_dist = base
    return fn
