"""Whether a pair of programs can take rows with missing entries."""

import pyro
import torch
from torch import Tensor

from pyrovae.data import AnyRows, rows_at_once
from pyrovae.distributions import EntryOrMissing
from pyrovae.distributions.layers import entry_support
from pyrovae.programs.borrowing import borrowed
from pyrovae.programs.checks import rows_where, which_rows
from pyrovae.programs.modules import Program
from pyrovae.programs.site_checks import Site
from pyrovae.programs.traces import sample_sites, trace_pair

# Rows with missing entries that the programs are tried on, at most.
_INCOMPLETE_ROWS = 256


@torch.no_grad()
def check_missing(model: Program, guide: Program, x: AnyRows, argument: str) -> None:
    """Refuse missing entries, NaN, unless the programs can take them.

    Args:
        model: Pyro program of the rows.
        guide: Pyro program of the latents.
        x: rows of data ``(rows, *data_shape)``, on the device of the parameters.
        argument: their name in the caller's signature.

    Raises:
        ValueError: NaN that no partly observed distribution observes, rows without any observed entry, a guide whose
            latents are NaN for rows with missing entries.
    """
    missing = rows_where(x, torch.isnan)
    if not bool(missing.any()):
        return
    first, empty = _lacking(x, missing)
    incomplete = x[first[:_INCOMPLETE_ROWS]]
    with borrowed(model, guide, x.device), pyro.validation_enabled(False):
        # The programs are asked with whole rows first: those that know nothing of NaN need not see it.
        sites = sample_sites(trace_pair(model, guide, incomplete.nan_to_num(nan=0.0))[0])
        if not any(map(_takes_missing, sites.values())):
            raise ValueError(
                f"{argument} has NaN or infinite values in {which_rows(missing)}: remove or fill them; or, if NaN "
                "marks missing entries, wrap the likelihood and the posterior in likelihoods.PartlyObserved and "
                "posteriors.PartlyObserved; in a Pyro program observe "
                "pyrovae.distributions.PartlyObserved(distribution) with obs=x, and encode x.nan_to_num()"
            )
        if bool(empty.any()):
            raise ValueError(
                f"{argument} has no observed entry in {which_rows(empty)}: remove them, a row without entries says "
                "nothing"
            )
        model_sites, guide_sites = map(sample_sites, trace_pair(model, guide, incomplete))
    for name, site in guide_sites.items():
        if _num_missing(site["value"]):
            raise ValueError(
                f"latent {name!r} of the guide is NaN for rows with missing entries: wrap the posterior in "
                "posteriors.PartlyObserved, or use an encoder that takes NaN, such as networks.ColumnEncoder"
            )
    # The rows may be observed by column, or inside further plates.
    observed = sum(_num_missing(site["value"]) for site in model_sites.values() if _takes_missing(site))
    if observed < _num_missing(incomplete):
        raise ValueError(
            f"{argument} has missing entries, NaN, in {which_rows(missing)}, and not only in what the model observes "
            "by a PartlyObserved distribution: remove or fill those of other columns, covariates for example; or "
            "observe them as they are, by pyrovae.distributions.PartlyObserved(distribution)"
        )


def _takes_missing(site: Site) -> bool:
    return site["is_observed"] and isinstance(entry_support(site["fn"].support), EntryOrMissing)


def _num_missing(values: Tensor) -> int:
    return int(values.isnan().sum())


def _lacking(x: AnyRows, missing: Tensor) -> tuple[Tensor, Tensor]:
    """For each entry that is ever missing the first row that lacks it, in order; and which rows lack all entries."""
    empty = torch.zeros_like(missing)
    lacked = torch.zeros(x.shape[1:].numel(), dtype=torch.bool, device=x.device)
    first = []
    for numbers in missing.nonzero().flatten().split(rows_at_once(x)):
        lacking = x[numbers].isnan().reshape(len(numbers), -1)
        empty[numbers] = lacking.all(1)
        new = lacking.any(0) & ~lacked
        first.append(numbers[lacking[:, new].to(torch.uint8).argmax(0)])
        lacked |= new
    return torch.cat(first).unique(), empty
