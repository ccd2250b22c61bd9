"""How far the encoder's posterior is from the exact one, and whether more draws would change the bound."""

import shlex
from pathlib import Path

from pyrovae import plots
from pyrovae.evaluation import BoundComparison
from pyrovae.report.page import Command, Folded, Missing, Section, Table, attempt, picture
from pyrovae.runs import Run

TITLE = "The gap, and the bound against K"


def gap_section(folder: Path, run: Run, bounds: BoundComparison | None, why_not: str) -> Section:
    """How the gap is spread over rows, the bound against the number of draws, and how to get the halves of the gap.

    Args:
        folder: of the run.
        run: the pair.
        bounds: the test rows' numbers; None without any.
        why_not: why there are none.
    """
    if bounds is None:
        return Section(TITLE, [Missing("gap histogram, and the bound against the number of draws", why_not)])
    target, given = run.system.target, run.system.given
    halves = (
        "what the family of the posterior cannot express, and what the encoder misses, take an optimisation for each "
        "row, which a fit does not do. To have them, as columns of a table of the test rows:"
    )
    of_gap = "histogram of the gap of the test rows, with its mean"
    of_draws = "mean bound over the test rows for growing numbers of draws K, with two standard errors"
    return Section(
        TITLE,
        [
            f"The gap is {target} less the ELBO: it estimates KL(q(z|x{given}) || p(z|x{given})), how far the "
            "encoder's posterior is from the exact one. In expectation the bound rises with K, the number of draws, "
            f"from the ELBO to {target}: where it has flattened more draws bring no more, and where it still rises "
            f"{target} is above it. Bars are two standard errors of the draws.",
            *attempt("gap histogram", lambda: [picture(plots.gap_histogram(bounds.gap), of_gap)]),
            *attempt(of_draws, lambda: [picture(plots.bound_by_draws({"bound": bounds}), of_draws)]),
            Folded("The bound against K in numbers", bound_table(bounds)),
            Missing("the two halves of the gap", halves),
            Command(f"python -m pyrovae.evaluate {shlex.quote(str(folder))} --gap"),
        ],
    )


def bound_table(bounds: BoundComparison) -> Table:
    """The mean bound for each number of draws."""
    errors = bounds.sweep_standard_errors.square().sum(1).sqrt() / len(bounds.elbo)
    means = bounds.sweep_bounds.mean(1)
    lines = [
        [f"{k:,}", f"{bound:.3f}", f"{error:.4f}"]
        for k, bound, error in zip(bounds.sweep, means.tolist(), errors.tolist(), strict=True)
    ]
    return Table(["K", "bound, nats per row", "se (draws)"], lines)
