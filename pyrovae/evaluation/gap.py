"""Why there is a gap: the family of the guide, or the encoder."""

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyrovae.data import AnyRows
from pyrovae.evaluation.arviz_interface import WHEN_K_HAT, k_hat_limit
from pyrovae.evaluation.blocks import ROWS_PER_BLOCK
from pyrovae.evaluation.chunks import LogJoint
from pyrovae.evaluation.importance import number_of_blocks
from pyrovae.evaluation.local_guide import LocalGuide, Offsets
from pyrovae.evaluation.log_mean import row_means
from pyrovae.evaluation.opening import open_sampler
from pyrovae.evaluation.recorded import recorded
from pyrovae.evaluation.summaries import counted, means_table
from pyrovae.evaluation.two_guides import halves, scored_twice
from pyrovae.programs import (
    PROBE_ROWS,
    Program,
    Sampler,
    check_any_density,
    check_positive,
    for_gradients,
    probe_rows,
)
from pyrovae.programs.explanations import explained_value
from pyrovae.progress import Progress
from pyrovae.recording import Replay

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class InferenceGap:
    """The gap between log p(x) and the ELBO of every row, in two parts that sum to it.

    All tensors are float64 ``(rows,)``, in nats.

    Attributes:
        log_px: importance-weighted estimate of log p(x), with draws from the guide and from the best member of its
            family, all weighted by a mixture of the two.
        elbo: the guide's ELBO.
        best_elbo: the ELBO of the best member of the guide's family, fitted to the row.
        total: ``log_px - elbo``.
        approximation: ``log_px - best_elbo``: what the family cannot express. A richer posterior lowers it.
        amortisation: ``best_elbo - elbo``: what the encoder misses. A larger encoder, or longer training, lowers it.
        total_standard_error: Monte Carlo standard error of ``total``.
        approximation_standard_error: that of ``approximation``.
        amortisation_standard_error: that of ``amortisation``.
        difference_standard_error: that of ``approximation - amortisation``, which are of the same draws.
        k_hat: tail index of the weights behind ``log_px``; above ``k_hat_limit`` (or NaN) ``log_px``, and with it
            ``total`` and ``approximation``, are too low or uncertain.
        num_samples: draws for each row from the guide, and as many from the best member.
    """

    log_px: Tensor
    elbo: Tensor
    best_elbo: Tensor
    total: Tensor
    approximation: Tensor
    amortisation: Tensor
    total_standard_error: Tensor
    approximation_standard_error: Tensor
    amortisation_standard_error: Tensor
    difference_standard_error: Tensor
    k_hat: Tensor
    num_samples: int

    @property
    def k_hat_limit(self) -> float:
        """The largest k-hat that is believed, min(1 - 1 / log10(2 * num_samples), 0.7), or 0 if that is negative."""
        return k_hat_limit(2 * self.num_samples)

    @property
    def reliable(self) -> Tensor:
        """Whether the split of a row can be believed: k-hat known and within its limit."""
        return self.k_hat <= self.k_hat_limit

    def to_frame(self) -> "pd.DataFrame":
        """A table with one line for each row of data."""
        import pandas as pd

        columns = {name: value.numpy() for name, value in vars(self).items() if isinstance(value, Tensor)}
        columns["reliable"] = self.reliable.numpy()
        return pd.DataFrame(columns).rename_axis(index="row")

    def summary(self) -> str:
        """A table of means over rows, one sentence on how far to believe them, and one on which part is larger."""
        names = ("total", "approximation", "amortisation")
        means = row_means({name: (getattr(self, name), getattr(self, f"{name}_standard_error")) for name in names})
        return "\n".join([*means_table(means), belief_in_split(self.k_hat, self.num_samples), self.verdict()])

    def verdict(self) -> str:
        """One sentence on which part is larger.

        Where most rows are not reliable it is the family or nothing: of approximation, too low in these rows, can only
        be said how much there is at least.
        """
        difference = self.approximation - self.amortisation
        error = self.difference_standard_error.square().sum().sqrt().item() / len(difference)
        unknown = (~difference.isfinite()).nonzero()
        if len(unknown):
            return f"Which part is larger cannot be told: they are not finite in row {unknown[0].item()}."
        if not math.isfinite(error):
            return "Which part is larger cannot be told: one draw says nothing of its error; num_samples=2 or more."
        if difference.mean().item() > 2 * error:
            return "The family of the guide is the larger part: a richer posterior would help most."
        if int((~self.reliable).sum()) > len(difference) / 2:
            return "Which part is larger cannot be told: in most rows approximation is too low or uncertain."
        if difference.mean().item() >= -2 * error:
            return "Both parts are equal within their errors."
        return "The encoder is the larger part: a larger encoder or longer training would help most."


