"""Pictures of what a VAE decodes."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyrovae import plots
from pyrovae.data import AnyRows, DataSplits
from pyrovae.models import VAE, Autoencoder
from pyrovae.models.looking import TRAVERSED
from pyrovae.pictures.codes import Codes
from pyrovae.pictures.levels import levels_of_means, of_categories
from pyrovae.plots.images import are_images

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STEPS = 10
_DRAWS = 10
_MANIFOLD = 20
_MOST_CLASSES = 20


class Decoded:
    """A VAE and the test rows that its pictures start from.

    Args:
        vae: the model.
        data: what it was fitted to.
        rows: numbers of test rows.
        device: where the weights are.
    """

    def __init__(self, vae: VAE, data: DataSplits[AnyRows], rows: Sequence[int], device: torch.device) -> None:
        self.vae, self.data, self.device = vae, data, device
        self.rows = list(rows)
        self.x = data.test[torch.tensor(self.rows)].to(device)
        self.of_categories = of_categories(vae, data)
        self.names = row_names(data, self.rows)

    def interpolation(self) -> "Figure":
        """From each row to the next one."""
        title = "mean of p(x|z) on the straight line between the posterior means of two test rows"
        return draw_interpolation(self.vae, self.data, self.rows, self.device, title + self.of_categories)

    def traversals(self, codes: Codes) -> "Figure":
        """Around the first row, or where its posterior has no mean around the prior's medians."""
        try:
            images = self.vae.traverse(self.x[0], codes.dims)
            start = f"the posterior mean of test {self.names[0]}"
        except ValueError:
            images, start = self.vae.traverse(None, codes.dims), "the medians of the prior"
        return plots.traversals(
            images.cpu(),
            names=codes.named(),
            values=[f"{100 * part:.0f} %" for part in TRAVERSED.tolist()],
            value_label="quantile of the prior",
            title=f"mean of p(x|z), one dimension moved, the others at {start}{codes.choice}{self.of_categories}",
            entry_names=self.data.column_names,
        )

    def manifold(self) -> "Figure":
        """The plane of two latent dimensions."""
        images = self.vae.manifold(_MANIFOLD)
        values = self.vae.prior_quantiles((torch.arange(_MANIFOLD) + 0.5) / _MANIFOLD)
        return plots.manifold(
            images.cpu(),
            values.cpu(),
            title=f"mean of p(x|z) on the grid of the prior's quantiles{self.of_categories}",
            entry_names=self.data.column_names,
            levels=levels_of_means(self.vae, self.data),
        )

    def class_samples(self) -> "Figure":
        """New rows like those of each class."""
        labels = self.data.test_labels
        if labels is None:
            raise ValueError(f"{self.data.name} has no labels")
        classes = sorted(set(labels.tolist()))
        shown = classes[:_MOST_CLASSES]
        # Means of images are easier to read; of tables they would hide the spread within a class.
        mean = are_images(self.x)
        images = [self._like(labels == name, mean) for name in shown]
        what = "mean of p(x|z)" if mean else "draw from p(x|z)"
        some = f"; {len(shown)} of {len(classes)} classes" if len(shown) < len(classes) else ""
        return plots.class_samples(
            torch.stack(images).cpu(),
            [str(name) for name in shown],
            title=f"{what}, z from the mixture of q(z|x) over the test rows of a class{some}",
            entry_names=self.data.column_names,
        )

    def _like(self, chosen: Tensor, mean: bool) -> Tensor:
        return self.vae.sample_like(self.data.test[chosen].to(self.device), _DRAWS, mean=mean)

    def variants(self, scale: float) -> "Figure":
        """Each row and its variants."""
        images = self.vae.variants(self.x, _DRAWS, scale=scale)
        wider = "" if scale == 1 else f", {scale:g} times as far from its mean"
        return plots.variants(
            self.x.cpu(),
            images.cpu(),
            names=self.names,
            title=f"test rows, and the mean of p(x|z) at draws z from q(z|x){wider}{self.of_categories}",
            entry_names=self.data.column_names,
        )


def row_names(data: DataSplits[AnyRows], rows: Sequence[int]) -> list[str]:
    """What test rows are called in pictures."""
    labels = data.test_labels
    return [f"row {row}" if labels is None else f"row {row}, class {labels[row].item()}" for row in rows]


def draw_interpolation(
    model: VAE | Autoencoder, data: DataSplits[AnyRows], rows: Sequence[int], device: torch.device, title: str
) -> "Figure":
    """From each test row to the next one."""
    if len(rows) < 2:
        raise ValueError("one row has none to go to: give --rows two or more")
    x, names = data.test[torch.tensor(rows)].to(device), row_names(data, rows)
    images = model.interpolate(x[:-1], x[1:], _STEPS)
    return plots.interpolation(
        images.cpu(),
        x[:-1].cpu(),
        x[1:].cpu(),
        names=[f"{start}\nto {end}" for start, end in pairwise(names)],
        title=title,
        entry_names=data.column_names,
    )
