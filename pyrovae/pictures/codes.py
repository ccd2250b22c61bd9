"""Pictures of the codes of rows."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyrovae import plots
from pyrovae.evaluation import LatentSummary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_DIMS = 12


class Codes:
    """The codes of rows, the sites of several latents side by side.

    Attributes:
        means: ``(rows, dims)``, posterior means.
        names: of the dimensions, by their site.
        kl: mean KL of each dimension, nats; None where posterior or prior do not factorise.
        dims: the dimensions to show.
        choice: which these are, for a title.
    """

    def __init__(self, summary: LatentSummary, asked: Sequence[int] | None) -> None:
        """Join the sites and choose dimensions.

        Args:
            summary: ``latent_summary`` of the rows.
            asked: the dimensions to show; None takes at most twelve, those with the largest KL, or variance over rows
                where there is no KL of single dimensions.

        Raises:
            ValueError: dimensions that are not there; no latent with a mean.
        """
        means, kl, self.names = [], [], []
        for name, site in summary.sites.items():
            if site.posterior_mean is None:
                continue
            means.append(site.posterior_mean)
            kl.append(None if site.kl_per_dim is None else site.kl_per_dim.mean(0))
            self.names += [f"{name}[{dim}]" for dim in range(site.posterior_mean.shape[1])]
        if not means:
            missing = "; ".join(f"of {name!r}, {site.activity_missing}" for name, site in summary.sites.items())
            raise ValueError(f"no latent has a code to show: {missing}")
        self.means = torch.cat(means, 1)
        known = [values for values in kl if values is not None]
        self.kl = torch.cat(known) if len(known) == len(kl) else None
        total = len(self.names)
        if asked is not None and not (asked and all(0 <= dim < total for dim in asked)):
            raise ValueError(f"--dims {' '.join(map(str, asked))}: expected latent dimensions, 0 to {total - 1}")
        held, measure = (self.means.var(0), "variance over rows") if self.kl is None else (self.kl, "KL")
        ranked: list[int] = held.argsort(descending=True)[:_MOST_DIMS].tolist()
        self.dims = ranked if asked is None else list(asked)
        some = f", {_MOST_DIMS} of {total} dimensions, those with the largest {measure}"
        self.choice = some if asked is None and total > _MOST_DIMS else ""

    def named(self) -> list[str]:
        """The names of the chosen dimensions, with their KL."""
        if self.kl is None:
            return [self.names[dim] for dim in self.dims]
        return [f"{self.names[dim]}, KL {self.kl[dim].item():.2f} nats" for dim in self.dims]

    def space(self, labels: Tensor | None, method: plots.ProjectionMethod, seed: int) -> "Figure":
        """The codes as points of a plane."""
        return plots.latent_space(self.means, labels, method, seed=seed, names=self.names, title=self._title())

    def histograms(self, labels: Tensor | None) -> "Figure":
        """The codes by dimension."""
        return plots.latent_histograms(
            self.means[:, self.dims],
            labels,
            names=self.named(),
            title=f"{self._title()}{self.choice}",
        )

    def _title(self) -> str:
        return f"posterior means of {len(self.means):,} test rows"
