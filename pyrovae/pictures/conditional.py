"""Pictures of a VAE that is given the class."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from pyrovae import plots
from pyrovae.models import ConditionalVAE
from pyrovae.pictures.decoded import row_names
from pyrovae.runs import ModelRows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DRAWS = 10
_MOST_CLASSES = 20


class Conditional:
    """A conditional VAE of rows and their classes, and the test rows that its pictures start from.

    Args:
        vae: the model.
        rows: what it was fitted to, joined.
        names: of the classes.
        chosen: numbers of test rows.
        device: where the weights are.
    """

    def __init__(
        self, vae: ConditionalVAE, rows: ModelRows, names: Sequence[str], chosen: Sequence[int], device: torch.device
    ) -> None:
        self.vae, self.data, self.device = vae, rows.data, device
        self.chosen, self.joined = list(chosen), rows.test[torch.tensor(chosen)].to(device)
        self.classes = [name.removeprefix("label=") for name in names][:_MOST_CLASSES]
        self.one_hot = torch.eye(len(names), device=device)[: len(self.classes)]
        self.some = f"; {len(self.classes)} of {len(names)} classes" if len(self.classes) < len(names) else ""

    def class_samples(self) -> "Figure":
        """New rows of each class."""
        images = [self.vae.sample(c.expand(_DRAWS, -1), mean=True) for c in self.one_hot]
        return plots.class_samples(
            torch.stack(images).cpu(),
            self.classes,
            title=f"mean of p(x|z, c), z from the prior{self.some}",
            entry_names=self.data.column_names,
        )

    def variants(self) -> "Figure":
        """Each row as one of every class."""
        x, c = self.vae.split(self.joined)
        images = [self.vae.variants(x, c, new.expand(len(x), -1)) for new in self.one_hot]
        return plots.variants(
            x.cpu(),
            torch.stack(images).cpu(),
            names=row_names(self.data, self.chosen),
            variant_names=[f"as {name}" for name in self.classes],
            title=f"test rows, and the mean of p(x|z, c) for each class c, z the mean of q(z|x, own class){self.some}",
            entry_names=self.data.column_names,
        )
