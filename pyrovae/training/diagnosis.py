"""Finding where a loss that is not finite comes from."""

from typing import Any

import pyro
import torch
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from pyrovae.programs import Program, sample_sites, trace_pair


class _Begun(Messenger):
    """Keeps the name of the sample site that was begun last."""

    name: str | None = None

    def _pyro_sample(self, message: Any) -> None:
        # The plate draws its rows as a site of its own.
        if not site_is_subsample(message):
            self.name = message["name"]


def is_of_numbers(error: Exception) -> bool:
    """Whether an error comes from the values of a distribution's parameters, which other draws may not have."""
    return isinstance(error, torch.linalg.LinAlgError) or "but found invalid values" in str(error)  # type: ignore[attr-defined]


@torch.no_grad()
def first_non_finite_site(model: Program, guide: Program, x: Tensor) -> str | None:
    """Name of the first sample site, guide before model, that is not finite; None if all are."""
    with pyro.validation_enabled(False):
        begun = _Begun()
        try:
            with begun:
                model_trace, guide_trace = trace_pair(model, guide, x)
        except RuntimeError:
            # A class cannot be drawn with a probability that is NaN.
            return begun.name
        for trace in (guide_trace, model_trace):
            for name, site in sample_sites(trace).items():
                try:
                    log_prob = site["fn"].log_prob(site["value"])
                except RuntimeError:
                    # A covariance that has lost its rank has no root.
                    return name
                # Missing entries of observed values are NaN.
                value_finite = site["is_observed"] or torch.isfinite(site["value"]).all()
                if not (value_finite and torch.isfinite(log_prob).all()):
                    return name
    return None
