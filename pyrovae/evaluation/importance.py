"""Importance weights for every row, of any pair of Pyro programs."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from pyrovae.data import AnyRows
from pyrovae.evaluation.blocks import ROWS_PER_BLOCK, draws_at_once
from pyrovae.evaluation.chunks import MEMORY_GIB, LogJoint
from pyrovae.evaluation.opening import open_sampler
from pyrovae.programs import Latents, Program, check_are_rows, check_positive, isolated_rng


def log_weights(
    model: Program,
    guide: Program,
    x: AnyRows,
    num_samples: int,
    *,
    chunk_size: int | None = None,
    memory_gib: float = MEMORY_GIB,
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
        chunk_size: draws scored at once for each of 64 rows; None takes about 2,000 evaluations of the model at once,
            which stay in the processor's cache, and fewer where they would take more than ``memory_gib``. A smaller one
            needs less memory and changes nothing else.
        memory_gib: what the tensors of these evaluations may take, in GiB; one draw of 64 rows is the least.
        seed: of the draws.

    Returns:
        ``(num_samples, rows)``, in nats, on the device of ``x``.

    Raises:
        ValueError: numbers out of range, NaN in the data, a pair that breaks the contract of ``check_pair``.

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
    with importance_blocks(
        model, guide, x, num_samples, chunk_size=chunk_size, memory_gib=memory_gib, seed=seed
    ) as blocks:
        return torch.cat(list(blocks), dim=1)


def number_of_blocks(x: AnyRows) -> int:
    """How many blocks the rows are taken in."""
    check_are_rows(x, "x")
    return math.ceil(len(x) / ROWS_PER_BLOCK)


@contextmanager
def importance_blocks(
    model: Program,
    guide: Program,
    x: AnyRows,
    num_samples: int,
    chunk_size: int | None,
    memory_gib: float,
    seed: int,
    some: range | None = None,
) -> Iterator[Iterator[Tensor]]:
    """The log weights ``(num_samples, rows of a block)``, a block of rows at a time, in order.

    Each block has draws of its own, so ``some`` of them, by their numbers, are as they are among all.
    """
    check_positive(num_samples=num_samples, chunk_size=chunk_size)
    if not 0 < memory_gib < math.inf:
        raise ValueError(f"memory_gib is {memory_gib!r}; expected a positive number of GiB, such as 2")
    with open_sampler(model, guide, x, seed=seed) as sampler:
        sampler.structure.check_reach()
        numbers = range(number_of_blocks(x)) if some is None else some
        log_joint = LogJoint(sampler, num_samples * len(numbers), chunk_size, memory_gib)
        yield (_block(log_joint, x, number * ROWS_PER_BLOCK, num_samples, seed) for number in numbers)


def _block(log_joint: LogJoint, x: AnyRows, start: int, num_samples: int, seed: int) -> Tensor:
    rows = x[start : start + ROWS_PER_BLOCK]
    # The draws of a row depend on where it is, and not on the draws before.
    with isolated_rng(seed + start, x.device):
        return block_log_weights(log_joint, rows, num_samples)


def block_log_weights(log_joint: LogJoint, rows: Tensor, num_samples: int) -> Tensor:
    """Log weights ``(num_samples, rows)`` of one block of rows."""
    return torch.cat([joint - log_q for _, joint, log_q in scored_draws(log_joint, rows, num_samples)])


def scored_draws(log_joint: LogJoint, rows: Tensor, num_samples: int) -> Iterator[tuple[Latents, Tensor, Tensor]]:
    """Draws from the guide for one block of rows, some at a time, with their log p(x, z) and log q(z|x)."""
    sampler = log_joint.sampler
    # What is drawn at once must not depend on what is scored at once.
    for part in torch.arange(num_samples).split(draws_at_once(rows) * sampler.blocks_per_draw):
        latents, log_q = sampler.draw(rows, len(part))
        yield latents, log_joint(rows, latents), log_q
