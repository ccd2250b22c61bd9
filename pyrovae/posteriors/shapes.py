"""What all posteriors ask of their encoder's output."""

from torch import Tensor


def encoder_size_error(output: Tensor, part: str, needed: str) -> ValueError:
    """The error for an encoder's output of a size that no latent_dim has."""
    return ValueError(
        f"the encoder gave {output.shape[-1]} numbers for each row; {part} needs {needed}: build it with output shape "
        f"{part.split('(')[0]}.encoder_shape(latent_dim, ...)"
    )
