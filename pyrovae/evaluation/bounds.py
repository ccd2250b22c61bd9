"""ELBO and log p(x) side by side, for every row."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pyrovae.data import AnyRows
from pyrovae.distributions.arguments import is_whole_number
from pyrovae.evaluation.arviz_interface import WHEN_K_HAT, k_hat_limit, make_arviz
from pyrovae.evaluation.chunks import MEMORY_GIB
from pyrovae.evaluation.estimates import estimates
from pyrovae.evaluation.importance import importance_blocks, number_of_blocks
from pyrovae.evaluation.log_mean import row_means
from pyrovae.evaluation.summaries import counted, means_table
from pyrovae.processes import processes_now
from pyrovae.programs import Program, check_positive
from pyrovae.progress import Progress

if TYPE_CHECKING:
    import pandas as pd

_SWEEP = (1, 10, 100, 1000, 5000)

# Estimates take several copies of the weights: of so many 250 MiB in all.
_WEIGHTS_AT_ONCE = 2**22


@dataclass(frozen=True)
class BoundComparison:
    """The two numbers of a variational autoencoder for every row, and how far to believe them.

    Tensors are float64, ``(rows,)`` where nothing else is said; densities and gaps are in nats.

    Attributes:
        elbo: estimate of the evidence lower bound, the mean log weight.
        elbo_standard_error: its Monte Carlo standard error.
        log_px: importance-weighted estimate of log p(x), the log mean weight; in expectation a lower bound.
        standard_error: its Monte Carlo standard error, by the delta method.
        bias: estimate of how far ``log_px`` is off in expectation, by the delta method; never positive.
        log_px_smoothed: the same estimate with the largest weights replaced by Pareto quantiles, which vary less.
        gap: ``log_px - elbo``; estimates KL(q(z|x) || p(z|x)), how far the guide is from the posterior.
        gap_standard_error: its Monte Carlo standard error; both numbers come from the same draws.
        ess: effective number of draws behind ``log_px``, between 1 and ``num_samples``; 0 where all weights are zero.
        k_hat: tail index of the weights; above ``k_hat_limit`` (or NaN) neither ``log_px`` nor its error is to be
            believed. Of discrete latents it is 0 too where all draws of a row have one value, and then says nothing
            of the values that the guide almost never draws.
        sweep: numbers of draws K.
        sweep_bounds: estimates of the K-sample bound from the same weights, ``(len(sweep), rows)``; in expectation
            they rise with K from the ELBO to log p(x).
        sweep_standard_errors: their Monte Carlo standard errors, to first order in K / num_samples, so somewhat small
            where K is no small part of the draws.
        num_samples: draws for each row.
        log_weights: the log weights themselves, ``(num_samples, rows)``, if they were to be kept.
    """

    elbo: Tensor
    elbo_standard_error: Tensor
    log_px: Tensor
    standard_error: Tensor
    bias: Tensor
    log_px_smoothed: Tensor
    gap: Tensor
    gap_standard_error: Tensor
    ess: Tensor
    k_hat: Tensor
    sweep_bounds: Tensor
    sweep_standard_errors: Tensor
    sweep: tuple[int, ...]
    num_samples: int
    log_weights: Tensor | None = None

    @property
    def k_hat_limit(self) -> float:
        """The largest k-hat that is believed, min(1 - 1 / log10(num_samples), 0.7), or 0 if that is negative."""
        return k_hat_limit(self.num_samples)

    @property
    def reliable(self) -> Tensor:
        """Whether the estimate of log p(x) of a row can be believed: k-hat known and within its limit."""
        return self.k_hat <= self.k_hat_limit

    @property
    def unreliable_rows(self) -> Tensor:
        """Numbers of the rows not to be believed, the worst first."""
        rows = (~self.reliable).nonzero().flatten()
        return rows[self.k_hat[rows].nan_to_num(torch.inf).argsort(descending=True, stable=True)]

    def to_frame(self) -> "pd.DataFrame":
        """A table with one line for each row of data."""
        import pandas as pd

        columns = {
            name: value.numpy() for name, value in vars(self).items() if isinstance(value, Tensor) and value.dim() == 1
        }
        columns["reliable"] = self.reliable.numpy()
        for k, bound, error in zip(self.sweep, self.sweep_bounds, self.sweep_standard_errors, strict=True):
            columns |= {f"bound_{k}": bound.numpy(), f"bound_{k}_standard_error": error.numpy()}
        return pd.DataFrame(columns).rename_axis(index="row")

    def to_arviz(self) -> Any:
        """The numbers as an ArviZ object: ``InferenceData`` from ArviZ 0.23, ``DataTree`` from ArviZ 1.

        The group ``constant_data`` has the columns of ``to_frame`` by row, and ``sweep_bounds`` with their errors by
        number of draws. Log weights that were kept are ``log_weight`` in ``sample_stats``, one chain of draws. For
        draws of the latents and of rows see the function ``to_arviz``.
        """
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        log_weights = tensors.pop("log_weights", None)
        arrays = {name: value.numpy() for name, value in tensors.items()} | {"reliable": self.reliable.numpy()}
        groups = {"constant_data": arrays}
        if log_weights is not None:
            groups["sample_stats"] = {"log_weight": log_weights.numpy()[None]}
        by_draws = ("sweep_bounds", "sweep_standard_errors")
        dims = {name: ["num_draws", "row"] if name in by_draws else ["row"] for name in [*arrays, "log_weight"]}
        return make_arviz(groups, dims, {"row": range(len(self.elbo)), "num_draws": self.sweep})

    @classmethod
    def from_frame(cls, frame: "pd.DataFrame", num_samples: int) -> "BoundComparison":
        """The comparison that ``to_frame`` made a table of."""
        names = [f.name for f in fields(cls) if f.name in frame and f.name != "num_samples"]
        sweep = tuple(sorted(int(name[6:]) for name in map(str, frame) if re.fullmatch(r"bound_\d+", name)))
        return cls(
            **{name: column_of(frame, name) for name in names},
            sweep_bounds=torch.stack([column_of(frame, f"bound_{k}") for k in sweep]),
            sweep_standard_errors=torch.stack([column_of(frame, f"bound_{k}_standard_error") for k in sweep]),
            sweep=sweep,
            num_samples=num_samples,
        )

    def means(self) -> dict[str, tuple[float, float, float]]:
        """For ``elbo``, ``log_px`` and ``gap``: the mean over rows and its two standard errors.

        The first is that of the rows, as a sample from all possible rows; the second that of the draws, with
        these rows held fixed.
        """
        errors = {"elbo": self.elbo_standard_error, "log_px": self.standard_error, "gap": self.gap_standard_error}
        return row_means({name: (getattr(self, name), error) for name, error in errors.items()})

    def summary(self) -> str:
        """A table of means over rows, and one sentence on how far to believe them."""
        labels = {"elbo": "ELBO", "log_px": "log p(x)", "gap": "gap"}
        lines = means_table({labels[name]: numbers for name, numbers in self.means().items()})
        sweep = zip(self.sweep, self.sweep_bounds.mean(1).tolist(), strict=True)
        known = self.k_hat[~self.k_hat.isnan()]
        bias = self.bias.mean().item()
        k_hat = "k-hat unknown"
        if len(known):
            k_hat = f"k-hat: median {known.median().item():.2f}, largest {known.max().item():.2f}"
        lines += [
            "bound by draws  " + "   ".join(f"{k:,}: {bound:.3f}" for k, bound in sweep),
            f"log p(x) with smoothed weights {self.log_px_smoothed.mean().item():.3f}; "
            f"bias of log p(x) {'unknown' if math.isnan(bias) else f'about {bias:z.3f}'}",
            f"{counted(len(self.elbo), 'row')}, {counted(self.num_samples, 'draw')} each; effective draws: median "
            f"{self.ess.median().item():,.0f}, least {self.ess.min().item():,.0f}; {k_hat}",
            self.verdict(),
        ]
        return "\n".join(lines)

    def verdict(self) -> str:
        """One sentence on how far log p(x) can be believed."""
        rows, unreliable = len(self.k_hat), len(self.unreliable_rows)
        all_rows = counted(rows, "row")
        infinite = (~self.log_px.isfinite()).nonzero().flatten().tolist()
        if infinite:
            return (
                f"log p(x) is infinite or NaN in {len(infinite):,} of {all_rows}, the first is row {infinite[0]}: "
                "look there for values at the edge of the likelihood's support, or far from all others."
            )
        if self.k_hat.isnan().all():
            return f"log p(x) cannot be judged: {WHEN_K_HAT}."
        if not unreliable:
            return f"log p(x) can be believed: k-hat is at most {self.k_hat_limit:.2f} in every row."
        flagged = (
            f"log p(x) is too low or uncertain in {unreliable:,} of {all_rows}, whose k-hat is above "
            f"{self.k_hat_limit:.2f} or unknown"
        )
        if unreliable <= rows / 2:
            return f"{flagged}: look at these rows before quoting the mean, or draw more."
        others = (
            "" if unreliable == rows else "; the others are no better, as draws that miss the tail have a small k-hat"
        )
        return f"{flagged}{others}: draw more, or take a better guide."


def compare_bounds(
    model: Program,
    guide: Program,
    x: AnyRows,
    *,
    num_samples: int = 1000,
    sweep: Sequence[int] | None = None,
    chunk_size: int | None = None,
    memory_gib: float = MEMORY_GIB,
    seed: int = 0,
    keep_log_weights: bool = False,
    progress: bool = False,
) -> BoundComparison:
    r"""ELBO, importance-weighted log p(x) and the gap between them, for every row and with error bars.

    With log weights :math:`\log w_k = \log p(x, z_k) - \log q(z_k|x)` of K draws from the guide,

    .. math::
        \mathrm{ELBO} \approx \frac1K \sum_k \log w_k, \qquad
        \log p(x) \approx \log \frac1K \sum_k w_k,

    the second from below in expectation and exact as K grows (Burda, Grosse and Salakhutdinov, 2016). Its standard
    error is :math:`\mathrm{sd}(w) / (\bar w \sqrt K)`, its bias about minus half the square of that, and the effective
    sample size :math:`(\sum w)^2 / \sum w^2`; k-hat and the smoothed weights are ArviZ's. Plate scales, batch sizes and
    training objectives have no part in it, and it trains nothing: parameters, buffers, the param store and the global
    random generators stay as they are.

    The guide with the better ELBO need not give the better estimate of log p(x). On a posterior Normal(0, 1) the guide
    Normal(0, 0.6) has an ELBO 0.19 nats below log p(x) and weights of infinite variance, with a tail of index 0.64;
    that of Normal(0, 1.8) is 0.53 below, and its weights are bounded.

    Several processes, within ``several_processes``, share out the rows, and each has the numbers of all of them. They
    are those of one process to rounding.

    Args:
        model: Pyro program of the rows, observing them inside a plate ``len(x)`` at dim -1.
        guide: Pyro program of the rows, drawing the model's latents inside the same plate.
        x: rows ``(rows, *data_shape)``, on the device of the parameters; or ``data.StreamedRows``.
        num_samples: draws for each row.
        sweep: numbers of draws K to give the K-sample bound for, each at most ``num_samples``; without it those of
            1, 10, 100, 1000, 5000 that are, and ``num_samples``.
        chunk_size: draws scored at once for each row of a block; smaller needs less memory, nothing else changes.
        memory_gib: what the tensors of one chunk may take, in GiB, without ``chunk_size``; see ``log_weights``.
        seed: of the draws.
        keep_log_weights: keep all ``num_samples`` log weights of every row, 8 bytes each.
        progress: show a progress bar.

    Raises:
        ValueError: numbers out of range, NaN in the data, a pair that breaks the contract of ``check_pair``.

    Example:
        >>> import torch
        >>> from pyrovae import VAE, compare_bounds, likelihoods, networks, posteriors, priors
        >>> vae = VAE(
        ...     priors.StandardNormal(2),
        ...     likelihoods.Normal(networks.MLP(2, 5)),
        ...     posteriors.DiagonalNormal(networks.MLP(5, 2 * 2)),
        ... )
        >>> bounds = compare_bounds(vae.model, vae.guide, torch.randn(3, 5), num_samples=200)
        >>> bool((bounds.elbo <= bounds.log_px).all()), bounds.gap.shape
        (True, torch.Size([3]))
    """
    check_positive(num_samples=num_samples)
    numbers = _checked_sweep(sweep, num_samples)
    processes, parts = processes_now(), []
    share = processes.share(number_of_blocks(x))
    with (
        importance_blocks(
            model, guide, x, num_samples, chunk_size=chunk_size, memory_gib=memory_gib, seed=seed, some=share
        ) as blocks,
        Progress("scoring", len(x), "row", shown=progress and processes.is_first) as bar,
    ):
        scored = 0
        for number, block in enumerate(blocks, start=1):
            for log_w in block.split(max(1, _WEIGHTS_AT_ONCE // int(num_samples)), dim=1):
                kept = {"log_weights": log_w.cpu().double()} if keep_log_weights else {}
                parts.append({**estimates(log_w, numbers), **kept})
            # The others are as far.
            bar.advance(len(x) * number // len(share) - scored)
            scored = len(x) * number // len(share)
    parts = [part for of_process in processes.gather(parts) for part in of_process]
    columns = {name: torch.cat([part[name] for part in parts], dim=-1) for name in parts[0]}
    return BoundComparison(sweep=numbers, num_samples=num_samples, **columns)


def column_of(frame: "pd.DataFrame", name: str) -> Tensor:
    """A column of a table of scored rows ``(rows,)``, in float64."""
    return torch.tensor(frame[name].to_numpy(), dtype=torch.float64)


def _checked_sweep(sweep: Sequence[int] | None, num_samples: int) -> tuple[int, ...]:
    if sweep is None:
        return tuple(sorted({k for k in _SWEEP if k <= num_samples} | {num_samples}))
    if not len(sweep) or any(not is_whole_number(k) or not 1 <= k <= num_samples for k in sweep):
        raise ValueError(f"sweep is {sweep!r}; expected numbers of draws between 1 and num_samples, {num_samples}")
    return tuple(sorted(set(map(int, sweep))))
