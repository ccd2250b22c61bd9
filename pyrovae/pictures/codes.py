"""Pictures of the codes of rows."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyrovae import plots
from pyrovae.evaluation import LatentSummary
from pyrovae.models import Autoencoder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_DIMS = 12


class Codes:
    """The codes of rows.

    Args:
        means: ``(rows, dims)``, posterior means, or the codes of an autoencoder.
        names: of the dimensions, by their site.
        kl: mean KL of each dimension, nats; None where posterior or prior do not factorise.
        asked: the dimensions to show; None takes at most twelve, those with the largest KL, or variance over rows
            where there is no KL of single dimensions.
        title: what the means are.

    Attributes:
        dims: the dimensions to show.
        choice: which these are, for a title.

    Raises:
        ValueError: dimensions that are not there.
    """

    def __init__(
        self, means: Tensor, names: Sequence[str], kl: Tensor | None, asked: Sequence[int] | None, title: str
    ) -> None:
        self.means, self.names, self.kl, self.title = means, list(names), kl, title
        total = len(self.names)
        if asked is not None and not (asked and all(0 <= dim < total for dim in asked)):
            raise ValueError(f"--dims {' '.join(map(str, asked))}: expected latent dimensions, 0 to {total - 1}")
        held, measure = (self.means.var(0, correction=0), "variance over rows") if self.kl is None else (self.kl, "KL")
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
        return plots.latent_space(self.means, labels, method, seed=seed, names=self.names, title=self.title)

    def histograms(self, labels: Tensor | None) -> "Figure":
        """The codes by dimension."""
        return plots.latent_histograms(
            self.means[:, self.dims],
            labels,
            names=self.named(),
            title=f"{self.title}{self.choice}",
        )


def codes_of_pair(summary: LatentSummary, asked: Sequence[int] | None) -> Codes:
    """The posterior means of rows, the sites of several latents side by side.

    Args:
        summary: ``latent_summary`` of the rows.
        asked: the dimensions to show, or None.

    Raises:
        ValueError: dimensions that are not there; no latent with a mean.
    """
    means: list[Tensor] = []
    kl: list[Tensor | None] = []
    names: list[str] = []
    for name, site in summary.sites.items():
        if site.posterior_mean is None:
            continue
        means.append(site.posterior_mean)
        kl.append(None if site.kl_per_dim is None else site.kl_per_dim.mean(0))
        names += [f"{name}[{dim}]" for dim in range(site.posterior_mean.shape[1])]
    if not means:
        missing = "; ".join(f"of {name!r}, {site.activity_missing}" for name, site in summary.sites.items())
        raise ValueError(f"no latent has a code to show: {missing}")
    known = [values for values in kl if values is not None]
    all_kl = torch.cat(known) if len(known) == len(kl) else None
    return Codes(torch.cat(means, 1), names, all_kl, asked, f"posterior means of {len(means[0]):,} test rows")


def codes_of_autoencoder(autoencoder: Autoencoder, x: Tensor, asked: Sequence[int] | None) -> Codes:
    """The codes of rows ``(rows, *data_shape)``; ``codes_of_pair`` says of ``asked``.

    Raises:
        ValueError: dimensions that are not there.
    """
    codes = torch.cat([autoencoder.encode(rows) for rows in x.split(4096)]).flatten(1).cpu()
    return Codes(codes, [f"z[{dim}]" for dim in range(codes.shape[1])], None, asked, f"codes of {len(x):,} test rows")
