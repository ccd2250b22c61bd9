"""Weights of a module, as a checkpoint has them."""

from collections.abc import Mapping

from torch import Tensor, nn


def restore_weights(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give a module the parameters and buffers of a checkpoint.

    Raises:
        ValueError: they are of another module.
    """
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(
            f"the checkpoint is of other networks ({str(error).splitlines()[-1].strip()}): a fit goes on with those "
            "that it began with"
        ) from error
