"""What one trace of a pair says of a latent site: its KL, its mean, and by which way each was found."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from pyro.distributions import Delta
from pyro.distributions.util import scale_and_mask
from torch import Tensor

from pyrovae.distributions.divergence import closed_form_kl, elementwise
from pyrovae.distributions.layers import before_to_event, without_reshaping
from pyrovae.evaluation.latent_results import OTHER_ORDER

CLOSED_FORM = "closed form"
GIVEN_DRAWS = "closed form given draws of the earlier sites"
MONTE_CARLO = "Monte Carlo"


class RunningMoments:
    """Mean and standard error over draws that come in blocks; memory does not grow with their number."""

    def __init__(self, *, exact: bool) -> None:
        self.exact = exact
        self.count = 0
        self.mean = torch.zeros(())
        self._squares = torch.zeros(())

    def add(self, draws: Tensor) -> None:
        """Take a block ``(draws, ...)``; of exact values the first draw is enough."""
        if self.exact:
            if not self.count:
                self.mean, self.count = draws[0].cpu().double(), 1
            return
        draws = draws.cpu().double()
        # Equal draws have an error of zero, whatever rounding does to their sum.
        new, mean = len(draws), torch.where((draws == draws[0]).all(0), draws[0], draws.mean(0))
        step = mean - self.mean
        total = self.count + new
        self._squares = self._squares + (draws - mean).square().sum(0) + step.square() * (self.count * new / total)
        self.mean, self.count = self.mean + step * (new / total), total

    @property
    def standard_error(self) -> Tensor:
        """Of the mean: zero where it is exact, NaN where one draw says nothing of the spread."""
        if self.exact:
            return torch.zeros_like(self.mean)
        if self.count < 2:
            return torch.full_like(self.mean, math.nan)
        return (self._squares / (self.count * (self.count - 1))).sqrt()


@dataclass(frozen=True)
class SiteTerms:
    """The terms of one latent site for draws of the rows, each ``(draws, rows, ...)``.

    Attributes:
        kl: terms whose mean over draws is the KL of the site.
        kl_per_dim: the same for each number of the site; None where q or p does not factorise.
        mean: of q; None where it has none.
        kl_method: how ``kl`` was found.
        mean_exact: whether ``mean`` is that of q in closed form, and depends on no draw.
        kl_per_dim_missing: why there is no ``kl_per_dim``.
        mean_missing: why there is no ``mean``.
    """

    kl: Tensor
    kl_per_dim: Tensor | None
    mean: Tensor | None
    kl_method: str
    mean_exact: bool
    kl_per_dim_missing: str | None
    mean_missing: str | None


def site_terms(name: str, q_site: Any, p_site: Any, num_draws: int, *, first: bool, chain: bool) -> SiteTerms:
    """The terms of a site from traces of the guide and of the replayed model, over rows repeated ``num_draws`` times.

    Args:
        name: of the site, for messages.
        q_site: the site in the guide's trace.
        p_site: the site in the model's trace.
        num_draws: how often the rows are repeated.
        first: no other latent comes before this one, so that no draw enters its distribution.
        chain: model and guide draw their latents in the same order, so that the KL of a site given the earlier
            ones may be taken in closed form.

    Raises:
        ValueError: a point mass as posterior, whose KL from a density is infinite.
    """
    q, p, value = q_site["fn"], p_site["fn"], q_site["value"]
    event_dim = q.event_dim
    q_factors, p_factors = elementwise(q), elementwise(p)
    if isinstance(without_reshaping(q), Delta):
        raise ValueError(
            f"latent {name!r} of the guide is a point mass (Delta), whose KL from a density is infinite: use a guide "
            "with a spread, or compute the value in the model and the guide without pyro.sample"
        )

    def numbers(terms: Tensor) -> Tensor:
        """Terms of every number of the site as ``(draws, rows, numbers)``."""
        terms = terms.expand(value.shape)
        terms = terms.movedim(terms.dim() - 1 - event_dim, 0)
        return terms.reshape(num_draws, len(terms) // num_draws, -1)

    def row_sums(terms: Tensor) -> Tensor:
        """Terms of the site's batch, plates summed, as ``(draws, rows)``."""
        num_rows = value.shape[value.dim() - 1 - event_dim]
        return terms.reshape(-1, num_rows).sum(0).unflatten(0, (num_draws, -1))

    missing = _why_not_factorised(q if q_factors is None else p) if q_factors is None or p_factors is None else None
    missing = missing if chain else OTHER_ORDER
    per_dim, kl = None, None
    if chain and q_site["mask"] is None and p_site["mask"] is None:
        if missing is None:
            closed = closed_form_kl(q_factors, p_factors)
            per_dim = None if closed is None else numbers(closed)
            kl = None if per_dim is None else per_dim.sum(-1)
        else:
            closed = closed_form_kl(q, p)
            kl = None if closed is None else row_sums(closed)
    method = (CLOSED_FORM if first else GIVEN_DRAWS) if kl is not None else MONTE_CARLO
    if kl is None:
        kl = row_sums(log_prob(q_site) - log_prob(p_site))
        if missing is None and q_factors is not None and p_factors is not None:
            if q_site["mask"] is None and p_site["mask"] is None:
                per_dim = numbers(q_factors.log_prob(value) - p_factors.log_prob(value))
            else:
                missing = "the site has a mask"
    mean, mean_exact, mean_missing = _posterior_mean(q, value)
    return SiteTerms(
        kl=kl,
        kl_per_dim=per_dim,
        mean=None if mean is None else numbers(mean),
        kl_method=method,
        mean_exact=mean_exact and first,
        kl_per_dim_missing=missing,
        mean_missing=mean_missing,
    )


def _posterior_mean(q: Any, value: Tensor) -> tuple[Tensor | None, bool, str | None]:
    """The mean of q, whether it is exact, and why there is none."""
    try:
        mean = q.mean
    except NotImplementedError:
        if not value.is_floating_point():
            return None, False, "its values are labels, without a mean"
        return value, False, None
    if not bool(torch.isfinite(mean).all()):
        return None, False, f"{type(without_reshaping(q)).__name__} has no mean"
    return mean, True, None


def log_prob(site: Any) -> Tensor:
    """The log-density of a site's value, over its batch."""
    return scale_and_mask(site["fn"].log_prob(site["value"]), mask=site["mask"])


def _why_not_factorised(distribution: Any) -> str:
    distribution = before_to_event(distribution)
    size = distribution.event_shape.numel()
    return f"{type(distribution).__name__} is over {size} dimensions at once, and does not factorise over them"
