"""Bidirectional Monte Carlo: log p(x) between two bounds, on rows that the model itself made."""

from dataclasses import dataclass
from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor

from pyrovae.evaluation.annealing import AnnealedEstimate, Annealing, anneal, prepare
from pyrovae.evaluation.hamiltonian import Start, TemperatureSchedule
from pyrovae.evaluation.log_mean import row_means
from pyrovae.evaluation.opening import open_sampler
from pyrovae.evaluation.summaries import counted, means_table
from pyrovae.programs import (
    Latents,
    Program,
    Sampler,
    SiteScales,
    check_missing,
    check_positive,
    check_rows,
    observes,
    sample_sites,
    unconditioned,
)
from pyrovae.progress import Progress


@dataclass(frozen=True)
class BidirectionalEstimate:
    """A bracket around log p(x) for each simulated row.

    All tensors but ``rows`` are float64 on the CPU, in nats per row.

    Attributes:
        forward: annealed estimates from the start of the path; stochastic lower bounds.
        reverse: chains from the exact posterior draw back to the start; its ``log_weights`` are minus those of 1/p(x),
            and minus its ``log_px`` is the upper bound.
        rows: the simulated rows ``(rows, *data_shape)``.
    """

    forward: AnnealedEstimate
    reverse: AnnealedEstimate
    rows: Tensor

    @property
    def lower(self) -> Tensor:
        """Stochastic lower bound of log p(x) ``(rows,)``."""
        return self.forward.log_px

    @property
    def upper(self) -> Tensor:
        """Stochastic upper bound of log p(x) ``(rows,)``."""
        return -self.reverse.log_px

    @property
    def gap(self) -> Tensor:
        """``upper - lower``: in expectation more than the error of either ``(rows,)``."""
        return self.upper - self.lower

    @property
    def gap_standard_error(self) -> Tensor:
        """Monte Carlo standard error of the gap over chains; the reverse ones share a start, so it may be too small."""
        return (self.forward.standard_error.square() + self.reverse.standard_error.square()).sqrt()

    def means(self) -> dict[str, tuple[float, float, float]]:
        """For ``lower``, ``upper`` and ``gap``: the mean over rows, its standard error over rows, and of the chains.

        Rows are independent, so the error over rows holds whatever the chains do. That of the chains is too small for
        ``upper`` and ``gap``, whose reverse chains share the start of their row.
        """
        return row_means(
            {
                "lower": (self.lower, self.forward.standard_error),
                "upper": (self.upper, self.reverse.standard_error),
                "gap": (self.gap, self.gap_standard_error),
            }
        )

    def summary(self) -> str:
        """A table of means over rows, and one line on the chains."""
        means = self.means()
        lines = means_table({"lower bound": means["lower"], "upper bound": means["upper"], "gap": means["gap"]})
        lines.append(
            f"{counted(len(self.rows), 'simulated row')}, {counted(self.forward.num_chains, 'chain')} of "
            f"{self.forward.num_temperatures:,} temperatures each way; acceptance: forward "
            f"{self.forward.acceptance.mean().item():.2f}, reverse {self.reverse.acceptance.mean().item():.2f}"
        )
        return "\n".join(lines)


