"""What traces of a pair show of it: its latents, what it observes, its plates and parameters."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pyro import poutine
from torch import nn

from pyrovae.programs.traces import sample_sites


@dataclass(frozen=True)
class PairStructure:
    """What traces of the pair show.

    Attributes:
        latent_event_dims: names of the latent sites, in the order of the guide, with the number of dimensions of
            one value that are not plates.
        latent_supports: what values each of them takes.
        model_latents: the same names, in the order of the model.
        observed: names of the observed sites.
        values_left_out: what to say of latents with bounds in the guide that lie inside those of the model.
        not_reparameterized: names of the latents that carry no gradient through the draw of the guide, as discrete ones
            and angles.
        max_plate_nesting: number of plate dimensions, the data plate among them.
        model_params: names of the param sites of the model.
        guide_params: names of the param sites of the guide.
        modules: the modules that the programs call.
    """

    latent_event_dims: dict[str, int]
    latent_supports: dict[str, Any]
    model_latents: tuple[str, ...]
    observed: tuple[str, ...]
    values_left_out: tuple[str, ...]
    not_reparameterized: tuple[str, ...]
    max_plate_nesting: int
    model_params: frozenset[str]
    guide_params: frozenset[str]
    # They take a page where the others take a few lines.
    modules: tuple[nn.Module, ...] = field(repr=False)

    @property
    def latents(self) -> tuple[str, ...]:
        """Names of the latent sites, in the order of the guide."""
        return tuple(self.latent_event_dims)

    @property
    def params(self) -> set[str]:
        """Names of the param sites of both programs."""
        return set(self.model_params | self.guide_params)

    def check_reach(self) -> None:
        """Refuse a guide whose draws leave out values of the model between its bounds and their own.

        An ELBO does not ask for them, log p(x) does.

        Raises:
            ValueError: the first of such latents, with its bounds in both programs.
        """
        for said in self.values_left_out:
            raise ValueError(said)

    def check_run(self, trace: poutine.Trace) -> None:
        """Refuse a run of either program whose latents are others than those of the rows that were looked at.

        Raises:
            ValueError: one of those that are new or missing, with the repair.
        """
        check_same_latents(self.latents, _drawn_or_given(trace, self.latents))


def _drawn_or_given(trace: poutine.Trace, latents: Iterable[str]) -> set[str]:
    """Names of the sites of a run that are latents, given values or not."""
    return {
        name
        for name, site in sample_sites(trace).items()
        # Draws in place of observed values are no latents.
        if name in latents or not (site["is_observed"] or (site["infer"] or {}).get("was_observed"))
    }


def check_same_latents(known: Iterable[str], found: set[str]) -> None:
    """Refuse a run with other latents than those that are known.

    Raises:
        ValueError: one of those that are new or missing, with the repair.
    """
    different = found.symmetric_difference(known)
    if different:
        name = min(different)
        has, have = ("has", "do not have") if name in found else ("lacks", "have")
        raise ValueError(
            f"a batch {has} the latent {name!r}, which other rows {have}, and each row has to have the same latents in "
            "any batch: loop over all steps of the rows (x.shape[1]), not as far as the longest of a batch, and mask "
            "what a row does not have, with poutine.mask in model and guide"
        )