def belief_in_split(k_hat: Tensor, num_samples: int) -> str:
    """One sentence on how far the halves of the gap can be believed.

    Args:
        k_hat: of ``InferenceGap``.
        num_samples: of ``inference_gap``.
    """
    limit = k_hat_limit(2 * num_samples)
    unreliable = int((~(k_hat <= limit)).sum())
    if not unreliable:
        return f"The halves of the gap can be believed: k-hat of the split is at most {limit:.2f} in every row."
    if k_hat.isnan().all():
        return f"Approximation, and with it the total of both halves, cannot be judged: {WHEN_K_HAT}."
    return (
        f"Approximation, and with it the total of both halves, is too low or uncertain in {unreliable:,} of "
        f"{counted(len(k_hat), 'row')}, whose k-hat of the split is above {limit:.2f} or unknown."
    )


def inference_gap(
    model: Program,
    guide: Program,
    x: AnyRows,
    *,
    num_samples: int = 1000,
    steps: int = 500,
    num_particles: int = 8,
    lr: float = 0.05,
    seed: int = 0,
    progress: bool = False,
) -> InferenceGap:
    r"""Split the gap between log p(x) and the ELBO into approximation and amortisation gap, for every row.

    With q* the best member of the guide's family for the row,

    .. math::
        \log p(x) - \mathrm{ELBO}[q] =
        \underbrace{\log p(x) - \mathrm{ELBO}[q^*]}_{\text{approximation}} +
        \underbrace{\mathrm{ELBO}[q^*] - \mathrm{ELBO}[q]}_{\text{amortisation}}

    (Cremer, Li and Duvenaud, 2018). q* starts at the guide's own q(z|x), and its parameters are moved by Adam for
    each row separately, many rows at once, with the model held fixed. All distributions of the guide's latent sites
    take part. Where a site depends on an earlier latent, or a flow follows, q* is the best shift of the parameters
    that the guide gives (a flow's own weights stay), so the approximation gap is then an upper bound on that of the
    whole family.

    Log p(x) comes from the draws of q and of q*, all weighted by a mixture of the two whose shares, about equal, are
    those of largest likelihood (Veach and Guibas, 1995; Tan, 2004). q* alone is too narrow for it just where the
    approximation gap is large.

    Args:
        model: Pyro program of the rows, observing them inside a plate ``len(x)`` at dim -1.
        guide: Pyro program of the rows, drawing the model's latents by reparameterisation inside the same plate.
        x: rows ``(rows, *data_shape)``, on the device of the parameters; or ``data.StreamedRows``.
        num_samples: draws for each row from the guide, and as many from q*, after fitting.
        steps: steps of Adam; its learning rate falls to zero over them.
        num_particles: draws for each row and step.
        lr: learning rate of Adam at the start, in units of the unconstrained parameters.
        seed: of the draws.
        progress: show a progress bar.

    Raises:
        ValueError: numbers out of range, latents that cannot be reparameterised, a flow without an inverse in the
            guide, a pair that breaks the contract of ``check_pair``.

    Example:
        >>> import torch
        >>> from pyrovae import VAE, inference_gap, likelihoods, networks, posteriors, priors
        >>> vae = VAE(
        ...     priors.StandardNormal(2),
        ...     likelihoods.Normal(networks.MLP(2, 5)),
        ...     posteriors.DiagonalNormal(networks.MLP(5, 2 * 2)),
        ... )
        >>> gap = inference_gap(vae.model, vae.guide, torch.randn(3, 5), steps=50, num_samples=100)
        >>> bool(torch.allclose(gap.approximation + gap.amortisation, gap.total))
        True
    """
    check_positive(num_samples=num_samples, steps=steps, num_particles=num_particles)
    if not 0 < lr < math.inf:
        raise ValueError(f"lr is {lr!r}; expected a positive number")
    parts, num_blocks = [], number_of_blocks(x)
    with (
        open_sampler(model, guide, x, seed=seed) as sampler,
        Progress("splitting gaps", num_blocks * steps, "step", shown=progress) as bar,
    ):
        sampler.structure.check_reach()
        if sampler.structure.not_reparameterized:
            raise ValueError(
                f"the guide draws {', '.join(map(repr, sampler.structure.not_reparameterized))} without "
                "reparameterisation, as discrete latents and angles are drawn, so its best member cannot be found by "
                "gradients: use distributions with rsample, or the whole gap of compare_bounds"
            )
        check_any_density(
            sampler,
            probe_rows(x, max(PROBE_ROWS)),
            "the gap cannot be split, for which q and the best member of its family score each other's draws: use a "
            "posterior with a density everywhere, or the whole gap of compare_bounds",
        )
        local_guide = LocalGuide(sampler.guide, sampler.structure.latents)
        local = type(sampler)(sampler.model, local_guide, sampler.structure)
        loss = recorded(local, partial(_loss_and_gradients, local, local_guide, num_particles), num_blocks * steps)
        for rows in map(for_gradients, x.split(ROWS_PER_BLOCK)):
            local_guide.offsets = _best_offsets(local, local_guide, loss, rows, steps, lr, bar)
            own = scored_twice(LogJoint(sampler, num_samples), local, rows, num_samples)
            best = scored_twice(LogJoint(local, num_samples), sampler, rows, num_samples)
            parts.append(halves(own, best))
    columns = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return InferenceGap(num_samples=num_samples, **columns)


