"""The pictures of a run's latents that its report shows."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyrovae import plots
from pyrovae.evaluation import LatentSummary, latent_summary
from pyrovae.models import VAE, Autoencoder
from pyrovae.pictures.codes import Codes, codes_of_autoencoder, codes_of_pair
from pyrovae.pictures.decoded import Decoded, draw_interpolation
from pyrovae.pictures.drawing import chosen_rows, held, why_not
from pyrovae.programs import isolated_rng
from pyrovae.runs import ModelRows, Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# As many as ``draw_pictures`` takes.
_ROWS = 2000
# So many tell a collapsed dimension from an active one with 180 rows, also where posterior means are drawn.
_DRAWS = 50
_MOST_DIMS = 6


@dataclass(frozen=True, eq=False)
class LatentOverview:
    """What a run's latents look like, each picture drawn when it is asked for; the run stays as it is.

    Each method raises a ``ValueError`` that says why it does not apply to the run.

    Attributes:
        run: the model with its weights.
        rows: what it was fitted to; the first 2,000 test rows at most are encoded.
        device: where the weights are.
        seed: of all draws.
    """

    run: Run
    rows: ModelRows
    device: torch.device
    seed: int = 0

    @property
    def labels(self) -> Tensor | None:
        """Of the rows that are encoded."""
        labels = self.rows.data.test_labels
        return None if labels is None else labels[:_ROWS]

    @cached_property
    def summary(self) -> LatentSummary:
        """KL by row and dimension, and which dimensions the data move; an autoencoder has none."""
        if self.run.autoencoder is not None:
            raise ValueError("an autoencoder has no distribution of codes, so there is no KL")
        return latent_summary(
            self.run.model, self.run.guide, self._encoded(), num_samples=_DRAWS, aggregate=False, seed=self.seed
        )

    @cached_property
    def codes(self) -> Codes:
        """Posterior means, or what the encoder of an autoencoder gives."""
        if self.run.autoencoder is None:
            return codes_of_pair(self.summary, None)
        with torch.no_grad(), held(self.run):
            return codes_of_autoencoder(self.run.autoencoder, self._encoded(), None)

    def space(self) -> "Figure":
        """The codes in a plane, in the colours of their classes."""
        if len(self.codes.names) == 1:
            raise ValueError("the latent has one dimension, and its histogram shows all of it")
        return self.codes.space(self.labels, "pca", self.seed)

    def histograms(self) -> "Figure":
        """The codes by dimension, the classes stacked; six dimensions at most, as each takes its time to draw."""
        dims, total = self.codes.dims[:_MOST_DIMS], len(self.codes.names)
        ordered_by = "variance over rows" if self.codes.kl is None else "KL"
        some = f": {len(dims)} of {total} dimensions, those with the largest {ordered_by}" if len(dims) < total else ""
        names = self.codes.named()[: len(dims)]
        return plots.latent_histograms(
            self.codes.means[:, dims], self.labels, names=names, title=f"{self.codes.title}{some}"
        )

    def kl(self) -> "Figure":
        """The KL of each dimension."""
        return plots.kl_per_dimension(self.summary)

    def interpolation(self) -> "Figure":
        """What is decoded between test rows."""
        module, data = self.run.module, self.rows.data
        if not isinstance(module, VAE | Autoencoder):
            raise ValueError(why_not(self.run))
        if len(data.test) < 2:
            raise ValueError("there is one test row, and none to go to from it")
        chosen = chosen_rows(data.test_labels, len(data.test))
        # One class alone is no reason to have one row alone.
        chosen = chosen if len(chosen) > 1 else chosen_rows(None, len(data.test))
        if isinstance(module, VAE):
            return self._seeded(Decoded(module, data, chosen, self.device).interpolation)
        title = "decoded on the straight line between the codes of two test rows"
        return self._seeded(lambda: draw_interpolation(module, data, chosen, self.device, title))

    def _seeded(self, draw: "Callable[[], Figure]") -> "Figure":
        with torch.no_grad(), isolated_rng(self.seed, self.device), held(self.run):
            return draw()

    def _encoded(self) -> Tensor:
        return self.rows.test[:_ROWS].to(self.device)
