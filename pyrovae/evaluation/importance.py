"""Importance weights for every row, of any pair of Pyro programs."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from pyrovae.data import AnyRows
from pyrovae.evaluation.blocks import ROWS_PER_BLOCK, draws_at_once
from pyrovae.evaluation.opening import open_sampler
from pyrovae.programs import Program, Sampler, check_positive


def log_weights(
    model: Program,
    guide: Program,
    x: AnyRows,
    num_samples: int,
    *,
    chunk_size: int | None = None,
    seed: int = 0,
) -> Tensor:
    r"""Log importance weights of draws from the guide, for every row.

    .. math:: \log w_{ki} = \log p(x_i, z_{ki}) - \log q(z_{ki} \mid x_i), \qquad z_{ki} \sim q(z \mid x_i)

    Their mean over draws is an estimate of the ELBO, their log-mean-exp one of log p(x) (Burda, Grosse and
    Salakhutdinov, 2016). Nothing is trained, no plate or other scale enters, and parameters, buffers, the param
    store and the global random generators are the same before and after.

    Args:
        model: Pyro program of the rows, observing them inside a plate ``len(x)`` at dim -1.
        guide: Pyro program of the rows, drawing the model's latents inside the same plate.
        x: rows ``(rows, *data_shape)``, on the device of the parameters; or ``data.StreamedRows``.
        num_samples: draws for each row.
        chunk_size: draws scored at once for each row of a block, at most; None takes about 8,000 evaluations of
            the model at once. A smaller one needs less memory and changes nothing else.
        seed: of the draws.

    Returns:
        ``(num_samples, rows)``, in nats, on the device of ``x``.

    Raises:
        ValueError: numbers out of range, NaN in the data, a pair that breaks the contract of ``inspect_pair``.

    Example:
        >>> import torch
        >>> from pyrovae import VAE, likelihoods, log_weights, networks, posteriors, priors
        >>> vae = VAE(
        ...     priors.StandardNormal(2),
        ...     likelihoods.Normal(networks.MLP(2, 5)),
        ...     posteriors.DiagonalNormal(networks.MLP(5, 2 * 2)),
        ... )
        >>> log_weights(vae.model, vae.guide, torch.randn(3, 5), num_samples=10).shape
        torch.Size([10, 3])
    """
    with importance_blocks(model, guide, x, num_samples, chunk_size=chunk_size, seed=seed) as blocks:
        return torch.cat(list(blocks), dim=1)


@contextmanager
def importance_blocks(
    model: Program, guide: Program, x: AnyRows, num_samples: int, *, chunk_size: int | None, seed: int
) -> Iterator[Iterator[Tensor]]:
    """The log weights ``(num_samples, rows of a block)``, a block of rows at a time, in order."""
    check_positive(num_samples=num_samples, chunk_size=chunk_size)
    with open_sampler(model, guide, x, seed=seed) as sampler:
        yield (block_log_weights(sampler, rows, num_samples, chunk_size) for rows in x.split(ROWS_PER_BLOCK))


def block_log_weights(sampler: Sampler, rows: Tensor, num_samples: int, chunk_size: int | None) -> Tensor:
    """Log weights ``(num_samples, rows)`` of one block of rows."""
    draws_per_block = draws_at_once(rows)
    step = chunk_size or draws_per_block
    blocks = []
    for part in torch.arange(num_samples).split(draws_per_block * sampler.blocks_per_draw):
        latents, log_q = sampler.draw(rows, len(part))
        log_joint = [
            sampler.log_joint(rows, {name: value[i : i + step] for name, value in latents.items()})
            for i in range(0, len(part), step)
        ]
        blocks.append(torch.cat(log_joint) - log_q)
    return torch.cat(blocks)
