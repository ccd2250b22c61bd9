"""Moments of a gradient over independent repeats, and how far to believe them."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

# A jackknife over G groups knows its standard error to 1 part in sqrt(2 (G - 1)), 16 % here.
_MOST_GROUPS = 20


@dataclass(frozen=True)
class GradientNoise:
    r"""Signal and noise of a gradient over independent repeats, for the parameters of one program.

    For a gradient g of so many parameters,

    .. math::

        \mathrm{squared\ norm} = \|E g\|^2, \qquad \mathrm{total\ variance} = \mathrm{tr\,Cov}(g), \qquad
        \mathrm{SNR} = \|E g\| / \sqrt{\mathrm{tr\,Cov}(g)}

    The squared norm of a mean of n repeats is too large by the total variance / n in expectation, and that is taken
    off. It may come out negative where the noise hides the gradient; the norm and the SNR are 0 then, and their
    standard errors say how large they may be. Standard errors are those of a jackknife over at most 20 groups of
    repeats (Busing, Meijer and van der Leeden, 1999), as t of 19 degrees of freedom; where the noise hides the gradient
    those of norm and SNR are up to 1.4 times too large.
    Gradients with heavy tails, those of a score function for example, need more repeats than others before their
    standard errors can be believed. Numbers are 0 and NaN where there are no parameters. Gradients are of the loss, in
    nats per row.

    Attributes:
        mean: mean gradient by name of the parameter, float64.
        variance: variance of each of its numbers over repeats, unbiased.
        num_repeats: n, the number of repeats.
        squared_norm: squared norm of the expected gradient, without the noise of the mean.
        squared_norm_standard_error: its standard error.
        total_variance: trace of the covariance of one gradient, unbiased.
        total_variance_standard_error: its standard error.
        snr_squared: squared signal-to-noise ratio, ``squared_norm / total_variance``.
        snr_squared_standard_error: its standard error.
        variance_without: total variances without each group of repeats, ``(groups,)``.
        group_sizes: repeats in each group, ``(groups,)``.
    """

    mean: dict[str, Tensor]
    variance: dict[str, Tensor]
    num_repeats: int
    squared_norm: float
    squared_norm_standard_error: float
    total_variance: float
    total_variance_standard_error: float
    snr_squared: float
    snr_squared_standard_error: float
    variance_without: Tensor
    group_sizes: Tensor

    @property
    def num_parameters(self) -> int:
        """How many numbers the gradient has."""
        return sum(mean.numel() for mean in self.mean.values())

    @property
    def norm(self) -> float:
        """Norm of the expected gradient."""
        return _root(self.squared_norm)

    @property
    def norm_standard_error(self) -> float:
        """The further distance from the norm to the roots of ``squared_norm`` plus and minus its standard error.

        Where ``squared_norm`` is negative it is the root of the standard error.
        """
        return _error_of_root(self.squared_norm, self.squared_norm_standard_error)

    @property
    def snr(self) -> float:
        """Signal-to-noise ratio of the whole gradient."""
        return _root(self.snr_squared)

    @property
    def snr_standard_error(self) -> float:
        """The further distance from the SNR to the roots of ``snr_squared`` plus and minus its standard error.

        Where ``snr_squared`` is negative it is the root of the standard error.
        """
        return _error_of_root(self.snr_squared, self.snr_squared_standard_error)

    @property
    def snr_per_parameter(self) -> float:
        """Mean ratio of the size of the mean to the standard deviation over single parameters (Rainforth et al., 2018).

        It is not debiased: of a parameter whose gradient is noise alone it shows 0.8 / sqrt(num_repeats). Parameters
        whose gradient is always zero are left out.
        """
        ratios = [(mean.abs() / self.variance[name].sqrt()).flatten() for name, mean in self.mean.items()]
        return torch.cat([torch.zeros(0, dtype=torch.float64), *ratios]).nanmean().item()


class Moments:
    """Gathers gradients one by one; its memory does not grow with their number.

    Args:
        parameters: the parameters by name.
        num_repeats: how many gradients there will be.
    """

    def __init__(self, parameters: dict[str, Tensor], num_repeats: int) -> None:
        self.shapes = {name: parameter.shape for name, parameter in parameters.items()}
        self.num_groups = min(_MOST_GROUPS, num_repeats)
        self.num_numbers = sum(shape.numel() for shape in self.shapes.values())
        self.counts = torch.zeros(self.num_groups, dtype=torch.float64)
        self.means = torch.zeros(self.num_groups, self.num_numbers, dtype=torch.float64)
        # Sums of squared distances from the mean of their own group: of each group, and of each number.
        self.of_groups = torch.zeros(self.num_groups, dtype=torch.float64)
        self.of_numbers = torch.zeros(self.num_numbers, dtype=torch.float64)

    def add(self, gradient: Tensor) -> None:
        """Take one more gradient ``(numbers,)`` in float64, into the next group in turn (Welford, 1962)."""
        group = int(self.counts.sum()) % self.num_groups
        self.counts[group] += 1
        difference = gradient - self.means[group]
        self.means[group] += difference / self.counts[group]
        squares = difference * (gradient - self.means[group])
        self.of_groups[group] += squares.sum()
        self.of_numbers += squares

    def noise(self) -> GradientNoise:
        """Signal and noise of all gradients so far."""
        count, sizes = self.counts.sum(), self.counts
        mean = sizes @ self.means / count
        apart = self.means - mean
        distances = apart.square().sum(1)
        squares = self.of_groups.sum() + sizes @ distances
        # The same sums without each group, whose mean and squares are about a mean that moves.
        others = count - sizes
        moved = sizes / others
        norms = mean.square().sum() - 2 * moved * (apart @ mean) + moved.square() * distances
        squares_without = squares - self.of_groups - (sizes + sizes.square() / others) * distances
        all_of_them = _statistics(mean.square().sum(), squares, count)
        without = _statistics(norms, squares_without, others)
        errors = [_jackknife(*pair, sizes) for pair in zip(all_of_them, without, strict=True)]
        squared_norm, variance, snr_squared = (value.item() for value in all_of_them)
        return GradientNoise(
            mean=self._by_name(mean),
            variance=self._by_name((self.of_numbers + sizes @ apart.square()) / (count - 1)),
            num_repeats=int(count),
            squared_norm=squared_norm,
            squared_norm_standard_error=errors[0],
            total_variance=variance,
            total_variance_standard_error=errors[1],
            snr_squared=snr_squared,
            snr_squared_standard_error=errors[2],
            variance_without=without[1],
            group_sizes=sizes,
        )

    def _by_name(self, numbers: Tensor) -> dict[str, Tensor]:
        parts = numbers.split([shape.numel() for shape in self.shapes.values()])
        return {name: part.view(shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)}


def variance_ratio(noise: GradientNoise, reference: GradientNoise) -> tuple[float, float]:
    """Total variance as a multiple of another's, and its standard error.

    Both have the same groups, so that the error holds whether or not they share their random numbers.
    """
    value = torch.tensor(noise.total_variance, dtype=torch.float64) / reference.total_variance
    return value.item(), _jackknife(value, noise.variance_without / reference.variance_without, noise.group_sizes)


def _statistics(squared_mean: Tensor, squares: Tensor, count: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Debiased squared norm, total variance, their ratio."""
    variance = squares / (count - 1)
    squared_norm = squared_mean - variance / count
    return squared_norm, variance, squared_norm / variance


def _jackknife(value: Tensor, without: Tensor, sizes: Tensor) -> float:
    """Standard error of a value from the values without each group, for groups of unequal sizes."""
    turns = sizes.sum() / sizes
    estimate = len(sizes) * value - ((1 - 1 / turns) * without).sum()
    pseudovalues = turns * value - (turns - 1) * without
    return ((pseudovalues - estimate).square() / (turns - 1)).mean().sqrt().item()


def _error_of_root(square: float, error: float) -> float:
    # Of a negative estimate, too, the truth may lie an error above 0.
    low, middle, high = map(_root, (square - error, square, max(square, 0.0) + error))
    return max(middle - low, high - middle)


def _root(square: float) -> float:
    # In this order of the two NaN stays NaN.
    return math.sqrt(max(square, 0.0))
