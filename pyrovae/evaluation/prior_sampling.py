"""Log p(x) by draws from the prior: right in the limit, and of no use for more than a few latents."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pyrovae.data import AnyRows
from pyrovae.evaluation.arviz_interface import WHEN_K_HAT, k_hat_limit, pareto_k
from pyrovae.evaluation.blocks import ROWS_PER_BLOCK, draws_at_once
from pyrovae.evaluation.log_mean import log_mean, row_means
from pyrovae.evaluation.opening import open_sampler
from pyrovae.evaluation.summaries import counted, means_table
from pyrovae.programs import Program, Sampler, check_positive
from pyrovae.progress import Progress

if TYPE_CHECKING:
    import pandas as pd

# Weights of a block of rows are kept for k-hat: 128 MiB of them.
_WEIGHTS_PER_BLOCK = 2**24


@dataclass(frozen=True)
class PriorEstimate:
    """Estimates of log p(x) by draws from the prior, for every row, and how far to believe them.

    All tensors are float64 ``(rows,)`` on the CPU; densities are in nats.

    Attributes:
        log_px: the log mean likelihood; in expectation a lower bound of log p(x).
        standard_error: its Monte Carlo standard error, by the delta method.
        ess: effective number of draws behind it, between 1 and ``num_samples``; 0 where all likelihoods are zero.
        k_hat: tail index of the likelihoods; above ``k_hat_limit`` (or NaN) neither ``log_px`` nor its error is to be
            believed.
        num_samples: draws for each row.
    """

    log_px: Tensor
    standard_error: Tensor
    ess: Tensor
    k_hat: Tensor
    num_samples: int

    @property
    def k_hat_limit(self) -> float:
        """The largest k-hat that is believed, min(1 - 1 / log10(num_samples), 0.7), or 0 if that is negative."""
        return k_hat_limit(self.num_samples)

    @property
    def reliable(self) -> Tensor:
        """Whether the estimate of a row can be believed: k-hat known and within its limit."""
        return self.k_hat <= self.k_hat_limit

    def means(self) -> dict[str, tuple[float, float, float]]:
        """For ``log_px``: the mean over rows, its standard error over rows, and that of the draws alone."""
        return row_means({"log_px": (self.log_px, self.standard_error)})

    def to_frame(self) -> "pd.DataFrame":
        """A table with one line for each row of data."""
        import pandas as pd

        columns = {name: value.numpy() for name, value in vars(self).items() if isinstance(value, Tensor)}
        columns["reliable"] = self.reliable.numpy()
        return pd.DataFrame(columns).rename_axis(index="row")

    def summary(self) -> str:
        """A table of the mean over rows, and one sentence on how far to believe it."""
        belief = (
            f"log p(x) cannot be judged: {WHEN_K_HAT}"
            if self.k_hat.isnan().all()
            else f"k-hat is above {self.k_hat_limit:.2f} or unknown in {counted(int((~self.reliable).sum()), 'row')}"
        )
        lines = means_table({"log p(x)": self.means()["log_px"]})
        lines.append(
            f"{counted(len(self.log_px), 'row')}, {counted(self.num_samples, 'draw')} from the prior each; effective "
            f"draws: median {self.ess.median().item():,.0f}, least {self.ess.min().item():,.0f}; {belief}"
        )
        return "\n".join(lines)


def prior_log_px(
    model: Program,
    guide: Program,
    x: AnyRows,
    *,
    num_samples: int = 10_000,
    seed: int = 0,
    progress: bool = False,
) -> PriorEstimate:
    r"""Log p(x) of every row by plain Monte Carlo, with z from the prior.

    .. math:: \log p(x) \approx \log \frac1K \sum_k p(x \mid z_k), \qquad z_k \sim p(z)

    It needs no guide and is what the importance weights of ``compare_bounds`` improve on. The draws that count are
    those that land in the posterior, a share of about exp(-KL(p(z|x) || p(z))): with every nat that the data say of
    the latents e times as many draws are needed, so that it fails at some ten latents. ``ess`` and ``k_hat`` show
    where it does. Memory is bounded, whatever the numbers of rows; the likelihoods of a block of rows are kept.

    Args:
        model: Pyro program of the rows, observing them inside a plate ``len(x)`` at dim -1.
        guide: its guide, for the check of the pair; no draw is taken from it for the estimate.
        x: rows ``(rows, *data_shape)``, on the device of the parameters; or ``data.StreamedRows``.
        num_samples: draws for each row.
        seed: of the draws.
        progress: show a progress bar.

    Raises:
        ValueError: numbers out of range, NaN in the data, a pair that breaks the contract of ``check_pair``.

    Example:
        >>> import torch
        >>> from pyrovae import VAE, likelihoods, networks, posteriors, prior_log_px, priors
        >>> vae = VAE(
        ...     priors.StandardNormal(2),
        ...     likelihoods.Normal(networks.MLP(2, 5)),
        ...     posteriors.DiagonalNormal(networks.MLP(5, 2 * 2)),
        ... )
        >>> estimate = prior_log_px(vae.model, vae.guide, torch.randn(3, 5), num_samples=100)
        >>> estimate.log_px.shape, bool((estimate.ess <= 100).all())
        (torch.Size([3]), True)
    """
    check_positive(num_samples=num_samples)
    parts = []
    with (
        open_sampler(model, guide, x, seed=seed) as sampler,
        Progress("scoring", len(x), "row", shown=progress) as bar,
    ):
        for rows in x.split(max(1, min(ROWS_PER_BLOCK, _WEIGHTS_PER_BLOCK // int(num_samples)))):
            parts.append(_reduce(_log_likelihoods(sampler, rows, num_samples)))
            bar.advance(len(rows))
    columns = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return PriorEstimate(num_samples=num_samples, **columns)


def _log_likelihoods(sampler: Sampler, rows: Tensor, num_samples: int) -> Tensor:
    """Log p(x|z) of draws from the prior ``(num_samples, rows)``."""
    step = draws_at_once(rows)
    return torch.cat(
        [sampler.draw_prior(rows, min(step, num_samples - start))[2] for start in range(0, num_samples, step)]
    )


def _reduce(log_weights: Tensor) -> dict[str, Tensor]:
    resolution = torch.finfo(log_weights.dtype).eps
    log_weights = log_weights.cpu().double()
    mean = log_mean(log_weights)
    k_hat = pareto_k(np.ascontiguousarray(log_weights.T.numpy()), resolution)
    return {
        "log_px": mean.value,
        "standard_error": mean.standard_error,
        "ess": mean.ess,
        "k_hat": torch.from_numpy(k_hat),
    }
