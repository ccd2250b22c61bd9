"""Whether parts are over what they are given."""

import pyro.distributions as dist
from torch import Tensor, nn


def check_over_rows(likelihood: nn.Module, p_x: dist.TorchDistribution, x: Tensor) -> None:
    """Refuse a likelihood that is over rows of another shape, which may broadcast and be scored several times.

    Args:
        likelihood: the part.
        p_x: what it gave.
        x: rows ``(rows, *data_shape)``.

    Raises:
        ValueError: both shapes, and the repair.
    """
    wanted = tuple(x.shape[1:])
    if p_x.event_shape != wanted:
        raise ValueError(
            f"the likelihood {type(likelihood).__name__} is over rows of shape {tuple(p_x.event_shape)}, the data have "
            f"rows of shape {wanted}: {shape_repair(p_x, wanted, 'build the decoder for them')}"
        )


def shape_repair(distribution: dist.TorchDistribution, wanted: tuple[int, ...], otherwise: str) -> str:
    """What to do about an event shape that is not the wanted one."""
    missing = len(wanted) - len(distribution.event_shape)
    # With no batch left, the rows are in the event.
    if missing < 0 and not distribution.batch_shape and distribution.event_shape[-missing:] == wanted:
        return f"its rows belong to the event too, give .to_event {-missing} less"
    if missing > 0 and distribution.shape()[-len(wanted) :] == wanted:
        return f"the dimensions of one value belong to the event, add .to_event({missing}) to the distribution"
    return otherwise
