"""Whether a pair of programs keeps the contract, asked by its user."""

import torch
from torch import Tensor

from pyrovae.programs.borrowing import borrowed
from pyrovae.programs.checks import check_rows
from pyrovae.programs.contract import inspect_pair
from pyrovae.programs.missing import check_missing
from pyrovae.programs.modules import Program
from pyrovae.programs.parameter_use import check_leaves
from pyrovae.programs.parameters import Weights
from pyrovae.programs.structure import PairStructure
from pyrovae.programs.support import check_support
from pyrovae.programs.traces import PROBE_ROWS, compute_log_probs, probe_rows, trace_pair


def check_pair(model: Program, guide: Program, x: Tensor) -> PairStructure:
    """Run a pair on a few rows, and refuse it by name where it breaks what all functions of this package ask of it.

    A pair owes: one argument, the rows ``x``; one data plate at dim -1 over ``len(x)`` rows, which may be a subsample
    of a larger plate; every latent and every observed site inside it, with no dimension that is neither a plate nor
    part of the event; the same latent sites in model and guide and in every batch of rows, those of the guide reaching
    all values and under the same mask; no scale but the plate's on any site; for every latent a density in both
    programs, or a probability in both. Then each row has a log weight of its own, and log p(x) of a row can be
    estimated. The plate's scale is taken out of every number. The rows have to be inside the likelihood's support.

    A fit takes a guide with bounds inside those of the model too, for which an ELBO is right and log p(x) too low: that
    is for scores to refuse, and for this function. A fit asks one thing more: weights that the programs use and that no
    optimiser would be given, such as those of networks in a plain list, are refused. Scores take such a pair as it is:
    to check one that is only scored, call ``requires_grad_(False)`` on these weights.

    The programs run in evaluation mode. Parameters, buffers, random number generators, the param store and the mode
    are afterwards what they were.

    Args:
        model: Pyro program of the rows, observing them.
        guide: Pyro program of the rows, drawing the model's latents.
        x: rows of data ``(rows, *data_shape)``; programs run on a few of them, at equal distances.

    Returns:
        Names of the sites and what is known of them.

    Raises:
        ValueError: what breaks the contract, with the name of the site and the repair.

    Example:
        >>> import pyro, torch
        >>> import pyro.distributions as dist
        >>> from pyrovae import check_pair
        >>> def model(x):
        ...     with pyro.plate("data", len(x)):
        ...         z = pyro.sample("z", dist.Normal(0.0, 1.0))
        ...         pyro.sample("x", dist.Normal(z, 1.0), obs=x)
        >>> def guide(x):
        ...     with pyro.plate("data", len(x)):
        ...         pyro.sample("z", dist.Normal(x / 2, 0.5**0.5))
        >>> structure = check_pair(model, guide, torch.randn(10))
        >>> structure.latents, structure.observed
        (('z',), ('x',))
    """
    check_rows(x, "x")
    check_missing(model, guide, x, "x")
    with borrowed(model, guide, x.device):
        structure = inspect_pair(model, guide, x)
        structure.check_reach()
        check_support(model, guide, x)
        weights = Weights.of(model, guide, structure)
        with torch.enable_grad():
            traces = trace_pair(model, guide, probe_rows(x, max(PROBE_ROWS)))
            for trace in traces:
                compute_log_probs(trace)
            check_leaves([torch.as_tensor(trace.log_prob_sum()) for trace in traces], [*weights.tensors.values(), x])
    return structure
