"""How well an autoencoder reconstructs rows."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pyrovae.evaluation.log_mean import standard_error
from pyrovae.models import Autoencoder
from pyrovae.programs import evaluation_mode, isolated_rng

_BLOCK = 4096
_UNITS = {"squared_error": "squared error per row", "cross_entropy": "cross-entropy, nats per row"}


@dataclass(frozen=True)
class ReconstructionErrors:
    """How well an autoencoder reconstructs rows, a number for each.

    Attributes:
        loss: its own loss on whole rows ``(rows,)``.
        unit: of the loss, in words.
        reconstructed: the reconstructions of the first rows.
        corrupted: squared error of corrupted rows to clean ones ``(rows,)``; None without a corruption.
        restored: squared error of the reconstructions of corrupted rows to clean rows ``(rows,)``.
        example: the first rows corrupted, and the reconstructions of these.
    """

    loss: Tensor
    unit: str
    reconstructed: Tensor
    corrupted: Tensor | None = None
    restored: Tensor | None = None
    example: tuple[Tensor, Tensor] | None = None

    def means(self) -> dict[str, tuple[float, float]]:
        """The mean over rows and its standard error, of each that there is."""
        found = {"loss": self.loss, "corrupted": self.corrupted, "restored": self.restored}
        return {
            name: (values.mean().item(), standard_error(values).item())
            for name, values in found.items()
            if values is not None
        }

    def summary(self) -> str:
        """The means as an aligned table."""
        titles = {
            "loss": self.unit,
            "corrupted": "squared error of corrupted rows",
            "restored": "squared error of their reconstructions",
        }
        lines = [f"{'':<40}{'mean':>10}{'se (rows)':>12}"]
        lines += [f"{titles[name]:<40} {mean:>9.4f} {error:>11.4f}" for name, (mean, error) in self.means().items()]
        return "\n".join(lines)


@torch.no_grad()
def reconstruction_errors(
    autoencoder: Autoencoder, x: Tensor, *, seed: int, num_examples: int = 24
) -> ReconstructionErrors:
    """The loss of each row, and for a denoising autoencoder what it makes of corrupted rows.

    Args:
        autoencoder: with its fitted weights.
        x: clean rows ``(rows, *data_shape)``, on its device.
        seed: of the corruption.
        num_examples: rows of which reconstructions are kept, at most.

    Example:
        >>> import torch
        >>> from pyrovae import Autoencoder, networks
        >>> autoencoder = Autoencoder(networks.MLP(3, 2), networks.MLP(2, 3))
        >>> reconstruction_errors(autoencoder, torch.zeros(5, 3), seed=0).loss.shape
        torch.Size([5])
    """
    with evaluation_mode(autoencoder.losses, autoencoder.reconstruct):
        loss = torch.cat([autoencoder.losses(rows) for rows in x.split(_BLOCK)]).double().cpu()
        unit = _UNITS[autoencoder.loss]
        reconstructed = autoencoder.reconstruct(x[:num_examples]).cpu()
        if autoencoder.corruption is None:
            return ReconstructionErrors(loss, unit, reconstructed)
        with isolated_rng(seed, x.device):
            damaged = autoencoder.corruption(x)
        restored = torch.cat([autoencoder.reconstruct(rows) for rows in damaged.split(_BLOCK)])
        corrupted_error, restored_error = (
            (rows - x).double().square().flatten(1).sum(1).cpu() for rows in (damaged, restored)
        )
        example = damaged[:num_examples].cpu(), restored[:num_examples].cpu()
        return ReconstructionErrors(loss, unit, reconstructed, corrupted_error, restored_error, example)
