"""What all likelihoods ask of their decoder's output."""

from typing import Any

from torch import Tensor, nn


def data_dims(output: Tensor, z: Tensor, part: nn.Module) -> int:
    """The number of data dimensions in a decoder's output, which has the batch shape of ``z``."""
    batch_shape = z.shape[:-1]
    if output.dim() <= len(batch_shape) or output.shape[: len(batch_shape)] != batch_shape:
        expected = ", ".join([*map(str, batch_shape), "*data_shape"])
        raise ValueError(
            f"{type(part).__name__}: the decoder gave shape {tuple(output.shape)} for z of shape {tuple(z.shape)}; "
            f"expected ({expected}): the leading dimensions of z have to be kept"
        )
    return output.dim() - len(batch_shape)


def split_params(output: Tensor, z: Tensor, num_params: int, part: nn.Module) -> tuple[Tensor, ...]:
    """The parameters ``(*batch, *data_shape)`` in a decoder's output ``(*batch, num_params, *data_shape)``."""
    if data_dims(output, z, part) < 2 or output.shape[z.dim() - 1] != num_params:
        name = type(part).__name__
        raise ValueError(
            f"the decoder gave shape {tuple(output.shape)} for z of shape {tuple(z.shape)}; {name} needs "
            f"(*batch, {num_params}, *data_shape), {num_params} numbers for each entry of a row: build it with "
            f"output shape {name}.decoder_shape(data_shape, ...)"
        )
    return output.unbind(z.dim() - 1)


def start_decoder(part: nn.Module, value: Tensor) -> None:
    """Let the output of a likelihood's decoder start at ``value``, of its output shape, where it has a way to."""
    decoder: Any = part.decoder
    if not hasattr(decoder, "set_output_bias"):
        return
    output_shape = getattr(decoder, "output_shape", value.shape)
    if output_shape != value.shape:
        raise ValueError(
            f"{type(part).__name__}: the decoder has output shape {tuple(output_shape)}, and these rows need "
            f"{tuple(value.shape)}: build the decoder with that output shape"
        )
    decoder.set_output_bias(value)
