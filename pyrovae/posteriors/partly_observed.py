"""A posterior for rows with missing entries, made of one without."""

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrovae.distributions.arguments import check_called
from pyrovae.networks.shapes import as_shape


class PartlyObserved(nn.Module):
    r"""Another posterior, for rows whose missing entries are NaN: the encoder sees a fill value there.

    .. math:: q(z \mid x_\mathrm{observed}) = q(z \mid \tilde x), \qquad
        \tilde x_d = x_d \text{ where observed, else } \mathrm{fill}_d

    A bound for the observed entries whatever the fill values are (Mattei and Frellsen, 2019). They start at zero;
    ``initialize`` takes the mean of each entry.

    Args:
        posterior: module from x to a distribution over z.
        data_shape: shape of one row.
        append_mask: append to each row, along its first dimension, 1 where an entry is observed and 0 where it is
            missing. The encoder's input then has the shape ``(2 * data_shape[0], *data_shape[1:])``.

    Raises:
        ValueError: rows of another shape.

    Example:
        >>> import torch
        >>> from pyrovae import networks, posteriors
        >>> encoder = networks.MLP(3, 2 * 2)
        >>> posterior = PartlyObserved(posteriors.DiagonalNormal(encoder), data_shape=(3,))
        >>> posterior(torch.tensor([[0.5, torch.nan, 1.0]])).mean.isfinite().all()
        tensor(True)
    """

    fill: Tensor

    def __init__(self, posterior: nn.Module, data_shape: Sequence[int], append_mask: bool = False) -> None:
        super().__init__()
        check_called(type(self).__name__, posterior=posterior)
        self.posterior = posterior
        self.append_mask = append_mask
        self.register_buffer("fill", torch.zeros(as_shape(data_shape, "data_shape")))

    @torch.no_grad()
    def initialize(self, rows: Tensor) -> None:
        """Fill with the mean of each entry in these rows; zero where it is never observed."""
        self._check(rows)
        self.fill.copy_(rows.to(self.fill.dtype).nanmean(0).nan_to_num(nan=0.0))

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        """q(z|x): batch ``(*batch,)``, event ``(latent_dim,)``."""
        self._check(x)
        missing = x.isnan()
        filled = torch.where(missing, self.fill.to(x), x)
        if self.append_mask:
            filled = torch.cat([filled, (~missing).to(x)], dim=-self.fill.dim())
        return self.posterior(filled)

    def _check(self, x: Tensor) -> None:
        if x.shape[x.dim() - self.fill.dim() :] != self.fill.shape:
            raise ValueError(
                f"PartlyObserved: data_shape is {tuple(self.fill.shape)}, and x has shape {tuple(x.shape)}; expected "
                "(*batch, *data_shape): build it with data_shape=data.data_shape"
            )

    def extra_repr(self) -> str:
        """What the printed module says of itself."""
        return f"data_shape={tuple(self.fill.shape)}, append_mask={self.append_mask}"
