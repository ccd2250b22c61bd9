"""The autoencoder: a code for each row, without a density."""

from collections.abc import Callable
from typing import Literal, NoReturn, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pyrovae.data import AnyRows
from pyrovae.distributions.arguments import check_called
from pyrovae.models.interpolation import line
from pyrovae.programs import evaluating, initialize_modules

ReconstructionLoss = Literal["squared_error", "cross_entropy"]


class Autoencoder(nn.Module):
    r"""A deterministic autoencoder, denoising if it is given a corruption (Vincent et al., 2008).

    .. math:: \min \sum_i \ell\left(x_i,\ g(f(\tilde x_i))\right), \qquad \tilde x = \mathrm{corruption}(x)

    with the squared error :math:`\sum_d (x_d - g_d)^2`, or the cross-entropy of bits
    :math:`-\sum_d x_d \log s_d + (1 - x_d) \log(1 - s_d)`, s being the logistic function of the decoder's output. It
    takes the networks of a VAE, with as many outputs of the encoder as dimensions of the code.

    It has no p(x): no density stands behind the codes, so neither log p(x) nor new rows can be had from it.

    Args:
        encoder: network f from a row to a code ``(latent_dim,)``.
        decoder: network g from a code to a row.
        loss: ``"squared_error"`` for any numbers, ``"cross_entropy"`` for values in [0, 1].
        corruption: function from rows to rows of the same shape, used in training only; None is no damage.

    Raises:
        ValueError: an unknown loss.

    Example:
        >>> import torch
        >>> from pyrovae import networks
        >>> autoencoder = Autoencoder(networks.MLP((1, 8, 8), 5), networks.MLP(5, (1, 8, 8)))
        >>> autoencoder.reconstruct(torch.zeros(3, 1, 8, 8)).shape
        torch.Size([3, 1, 8, 8])
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        loss: ReconstructionLoss = "squared_error",
        corruption: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        check_called(type(self).__name__, encoder=encoder, decoder=decoder)
        if loss not in get_args(ReconstructionLoss):
            raise ValueError(f"loss is {loss!r}; expected one of {', '.join(get_args(ReconstructionLoss))}")
        self.encoder, self.decoder, self.loss, self.corruption = encoder, decoder, loss, corruption

    @torch.no_grad()
    def initialize(self, rows: AnyRows) -> None:
        """Start from the data: a network that has a method ``initialize(rows)`` is given the training rows."""
        initialize_modules(self, rows)

    def losses(self, x: Tensor) -> Tensor:
        """The loss of each row ``(rows,)``, summed squared error or cross-entropy in nats.

        In training mode it is that of rows that went through the corruption, in evaluation mode that of the rows as
        they are.
        """
        damaged = self.corruption(x) if self.corruption is not None and self.training else x
        output = self.decoder(self.encoder(damaged))
        if output.shape != x.shape:
            raise ValueError(
                f"the decoder gave shape {tuple(output.shape)} for rows of shape {tuple(x.shape)}: build encoder and "
                "decoder for one code size and for data_shape"
            )
        if self.loss == "squared_error":
            losses = (output - x).square()
        else:
            losses = F.binary_cross_entropy_with_logits(output, x, reduction="none")
        return losses.flatten(1).sum(1)

    @evaluating
    def encode(self, x: Tensor) -> Tensor:
        """The code of each row ``(rows, latent_dim)``."""
        return self.encoder(x)

    @evaluating
    def decode(self, z: Tensor) -> Tensor:
        """The row of each code ``(rows, *data_shape)``."""
        output = self.decoder(z)
        return output.sigmoid() if self.loss == "cross_entropy" else output

    def reconstruct(self, x: Tensor) -> Tensor:
        """The rows, through their codes."""
        return self.decode(self.encode(x))

    def interpolate(self, start: Tensor, end: Tensor, num_steps: int = 10) -> Tensor:
        """The rows of the codes on the straight line between those of two batches of rows.

        Args:
            start: rows ``(rows, *data_shape)``.
            end: as many rows.
            num_steps: points on each line, the ends among them.

        Returns:
            ``(num_steps, rows, *data_shape)``.

        Raises:
            ValueError: fewer than two steps, batches of different sizes.
        """
        return self.decode(line(self.encode(start), self.encode(end), num_steps))

    def model(self, x: Tensor) -> NoReturn:
        """Refused: an autoencoder is no generative program.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "an autoencoder has no p(x): nothing says how probable a code is, so neither an ELBO nor log p(x) is "
            "defined; use a VAE of the same networks, and compare reconstructions or codes instead"
        )

    guide = model
