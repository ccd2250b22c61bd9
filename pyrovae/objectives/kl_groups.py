"""Groups of latent dimensions, whose KL free bits put a floor under."""

from typing import Literal

import torch
from pyro import poutine
from torch import Tensor

from pyrovae.distributions.arguments import is_whole_number
from pyrovae.objectives.kl_terms import kl_per_dimension, kl_per_site
from pyrovae.programs import Sampler, sample_sites


class KlGroups:
    """How the KL term is divided: by dimension, by latent site, or by so many dimensions in a row.

    Raises:
        ValueError: another division.
    """

    def __init__(self, per: Literal["dimension", "site"] | int) -> None:
        if per not in ("dimension", "site") and (not is_whole_number(per) or per < 1):
            raise ValueError(
                f"free_bits_per is {per!r}; expected 'dimension', 'site', or a positive number of dimensions"
            )
        self.per = int(per) if is_whole_number(per) else per

    def __repr__(self) -> str:
        return f"KlGroups({self.per!r})"

    def kl(
        self,
        sampler: Sampler,
        guide_trace: poutine.Trace,
        model_trace: poutine.Trace,
        num_draws: int,
        *,
        analytic: bool,
    ) -> Tensor:
        """KL of every group, ``(draws, rows, groups)``."""
        groups = []
        for name in sampler.structure.latents:
            traces = (sampler, guide_trace, model_trace, name, num_draws)
            if self.per == "site":
                groups.append(kl_per_site(*traces, analytic=analytic))
                continue
            kl = kl_per_dimension(*traces, analytic=analytic)
            assert kl is not None
            size = 1 if isinstance(self.per, str) else self.per
            groups.append(kl.unflatten(-1, (-1, size)).sum(-1))
        return torch.cat(groups, -1)

    @torch.no_grad()
    def check(self, sampler: Sampler, x: Tensor) -> None:
        """Refuse latents that have no such groups.

        Raises:
            ValueError: latents drawn in different orders; one without dimensions, one whose KL does not factorise
                over them, or a number of them that cannot be divided.
        """
        structure = sampler.structure
        if structure.latents != structure.model_latents:
            raise ValueError(
                "free_bits: model and guide draw their latents in different orders "
                f"({', '.join(structure.model_latents)} and {', '.join(structure.latents)}), so the term of a single "
                "latent is no KL: use the same order, or a schedule of beta in place of free_bits"
            )
        guide_trace = sampler.trace_guide(x, 1)
        model_trace = sampler.trace_model(x, sampler.latents_of(guide_trace, 1))
        for name in structure.latents:
            numbers = sample_sites(guide_trace)[name]["value"].numel() // len(x)
            if numbers == 0:
                raise ValueError(f"free_bits: latent {name!r} has no dimensions to put a floor under")
            if self.per == "site":
                continue
            if kl_per_dimension(sampler, guide_trace, model_trace, name, 1, analytic=False) is None:
                raise ValueError(
                    f"free_bits_per is {self.per!r}, and the KL of latent {name!r} does not factorise over its "
                    "dimensions, or has a mask (in the guide, or in the model): use free_bits_per='site'"
                )
            if isinstance(self.per, int) and numbers % self.per:
                raise ValueError(
                    f"free_bits_per is {self.per}, and the {numbers} dimensions of latent {name!r} cannot be divided "
                    "by it"
                )
