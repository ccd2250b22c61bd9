"""An encoder of tables with columns of different kinds."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pyrovae.data import check_column_kinds, column_moments, columns_by_kind, num_categories
from pyrovae.networks.activations import Activation
from pyrovae.networks.mlp import MLP
from pyrovae.networks.normalization import Normalization
from pyrovae.networks.shapes import split_batch


class ColumnEncoder(nn.Module):
    """A multilayer perceptron on the columns of a table, each brought to numbers around 1; NaN is a missing entry.

    Real columns are standardised, and counts after log(1 + x), with the means and standard deviations that
    ``initialize`` finds; binary columns become -1 and 1, categories one-hot vectors. A missing entry is zero in each.

    Args:
        column_kinds: kind of each column, ``"real"``, ``"count"``, ``"binary"`` or ``"categorical(k)"``.
        output_shape: shape of one output, for example ``2 * latent_dim``.
        hidden_dims: widths of the hidden layers.
        activation: name of the function after each hidden layer.
        normalization: name of the normalisation before it.
        missing_indicators: tell the network which entries are observed, by a number for each column.

    Shape:
        ``(*batch, columns) -> (*batch, *output_shape)``, with any number of batch dimensions.

    Raises:
        ValueError: an unknown kind, an input with another number of columns, and what ``MLP`` refuses.

    Example:
        >>> import torch
        >>> encoder = ColumnEncoder(["real", "count", "categorical(3)"], 2 * 2)
        >>> encoder(torch.tensor([[0.3, 7.0, 2.0], [torch.nan, 0.0, torch.nan]])).shape
        torch.Size([2, 4])
    """

    takes_missing = True
    """NaN needs no filling before this network."""

    center: Tensor
    unit: Tensor

    def __init__(
        self,
        column_kinds: Sequence[str],
        output_shape: int | Sequence[int],
        hidden_dims: Sequence[int] = (200, 200),
        activation: Activation = "relu",
        normalization: Normalization = "none",
        missing_indicators: bool = True,
    ) -> None:
        super().__init__()
        self.column_kinds = check_column_kinds(column_kinds)
        self.missing_indicators = missing_indicators
        self.positions = columns_by_kind(self.column_kinds)
        features = sum(num_categories(kind) or 1 for kind in self.column_kinds)
        inputs = features + (len(self.column_kinds) if missing_indicators else 0)
        self.layers = MLP(inputs, output_shape, hidden_dims, activation, normalization)
        scaled = sum(len(self.positions.get(kind, ())) for kind in ("real", "count"))
        self.register_buffer("center", torch.zeros(scaled))
        self.register_buffer("unit", torch.ones(scaled))

    @torch.no_grad()
    def initialize(self, rows: Tensor) -> None:
        """Take means and standard deviations of real columns and counts from these rows."""
        mean, spread = column_moments(self._to_scale(rows))
        self.center.copy_(mean)
        self.unit.copy_(torch.where(spread > 0, spread, 1.0))

    def forward(self, x: Tensor) -> Tensor:
        """The output for each row."""
        split_batch(x, (len(self.column_kinds),), "ColumnEncoder")
        features = [((self._to_scale(x) - self.center) / self.unit).nan_to_num(nan=0.0)]
        for kind, positions in self.positions.items():
            categories = num_categories(kind)
            if kind == "binary":
                features.append((2 * x[..., positions] - 1).nan_to_num(nan=0.0))
            elif categories is not None:
                one_hot = x[..., positions, None] == torch.arange(categories, device=x.device)
                features.append(one_hot.flatten(-2).to(x))
        if self.missing_indicators:
            features.append((~x.isnan()).to(x))
        return self.layers(torch.cat(features, dim=-1))

    def _to_scale(self, x: Tensor) -> Tensor:
        """The columns that are standardised: real ones, then the logarithms of counts."""
        return torch.cat([x[..., self.positions.get("real", [])], x[..., self.positions.get("count", [])].log1p()], -1)

    def extra_repr(self) -> str:
        """What the printed module says of itself."""
        kinds = ", ".join(f"{len(positions)} {kind}" for kind, positions in self.positions.items())
        return f"columns={kinds}; missing_indicators={self.missing_indicators}"
