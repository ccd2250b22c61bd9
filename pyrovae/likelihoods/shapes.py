"""What all likelihoods ask of their decoder's output."""

from torch import Tensor, nn


def data_dims(output: Tensor, z: Tensor) -> int:
    """The number of data dimensions in a decoder's output, which has the batch shape of ``z``."""
    batch_shape = z.shape[:-1]
    if output.dim() <= len(batch_shape) or output.shape[: len(batch_shape)] != batch_shape:
        raise ValueError(
            f"the decoder gave shape {tuple(output.shape)} for z of shape {tuple(z.shape)}; expected "
            f"({', '.join(map(str, batch_shape))}, *data_shape): the leading dimensions of z have to be kept"
        )
    return output.dim() - len(batch_shape)


def split_params(output: Tensor, z: Tensor, num_params: int, part: str) -> tuple[Tensor, ...]:
    """The parameters ``(*batch, *data_shape)`` in a decoder's output ``(*batch, num_params, *data_shape)``."""
    if data_dims(output, z) < 2 or output.shape[z.dim() - 1] != num_params:
        raise ValueError(
            f"the decoder gave shape {tuple(output.shape)} for z of shape {tuple(z.shape)}; {part} needs "
            f"(*batch, {num_params}, *data_shape), {num_params} numbers for each entry of a row: build it with "
            f"output shape {part.split('(')[0]}.decoder_shape(data_shape, ...)"
        )
    return output.unbind(z.dim() - 1)


def start_decoder(decoder: nn.Module, value: Tensor) -> None:
    """Let the decoder's output start at ``value``, of its output shape, where it has a way to."""
    set_output_bias = getattr(decoder, "set_output_bias", None)
    if set_output_bias is not None:
        set_output_bias(value)
