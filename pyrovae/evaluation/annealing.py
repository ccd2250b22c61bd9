"""Annealed importance sampling: log p(x) without trust in the guide."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import pyro
import torch
from torch import Tensor

from pyrovae.evaluation.blocks import evaluations_at_once
from pyrovae.evaluation.hamiltonian import (
    Path,
    Start,
    State,
    TemperatureSchedule,
    adapt_step_sizes,
    temperatures,
    transition,
)
from pyrovae.evaluation.latent_space import LatentSpace
from pyrovae.evaluation.log_mean import log_mean, row_means
from pyrovae.evaluation.opening import open_sampler
from pyrovae.evaluation.summaries import counted, means_table
from pyrovae.programs import Program, Sampler, check_positive, check_rows
from pyrovae.progress import Progress

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class AnnealedEstimate:
    """Annealed estimates of log p(x) for every row, and how far to believe them.

    All tensors are float64 on the CPU, in nats where they are densities.

    Attributes:
        log_px: estimate of log p(x) ``(rows,)``; a stochastic lower bound, which exceeds log p(x) by b nats with a
            probability of exp(-b) at most. NaN where the model gives a draw from the start no density at all.
        standard_error: its Monte Carlo standard error over chains, by the delta method.
        ess: effective number of chains behind it, between 1 and ``num_chains``; 0 where all weights are zero.
        acceptance: share of Hamiltonian transitions accepted ``(rows,)``, between 0 and 1; NaN for one temperature,
            which has no transitions. Far from 0.65 the estimate is valid but poor.
        log_weights: ``(chains, rows)``.
        num_temperatures: steps along the path.
    """

    log_px: Tensor
    standard_error: Tensor
    ess: Tensor
    acceptance: Tensor
    log_weights: Tensor
    num_temperatures: int

    @classmethod
    def of(cls, log_weights: Tensor, acceptance: Tensor, num_temperatures: int) -> "AnnealedEstimate":
        """The estimate of log weights ``(chains, rows)``."""
        log_weights = log_weights.cpu().double()
        mean = log_mean(log_weights)
        return cls(mean.value, mean.standard_error, mean.ess, acceptance.cpu().double(), log_weights, num_temperatures)

    @classmethod
    def join(cls, parts: "list[AnnealedEstimate]") -> "AnnealedEstimate":
        """One estimate of the rows of several, in order."""
        return cls.of(
            torch.cat([part.log_weights for part in parts], dim=1),
            torch.cat([part.acceptance for part in parts]),
            parts[0].num_temperatures,
        )

    @property
    def num_chains(self) -> int:
        """Chains for each row."""
        return len(self.log_weights)

    def means(self) -> dict[str, tuple[float, float, float]]:
        """For ``log_px``: the mean over rows, its standard error over rows, and that of the chains alone."""
        return row_means({"log_px": (self.log_px, self.standard_error)})

    def to_frame(self) -> "pd.DataFrame":
        """A table with one line for each row of data."""
        import pandas as pd

        names = ("log_px", "standard_error", "ess", "acceptance")
        return pd.DataFrame({name: getattr(self, name).numpy() for name in names}).rename_axis(index="row")

    def summary(self) -> str:
        """A table of the mean over rows, and one line on the chains."""
        lines = means_table({"log p(x)": self.means()["log_px"]})
        lines.append(
            f"{counted(len(self.log_px), 'row')}, {counted(self.num_chains, 'chain')} of {self.num_temperatures:,} "
            f"temperatures; effective chains: median {self.ess.median().item():,.1f}, least "
            f"{self.ess.min().item():,.1f}; acceptance: mean {self.acceptance.mean().item():.2f}, least "
            f"{self.acceptance.min().item():.2f}"
        )
        return "\n".join(lines)


@dataclass(frozen=True)
class Annealing:
    """How to anneal; see ``ais`` for the meaning of each."""

    num_temperatures: int
    num_chains: int
    start: Start
    schedule: TemperatureSchedule
    num_leapfrog: int
    warm_up: int

    def __post_init__(self) -> None:
        check_positive(
            num_temperatures=self.num_temperatures,
            num_chains=self.num_chains,
            num_leapfrog=self.num_leapfrog,
            warm_up=self.warm_up,
        )
        for name, value, known in (
            ("start", self.start, get_args(Start)),
            ("schedule", self.schedule, get_args(TemperatureSchedule)),
        ):
            if value not in known:
                raise ValueError(f"{name} is {value!r}; expected one of {', '.join(map(repr, known))}")

    def rows_per_block(self, x: Tensor) -> int:
        """Rows whose chains run side by side."""
        return max(1, evaluations_at_once(x) // int(self.num_chains))

    def transitions(self, directions: int = 1) -> int:
        """Transitions of a block of rows, with those of the throw-away chains."""
        warm_up = 0 if self.num_temperatures == 1 else self.warm_up + (self.warm_up + 1) // 5
        return warm_up + directions * (self.num_temperatures - 1)

    def ticks(self, num_rows: int, rows_per_block: int, directions: int = 1) -> int:
        """Transitions of all blocks, for a progress bar."""
        return math.ceil(num_rows / rows_per_block) * self.transitions(directions)


def ais(
    model: Program,
    guide: Program,
    x: Tensor,
    *,
    num_temperatures: int = 1000,
    num_chains: int = 16,
    start: Start = "prior",
    schedule: TemperatureSchedule = "sigmoid",
    num_leapfrog: int = 10,
    warm_up: int = 200,
    seed: int = 0,
    progress: bool = False,
) -> AnnealedEstimate:
    r"""Log p(x) of every row by annealed importance sampling with Hamiltonian transitions.

    Chains go from exact draws of :math:`f_0`, the prior p(z) or the guide q(z|x), to the joint density through

    .. math::
        \log f_\beta(z) = (1 - \beta) \log f_0(z) + \beta \log p(x, z), \qquad 0 = \beta_0 < \dots < \beta_T = 1,

    each step adding :math:`(\beta_t - \beta_{t-1}) (\log p(x, z_{t-1}) - \log f_0(z_{t-1}))` to the chain's log weight
    before a transition that leaves :math:`f_{\beta_t}` invariant. The mean weight is an unbiased estimate of p(x)
    (Neal, 2001), so its logarithm is a stochastic lower bound of log p(x), whatever the guide and the step sizes. To
    keep it one, the step sizes come from throw-away chains that run along the path beforehand, one for each row and
    temperature, and are frozen before the chains that count start (Wu, Burda, Salakhutdinov and Grosse, 2017).

    Latents with constraints are moved in the unconstrained space of ``biject_to``, with its Jacobian. Rows are taken
    in blocks of about 8,000 chains, so that memory is bounded.

    Args:
        model: Pyro program of the rows, observing them inside a plate ``len(x)`` at dim -1.
        guide: Pyro program of the rows, drawing the model's latents inside the same plate.
        x: rows ``(rows, *data_shape)``, on the device of the parameters.
        num_temperatures: steps T along the path; more bring the bound closer.
        num_chains: independent chains for each row.
        start: ``"prior"``, which owes nothing to the guide, or ``"guide"``, which is closer where the guide is good.
        schedule: ``"sigmoid"``, slow at both ends, or ``"linear"``.
        num_leapfrog: steps of each Hamiltonian trajectory, each a gradient of the model.
        warm_up: temperatures of the throw-away chains, spread over the same path.
        seed: of the draws.
        progress: show a progress bar.

    Raises:
        ValueError: numbers out of range, NaN in the data, a pair that breaks the contract of ``check_pair``, a
            discrete latent; from the guide, one with a flow without an inverse.

    Example:
        >>> import torch
        >>> from pyrovae import VAE, ais, likelihoods, networks, posteriors, priors
        >>> vae = VAE(
        ...     priors.StandardNormal(2),
        ...     likelihoods.Normal(networks.MLP(2, 5)),
        ...     posteriors.DiagonalNormal(networks.MLP(5, 2 * 2)),
        ... )
        >>> estimate = ais(vae.model, vae.guide, torch.randn(3, 5), num_temperatures=10, num_chains=4, warm_up=5)
        >>> estimate.log_px.shape, estimate.log_weights.shape
        (torch.Size([3]), torch.Size([4, 3]))
    """
    how = Annealing(num_temperatures, num_chains, start, schedule, num_leapfrog, warm_up)
    check_rows(x, "x")
    size = how.rows_per_block(x)
    with (
        open_sampler(model, guide, x, seed=seed) as sampler,
        pyro.validation_enabled(False),
        Progress("annealing", how.ticks(len(x), size), "step", shown=progress) as bar,
    ):
        return AnnealedEstimate.join([_anneal_block(sampler, rows, how, bar) for rows in x.split(size)])


def _anneal_block(sampler: Sampler, rows: Tensor, how: Annealing, bar: Progress) -> AnnealedEstimate:
    path, step_sizes = prepare(sampler, rows, how, bar)
    log_weights, acceptance = anneal(path, path.draw(how.num_chains), how, step_sizes, bar)
    return AnnealedEstimate.of(log_weights, acceptance, how.num_temperatures)


def prepare(sampler: Sampler, rows: Tensor, how: Annealing, bar: Progress) -> tuple[Path, Tensor]:
    """The path of the rows, and frozen step sizes ``(num_temperatures - 1, rows)`` from throw-away chains."""
    space = LatentSpace(sampler, rows, guide_too=how.start == "guide")
    path = Path(sampler, space, rows, how.start, gradients=how.transitions() * (how.num_leapfrog + 1))
    if how.num_temperatures == 1:
        return path, torch.empty(0, len(rows))
    adapted = adapt_step_sizes(
        path,
        temperatures(how.warm_up, how.schedule),
        num_chains=how.num_chains,
        num_leapfrog=how.num_leapfrog,
        tick=bar.advance,
    )
    # Both schedules have the same shape, so that equal fractions of them are equal temperatures.
    fractions = torch.arange(1, how.num_temperatures) / how.num_temperatures
    index = (fractions * how.warm_up).round().long().clamp(1, how.warm_up) - 1
    return path, adapted[index.to(adapted.device)]


def anneal(
    path: Path, state: State, how: Annealing, step_sizes: Tensor, bar: Progress, *, reverse: bool = False
) -> tuple[Tensor, Tensor]:
    """Log weights ``(chains, rows)`` and acceptance ``(rows,)`` of chains along the path.

    Args:
        path: the densities.
        state: exact draws from the start of the path; in reverse from its end, the exact posterior.
        how: temperatures and leapfrog steps.
        step_sizes: of the transitions ``(num_temperatures - 1, rows)``.
        bar: counts transitions.
        reverse: go from the posterior to the start. The log weights are those of the forward chain along the same
            points, so that the mean of exp(-log weight) is an unbiased estimate of 1/p(x).
    """
    betas = temperatures(how.num_temperatures, how.schedule).tolist()
    steps = range(how.num_temperatures)
    # Sums of thousands of terms are kept in float64, which not every accelerator has.
    log_weights = torch.zeros(state.tilt.shape, dtype=torch.float64)
    acceptance = []
    for t in reversed(steps) if reverse else steps:
        log_weights += (betas[t + 1] - betas[t]) * state.tilt.cpu().double()
        # The transition between the weights of step t and of the next one is at the temperature that they share.
        shared = t if reverse else t + 1
        if 0 < shared < how.num_temperatures:
            state, probability = transition(path, state, betas[shared], step_sizes[shared - 1], how.num_leapfrog)
            acceptance.append(probability.mean(0))
            bar.advance()
    nothing = torch.full_like(state.tilt[0], math.nan)
    return log_weights, torch.stack(acceptance).mean(0) if acceptance else nothing
