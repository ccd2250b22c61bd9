"""What all likelihoods ask of their decoder's output."""

from torch import Tensor


def data_dims(output: Tensor, z: Tensor) -> int:
    """The number of data dimensions in a decoder's output, which has the batch shape of ``z``."""
    batch_shape = z.shape[:-1]
    if output.dim() <= len(batch_shape) or output.shape[: len(batch_shape)] != batch_shape:
        raise ValueError(
            f"the decoder gave shape {tuple(output.shape)} for z of shape {tuple(z.shape)}; expected "
            f"({', '.join(map(str, batch_shape))}, *data_shape): the leading dimensions of z have to be kept"
        )
    return output.dim() - len(batch_shape)
