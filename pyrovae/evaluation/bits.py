"""Bits per dimension, where the model gives probabilities of discrete values."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from pyro.distributions import Unit
from torch import Tensor
from torch.distributions import Independent, constraints

from pyrovae.distributions import EntryOrMissing, EquallySpaced, PartlyObserved
from pyrovae.distributions.arguments import is_finite_number
from pyrovae.distributions.layers import entry_support, without_reshaping
from pyrovae.evaluation.bounds import BoundComparison
from pyrovae.evaluation.log_mean import row_means
from pyrovae.evaluation.summaries import counted, decimals
from pyrovae.programs import (
    Program,
    borrowed,
    check_rows,
    check_support,
    inspect_pair,
    is_masked,
    sample_sites,
    trace_pair,
    which_rows,
)

_PROBE_ROWS = 3
# Above it the distance of the fractions from a uniform distribution, times the root of their number, has
# probability 2 exp(-2 * 2.7**2), one in a million, by chance (Kolmogorov and Smirnov).
_KS_LIMIT = 2.7
_FRACTIONS = 100_000
# Levels whose probabilities are summed; of unbounded counts the first of them.
_MOST_LEVELS = 4096
_COUNTS = 256
_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class BitsPerDim:
    """Bits for each number of a row, lower is better; float64 tensors ``(rows,)``.

    Attributes:
        bits: from log p(x); in expectation an upper bound.
        standard_error: its Monte Carlo standard error.
        elbo_bits: from the ELBO, an upper bound of ``bits``.
        elbo_standard_error: its Monte Carlo standard error.
        reliable: whether the log p(x) behind ``bits`` can be believed, as in ``BoundComparison.reliable``.
        data_dim: numbers in one row.
        bin_width: of the dequantised values, in units of x; None where the likelihood itself is discrete.
        levels: number of bins between the least and the largest value of the rows; None as above.
    """

    bits: Tensor
    standard_error: Tensor
    elbo_bits: Tensor
    elbo_standard_error: Tensor
    reliable: Tensor
    data_dim: int
    bin_width: float | None
    levels: int | None

    def summary(self) -> str:
        """A table of means over rows, and what the bits are of."""
        rows = len(self.bits)
        lines = [f"{'bits per dimension':<20}{'mean':>12}{'se (rows)':>12}{'se (draws)':>12}"]
        means = row_means(
            {
                "from ELBO": (self.elbo_bits, self.elbo_standard_error),
                "from log p(x)": (self.bits, self.standard_error),
            }
        )
        for label, (mean, over_rows, over_draws) in means.items():
            lines.append(f"{label:<20}{mean:>12.4f}{decimals(over_rows, 4):>12}{decimals(over_draws, 5):>12}")
        of_what = (
            "discrete values"
            if self.bin_width is None
            else f"values dequantised in bins of {self.bin_width:g}, an upper bound for the discrete values; these "
            f"rows span {self.levels:,} bins"
        )
        all_rows = counted(rows, "row")
        lines.append(f"{all_rows} of {self.data_dim:,} {of_what}.")
        if unreliable := int((~self.reliable).sum()):
            lines.append(
                f"Too many bits, or uncertain, in {unreliable:,} of {all_rows}, where k-hat is too large or unknown."
            )
        return "\n".join(lines)


def bits_per_dim(
    model: Program, guide: Program, x: Tensor, bounds: BoundComparison, *, bin_width: float | None = None
) -> BitsPerDim:
    r"""Log p(x) of every row as bits per dimension, where that is a number of bits.

    .. math:: -\frac{\log p(x)}{D \log 2}

    for the D numbers of a row, if the likelihood gives probabilities of discrete values (Bernoulli, Categorical,
    Poisson ...): the model is looked at, and where the levels can be counted their probabilities have to sum to 1.
    A density has no bits: its value depends on the unit of x, and can be made anything.

    If x are discrete values to which uniform noise of one bin was added (Uria, Murray and Larochelle, 2013), a
    density with the stated ``bin_width`` :math:`\Delta` bounds the probability of the discrete values (Theis, van
    den Oord and Bethge, 2016), in the mean over the noise,

    .. math:: \log P(\text{levels}) \ge E[\log p(x)] + D \log \Delta ,

    so its bits are :math:`-(\log p(x) + D \log \Delta) / (D \log 2)`. For 256 levels scaled to [0, 1) it is 1/256;
    scaled to [-1, 1) it is 2/256. That the values fill such bins evenly is checked. What cannot be told from the
    data is a width that is a whole number of times too small or too large, or that there never were levels: look at
    ``levels``, the bins that the rows span.

    Args:
        model: Pyro program of the rows.
        guide: its guide.
        x: the rows ``(rows, *data_shape)`` that ``bounds`` is of.
        bounds: from ``compare_bounds(model, guide, x)``.
        bin_width: distance of neighbouring levels in units of x, for uniformly dequantised data; None for
            discrete data.

    Raises:
        ValueError: a density without ``bin_width`` or with values that are not dequantised by it, a discrete
            likelihood with it, levels whose probabilities do not sum to 1, masks and factors, missing entries, values
            outside the support, bounds of another number of rows.

    Example:
        >>> import torch
        >>> from pyrovae import VAE, bits_per_dim, compare_bounds, likelihoods, networks, posteriors, priors
        >>> vae = VAE(
        ...     priors.StandardNormal(2),
        ...     likelihoods.Bernoulli(networks.MLP(2, 5)),
        ...     posteriors.DiagonalNormal(networks.MLP(5, 2 * 2)),
        ... )
        >>> x = torch.bernoulli(torch.full((3, 5), 0.5))
        >>> bits = bits_per_dim(vae.model, vae.guide, x, compare_bounds(vae.model, vae.guide, x, num_samples=100))
        >>> bits.data_dim, bool((bits.bits <= bits.elbo_bits).all())
        (5, True)
    """
    check_rows(x, "x")
    if bool(x.isnan().any()):
        raise ValueError(
            f"x has missing entries (NaN) in {which_rows(x.isnan())}, so rows differ in their number of dimensions, "
            "and bits for each are not defined: quote log p(x) in nats"
        )
    if len(bounds.log_px) != len(x):
        raise ValueError(f"bounds are of {len(bounds.log_px)} rows and x has {len(x)}: give the rows they were made of")
    if bin_width is not None and not (is_finite_number(bin_width) and bin_width > 0):
        raise ValueError(f"bin_width is {bin_width!r}; expected a positive number in the units of x")
    sites = _observed_sites(model, guide, x)
    discrete = {name: _is_discrete(name, site) for name, site in sites.items()}
    levels = None
    if bin_width is None:
        for name, site in sites.items():
            if not discrete[name]:
                raise ValueError(
                    f"{_family(site['fn'])} at site {name!r} is a density, which has no bits per dimension: its value "
                    "depends on the unit of x. Quote log p(x) in nats; or use a likelihood over the levels "
                    "(Bernoulli, Categorical); or fit on uniformly dequantised values, and give their bin_width"
                )
            _check_sum(name, site)
    else:
        _check_dequantised_site(sites, discrete, x)
        levels = _check_fractions(x, bin_width)
    data_dim = sum(_numbers(site) for site in sites.values())
    log_volume = 0.0 if bin_width is None else data_dim * math.log(bin_width)
    unit = data_dim * math.log(2)
    return BitsPerDim(
        bits=-(bounds.log_px + log_volume) / unit,
        standard_error=bounds.standard_error / unit,
        elbo_bits=-(bounds.elbo + log_volume) / unit,
        elbo_standard_error=bounds.elbo_standard_error / unit,
        reliable=bounds.reliable,
        data_dim=data_dim,
        bin_width=bin_width,
        levels=levels,
    )


def _observed_sites(model: Program, guide: Program, x: Tensor) -> dict[str, Any]:
    """The observed sites of a few rows by name, once the rows and the sites have been checked."""
    with borrowed(model, guide, x.device):
        observed = inspect_pair(model, guide, x).observed
        check_support(model, guide, x)
        sites = sample_sites(trace_pair(model, guide, x[:_PROBE_ROWS])[0])
    # What pyro.deterministic records has no probability.
    kept = {name: sites[name] for name in observed if not sites[name]["infer"].get("_deterministic")}
    for name, site in kept.items():
        if isinstance(without_reshaping(site["fn"]), Unit):
            raise ValueError(
                f"site {name!r} is a pyro.factor, so the model's weights of x need not sum to 1 and there are no bits: "
                "write the term as the log_prob of a distribution"
            )
        if is_masked(site):
            raise ValueError(
                f"site {name!r} has a mask, so rows may differ in their number of dimensions, and bits for each are "
                "not defined: quote log p(x) in nats"
            )
    return kept


def _is_discrete(name: str, site: Any) -> bool:
    support = site["fn"].support
    if constraints.is_dependent(support):
        raise ValueError(
            f"the support of {_family(site['fn'])} at site {name!r} is not known, so neither is whether it has bits: "
            "give the distribution a support, such as constraints.integer_interval(0, 255)"
        )
    return bool(support.is_discrete)


def _numbers(site: Any) -> int:
    """Numbers in one row of a site; a one-hot vector is one."""
    numbers = site["value"].numel() // site["fn"].batch_shape[-1]
    return numbers // site["value"].shape[-1] if _leaf(site["fn"].support) is constraints.one_hot else numbers


def _check_sum(name: str, site: Any) -> None:
    """Refuse levels whose probabilities do not sum to 1, where single numbers have levels that can be counted."""
    distribution, value = site["fn"], site["value"]
    while isinstance(distribution, Independent | PartlyObserved):
        distribution = distribution.base_dist
    levels = None if distribution.event_shape else _levels(_leaf(distribution.support))
    if levels is None:
        return
    numbers, whole = levels
    total = torch.zeros(value.shape, dtype=torch.float64)
    with torch.no_grad():
        for number in numbers:
            total = total + distribution.log_prob(torch.full_like(value, number)).exp().double().cpu()
    largest = total.max().item()
    if largest > 1 + _SUM_TOLERANCE or (whole and total.min().item() < 1 - _SUM_TOLERANCE):
        wrong = largest if largest > 1 + _SUM_TOLERANCE else total.min().item()
        raise ValueError(
            f"the levels {numbers[0]:g} to {numbers[-1]:g} of {_family(distribution)} at site {name!r} have "
            f"probabilities that sum to {wrong:.4g}, so there are no bits: correct its log_prob or its support"
        )


def _levels(support: Any) -> tuple[list[float], bool] | None:
    """Levels that all entries have, and whether these are all of them; None where they cannot be counted."""
    if isinstance(support, EquallySpaced):
        return support.values().tolist(), True
    if support is constraints.boolean:
        return [0, 1], True
    ends = [getattr(support, "lower_bound", None), getattr(support, "upper_bound", math.inf)]
    if ends[0] is None or any(torch.as_tensor(end).unique().numel() > 1 for end in ends):
        return None
    lower, upper = (torch.as_tensor(end).flatten()[0].item() for end in ends)
    whole = upper - lower < _MOST_LEVELS
    last = int(upper if whole else lower + _COUNTS - 1)
    return [float(level) for level in range(int(lower), last + 1)], whole


def _check_dequantised_site(sites: dict[str, Any], discrete: dict[str, bool], x: Tensor) -> None:
    for name, site in sites.items():
        if discrete[name]:
            raise ValueError(
                f"bin_width is for densities, and {_family(site['fn'])} at site {name!r} gives probabilities: leave it "
                "out"
            )
    name, *others = sites
    value, rows = sites[name]["value"], x[:_PROBE_ROWS]
    if others or value.numel() != rows.numel() or not torch.equal(value.reshape(rows.shape), rows):
        raise ValueError(
            f"site {name!r} does not observe the rows as they are and alone, so its density is not one per unit of x "
            "and bin_width does not apply: observe x itself, and put a transform into the distribution "
            "(TransformedDistribution), which counts its Jacobian"
        )


def _check_fractions(x: Tensor, bin_width: float) -> int:
    """Refuse values that do not fill their bins evenly; gives the number of bins that they span."""
    dtype = x.dtype if x.is_floating_point() else torch.float64
    resolution = torch.finfo(dtype).eps * x.abs().max().item() / bin_width
    if resolution > 0.01:
        raise ValueError(
            f"bin_width is {bin_width:g}, and {str(dtype).removeprefix('torch.')} cannot hold values as large as "
            f"{x.abs().max().item():g} to a hundredth of that: use float64, or check the width"
        )
    values = x.detach().cpu().double().flatten() / bin_width
    some = values[:: max(1, len(values) // _FRACTIONS)]
    fractions = (some - some.floor()).sort().values
    count = len(fractions)
    steps = torch.arange(count + 1, dtype=torch.float64) / count
    distance = torch.maximum((steps[1:] - fractions).max(), (fractions - steps[:-1]).max()).item()
    # Noise gives the same fraction twice as often as draws from all those that can be told apart; it may have been
    # drawn in float32.
    coarse = max(resolution, torch.finfo(torch.float32).eps * max(1.0, x.abs().max().item() / bin_width))
    ties = count - len(fractions.unique())
    usual_ties = count + math.expm1(-count * coarse) / coarse
    if distance > _KS_LIMIT / math.sqrt(count) + resolution or ties > 5 + usual_ties + 5 * math.sqrt(usual_ties):
        raise ValueError(
            f"the values do not fill bins of width {bin_width:g} evenly (distance {distance:.3f} from a uniform "
            f"distribution, {ties:,} of {count:,} fractions of a bin seen before), so they are not uniformly "
            "dequantised by it, and a density may put any mass on their grid: add uniform noise of one bin to the "
            "levels before fitting, or correct bin_width (levels k / 256 have 1 / 256)"
        )
    return int(values.max().floor() - values.min().floor()) + 1


def _leaf(support: Any) -> Any:
    support = entry_support(support)
    return support.entry if isinstance(support, EntryOrMissing) else support


def _family(distribution: Any) -> str:
    return type(without_reshaping(distribution)).__name__
