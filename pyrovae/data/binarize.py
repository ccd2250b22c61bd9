"""Turning intensities in [0, 1] into zeros and ones."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from pyrovae.data.facts import value_range
from pyrovae.data.streaming import AnyRows, all_in_memory

Binarize = Literal["none", "threshold", "static", "dynamic"]

CHOICES: tuple[str, ...] = get_args(Binarize)


def draw_bits(intensities: Tensor) -> Tensor:
    """Draw every value as one Bernoulli trial from torch's global generator.

    Args:
        intensities: Probabilities of a one, in [0, 1], any shape; missing ones, NaN, stay so.
    """
    return _draw(intensities, None)


def _draw(intensities: Tensor, generator: torch.Generator | None) -> Tensor:
    bits = torch.bernoulli(intensities.nan_to_num(nan=0.0), generator=generator)
    return bits.masked_fill_(intensities.isnan(), torch.nan)


def _threshold(intensities: Tensor) -> Tensor:
    return (intensities > 0.5).float().masked_fill_(intensities.isnan(), torch.nan)


def binarize_splits(
    name: str, train: AnyRows, validation: AnyRows, test: AnyRows, how: Binarize, generator: torch.Generator
) -> tuple[AnyRows, AnyRows, AnyRows]:
    """Binarise three splits; with "dynamic" the training split stays as it is.

    Args:
        name: Name of the data, for error messages.
        train: Values in [0, 1], shape (rows, *data_shape); for "none" also streamed.
        validation: As `train`.
        test: As `train`.
        how: "threshold" (1 where the value is above 0.5), "static", "dynamic" or "none".
        generator: Random source of the draws.

    Raises:
        ValueError: If a value lies outside [0, 1], or the rows are streamed.
    """
    if how == "none":
        return train, validation, test
    train, validation, test = (all_in_memory(split, name) for split in (train, validation, test))
    lowest, highest = value_range(train, validation, test)
    if lowest < 0 or highest > 1:
        raise ValueError(
            f"{name}: binarize={how!r} needs values in [0, 1], but they run from {lowest:g} to {highest:g}; "
            "scale them to [0, 1] first, or use binarize='none'."
        )
    if how == "threshold":
        return _threshold(train), _threshold(validation), _threshold(test)
    # Held-out rows come first, so that "static" and "dynamic" are judged on the same bits.
    validation = _draw(validation, generator)
    test = _draw(test, generator)
    if how == "static":
        train = _draw(train, generator)
    return train, validation, test


def binarized_variant(how: Binarize, seed: int) -> str:
    """Say in a few words how the values were binarised."""
    return {
        "threshold": "thresholded at 0.5",
        "static": f"binarised once, seed {seed}",
        "dynamic": f"binarised anew at every step; validation and test once, seed {seed}",
    }[how]
