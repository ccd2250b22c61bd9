"""ELBO and log p(x) side by side, for every row."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from pyrovae.evaluation.arviz_interface import pareto_k
from pyrovae.evaluation.importance import importance_blocks
from pyrovae.programs import Program

if TYPE_CHECKING:
    import pandas as pd

K_HAT_LIMIT = 0.7
"""Above it an importance estimate is not to be believed (Vehtari et al., 2024)."""

# A log weight is a difference of sums over latents and data, each with rounding errors of its own.
_ROUNDINGS = 64


@dataclass(frozen=True)
class BoundComparison:
    """The two numbers of a variational autoencoder for every row, and how far to believe them.

    All attributes but ``num_samples`` are float64 tensors ``(rows,)``; densities and gaps are in nats.

    Attributes:
        elbo: estimate of the evidence lower bound, the mean log weight.
        elbo_standard_error: its Monte Carlo standard error.
        log_px: importance-weighted estimate of log p(x), the log mean weight; in expectation a lower bound.
        standard_error: its Monte Carlo standard error, by the delta method.
        gap: ``log_px - elbo``; estimates KL(q(z|x) || p(z|x)), how far the guide is from the posterior.
        gap_standard_error: its Monte Carlo standard error; both numbers come from the same draws.
        ess: effective number of draws behind ``log_px``, between 1 and ``num_samples``.
        k_hat: tail index of the weights; above 0.7 (or NaN) neither ``log_px`` nor its error is to be believed.
        num_samples: draws for each row.
    """

    elbo: Tensor
    elbo_standard_error: Tensor
    log_px: Tensor
    standard_error: Tensor
    gap: Tensor
    gap_standard_error: Tensor
    ess: Tensor
    k_hat: Tensor
    num_samples: int

    @property
    def reliable(self) -> Tensor:
        """Whether the estimate of log p(x) of a row can be believed: k-hat known and at most 0.7."""
        return self.k_hat <= K_HAT_LIMIT

    def to_frame(self) -> "pd.DataFrame":
        """A table with one line for each row of data."""
        import pandas as pd

        columns: dict[str, Any] = {
            name: value.numpy() for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return pd.DataFrame(columns).rename_axis(index="row")

    def means(self) -> dict[str, tuple[float, float, float]]:
        """For ``elbo``, ``log_px`` and ``gap``: the mean over rows and its two standard errors.

        The first is that of the rows, as a sample from all possible rows; the second that of the draws, with
        these rows held fixed.
        """
        errors = {
            "elbo": self.elbo_standard_error,
            "log_px": self.standard_error,
            "gap": self.gap_standard_error,
        }
        rows = len(self.elbo)
        return {
            name: (
                getattr(self, name).mean().item(),
                getattr(self, name).std().item() / math.sqrt(rows) if rows > 1 else math.nan,
                error.square().sum().sqrt().item() / rows,
            )
            for name, error in errors.items()
        }

    def summary(self) -> str:
        """A table of means over rows, and one sentence on how far to believe them."""
        labels = {"elbo": "ELBO", "log_px": "log p(x)", "gap": "gap"}
        lines = [f"{'nats per row':<14}{'mean':>12}{'se (rows)':>12}{'se (draws)':>12}"]
        lines += [
            f"{labels[name]:<14}{mean:>12.3f}{rows:>12.3f}{draws:>12.4f}"
            for name, (mean, rows, draws) in self.means().items()
        ]
        finite_k = self.k_hat[~self.k_hat.isnan()]
        lines += [
            f"{len(self.elbo):,} rows, {self.num_samples:,} draws each; effective draws: median "
            f"{self.ess.median().item():,.0f}, least {self.ess.min().item():,.0f}; "
            f"k-hat: median {finite_k.median().item() if len(finite_k) else math.nan:.2f}, "
            f"largest {finite_k.max().item() if len(finite_k) else math.nan:.2f}",
            self.verdict(),
        ]
        return "\n".join(lines)

    def verdict(self) -> str:
        """One sentence on how far log p(x) can be believed."""
        rows, unreliable = len(self.k_hat), int((~self.reliable).sum())
        if self.k_hat.isnan().all():
            return "log p(x) cannot be judged: k-hat needs at least 25 draws and finite weights."
        if not unreliable:
            return f"log p(x) can be believed: k-hat is at most {K_HAT_LIMIT} in every row."
        return (
            f"log p(x) is too low or uncertain in {unreliable:,} of {rows:,} rows, whose k-hat is above "
            f"{K_HAT_LIMIT} or unknown: look at these rows before quoting the mean, or draw more."
        )


def compare_bounds(
    model: Program,
    guide: Program,
    x: Tensor,
    *,
    num_samples: int = 1000,
    chunk_size: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> BoundComparison:
    r"""ELBO, importance-weighted log p(x) and the gap between them, for every row and with error bars.

    With log weights :math:`\log w_k = \log p(x, z_k) - \log q(z_k|x)` of K draws from the guide,

    .. math::
        \mathrm{ELBO} \approx \frac1K \sum_k \log w_k, \qquad
        \log p(x) \approx \log \frac1K \sum_k w_k,

    the second from below in expectation and exact as K grows (Burda, Grosse and Salakhutdinov, 2016). Its standard
    error is :math:`\mathrm{sd}(w) / (\bar w \sqrt K)`, the effective sample size :math:`(\sum w)^2 / \sum w^2`,
    and k-hat is ArviZ's. Plate scales, batch sizes and training objectives have no part in it, and it trains
    nothing: parameters, buffers, the param store and the global random generators stay as they are.

    Args:
        model: Pyro program of the rows, observing them inside a plate ``len(x)`` at dim -1.
        guide: Pyro program of the rows, drawing the model's latents inside the same plate.
        x: rows ``(rows, *data_shape)``, on the device of the parameters.
        num_samples: draws for each row.
        chunk_size: draws scored at once for each row of a block; smaller needs less memory, nothing else changes.
        seed: of the draws.
        progress: show a progress bar.

    Raises:
        ValueError: numbers out of range, NaN in the data, a pair that breaks the contract of ``inspect_pair``.

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
    parts = []
    with (
        importance_blocks(model, guide, x, num_samples, chunk_size=chunk_size, seed=seed) as blocks,
        tqdm(total=len(x), disable=not progress, desc="scoring", unit="row") as bar,
    ):
        for block in blocks:
            parts.append(_reduce(block))
            bar.update(block.shape[1])
    columns = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return BoundComparison(num_samples=num_samples, **columns)


def _reduce(log_w: Tensor) -> dict[str, Tensor]:
    """The numbers of some rows from their log weights ``(draws, rows)``."""
    resolution = _ROUNDINGS * torch.finfo(log_w.dtype).eps
    log_w = log_w.cpu().double()
    num_samples = len(log_w)
    elbo = log_w.mean(0)
    log_px = torch.logsumexp(log_w, 0) - math.log(num_samples)
    # Weights relative to their mean; a row without any weight has none.
    relative = torch.exp(log_w - log_px)

    def standard_error(terms: Tensor) -> Tensor:
        # One draw says nothing of the spread.
        return terms.std(0) / math.sqrt(num_samples) if num_samples > 1 else torch.full_like(elbo, math.nan)

    return {
        "elbo": elbo,
        "elbo_standard_error": standard_error(log_w),
        "log_px": log_px,
        "standard_error": standard_error(relative),
        "gap": log_px - elbo,
        "gap_standard_error": standard_error(relative - log_w),
        "ess": relative.sum(0).square() / relative.square().sum(0),
        "k_hat": torch.from_numpy(pareto_k(np.ascontiguousarray(log_w.T.numpy()), resolution)),
    }
