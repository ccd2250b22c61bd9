"""The LKJ distribution of correlation matrices, by their Cholesky factors, with draws of its density."""

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor


class LKJCholesky(dist.LKJCholesky):
    r"""PyTorch's LKJCholesky, with draws that have its density in more than two dimensions too.

    .. math:: p(L) \propto \prod_{i=2}^d L_{ii}^{d - i + 2 (\eta - 1)}

    By the onion method the numbers left of the diagonal in row i, counted from 1, have a squared length of
    :math:`\mathrm{Beta}(\tfrac{i - 1}{2}, \eta + \tfrac{d - i}{2})` and any direction alike (Lewandowski, Kurowicka and
    Joe, 2009). PyTorch takes :math:`i - \tfrac32` for the first number, which is the same in two dimensions alone.

    Args:
        dim: size d of the matrices.
        concentration: :math:`\eta`, positive; at 1 all correlation matrices have one density.
        validate_args: whether to check the arguments, and values; None is Pyro's setting.

    Example:
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> factors = LKJCholesky(3, torch.tensor(1.5)).sample((10_000,))
        >>> correlations = factors @ factors.mT  # each is 2 Beta(2, 2) - 1, with a variance of 0.2
        >>> round(correlations[:, 2, 0].var().item(), 2)
        0.2
    """

    _beta: dist.Beta

    def __init__(self, dim: int, concentration: Tensor | float = 1.0, validate_args: bool | None = None) -> None:
        super().__init__(dim, concentration, validate_args)
        second = self._beta.concentration0
        # The first row has nothing left of its diagonal.
        first = torch.arange(dim, dtype=second.dtype, device=second.device).clamp(min=1) / 2
        self._beta = dist.Beta(first.expand_as(second), second)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "LKJCholesky":
        """The same distribution with another batch shape."""
        return super().expand(batch_shape, self._get_checked_instance(LKJCholesky, _instance))