def _best_offsets(
    local: Sampler, guide: LocalGuide, loss: Replay, rows: Tensor, steps: int, lr: float, bar: Progress
) -> Offsets:
    """Move each row's offsets to the best member of the family."""
    guide.offsets = {}
    try:
        local.draw(rows, 1)  # makes the offsets
    except ValueError as error:
        # Pyro adds a table of shapes to what is said inside a program.
        raise ValueError(explained_value(str(error))) from error
    offsets = guide.offsets
    # What the guide has kept for the model is of these rows now.
    loss.check_next()
    optimizer = torch.optim.Adam(offsets.values(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        _, *gradients = loss(rows, *offsets.values())
        for offset, gradient in zip(offsets.values(), gradients, strict=True):
            offset.grad = gradient
        optimizer.step()
        schedule.step()
        bar.advance()
    return offsets


def _loss_and_gradients(
    local: Sampler, guide: LocalGuide, num_particles: int, rows: Tensor, *values: Tensor
) -> tuple[Tensor, ...]:
    """Minus the ELBO, summed over rows, and its gradients for the offsets."""
    with torch.enable_grad():
        offsets = {name: value.detach().requires_grad_() for name, value in zip(guide.offsets, values, strict=True)}
        guide.offsets = offsets
        latents, _ = local.draw(rows, num_particles)
        # log q(z) without a gradient of its own parameters: the noise of the gradient then vanishes where q is the
        # posterior (Roeder, Wu and Duvenaud, 2017).
        guide.offsets = {name: offset.detach() for name, offset in offsets.items()}
        # Rows share no offset, so the gradient of the sum is each row's own.
        loss = (local.log_guide(rows, latents) - local.log_joint(rows, latents)).mean(0).sum()
        return loss.detach(), *torch.autograd.grad(loss, list(offsets.values()))
