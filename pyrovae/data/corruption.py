"""Damage to rows, which a denoising model learns to undo."""

import math
from abc import ABC, abstractmethod
from numbers import Integral

import torch
import torch.nn.functional as F
from torch import Tensor


class Corruption(ABC):
    """A random change of rows; one of your own is any function from rows to rows of the same shape."""

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """A changed copy of rows ``(*batch, *data_shape)``, drawn from torch's global generator."""


class GaussianNoise(Corruption):
    """Adds normal noise to each entry (Vincent et al., 2010).

    Args:
        scale: standard deviation of the noise, in units of the data.

    Raises:
        ValueError: a scale that is not positive and finite.

    Example:
        >>> import torch
        >>> GaussianNoise(0.5)(torch.zeros(2, 3)).shape
        torch.Size([2, 3])
    """

    def __init__(self, scale: float) -> None:
        if not 0 < scale < math.inf:
            raise ValueError(f"GaussianNoise: scale is {scale!r}; expected a positive number, a standard deviation")
        self.scale = scale

    def __call__(self, x: Tensor) -> Tensor:
        """The rows with noise added."""
        return x + self.scale * torch.randn_like(x)

    def __repr__(self) -> str:
        return f"GaussianNoise({self.scale:g})"


class Masking(Corruption):
    """Sets a part of the entries to a fixed value (Vincent et al., 2008).

    Args:
        fraction: probability that an entry is set.
        value: what it is set to.

    Raises:
        ValueError: a fraction outside [0, 1].

    Example:
        >>> import torch
        >>> Masking(1.0)(torch.ones(1, 3))
        tensor([[0., 0., 0.]])
    """

    def __init__(self, fraction: float, value: float = 0.0) -> None:
        self.fraction, self.value = _checked_fraction("Masking", fraction), value

    def __call__(self, x: Tensor) -> Tensor:
        """The rows with entries set."""
        return x.masked_fill(torch.rand_like(x) < self.fraction, self.value)

    def __repr__(self) -> str:
        return f"Masking({self.fraction:g}, value={self.value:g})"


class SaltAndPepper(Corruption):
    """Sets a part of the entries to the lowest or the highest value, by the toss of a coin (Vincent et al., 2010).

    Args:
        fraction: probability that an entry is set.
        low: the lowest value.
        high: the highest value.

    Raises:
        ValueError: a fraction outside [0, 1].

    Example:
        >>> import torch
        >>> sorted(SaltAndPepper(1.0)(torch.full((100,), 0.5)).unique().tolist())
        [0.0, 1.0]
    """

    def __init__(self, fraction: float, low: float = 0.0, high: float = 1.0) -> None:
        self.fraction, self.low, self.high = _checked_fraction("SaltAndPepper", fraction), low, high

    def __call__(self, x: Tensor) -> Tensor:
        """The rows with entries set."""
        ends = torch.where(torch.rand_like(x) < 0.5, self.low, self.high).to(x)
        return torch.where(torch.rand_like(x) < self.fraction, ends, x)

    def __repr__(self) -> str:
        return f"SaltAndPepper({self.fraction:g}, low={self.low:g}, high={self.high:g})"


class Translation(Corruption):
    """Moves each image by a few pixels, up or down and to a side, and fills the edge that becomes free.

    Args:
        max_shift: the most pixels by which an image moves in each direction; every whole number up to it is as likely.
        value: of the free edge.

    Raises:
        ValueError: a shift that is no positive whole number; rows that are no images.

    Example:
        >>> import torch
        >>> Translation(2)(torch.ones(5, 1, 8, 8)).shape
        torch.Size([5, 1, 8, 8])
    """

    def __init__(self, max_shift: int, value: float = 0.0) -> None:
        if isinstance(max_shift, bool) or not isinstance(max_shift, int | Integral) or max_shift < 1:
            raise ValueError(f"Translation: max_shift is {max_shift!r}; expected a positive whole number of pixels")
        self.max_shift = int(max_shift)
        self.value = value

    def __call__(self, x: Tensor) -> Tensor:
        """The images ``(*batch, channels, height, width)``, each moved by its own shift."""
        if x.dim() < 4:
            raise ValueError(
                f"Translation: rows have shape {tuple(x.shape[1:])}; expected images (channels, height, width): use "
                "Masking for other rows"
            )
        most, (height, width) = self.max_shift, x.shape[-2:]
        images = x.reshape(-1, *x.shape[-3:])
        padded = F.pad(images, (most, most, most, most), value=self.value)
        down, right = torch.randint(2 * most + 1, (2, len(images), 1, 1), device=x.device)
        row = torch.arange(height, device=x.device)[:, None] + down
        column = torch.arange(width, device=x.device) + right
        image = torch.arange(len(images), device=x.device)[:, None, None]
        return padded[image, :, row, column].movedim(-1, -3).reshape(x.shape)

    def __repr__(self) -> str:
        return f"Translation({self.max_shift}, value={self.value:g})"


def _checked_fraction(name: str, fraction: float) -> float:
    if not 0 <= fraction <= 1:
        raise ValueError(f"{name}: fraction is {fraction!r}; expected a probability in [0, 1]")
    return fraction
