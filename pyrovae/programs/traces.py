"""Runs of a pair, and what is read off them."""

import re
import warnings
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from pyrovae.data import AnyRows
from pyrovae.programs.explanations import explained_plate, explained_sizes, explained_value
from pyrovae.programs.modules import Program, called_modules, owned_modules
from pyrovae.programs.repairs import repair_of_dtype
from pyrovae.programs.site_checks import Site

PROBE_ROWS = (3, 5)
"""Numbers of rows that a pair is tried on: few show its structure, and two tell the rows from any other dimension."""

_OF_SHAPES = re.compile("shape|size|channels|dimension")


def sample_sites(trace: poutine.Trace) -> dict[str, Site]:
    """The random sites of a trace by name: not those that plates make for themselves, nor deterministic ones."""
    return {
        name: dict(site)
        for name, site in trace.nodes.items()
        if site["type"] == "sample" and not site_is_subsample(site) and not is_deterministic(site)
    }


def is_deterministic(site: Any) -> bool:
    """Whether a site is what ``pyro.deterministic`` keeps, no draw."""
    return bool((site["infer"] or {}).get("_deterministic"))


def trace_pair(model: Program, guide: Program, x: Tensor) -> tuple[poutine.Trace, poutine.Trace]:
    """Traces of the model, replayed against the guide, and of the guide."""
    try:
        guide_trace = poutine.trace(guide).get_trace(x)
        model_trace = poutine.trace(poutine.replay(model, trace=guide_trace)).get_trace(x)
    except ValueError as error:
        # Pyro appends a table of shapes, which is not for the reader of one line.
        raise ValueError(explained_value(str(error))) from error
    return model_trace, guide_trace


def compute_log_probs(trace: poutine.Trace) -> None:
    """Put the log-densities of all sites of a run into it.

    Raises:
        ValueError: a value outside the support of its distribution, in one line.
    """
    try:
        trace.compute_log_prob()
    except ValueError as error:
        raise ValueError(explained_value(str(error))) from error


def probe_rows(x: AnyRows, num_rows: int) -> Tensor:
    """So many rows at equal distances over the data, taken again from the start where there are fewer."""
    # Rows in an order, such as complete ones first, may be alike where they are neighbours.
    return x[torch.arange(num_rows, device=x.device) * max(len(x), num_rows) // num_rows % len(x)]


def trace_few_rows(model: Program, guide: Program, rows: Tensor, all_rows: int) -> tuple[poutine.Trace, poutine.Trace]:
    """``trace_pair`` with the log-densities, of rows that a pair is tried on.

    Args:
        model: Pyro program of the rows.
        guide: Pyro program of the latents.
        rows: a few.
        all_rows: how many there are.

    Raises:
        ValueError: what the programs fail on, with the repair where it is known.
    """
    # Pyro only warns of what is refused here; and whether values are inside a support is checked on all rows.
    with warnings.catch_warnings(), pyro.validation_enabled(False):
        warnings.simplefilter("ignore")
        try:
            with called_modules() as modules:
                traces = trace_pair(model, guide, rows)
            for trace in traces:
                trace.compute_log_prob()
        except ValueError as error:
            raise ValueError(
                explained_plate(explained_value(str(error)), len(rows), all_rows, PROBE_ROWS[0])
            ) from error
        except NotImplementedError as error:
            unsaid = "a distribution has no log_prob, as one whose transform has no inverse, AbsTransform for example"
            reason = (str(error) or unsaid).splitlines()[0].rstrip(".")
            repair = "in a plate it needs one" if ".expand" in reason else "use a distribution with a density"
            raise ValueError(f"the programs ask for what is not implemented: {reason}; {repair}") from error
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            explained = explained_sizes(reason, len(rows), all_rows, PROBE_ROWS[0])
            if explained:
                raise ValueError(f"{explained} ({reason})") from error
            parts = [*owned_modules(model, guide), *modules]
            kinds = {parameter.dtype for module in parts for parameter in module.parameters()}
            if kinds and rows.dtype not in kinds:
                needed = min(kinds, key=str)
                raise ValueError(
                    f"the rows are of type {rows.dtype} and the parameters of {needed}, and the programs fail on them "
                    f"({reason}): {repair_of_dtype('x', rows.dtype, needed)}"
                ) from error
            # A module's own error says more, to those who know its parts.
            if owned_modules(model, guide) or not _OF_SHAPES.search(reason):
                raise
            raise ValueError(
                f"the programs fail on {len(rows)} rows of shape {tuple(rows.shape[1:])} ({reason}): build the "
                "networks for rows of this shape, and give rows as (rows, *data_shape)"
            ) from error
    return traces
