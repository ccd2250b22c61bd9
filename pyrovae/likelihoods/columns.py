"""The likelihood of tables with columns of different kinds."""

from collections.abc import Sequence
from typing import Literal

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrovae.data import check_column_kinds, column_moments, columns_by_kind, num_categories
from pyrovae.distributions import Columns as ColumnsDistribution
from pyrovae.distributions import NegativeBinomial, NormalInUnits
from pyrovae.distributions.arguments import check_called, is_finite_number
from pyrovae.likelihoods.choices import PositiveByLogarithm, ScaleByLogarithm
from pyrovae.likelihoods.counts import bounded_log_rate
from pyrovae.likelihoods.shapes import data_dims, start_decoder
from pyrovae.networks.shapes import as_shape

Scale = Literal["per_column", "predicted"]


class Columns(nn.Module):
    r"""Columns of a table, each of its kind, independent given z.

    .. math::
        p(x \mid z) = \prod_{d\ \mathrm{real}} \mathrm{Normal}(x_d;\ c_d + u_d f_d(z),\ u_d \sigma_d)
        \prod_{d\ \mathrm{count}} \mathrm{NegativeBinomial}(x_d)
        \prod_{d\ \mathrm{binary}} \mathrm{Bernoulli}(x_d;\ \sigma(f_d(z)))
        \prod_{d\ \mathrm{categorical}} \mathrm{Categorical}(x_d;\ \mathrm{softmax}(f_d(z)))

    (Nazabal, Olmos, Ghahramani and Valera, 2020). Real columns and the logarithms of counts have a centre c and a unit
    u, which ``initialize`` takes from the data: the density is in the units of the data whatever they are, and the
    decoder works with numbers around 1. Counts have a mean :math:`m = \exp(c_d + u_d f_d(z))` and a variance
    :math:`m + \alpha_d m^2` with a learned dispersion :math:`\alpha_d` for each column: counts in tables nearly always
    vary more than z explains, a Poisson distribution would give such rows next to no probability, and it is the
    limit :math:`\alpha_d \to 0`.

    Args:
        decoder: network from z ``(*batch, latent_dim)`` to ``(*batch, total)``, total as ``decoder_shape`` says: means
            of the real columns and log means of the counts in their units, log-odds of the binary columns, log-odds of
            each category, and raw scales of the real columns if they are predicted.
        column_kinds: kind of each column, ``"real"``, ``"count"``, ``"binary"`` or ``"categorical(k)"``.
        scale: standard deviation of real columns: ``"per_column"`` learns one for each, ``"predicted"`` lets the
            decoder give it for each row, by softplus.
        scale_floor: the scales stay above it, in units of the column; without a floor the density of a value that
            is often repeated grows without bound. Leave out real columns that are constant: their density grows to the
            bound that the floor sets, and says nothing of the rows.

    Raises:
        ValueError: an unknown kind or scale, a floor outside (0, 1), a decoder with another output.

    Example:
        >>> import torch
        >>> from pyrovae import networks
        >>> kinds = ["real", "count", "categorical(3)"]
        >>> likelihood = Columns(networks.MLP(2, Columns.decoder_shape((3,), kinds)), kinds)
        >>> likelihood(torch.zeros(5, 2)).sample().shape
        torch.Size([5, 3])
    """

    center: Tensor
    unit: Tensor

    def __init__(
        self,
        decoder: nn.Module,
        column_kinds: Sequence[str],
        scale: Scale = "per_column",
        scale_floor: float = 0.01,
    ) -> None:
        super().__init__()
        check_called(type(self).__name__, decoder=decoder)
        self.column_kinds = check_column_kinds(column_kinds)
        if scale not in ("per_column", "predicted"):
            raise ValueError(f"Columns: scale is {scale!r}; expected 'per_column' or 'predicted'")
        if not is_finite_number(scale_floor) or not 0 < scale_floor < 1:
            raise ValueError(
                f"Columns: scale_floor is {scale_floor!r}; expected a number between 0 and 1, in units of a column"
            )
        self.decoder, self.scale_kind, self.scale_floor = decoder, scale, scale_floor
        self.positions = columns_by_kind(self.column_kinds)
        self.sizes = _sizes(self.column_kinds, scale)
        num_real, num_counts = (len(self.positions.get(kind, ())) for kind in ("real", "count"))
        self.register_buffer("center", torch.zeros(num_real + num_counts))
        self.register_buffer("unit", torch.ones(num_real + num_counts))
        # How many of these are of real columns; those of counts follow.
        self.num_real = num_real
        source = "predicted" if scale == "predicted" else "per_dimension"
        # Without columns of the kind there is no parameter, and a shape has no zeros.
        self.scales = ScaleByLogarithm(self, "scale", source, 1.0, scale_floor, (max(num_real, 1),))
        self.dispersions = PositiveByLogarithm(
            self, "dispersion", "per_dimension", 0.1, _DISPERSION_FLOOR, (max(num_counts, 1),), meaning="a dispersion"
        )
        if num_real:
            self.register_parameter(self.scales.parameter, self.scales.new_parameter())
        if num_counts:
            self.register_parameter(self.dispersions.parameter, self.dispersions.new_parameter())

    @classmethod
    def decoder_shape(
        cls, data_shape: Sequence[int], column_kinds: Sequence[str], scale: Scale = "per_column"
    ) -> tuple[int, ...]:
        """``(total,)``, all numbers that the decoder gives for a row."""
        shape = as_shape(data_shape, "data_shape")
        if shape != (len(check_column_kinds(column_kinds)),):
            raise ValueError(
                f"Columns: data_shape is {shape} and column_kinds has {len(column_kinds)} kinds; expected rows of one "
                "number for each kind"
            )
        return (sum(_sizes(column_kinds, scale).values()),)

    @torch.no_grad()
    def initialize(self, rows: Tensor) -> None:
        """Start where every row has the means and frequencies of the columns of these rows.

        Raises:
            ValueError: a real column whose standard deviation is next to the largest or the smallest float.
        """
        start = {}
        for kind, positions in self.positions.items():
            values = rows[:, positions]
            count = (~values.isnan()).sum(0)
            if kind == "real":
                mean, scale = column_moments(values)
                self._check_units(positions, scale)
                self.center[: self.num_real] = mean
                self.unit[: self.num_real] = torch.where(scale > 0, scale, 1.0)
                start[kind] = torch.zeros_like(mean)
                if not self.scales.predicted:
                    getattr(self, self.scales.parameter).fill_(self.scales.start)
            elif kind == "count":
                mean, scale = column_moments(values)
                log_scale = column_moments(values.log1p())[1]
                self.center[self.num_real :] = ((values.nansum(0) + 0.5) / (count + 1)).log()
                self.unit[self.num_real :] = torch.where(log_scale > 0, log_scale, 1.0)
                start[kind] = torch.zeros_like(mean)
                least = mean.clamp(min=1e-3)
                dispersion = ((scale / least).square() - mean / least / least).clamp(0.01, 1.0)
                getattr(self, self.dispersions.parameter).copy_(self.dispersions.unbounded(dispersion))
            elif kind == "binary":
                ones = values.nansum(0)
                start[kind] = ((ones + 0.5) / (count - ones + 0.5)).log()
            else:
                found = values[..., None] == torch.arange(num_categories(kind) or 0).to(values)
                start[kind] = ((found.sum(0) + 0.5) / (found.sum((0, 2))[:, None] + 1)).log().flatten()
        if "scale" in self.sizes:
            start["scale"] = torch.full_like(start["real"], self.scales.start)
        start_decoder(self, torch.cat([start[name] for name in self.sizes]).to(rows))

    def _check_units(self, positions: list[int], units: Tensor) -> None:
        """Refuse columns whose values, some units from their mean, or scales, a part of a unit, floats do not hold."""
        limits = torch.finfo(units.dtype)
        for position, unit in zip(positions, units.tolist(), strict=True):
            if unit and not 100 * limits.tiny < unit < limits.max / 100:
                raise ValueError(
                    f"Columns: column {position}, counted from 0, has a standard deviation of {unit:.3g}, and "
                    f"{units.dtype} holds numbers from {limits.tiny:.0e} to {limits.max:.0e}: give the column in "
                    "another unit, divided by its standard deviation for example"
                )

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        """p(x|z): batch ``(*batch,)``, event ``(columns,)``."""
        output = self.decoder(z)
        total = sum(self.sizes.values())
        if data_dims(output, z, self) != 1 or output.shape[-1] != total:
            raise ValueError(
                f"the decoder gave shape {tuple(output.shape)} for z of shape {tuple(z.shape)}; Columns needs "
                f"(*batch, {total}) for these kinds: build it with output shape Columns.decoder_shape(data_shape, "
                "column_kinds)"
            )
        center, unit = (value.tensor_split([self.num_real]) for value in (self.center, self.unit))
        parts = dict(zip(self.sizes, output.split(list(self.sizes.values()), -1), strict=True))
        groups: dict[str, dist.TorchDistribution] = {}
        for kind, positions in self.positions.items():
            part = parts[kind]
            if kind == "real":
                raw = parts["scale"] if self.scales.predicted else getattr(self, self.scales.parameter)
                groups[kind] = NormalInUnits(center[0], unit[0], part, self.scales.bounded(raw))
            elif kind == "count":
                total_count = 1 / self.dispersions.bounded(getattr(self, self.dispersions.parameter))
                groups[kind] = NegativeBinomial(
                    total_count, logits=bounded_log_rate(center[1] + unit[1] * part) - total_count.log()
                )
            elif kind == "binary":
                groups[kind] = dist.Bernoulli(logits=part)
            else:
                groups[kind] = dist.Categorical(logits=part.unflatten(-1, (len(positions), -1)))
        return ColumnsDistribution(self.column_kinds, groups)

    def extra_repr(self) -> str:
        """What the printed module says of itself."""
        kinds = ", ".join(f"{len(positions)} {kind}" for kind, positions in self.positions.items())
        return f"columns={kinds}; scale={self.scale_kind}, scale_floor={self.scale_floor}"


# Of counts up to millions, a Poisson distribution in all digits of float32; at 0 the total count would be infinite.
_DISPERSION_FLOOR = 1e-9


def _sizes(column_kinds: Sequence[str], scale: Scale) -> dict[str, int]:
    """How many numbers of the decoder's output each kind takes, in order."""
    positions = columns_by_kind(column_kinds)
    sizes = {kind: len(columns) * (num_categories(kind) or 1) for kind, columns in positions.items()}
    return {**sizes, "scale": sizes["real"]} if scale == "predicted" and "real" in sizes else sizes
