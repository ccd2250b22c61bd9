"""Points of the latent space that are worth a look."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pyrovae.distributions.arguments import is_finite_number, is_whole_number
from pyrovae.distributions.divergence import elementwise
from pyrovae.programs import check_positive, isolated_rng

# Of the prior, where its quantiles have no closed form.
_DRAWS = 10_000
# Where a traversal stops on its way: of a standard normal, -2, -1.5, ..., 2.
TRAVERSED = torch.special.ndtr(torch.linspace(-2, 2, 9))


def mean_of(q_z: Any, posterior: nn.Module, otherwise: str) -> Tensor:
    """The mean of q(z|x).

    Args:
        q_z: distribution.
        posterior: the module that gave it.
        otherwise: what to do where it has none.

    Raises:
        ValueError: the mean is not known in closed form, as that of a flow.
    """
    try:
        return q_z.mean
    except NotImplementedError as error:
        raise ValueError(
            f"the posterior, a {type(posterior).__name__}, has no mean in closed form: {otherwise}"
        ) from error


def mean_or_draws(q_z: Any, posterior: nn.Module, num_samples: int | None) -> Tensor:
    """The mean of q(z|x), or so many draws from it.

    Args:
        q_z: distribution.
        posterior: the module that gave it.
        num_samples: None is the mean.

    Raises:
        ValueError: the mean is not known in closed form, ``num_samples`` is no positive integer.
    """
    check_positive(num_samples=num_samples)
    if num_samples is None:
        return mean_of(q_z, posterior, "decode draws from it with num_samples=...")
    return q_z.sample((num_samples,))


def quantiles(prior: Any, probabilities: Tensor) -> Tensor:
    r"""The values below which each latent dimension lies with the given probabilities.

    .. math:: p(z_d \le v_{di}) = P_i

    Exact where the dimensions of the prior are independent and their quantiles have a closed form (normal, Laplace);
    else those of 10,000 draws, always the same ones.

    Args:
        prior: distribution with event shape ``(latent_dim,)``.
        probabilities: P ``(num_values,)``, strictly between 0 and 1.

    Returns:
        v ``(latent_dim, num_values)``.

    Raises:
        ValueError: probabilities of another shape, or that are not between 0 and 1.

    Example:
        >>> import pyro.distributions as dist
        >>> quantiles(dist.Normal(torch.zeros(1), 1.0).to_event(1), torch.tensor([0.025, 0.5, 0.975]))
        tensor([[-1.9600,  0.0000,  1.9600]])
    """
    if probabilities.dim() != 1 or not bool(((probabilities > 0) & (probabilities < 1)).all()):
        raise ValueError(f"probabilities are {probabilities.tolist()}; expected several, above 0 and below 1")
    independent = elementwise(prior)
    if independent is not None:
        try:
            return independent.icdf(probabilities[:, None]).expand(-1, *prior.event_shape).T
        except NotImplementedError:
            pass
    with isolated_rng(0, probabilities.device):
        draws = prior.sample((_DRAWS,))
    return torch.quantile(draws, probabilities.to(draws), dim=0).T


def moved(start: Tensor, dims: Sequence[int], values: Tensor) -> Tensor:
    """Copies of one code, each with one of its dimensions at another value.

    Args:
        start: the code ``(latent_dim,)``.
        dims: which dimensions are moved.
        values: where to, ``(len(dims), num_values)``.

    Returns:
        ``(len(dims), num_values, latent_dim)``.

    Raises:
        ValueError: no such dimension, or values of another shape.
    """
    size = len(start)
    if not dims or any(not is_whole_number(dim) or not 0 <= dim < size for dim in dims):
        raise ValueError(f"dims is {list(dims)}; expected whole numbers from 0 to {size - 1}, the latent dimensions")
    if values.shape[:-1] != (len(dims),):
        raise ValueError(
            f"values have shape {tuple(values.shape)}; expected (num_values,) for all dimensions, or "
            f"({len(dims)}, num_values), a line for each of dims"
        )
    codes = start.repeat(*values.shape, 1)
    for line, dim in enumerate(dims):
        codes[line, :, dim] = values[line].to(start)
    return codes


def plane(values: Tensor) -> Tensor:
    """All pairs of the values of two dimensions.

    Args:
        values: ``(2, size)``.

    Returns:
        ``(size, size, 2)``; the first index is that of the first dimension.
    """
    return torch.stack(torch.meshgrid(values[0], values[1], indexing="ij"), -1)


def check_scale(scale: float) -> None:
    """Refuse a factor of distances from the mean that is not positive.

    Raises:
        ValueError: what it is instead.
    """
    if not is_finite_number(scale) or not scale > 0:
        raise ValueError(f"scale is {scale!r}; expected a positive number, 1 for draws from q(z|x) itself")
