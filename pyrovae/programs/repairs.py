"""What to do about values that a likelihood has no density for."""

from collections.abc import Iterable

import torch
from torch import Tensor

from pyrovae.data import trouble_of_scale

_REPAIRS = {
    "Beta": "move 0 and 1 inside, (x * (n - 1) + 0.5) / n for n rows for example, or use ContinuousBernoulli",
    "Binomial": "give the total_count of the data, or undo a scaling of the counts",
    "CategoricalLevels": "give the num_levels of the data, and level numbers 0, 1, 2 ...",
    **dict.fromkeys(
        ("Gamma", "Chi2"),
        "at 0 its density is 0 or infinite: leave out columns of labels or of zeros, replace zeros by half of the "
        "smallest reading there can be, or use a likelihood for real values such as Normal",
    ),
    "ContinuousBernoulli": "scale the values to [0, 1], or use a likelihood for real values such as Normal",
    "DiscretizedLogistic": "give num_levels, low and high of the data, or use a likelihood for real values",
    "Multinomial": "give a total_count that no row exceeds, int(x.sum(-1).max()), or undo a scaling of the counts",
    "LogNormal": "use a likelihood for real values such as Normal, or one for counts where they are counts",
    **dict.fromkeys(
        ("Poisson", "NegativeBinomial", "ZeroInflatedPoisson", "ZeroInflatedNegativeBinomial"),
        "use a likelihood for real values such as Normal; or undo a scaling of the counts",
    ),
}


def repair_of(family: str, blocks: Iterable[Tensor]) -> str:
    """What to do about values outside the support of a family of distributions, in words.

    Args:
        family: the name of the distribution of one entry.
        blocks: all values ``(rows, *event_shape)``, NaN where one is missing.
    """
    if family == "Bernoulli":
        return _instead_of_bits(blocks)
    return _REPAIRS.get(family, "transform the data into the support, or choose a likelihood whose support holds them")


def repair_of_dtype(name: str, given: torch.dtype, needed: torch.dtype) -> str:
    """What to do about rows of another type than the parameters, in words.

    Args:
        name: of the rows.
        given: their type.
        needed: that of the parameters.
    """
    rows = f"give {name}.to({needed})"
    # Modules take no whole numbers, and in half precision steps of Adam divide by zero.
    if given not in (torch.float32, torch.float64):
        return rows
    return f"{rows}, or networks of {given}, by their .to({given})"


def _instead_of_bits(blocks: Iterable[Tensor]) -> str:
    """The likelihoods that fit values which are no bits."""
    whole, least, most, is_table, scales = True, torch.inf, -torch.inf, False, None
    for number, block in enumerate(blocks):
        whole = whole and bool(((block == block.round()) | block.isnan()).all())
        least = min(least, block.nan_to_num(nan=torch.inf).min().item())
        most = max(most, block.nan_to_num(nan=-torch.inf).max().item())
        is_table = block.dim() <= 2
        if is_table and number == 0:
            scales = trouble_of_scale(block.reshape(len(block), -1))
    if is_table and whole and least >= 0:
        return "use NegativeBinomial or Poisson for counts, or Columns for a table with columns of several kinds"
    if is_table and least > 0 and most < 1:
        return "use Beta for proportions, or a likelihood for real values such as Normal"
    if is_table and not 0 <= least <= most <= 1:
        if scales is None:
            positive = ", for positive ones such as LogNormal" if least > 0 else ""
            return f"use a likelihood for real values such as Normal{positive}"
        positive = "LogNormal for positive numbers, or " if least > 0 else ""
        return (
            f"{scales}: use {positive}Columns with networks.ColumnEncoder, which bring real columns to one scale; "
            "--likelihood Columns --encoder ColumnEncoder --columns '{}' on the command line, with the kinds of other "
            "columns in the braces"
        )
    likelihoods = (
        "use a likelihood for real values such as Normal, for positive ones such as LogNormal, or ContinuousBernoulli "
        "where they lie in [0, 1]"
    )
    if not 0 <= least <= most <= 1:
        return likelihoods
    return (
        "binarise the grey values (load_data(..., binarize='dynamic'), 'static' or 'threshold'; --binarize on the "
        f"command line; in training pass on its train_transform), or {likelihoods}"
    )
