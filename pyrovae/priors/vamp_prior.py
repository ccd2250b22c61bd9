"""A prior made of the posterior."""

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrovae.distributions.arguments import check_called, check_counts
from pyrovae.distributions.mixture import SharedMixture
from pyrovae.networks.shapes import as_shape


class VampPrior(nn.Module):
    r"""The variational mixture of posteriors: the mean of q(z|u) over pseudo-inputs u.

    .. math:: p(z) = \frac1K \sum_k q(z \mid u_k)

    The prior that maximises the ELBO is the mean of q(z|x) over all rows; a few hundred pseudo-inputs, learned as rows
    of data are, stand for them (Tomczak and Welling, 2018). The posterior is the VAE's own, with the same weights, so
    training it moves the prior too.

    Args:
        posterior: the posterior of the same VAE.
        data_shape: shape of one row.
        num_pseudo_inputs: number K of pseudo-inputs, each of which gives the mixture one part.
        learned: False keeps the pseudo-inputs where they start.

    Raises:
        ValueError: ``num_pseudo_inputs`` is not a positive integer, or ``data_shape`` no shape.

    Example:
        >>> import torch
        >>> from pyrovae import networks, posteriors
        >>> posterior = posteriors.DiagonalNormal(networks.MLP((1, 8, 8), 2 * 3))
        >>> prior = VampPrior(posterior, (1, 8, 8), num_pseudo_inputs=20)
        >>> prior.initialize(torch.rand(100, 1, 8, 8))
        >>> prior().sample((5,)).shape
        torch.Size([5, 3])
    """

    pseudo_inputs: Tensor

    def __init__(
        self, posterior: nn.Module, data_shape: Sequence[int], num_pseudo_inputs: int = 500, learned: bool = True
    ) -> None:
        super().__init__()
        check_called(type(self).__name__, posterior=posterior)
        check_counts(type(self).__name__, num_pseudo_inputs=num_pseudo_inputs)
        self.posterior = posterior
        start = torch.rand(num_pseudo_inputs, *as_shape(data_shape, "VampPrior: data_shape"))
        if learned:
            self.pseudo_inputs = nn.Parameter(start)
        else:
            self.register_buffer("pseudo_inputs", start)

    def forward(self) -> dist.TorchDistribution:
        """p(z): batch (), event ``(latent_dim,)``."""
        components = self.posterior(self.pseudo_inputs)
        return SharedMixture(self.pseudo_inputs.new_zeros(len(self.pseudo_inputs)), components)

    @torch.no_grad()
    def initialize(self, rows: Tensor) -> None:
        """Let the pseudo-inputs start at training rows, taken at equal distances; before, they are random in [0, 1].

        Args:
            rows: training rows ``(rows, *data_shape)``. Missing entries (NaN) get the mean of the others.

        Raises:
            ValueError: fewer rows than pseudo-inputs, rows of another shape.
        """
        count, data_shape = len(self.pseudo_inputs), self.pseudo_inputs.shape[1:]
        if rows.shape[1:] != data_shape:
            raise ValueError(
                f"VampPrior has pseudo-inputs of shape {tuple(data_shape)}, the rows have shape "
                f"{tuple(rows.shape[1:])}: build it with data_shape=data.data_shape"
            )
        if count > len(rows):
            raise ValueError(
                f"VampPrior has num_pseudo_inputs={count}, and there are {len(rows)} rows to start from: take "
                f"num_pseudo_inputs={len(rows)} or fewer"
            )
        # The last number may be rounded up, above 2**24.
        numbers = torch.linspace(0, len(rows) - 1, count).round().long().clamp(max=len(rows) - 1)
        # Bits and counts may be whole numbers.
        rows = rows.to(self.pseudo_inputs.dtype)
        chosen = rows[numbers.to(rows.device)]
        # A column without any value has no mean.
        means = rows.nanmean(0).nan_to_num().expand(chosen.shape)
        self.pseudo_inputs.copy_(torch.where(chosen.isnan(), means, chosen))

    def extra_repr(self) -> str:
        """What the printed module says of itself."""
        learned = isinstance(self.pseudo_inputs, nn.Parameter)
        return f"num_pseudo_inputs={len(self.pseudo_inputs)}, learned={learned}"
