"""What counts in the log-densities of a row, asked of all rows where it may differ from row to row."""

import pyro
import torch
from torch import Tensor

from pyrovae.data import AnyRows
from pyrovae.programs.modules import Program
from pyrovae.programs.random_state import isolated_rng
from pyrovae.programs.site_checks import Site, check_same_mask, check_scale, is_masked
from pyrovae.programs.traces import sample_sites, trace_pair

_ROWS_AT_ONCE = 1000


def check_counted(model: Program, guide: Program, x: AnyRows, *, seen: list[dict[str, Site]]) -> None:
    """Refuse latents under other masks in the model than in the guide, and sites with a scale, in any row.

    Few rows show that a program has a mask or a scale, not what it is in the others.

    Args:
        model: Pyro program of the rows.
        guide: Pyro program of the latents.
        x: all rows of data ``(rows, *data_shape)``.
        seen: sites of the model and of the guide, of a few rows.

    Raises:
        ValueError: the first of such sites, with the repair.
    """
    latents = seen[1].keys()
    masked = any(is_masked(site) for sites in seen for name, site in sites.items() if name in latents)
    if not masked and not any(isinstance(site["scale"], Tensor) for sites in seen for site in sites.values()):
        return
    for rows in x.split(_ROWS_AT_ONCE):
        with isolated_rng(0, rows.device), pyro.validation_enabled(False), torch.no_grad():
            model_sites, guide_sites = map(sample_sites, trace_pair(model, guide, rows))
        for program, sites in (("model", model_sites), ("guide", guide_sites)):
            for name, site in sites.items():
                check_scale(program, name, site)
        for name in latents:
            check_same_mask(name, model_sites[name], guide_sites[name])
