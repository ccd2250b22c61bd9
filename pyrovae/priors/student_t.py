"""A prior with heavy tails."""

import pyro.distributions as dist
import torch
from torch import nn

from pyrovae.distributions import StudentT as StudentTDistribution
from pyrovae.distributions.arguments import check_counts, is_finite_number


class StudentT(nn.Module):
    r"""Independent values of Student's t distribution, of location zero and scale one.

    .. math:: p(z) = \prod_d \mathrm{StudentT}(z_d;\ \nu)

    Rows far from the rest are pulled less to the centre than by a normal. The variance is :math:`\nu / (\nu - 2)`, and
    infinite for :math:`\nu \le 2`.

    Args:
        latent_dim: number of latent dimensions.
        degrees_of_freedom: :math:`\nu`; 1 is the Cauchy distribution, large values approach the normal.

    Raises:
        ValueError: ``latent_dim`` is not a positive integer, ``degrees_of_freedom`` not positive and finite.

    Example:
        >>> StudentT(3, degrees_of_freedom=4.0)().variance
        tensor([2., 2., 2.])
    """

    loc: torch.Tensor

    def __init__(self, latent_dim: int, degrees_of_freedom: float = 5.0) -> None:
        super().__init__()
        check_counts(type(self).__name__, latent_dim=latent_dim)
        if not is_finite_number(degrees_of_freedom) or not degrees_of_freedom > 0:
            raise ValueError(
                f"StudentT: degrees_of_freedom is {degrees_of_freedom!r}; expected a positive, finite number"
            )
        self.degrees_of_freedom = float(degrees_of_freedom)
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)

    def forward(self) -> dist.TorchDistribution:
        """p(z): batch (), event ``(latent_dim,)``."""
        df = torch.full_like(self.loc, self.degrees_of_freedom)
        return StudentTDistribution(df, self.loc, torch.ones_like(self.loc)).to_event(1)

    def extra_repr(self) -> str:
        """What the printed module says of itself."""
        return f"latent_dim={len(self.loc)}, degrees_of_freedom={self.degrees_of_freedom}"