def bdmc(
    model: Program,
    guide: Program,
    *,
    like: Tensor,
    num_rows: int = 100,
    num_temperatures: int = 1000,
    num_chains: int = 16,
    start: Start = "prior",
    schedule: TemperatureSchedule = "sigmoid",
    num_leapfrog: int = 10,
    warm_up: int = 200,
    seed: int = 0,
    progress: bool = False,
) -> BidirectionalEstimate:
    r"""Lower and upper bounds of log p(x) on rows that are simulated from the model.

    A simulated row comes with an exact draw from its posterior, the z that made it. Annealed chains forward give a
    stochastic lower bound of log p(x); chains from that z back to the start of the path give an unbiased estimate of
    1/p(x), and so a stochastic upper bound (Grosse, Ghahramani and Adams, 2015). On these rows, then, the truth lies
    between the two, and ``gap`` says how far ``ais`` with the same settings is to be believed on data that are like
    the model's own. Both directions use the same frozen step sizes.

    Args:
        model: Pyro program of the rows, observing them inside a plate ``len(x)`` at dim -1.
        guide: Pyro program of the rows, drawing the model's latents inside the same plate.
        like: some rows ``(any number, *data_shape)``; only their shape, type, device and missing entries matter:
            the simulated rows lack the same entries.
        num_rows: rows to simulate.
        num_temperatures: steps along the path.
        num_chains: chains for each row and direction.
        start: ``"prior"`` or ``"guide"``.
        schedule: ``"sigmoid"`` or ``"linear"``.
        num_leapfrog: steps of each Hamiltonian trajectory.
        warm_up: temperatures of the throw-away chains.
        seed: of the draws.
        progress: show a progress bar.

    Raises:
        ValueError: numbers out of range, a pair that breaks the contract of ``check_pair``, a discrete latent, a
            model that does not observe the rows themselves, at one site, or uses them elsewhere; from the guide, one
            with a flow without an inverse.

    Example:
        >>> import torch
        >>> from pyrovae import VAE, bdmc, likelihoods, networks, posteriors, priors
        >>> vae = VAE(
        ...     priors.StandardNormal(2),
        ...     likelihoods.Normal(networks.MLP(2, 5)),
        ...     posteriors.DiagonalNormal(networks.MLP(5, 2 * 2)),
        ... )
        >>> bracket = bdmc(
        ...     vae.model, vae.guide, like=torch.zeros(1, 5), num_rows=3, num_temperatures=10, num_chains=4, warm_up=5
        ... )
        >>> bracket.lower.shape, bracket.upper.shape, bracket.rows.shape
        (torch.Size([3]), torch.Size([3]), torch.Size([3, 5]))
    """
    how = Annealing(num_temperatures, num_chains, start, schedule, num_leapfrog, warm_up)
    check_positive(num_rows=num_rows)
    check_rows(like, "like")
    check_missing(model, guide, like, "like")
    like = like[torch.arange(num_rows) % len(like)]
    size = how.rows_per_block(like)
    forward, reverse, simulated = [], [], []
    with (
        open_sampler(model, guide, like, seed=seed) as sampler,
        pyro.validation_enabled(False),
        Progress("bracketing", how.ticks(num_rows, size, directions=2), "step", shown=progress) as bar,
    ):
        for block in like.split(size):
            rows, exact = _simulate(sampler, block)
            path, step_sizes = prepare(sampler, rows, how, bar)
            lower, lower_acceptance = anneal(path, path.draw(num_chains), how, step_sizes, bar)
            posterior = path.space.vectors(exact).expand(num_chains, -1, -1)
            upper, upper_acceptance = anneal(path, path.at(posterior), how, step_sizes, bar, reverse=True)
            forward.append(AnnealedEstimate.of(lower, lower_acceptance, num_temperatures))
            reverse.append(AnnealedEstimate.of(-upper, upper_acceptance, num_temperatures))
            simulated.append(rows)
    return BidirectionalEstimate(AnnealedEstimate.join(forward), AnnealedEstimate.join(reverse), torch.cat(simulated))


def _simulate(sampler: Sampler, like: Tensor) -> tuple[Tensor, Latents]:
    """New rows, and the latents that made them, with one draw each."""
    names = sampler.structure.observed
    site = sample_sites(poutine.trace(sampler.model).get_trace(like))[names[0]]
    if len(names) > 1 or not observes(site, like):
        raise ValueError(
            f"the model observes {', '.join(map(repr, names))}, and rows can be simulated only where it observes the "
            "rows themselves, at one site: pyro.sample(..., obs=x)"
        )
    with SiteScales():
        trace = poutine.trace(unconditioned(sampler.model)).get_trace(like)
    # Without some of its entries, a row has the same exact draw from the posterior given the others.
    drawn: Any = trace.nodes[names[0]]
    rows = torch.where(like.isnan(), like, drawn["value"].reshape(like.shape).to(like.dtype))
    drawn["value"] = rows.reshape(drawn["value"].shape)
    trace.compute_log_prob()
    sites = sample_sites(trace)
    shapes = {name: value.shape for name, value in sampler.draw(like, 1)[0].items()}
    latents = {name: sites[name]["value"].reshape(shape) for name, shape in shapes.items()}
    made = torch.stack([site["log_prob"].reshape(-1, len(like)).sum(0) for site in sites.values()]).sum(0)
    if not torch.allclose(sampler.log_joint(rows, latents)[0], made, rtol=1e-4, atol=1e-3):
        raise ValueError(
            "the model gives simulated rows another density than the one they were drawn from, so it uses the rows "
            "for more than to observe them (as autoregressive likelihoods do): such a model cannot be simulated here"
        )
    return rows, latents
