"""Covariates behind the input of a network, brought to numbers around 1."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pyrovae.data import check_column_kinds, column_moments


class CovariateUnits(nn.Module):
    """The last numbers of an input are covariates c; real ones and counts become (c - center) / unit.

    Centres are 0 and units 1 until ``initialize_covariates`` finds them; they are stored with the weights. Binary
    covariates, as those of a class, stay as they are.

    Args:
        kinds: kind of each covariate, ``"real"``, ``"count"`` or ``"binary"``.

    Shape:
        ``(*batch, numbers + covariate_dim)``, and the same again.

    Example:
        >>> units = CovariateUnits(["real", "binary"])
        >>> units.initialize_covariates(torch.tensor([[30_000.0, 1.0], [50_000.0, 0.0]]))
        >>> units(torch.tensor([0.5, 60_000.0, 1.0]))
        tensor([0.5000, 2.0000, 1.0000])
    """

    center: Tensor
    unit: Tensor

    def __init__(self, kinds: Sequence[str]) -> None:
        super().__init__()
        self.kinds = check_column_kinds(kinds)
        self.scaled = [position for position, kind in enumerate(self.kinds) if kind in ("real", "count")]
        self.register_buffer("center", torch.zeros(len(self.kinds)))
        self.register_buffer("unit", torch.ones(len(self.kinds)))

    @torch.no_grad()
    def initialize_covariates(self, c: Tensor) -> None:
        """Take means and standard deviations from the covariates ``(rows, covariate_dim)`` of the training rows."""
        mean, spread = column_moments(c[:, self.scaled])
        self.center[self.scaled] = mean.to(self.center)
        self.unit[self.scaled] = torch.where(spread > 0, spread, 1.0).to(self.unit)

    def forward(self, x: Tensor) -> Tensor:
        """The input with its covariates in these units."""
        numbers, c = x.tensor_split([-len(self.kinds)], -1)
        return torch.cat([numbers, (c - self.center) / self.unit], -1)
