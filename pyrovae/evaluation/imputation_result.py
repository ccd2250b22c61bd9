"""What was filled in for missing entries, and how far to believe it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyrovae.evaluation.arviz_interface import WHEN_K_HAT, k_hat_limit
from pyrovae.evaluation.summaries import counted

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Imputation:
    """Rows with their missing entries filled in, and how far to believe them.

    Attributes:
        draws: ``(num_samples, rows, *data_shape)`` draws of the missing entries given the observed ones; observed
            entries are as they were.
        mean: ``(rows, *data_shape)``, the mean of each missing entry given the observed ones; of categories the most
            probable index.
        missing: ``(rows, *data_shape)``, which entries were missing.
        ess: effective number of proposals behind a row, between 1 and ``num_proposals``; float64 ``(rows,)``. Draws
            can be no more diverse than it says.
        k_hat: tail index of the weights; above ``k_hat_limit`` (or NaN) neither draws nor mean are to be believed.
        num_proposals: draws from the guide for each row.
    """

    draws: Tensor
    mean: Tensor
    missing: Tensor
    ess: Tensor
    k_hat: Tensor
    num_proposals: int

    @property
    def k_hat_limit(self) -> float:
        """The largest k-hat that is believed, min(1 - 1 / log10(num_proposals), 0.7), or 0 if that is negative."""
        return k_hat_limit(self.num_proposals)

    @property
    def reliable(self) -> Tensor:
        """Whether a row can be believed: k-hat known and within its limit, or nothing missing."""
        return (self.k_hat <= self.k_hat_limit) | ~self.missing.reshape(len(self.missing), -1).any(1).cpu()

    @property
    def unreliable_rows(self) -> Tensor:
        """Numbers of the rows not to be believed, the worst first."""
        rows = (~self.reliable).nonzero().flatten()
        return rows[self.k_hat[rows].nan_to_num(torch.inf).argsort(descending=True, stable=True)]

    def to_frame(self) -> "pd.DataFrame":
        """A table with one line for each row of data."""
        import pandas as pd

        columns = {
            "missing": self.missing.reshape(len(self.missing), -1).sum(1).cpu().numpy(),
            "ess": self.ess.numpy(),
            "k_hat": self.k_hat.numpy(),
            "reliable": self.reliable.numpy(),
        }
        return pd.DataFrame(columns).rename_axis(index="row")

    def summary(self) -> str:
        """What was filled in, and one sentence on how far to believe it."""
        incomplete = self.missing.reshape(len(self.missing), -1).any(1).cpu()
        line = (
            f"{int(self.missing.sum()):,} of {self.missing.numel():,} entries filled in, in {int(incomplete.sum()):,} "
            f"of {counted(len(incomplete), 'row')}; {counted(len(self.draws), 'draw')} from "
            f"{counted(self.num_proposals, 'proposal')} each"
        )
        return f"{line}\n{self.verdict()}" if bool(incomplete.any()) else line

    def verdict(self) -> str:
        """One sentence on how far to believe what was filled in, where anything was."""
        incomplete = self.missing.reshape(len(self.missing), -1).any(1).cpu()
        ess = self.ess[incomplete]
        unreliable = len(self.unreliable_rows)
        if self.k_hat[incomplete].isnan().all():
            verdict = f"they cannot be judged: {WHEN_K_HAT}"
        elif unreliable:
            verdict = (
                f"k-hat is above {self.k_hat_limit:.2f} or unknown in {counted(unreliable, 'row')}: draw more "
                "proposals, or take a better guide"
            )
        else:
            verdict = f"they can be believed: k-hat is at most {self.k_hat_limit:.2f} in every row"
        return f"effective proposals: median {ess.median().item():,.0f}, least {ess.min().item():,.0f}; {verdict}."
