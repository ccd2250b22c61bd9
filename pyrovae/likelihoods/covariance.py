"""What Gaussian likelihoods with a covariance over the whole row share."""

from abc import abstractmethod
from collections.abc import Sequence
from math import prod
from typing import Literal, get_args

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrovae.distributions import Reshaped
from pyrovae.distributions.arguments import check_called
from pyrovae.likelihoods.choices import ScaleByLogarithm
from pyrovae.likelihoods.shapes import data_dims, split_params, start_decoder
from pyrovae.likelihoods.starts import entry_mean, entry_variance
from pyrovae.networks.shapes import as_shape

Covariance = Literal["shared", "predicted"]


class CovarianceNormal(nn.Module):
    """Means from the decoder, and for each entry of a row a vector of raw numbers that make the covariance.

    They are learned, in the parameter ``raw_covariance`` of shape ``(numbers, D)``, or predicted.
    """

    raw_covariance: nn.Parameter | None

    def __init__(
        self,
        decoder: nn.Module,
        data_shape: Sequence[int],
        covariance: Covariance,
        numbers: int,
        initial_scale: float,
        scale_floor: float,
    ) -> None:
        super().__init__()
        check_called(type(self).__name__, decoder=decoder)
        if covariance not in get_args(Covariance):
            raise ValueError(f"{type(self).__name__}: covariance is {covariance!r}; expected 'shared' or 'predicted'")
        self.decoder, self.data_shape = decoder, as_shape(data_shape, "data_shape")
        self.covariance, self.numbers = covariance, numbers
        self.scales = ScaleByLogarithm(self, "scale", covariance, initial_scale, scale_floor, None)
        shared = covariance == "shared"
        raw = nn.Parameter(torch.zeros(numbers, prod(self.data_shape))) if shared else None
        self.register_parameter("raw_covariance", raw)

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        """p(x|z): batch ``(*batch,)``, event ``data_shape``."""
        output, part = self.decoder(z), type(self).__name__
        num_params = 1 if self.covariance == "shared" else 1 + self.numbers
        data_dims(output, z, self)
        params = (output,) if num_params == 1 else split_params(output, z, num_params, self)
        if params[0].shape[z.dim() - 1 :] != self.data_shape:
            raise ValueError(
                f"{part}: the decoder gave shape {tuple(output.shape)} for z of shape {tuple(z.shape)}, and data_shape "
                f"is {self.data_shape}: build the decoder with output shape {part}.decoder_shape(data_shape, ...)"
            )
        loc, *planes = (param.flatten(z.dim() - 1) for param in params)
        raw = self.raw_covariance if self.raw_covariance is not None else torch.stack(planes, dim=-2)
        return Reshaped(self.vector(loc, raw), self.data_shape)

    @abstractmethod
    def vector(self, loc: Tensor, raw: Tensor) -> dist.TorchDistribution:
        """The distribution of a flattened row, from means ``(*batch, D)`` and raw numbers ``(..., numbers, D)``."""

    @abstractmethod
    def raw_start(self, raw_scale: Tensor) -> Tensor:
        """Raw numbers ``(numbers, D)`` at which the entries have the scales of these raw scales ``(D,)``."""

    @torch.no_grad()
    def initialize(self, rows: Tensor) -> None:
        """Start at mean and standard deviation of each entry, without correlations that a decoder would give."""
        mean = entry_mean(rows)
        scale = self.scales.inside(entry_variance(rows).sqrt().flatten())
        raw = self.raw_start(self.scales.unbounded(scale) - self.scales.start)
        if self.raw_covariance is not None:
            self.raw_covariance.copy_(raw)
            start_decoder(self, mean)
        else:
            start_decoder(self, torch.cat([mean[None], raw.to(mean).reshape(-1, *self.data_shape)]))

    def bounded_scale(self, raw_scale: Tensor) -> Tensor:
        """Scales; ``initial_scale`` at 0."""
        return self.scales.bounded(raw_scale + self.scales.start)

    def extra_repr(self) -> str:
        """What the printed module says of itself."""
        return f"data_shape={self.data_shape}, covariance={self.covariance}, scale_floor={self.scales.floor:g}"
