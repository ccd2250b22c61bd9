"""What is said of the latents of a pair."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from pyrovae.evaluation.log_mean import error_of_mean, standard_error
from pyrovae.evaluation.summaries import counted

if TYPE_CHECKING:
    import pandas as pd

# Why a latent has no KL of its own.
OTHER_ORDER = "model and guide draw their latents in different orders, so that the term of one is no KL"
# Above this part of log N the mutual information says only that the rows are told apart.
_NEAR_CEILING = 0.95


@dataclass(frozen=True)
class SiteSummary:
    """One latent site: its KL, and which of its numbers the data move.

    All tensors are float64; KL is in nats. ``dims`` are the numbers that the site has for one row.

    Attributes:
        kl: ``(rows,)``, KL of the site's posterior from its prior, given the sites before it. Where model and guide
            draw their latents in different orders it is the site's term of the sum, and no KL: it may be negative.
        kl_standard_error: ``(rows,)``, its Monte Carlo standard error; zero in closed form.
        kl_method: ``"closed form"``, ``"closed form given draws of the earlier sites"`` or ``"Monte Carlo"``.
        kl_per_dim: ``(rows, dims)``, the parts of ``kl``; None where posterior or prior do not factorise.
        kl_per_dim_standard_error: ``(rows, dims)``, or None.
        kl_per_dim_missing: why there is no ``kl_per_dim``, or None.
        posterior_mean: ``(rows, dims)``, the mean of q(z|x); None where it has none.
        posterior_mean_standard_error: ``(rows, dims)``, zero in closed form, or None.
        activity: ``(dims,)``, variance over rows of the posterior mean, in squared units of z, or None.
        activity_standard_error: ``(dims,)``, with the rows as a sample of all possible rows, or None.
        activity_draws_error: ``(dims,)``, Monte Carlo standard error of ``activity`` with these rows held fixed, zero
            in closed form, or None.
        prior_variance: ``(dims,)``, variance of the prior, or None; the mean over rows where it depends on them.
        active: ``(dims,)``, whether ``activity`` is above the threshold times ``prior_variance`` by more than two of
            ``activity_draws_error``, or None.
        undecided: ``(dims,)``, whether it is within two of these errors of that, or None.
        activity_missing: why there is no ``activity``, or no ``active``, or None.
    """

    kl: Tensor
    kl_standard_error: Tensor
    kl_method: str
    kl_per_dim: Tensor | None
    kl_per_dim_standard_error: Tensor | None
    kl_per_dim_missing: str | None
    posterior_mean: Tensor | None
    posterior_mean_standard_error: Tensor | None
    activity: Tensor | None
    activity_standard_error: Tensor | None
    activity_draws_error: Tensor | None
    prior_variance: Tensor | None
    active: Tensor | None
    undecided: Tensor | None
    activity_missing: str | None


@dataclass(frozen=True)
class LatentSummary:
    """What the latents hold about the rows, in nats; all tensors are float64.

    Attributes:
        kl: ``(rows,)``, KL(q(z|x) || p(z)), the sum over sites.
        kl_standard_error: ``(rows,)``, its Monte Carlo standard error; zero in closed form.
        kl_to_aggregate: ``(rows,)``, KL(q(z|x) || q(z)) with q(z) the mixture of all rows, at most log(rows); its
            mean is the mutual information. None if it was not asked for.
        kl_to_aggregate_standard_error: ``(rows,)``, or None.
        marginal_kl: (), KL(q(z) || p(z)), mean KL less mutual information, or None.
        marginal_kl_standard_error: (), or None.
        sites: by name, in the order of the guide.
        num_samples: draws for each row.
        threshold: activity above which a dimension counts as active, in variances of its prior.
    """

    kl: Tensor
    kl_standard_error: Tensor
    kl_to_aggregate: Tensor | None
    kl_to_aggregate_standard_error: Tensor | None
    marginal_kl: Tensor | None
    marginal_kl_standard_error: Tensor | None
    sites: dict[str, SiteSummary]
    num_samples: int
    threshold: float

    @property
    def mutual_information(self) -> Tensor | None:
        """I(x; z) under q, with x one of these rows: shape (), at most ``log(rows)``."""
        return None if self.kl_to_aggregate is None else self.kl_to_aggregate.mean()

    @property
    def mutual_information_standard_error(self) -> Tensor | None:
        """Monte Carlo standard error of ``mutual_information``, with these rows held fixed."""
        errors = self.kl_to_aggregate_standard_error
        return None if errors is None else error_of_mean(errors)

    @property
    def active_units(self) -> int | None:
        """Number of active dimensions in all sites; None where a site has no ``active``."""
        return _number([site.active for site in self.sites.values()])

    @property
    def undecided_units(self) -> int | None:
        """Number of dimensions of which the draws do not tell; None where a site has no ``active``."""
        return _number([site.undecided for site in self.sites.values()])

    def to_frame(self) -> "pd.DataFrame":
        """A table with one line for each latent dimension: KL (mean over rows), activity, their errors."""
        import pandas as pd

        lines = []
        for name, site in self.sites.items():
            columns = {
                "kl": None if site.kl_per_dim is None else site.kl_per_dim.mean(0),
                "kl_standard_error": None
                if site.kl_per_dim_standard_error is None
                else error_of_mean(site.kl_per_dim_standard_error),
                "activity": site.activity,
                "activity_standard_error": site.activity_standard_error,
                "activity_draws_error": site.activity_draws_error,
                "active": site.active,
                "undecided": site.undecided,
            }
            dims = next((len(column) for column in columns.values() if column is not None), 0)
            for dim in range(dims):
                line: dict[str, Any] = {"site": name, "dim": dim}
                lines.append(
                    line | {key: None if value is None else value[dim].item() for key, value in columns.items()}
                )
        return pd.DataFrame(lines)

    def summary(self) -> str:
        """A table of means over rows, a line for each site, and one sentence on collapse."""
        rows = len(self.kl)
        spread = f"{standard_error(self.kl).item():.3f}"
        lines = [
            f"{'nats per row':<22}{'mean':>12}{'se (rows)':>12}{'se (draws)':>12}",
            f"{'KL(q(z|x) || p(z))':<22}{self.kl.mean().item():>12.3f}{spread:>12}"
            f"{error_of_mean(self.kl_standard_error).item():>12.4f}",
        ]
        information, error = self.mutual_information, self.mutual_information_standard_error
        if information is not None and error is not None:
            lines.append(f"{'I(x; z)':<22}{information.item():>12.3f}{'':>12}{error.item():>12.4f}")
        if self.marginal_kl is not None and self.marginal_kl_standard_error is not None:
            lines.append(
                f"{'KL(q(z) || p(z))':<22}{self.marginal_kl.item():>12.3f}{'':>12}"
                f"{self.marginal_kl_standard_error.item():>12.4f}"
            )
        lines.append(
            f"{counted(rows, 'row')}, {counted(self.num_samples, 'draw')} each; I(x; z) is at most log({rows}) = "
            f"{math.log(rows):.3f}"
        )
        lines += [_site_line(name, site) for name, site in self.sites.items()]
        return "\n".join([*lines, self.verdict()])

    def verdict(self) -> str:
        """One sentence on collapse: how many dimensions the data move, and of how many the draws do not tell."""
        missing = {name: site.activity_missing for name, site in self.sites.items() if site.activity_missing}
        if missing:
            name, reason = next(iter(missing.items()))
            return f"Active dimensions cannot be counted: of latent {name!r}, {reason}."
        active, undecided = self.active_units, self.undecided_units
        total = sum(len(site.active) for site in self.sites.values() if site.active is not None)
        rule = f"the posterior mean varies over rows with a variance above {self.threshold:g} times the prior's"
        if not active and not undecided:
            return f"Collapsed: in none of {total} latent dimensions {rule}."
        sentence = (
            f"{active} of {total} latent dimensions are active: there {rule}"
            if active
            else f"In none of {total} latent dimensions is it sure that {rule}"
        )
        if undecided:
            sentence += (
                f"; in {undecided} of {'the others' if active else 'them'} the draws do not tell: there it is within "
                f"two Monte Carlo errors of that, and more draws help (num_samples above {self.num_samples:,})"
            )
        information = self.mutual_information
        if information is not None and information > _NEAR_CEILING * math.log(len(self.kl)):
            sentence += "; I(x; z) is at its ceiling, log of the number of rows: more rows are needed to measure it"
        return sentence + "."


def _number(of_sites: list[Tensor | None]) -> int | None:
    known = [of_site for of_site in of_sites if of_site is not None]
    return sum(int(of_site.sum()) for of_site in known) if len(known) == len(of_sites) else None


def _site_line(name: str, site: SiteSummary) -> str:
    active = "activity unknown" if site.active is None else f"{int(site.active.sum())} of {len(site.active)} active"
    if site.undecided is not None and site.undecided.any():
        active += f", {int(site.undecided.sum())} cannot be told"
    term = "term of the KL" if site.kl_per_dim_missing == OTHER_ORDER else "KL"
    line = f"latent {name!r}: {term} {site.kl.mean().item():.3f} ({site.kl_method}), {active}"
    if site.kl_per_dim is None:
        return f"{line}; no KL per dimension: {site.kl_per_dim_missing}"
    per_dim = site.kl_per_dim.mean(0)
    return f"{line}; KL per dimension {per_dim.min().item():.3f} to {per_dim.max().item():.3f}"
