"""Whether the numbers of log p(x) of a pair are logarithms of probabilities or of densities."""

from typing import Any

import pyro
import torch
from pyro.distributions import Unit
from torch import Tensor
from torch.distributions import constraints

from pyrovae.distributions import ColumnValues, EntryOrMissing
from pyrovae.distributions.layers import entry_support, innermost
from pyrovae.programs import Program, borrowed, sample_sites, trace_pair

_KINDS = ("probabilities", "densities")


@torch.no_grad()
def kind_of_numbers(model: Program, guide: Program, x: Tensor) -> str | None:
    """``"probabilities"``, ``"densities"``, or which columns or sites have densities, the others probabilities.

    Numbers of two kinds do not compare: a density depends on the units of x, and a probability does not.

    Args:
        model: Pyro program of the rows, observing them inside a plate ``len(x)`` at dim -1.
        guide: Pyro program of the rows, drawing the model's latents inside the same plate.
        x: a few rows ``(rows, *data_shape)``, on the device of the parameters.

    Returns:
        None where it is not known: a distribution does not say its support, or the model has a factor.
    """
    with borrowed(model, guide, x.device), pyro.validation_enabled(False):
        sites = sample_sites(trace_pair(model, guide, x)[0])
    observed = {name: site["fn"] for name, site in sites.items() if site["is_observed"]}
    if any(isinstance(innermost(fn), Unit) or constraints.is_dependent(fn.support) for fn in observed.values()):
        return None
    columns = _real_columns(next(iter(observed.values()))) if len(observed) == 1 else None
    if columns is not None:
        return f"densities of {columns}, probabilities of the others"
    dense = [name for name, fn in observed.items() if not fn.support.is_discrete]
    if len(dense) in (0, len(observed)):
        return _KINDS[bool(dense)]
    return f"densities at {', '.join(dense)}, probabilities at the other sites"


def _real_columns(distribution: Any) -> str | None:
    """Which columns of a table have densities, counted from 0, where others have probabilities."""
    support = entry_support(distribution.support)
    support = support.entry if isinstance(support, EntryOrMissing) else support
    if not isinstance(support, ColumnValues) or set(support.column_kinds) == {"real"} or support.is_discrete:
        return None
    real = [str(column) for column, kind in enumerate(support.column_kinds) if kind == "real"]
    return f"{'column' if len(real) == 1 else 'columns'} {', '.join(real)}"
