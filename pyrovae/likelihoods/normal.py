"""The Gaussian likelihood of real data."""

from collections.abc import Sequence
from typing import Literal

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrovae.distributions import OptimalNormal
from pyrovae.likelihoods.choices import ScaleByLogarithm
from pyrovae.likelihoods.elementwise import LocScale, params_shape
from pyrovae.likelihoods.shapes import data_dims
from pyrovae.likelihoods.starts import entry_mean, entry_variance

# Weight of the newest batch in the running mean squared error, as that of batch normalisation.
_MOMENTUM = 0.1


class Normal(LocScale):
    r"""Independent Gaussian values, the decoder giving their means.

    .. math:: p(x \mid z) = \prod_d \mathrm{Normal}(x_d;\ f_d(z),\ \sigma_d)

    A fixed scale is a hidden weight between reconstruction and KL. One learned scale finds that weight from the
    data, and is the default. ``"optimal"`` needs no gradient steps for it (Rybkin, Daniilidis and Levine, 2021,
    sigma-VAE): in training each batch is scored at the scale that is best for it, its root mean squared error,

    .. math:: \sigma^2 = \overline{(x_d - f_d(z))^2}

    over all its rows, draws and entries; where the density is highest it does not change with the scale, so the
    gradient of f is right with the scale held constant. A running mean of :math:`\sigma^2` is kept in the buffer
    ``mean_squared_error``; in evaluation mode its root is a fixed scale and p(x|z) a density of each row.

    Args:
        decoder: network from z ``(*batch, latent_dim)`` to means ``(*batch, *data_shape)``; with a predicted scale to
            means and raw scales ``(*batch, 2, *data_shape)``.
        scale: standard deviation in the units of the data: a positive number keeps it fixed, ``"shared"`` learns one
            for all entries, ``"per_dimension"`` one for each, ``"optimal"`` computes one for all, and ``"predicted"``
            takes one for each entry and z from the decoder.
        data_shape: shape of one row; needed for ``"per_dimension"`` only.
        initial_scale: where a scale that is not fixed starts; the standard deviation of the data is a good choice, as
            a learning rate of 0.001 moves a learned one by 0.3 percent a step.
        scale_floor: a scale that is not fixed stays above it; without a floor the density of a value that never
            changes grows without bound.

    Raises:
        ValueError: a scale that is not positive, a floor that is not below the initial scale, no data_shape, a
            decoder's output of another shape.

    Example:
        >>> import torch
        >>> from pyrovae import networks
        >>> likelihood = Normal(networks.MLP(2, 3), scale="shared", initial_scale=0.5)
        >>> likelihood(torch.zeros(5, 2)).base_dist.scale.shape, round(likelihood.scale.item(), 4)
        (torch.Size([5, 3]), 0.5)
    """

    mean_squared_error: Tensor
    num_batches: Tensor

    def __init__(
        self,
        decoder: nn.Module,
        scale: float | Literal["shared", "per_dimension", "optimal", "predicted"] = "shared",
        data_shape: Sequence[int] | None = None,
        initial_scale: float = 1.0,
        scale_floor: float = 1e-3,
    ) -> None:
        sources = ("shared", "per_dimension", "optimal", "predicted")
        choice = ScaleByLogarithm(self, "scale", scale, initial_scale, scale_floor, data_shape, sources)
        super().__init__(decoder, data_shape, choice)
        self.optimal = choice.source == "optimal"
        self.scale_floor = scale_floor
        if self.optimal:
            self.register_buffer("mean_squared_error", torch.tensor(initial_scale**2))
            self.register_buffer("num_batches", torch.tensor(0))

    @classmethod
    def decoder_shape(
        cls,
        data_shape: Sequence[int],
        scale: float | Literal["shared", "per_dimension", "optimal", "predicted"] = "shared",
    ) -> tuple[int, ...]:
        """Output shape that the decoder needs."""
        return params_shape(data_shape, 1 + (scale == "predicted"))

    def value_of(self, name: str) -> Tensor:
        """A parameter as it is now, shape () or ``data_shape``."""
        if self.optimal:
            return self.mean_squared_error.sqrt().clamp(min=self.scale_floor)
        return super().value_of(name)

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        """p(x|z): batch ``(*batch,)``, event ``data_shape``."""
        loc, scale = self.entries(z)
        if self.optimal and self.training:
            return OptimalNormal(loc, scale, data_dims(loc, z, self), self.scale_floor, self._record)
        return dist.Normal(loc, scale).to_event(data_dims(loc, z, self))

    def initialize(self, rows: Tensor) -> None:
        """Start at the mean of each entry, and at the standard deviation around it.

        No standard deviation starts below 0.03 of the root mean square of them all, and that of an entry that hardly
        ever changes not below 0.1 of it: the means that a new network gives are further off. So columns in units far
        smaller than the others' start too wide: divide columns by their standard deviations, or use
        ``likelihoods.Columns``, which does.
        """
        self.start_at(entry_mean(rows), scale=self.spread(rows, "scale"))
        if self.optimal:
            self.mean_squared_error.copy_(entry_variance(rows).mean())
            self.num_batches.zero_()

    @torch.no_grad()
    def _record(self, mean_square: Tensor) -> None:
        """A plain mean over the first batches, so that the start is forgotten, then a running one."""
        self.num_batches += 1
        weight = (1 / self.num_batches).clamp(min=_MOMENTUM)
        self.mean_squared_error += weight.to(self.mean_squared_error) * (mean_square - self.mean_squared_error)
