"""The Gaussian likelihood of real data."""

from collections.abc import Sequence
from math import expm1, isfinite, log
from typing import Literal

import pyro.distributions as dist
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pyrovae.likelihoods.shapes import data_dims


class Normal(nn.Module):
    r"""Independent Gaussian values, the decoder giving their means.

    .. math:: p(x \mid z) = \prod_d \mathrm{Normal}(x_d;\ f_d(z),\ \sigma_d)

    A fixed scale is a hidden weight between reconstruction and KL. One learned scale finds that weight from the
    data (Rybkin, Daniilidis and Levine, 2021), and is the default.

    Args:
        decoder: network from z ``(*batch, latent_dim)`` to means ``(*batch, *data_shape)``.
        scale: standard deviation in the units of the data: a positive number keeps it fixed, ``"shared"``
            learns one for all dimensions, ``"per_dimension"`` one for each.
        data_shape: shape of one row; needed for ``"per_dimension"`` only.
        initial_scale: where a learned scale starts; the standard deviation of the data is a good choice, as a learning
            rate of 0.001 moves it by less than 0.001 a step.
        scale_floor: a learned scale stays above it; without a floor the density of a value that never changes
            grows without bound.

    Raises:
        ValueError: a scale that is not positive, a floor that is not below the initial scale, no data_shape.

    Example:
        >>> import torch
        >>> from pyrovae import networks
        >>> likelihood = Normal(networks.MLP(2, 3), scale="shared", initial_scale=0.5)
        >>> likelihood(torch.zeros(5, 2)).base_dist.scale.shape, round(likelihood.scale.item(), 4)
        (torch.Size([5, 3]), 0.5)
    """

    def __init__(
        self,
        decoder: nn.Module,
        scale: float | Literal["shared", "per_dimension"] = "shared",
        data_shape: Sequence[int] | None = None,
        initial_scale: float = 1.0,
        scale_floor: float = 1e-3,
    ) -> None:
        super().__init__()
        self.decoder = decoder
        self.scale_floor = scale_floor
        self.scale_kind = scale if isinstance(scale, str) else "fixed"
        if isinstance(scale, str):
            if scale not in ("shared", "per_dimension"):
                raise ValueError(f"scale is {scale!r}; expected a positive number, 'shared' or 'per_dimension'")
            if not (0 < scale_floor < initial_scale and isfinite(initial_scale)):
                raise ValueError(
                    f"scale_floor is {scale_floor} and initial_scale {initial_scale}; expected "
                    "0 < scale_floor < initial_scale"
                )
            if scale == "per_dimension" and data_shape is None:
                raise ValueError(
                    "scale is 'per_dimension' without data_shape; give data_shape=data.data_shape, the shape of one row"
                )
            shape = tuple(data_shape or ()) if scale == "per_dimension" else ()
            # The inverse of softplus, so that training starts at initial_scale.
            raw = initial_scale - scale_floor
            self.raw_scale = nn.Parameter(torch.full(shape, raw + log(-expm1(-raw))))
        else:
            if not (scale > 0 and isfinite(scale)):
                raise ValueError(f"scale is {scale}; a standard deviation has to be positive and finite")
            # A plain number: a float32 buffer would lose digits that float64 models need.
            self.fixed_scale = float(scale)

    @property
    def scale(self) -> Tensor:
        """The standard deviation now, in the units of the data: shape () or ``data_shape``."""
        if self.scale_kind == "fixed":
            return torch.tensor(self.fixed_scale, dtype=torch.float64)
        return self.scale_floor + F.softplus(self.raw_scale)

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        """p(x|z): batch ``(*batch,)``, event ``data_shape``."""
        loc = self.decoder(z)
        return dist.Normal(loc, self.scale.to(loc)).to_event(data_dims(loc, z))

    def extra_repr(self) -> str:
        """What the printed module says of the scale."""
        floor = "" if self.scale_kind == "fixed" else f", scale_floor={self.scale_floor}"
        return f"scale={self.scale_kind}{floor}"
