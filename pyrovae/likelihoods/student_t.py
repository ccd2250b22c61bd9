"""The Student t likelihood of real data with heavy tails."""

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrovae.distributions import StudentT as StudentTDistribution
from pyrovae.likelihoods.choices import PositiveByLogarithm, ScaleByLogarithm, Source
from pyrovae.likelihoods.elementwise import Elementwise, params_shape
from pyrovae.likelihoods.shapes import data_dims
from pyrovae.likelihoods.starts import entry_mean

# Above it the mean and the variance exist.
_DF_FLOOR = 2.0


class StudentT(Elementwise):
    r"""Independent Student t values, the decoder giving their locations: outliers pull it little.

    .. math:: p(x \mid z) = \prod_d \mathrm{StudentT}(x_d;\ \nu_d,\ f_d(z),\ s_d)

    Args:
        decoder: network from z ``(*batch, latent_dim)`` to locations ``(*batch, *data_shape)``; with P - 1 predicted
            parameters to ``(*batch, P, *data_shape)``: locations, raw degrees of freedom, raw scales.
        df: degrees of freedom :math:`\nu`: a positive number keeps them fixed (reconstructions need more than 1, for
            the mean to exist), ``"shared"`` learns one for all entries, ``"per_dimension"`` one for each,
            ``"predicted"`` takes them from the decoder. Where they are not fixed they stay above 2.
        scale: s in the units of the data, chosen in the same way; the standard deviation is
            :math:`s \sqrt{\nu / (\nu - 2)}`.
        data_shape: shape of one row; needed for ``"per_dimension"`` only.
        initial_df: where degrees of freedom that are not fixed start.
        initial_scale: where a scale that is not fixed starts.
        scale_floor: a scale that is not fixed stays above it.

    Raises:
        ValueError: a scale or degrees of freedom that are not positive, no data_shape, a decoder's output of another
            shape.

    Example:
        >>> import torch
        >>> from pyrovae import networks
        >>> likelihood = StudentT(networks.MLP(2, 3), df="shared", initial_df=5.0)
        >>> round(likelihood.df.item(), 4)
        5.0
    """

    def __init__(
        self,
        decoder: nn.Module,
        df: float | Source = "shared",
        scale: float | Source = "shared",
        data_shape: Sequence[int] | None = None,
        initial_df: float = 10.0,
        initial_scale: float = 1.0,
        scale_floor: float = 1e-3,
    ) -> None:
        super().__init__(
            decoder,
            data_shape,
            PositiveByLogarithm(
                self,
                "df",
                df,
                initial_df,
                _DF_FLOOR,
                data_shape,
                meaning="a number of degrees of freedom",
            ),
            ScaleByLogarithm(self, "scale", scale, initial_scale, scale_floor, data_shape),
        )

    @classmethod
    def decoder_shape(
        cls, data_shape: Sequence[int], df: float | Source = "shared", scale: float | Source = "shared"
    ) -> tuple[int, ...]:
        """Output shape that the decoder needs."""
        return params_shape(data_shape, 1 + (df == "predicted") + (scale == "predicted"))

    @property
    def df(self) -> Tensor:
        """The degrees of freedom now: shape () or ``data_shape``."""
        return self.value_of("df")

    @property
    def scale(self) -> Tensor:
        """The scale now, in the units of the data: shape () or ``data_shape``."""
        return self.value_of("scale")

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        """p(x|z): batch ``(*batch,)``, event ``data_shape``."""
        loc, df, scale = self.entries(z)
        return StudentTDistribution(df, loc, scale).to_event(data_dims(loc, z, self))

    def initialize(self, rows: Tensor) -> None:
        """Start at the mean of each entry, and the scale that has the standard deviation where ``Normal`` starts.

        For fewer than 3 degrees of freedom it is the scale for 3.
        """
        choice = self.choices["df"]
        df = choice.bounded(torch.tensor(choice.start)) if choice.number is None else torch.tensor(choice.number)
        # A variance exists above 2 only; below 3 it says little of the scale.
        shrink = (1 - 2 / df.clamp(min=3.0)).sqrt().item()
        self.start_at(entry_mean(rows), scale=shrink * self.spread(rows, "scale"))
