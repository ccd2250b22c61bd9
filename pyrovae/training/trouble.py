"""Signs of trouble in a fit, each said once in plain words."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pyrovae.models import ConditionalVAE
from pyrovae.models.raw_columns import raw_columns
from pyrovae.objectives import Objective, Schedule
from pyrovae.programs import Sampler, buffers_put_back, evaluation_mode, isolated_rng
from pyrovae.progress import say
from pyrovae.training.floors import (
    LIKELIHOODS,
    POSTERIORS,
    fixed_scales,
    likelihoods_on_floor,
    outputs_of,
    posteriors_on_floor,
)
from pyrovae.training.gradient_norms import GradientNorms
from pyrovae.training.units import kl_of_units

# A dimension below it, in nats, says next to nothing of a row.
_UNUSED_KL = 0.01

# Parts of the run after which the latents and the scales are looked at; the kept weights are, at the end.
_LOOKS = (0.25, 0.5, 0.75)

ROWS = 256
"""How many rows are looked at, at most."""


class SignsOfTrouble:
    """What is watched for in one fit.

    * Posterior collapse: most latent dimensions have a KL below 0.01 nats. Looked at after a quarter, a half and three
      quarters of the run, once all weights of the objective have their final values; said when it is so twice in a row,
      as the latents of a healthy fit may carry nothing at first; and of the kept weights at the end, which also take it
      back where it is no longer so.
    * A scale on its floor, of a likelihood or a posterior of this package that learns it: below 1.5 floors, in a tenth
      of the rows or more. Looked at with the above. Likelihoods of levels are left out: their probabilities are at most
      1 however small the scale.
    * A warm-up that leaves less than a tenth of the run at the final weights. Said at the start where it is known then.
    * Gradients whose norm over all parameters is above 1000 times its running median.
    * Steps that were left out, as their loss or gradient was not finite.

    Args:
        sampler: of the pair.
        modules: those of the programs.
        objective: what is maximised.
        norms: of the gradient, which each step adds to.
        seed: of the draws of the looks, which leave all generators as they are.
        aloud: whether signs are written to the standard error as they come, above a progress bar.
    """

    def __init__(
        self,
        sampler: Sampler,
        modules: Sequence[nn.Module],
        objective: Objective,
        norms: GradientNorms,
        seed: int,
        *,
        aloud: bool,
    ) -> None:
        self.sampler, self.modules, self.objective = sampler, modules, objective
        self.norms, self.seed, self.aloud = norms, seed, aloud
        self._looks = list(_LOOKS)
        self._was_collapsed = False
        self._said: dict[str, str] = {}
        if objective.settled > 0.9:
            self._say(
                "warm-up",
                f"The warm-up fills the run: {moving_weights(objective)} has its final value only from "
                f"{objective.settled:.0%} of the run on, so hardly any epoch is judged at it. Give the schedule a "
                "shorter length, such as 0.5, and the fit as many epochs as it then needs.",
            )

    @property
    def said(self) -> tuple[str, ...]:
        """The signs so far."""
        return tuple(self._said.values())

    def state(self) -> dict[str, Any]:
        """What was found until now, as tensors, numbers and texts."""
        return {
            "norms": self.norms.state(),
            "looks": list(self._looks),
            "was_collapsed": self._was_collapsed,
            "said": dict(self._said),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` gave; what was said is not said again."""
        self.norms.restore(state["norms"])
        self._looks, self._was_collapsed, self._said = state["looks"], state["was_collapsed"], state["said"]

    def after_epoch(self, epoch: int, rows: Sequence[Tensor], part: float, progress: float) -> None:
        """Look at the state after an epoch, if it is time.

        Args:
            epoch: counted from 1.
            rows: batches to look at.
            part: of the run's steps, how many are done.
            progress: that of the last step.
        """
        self._check_gradients()
        # The end of the run has a look of its own, at the weights that are kept.
        if self._looks and part >= self._looks[0] and part < 1:
            self._looks = [look for look in self._looks if look > part]
            self._look(epoch, rows, progress)

    def at_end(self, epoch: int, rows: Sequence[Tensor], part: float, progress: float, *, failed: bool) -> None:
        """Look at the weights that were kept, those of ``epoch``.

        Args:
            epoch: counted from 1; 0 are the weights before training.
            rows: batches to look at.
            part: of the run's steps, how many were done.
            progress: that of the last step.
            failed: whether a loss that is not finite ended the fit.
        """
        self._check_gradients()
        self.check_warm_up(part, progress)
        if epoch and not (failed and part < _LOOKS[0]):
            self._look(epoch, rows, progress, last=True)

    def check_warm_up(self, part: float, progress: float) -> None:
        """Whether a fit that ends here has come to the final weights of its objective.

        Args:
            part: of the run's steps, how many were done.
            progress: that of the last step.
        """
        if progress < self.objective.settled:
            self._say(
                "warm-up",
                f"The fit ended after {part:.0%} of the run, and {moving_weights(self.objective)} would have had its "
                f"final value from {self.objective.settled:.0%} on: no epoch was judged at it, and the newest weights "
                "are kept. Give the schedule a shorter length.",
            )

    def skipped_steps(self, skipped: int, steps: int) -> None:
        """Say how many of the steps were left out, if any."""
        if skipped:
            self._say(
                "skipped",
                f"{skipped:,} of {steps:,} steps were left out, as their loss or gradient was not finite: lower lr, "
                "give clip_norm, or look for extreme values in the data.",
            )

    def _check_gradients(self) -> None:
        explosion = self.norms.explosion()
        if explosion is not None:
            self._say(
                "gradients",
                f"The gradient exploded: at step {explosion.step} its norm was {explosion.norm:.2g}, and "
                f"{explosion.usual:.2g} is the median before. Lower lr, and look for extreme values in the data, which "
                "a likelihood with heavy tails (StudentT, Laplace) follows less.",
            )

    @torch.no_grad()
    def _look(self, epoch: int, batches: Sequence[Tensor], progress: float, *, last: bool = False) -> None:
        sampler, rows = self.sampler, torch.cat(list(batches))[:ROWS]
        with (
            evaluation_mode(sampler.model, sampler.guide),
            buffers_put_back(sampler.model, sampler.guide),
            isolated_rng(self.seed, rows.device),
        ):
            try:
                with outputs_of(self.modules, POSTERIORS) as q_z:
                    guide_trace = sampler.trace_guide(rows, 1)
                with outputs_of(self.modules, LIKELIHOODS) as p_x:
                    model_trace = sampler.trace_model(rows, sampler.latents_of(guide_trace, 1))
            except (ValueError, torch.linalg.LinAlgError):  # type: ignore[attr-defined]
                # Weights that give no distribution: the next loss says so.
                return
            kl, units = kl_of_units(sampler, guide_trace, model_trace)
        unused = int((kl < _UNUSED_KL).sum())
        collapsed = 2 * unused > len(kl) and progress >= self.objective.settled
        if collapsed and (last or self._was_collapsed):
            structure = sampler.structure
            floors = structure.latents == structure.model_latents
            self._say_collapsed(epoch, unused, len(kl), units, fixed_scales(p_x), floors=floors)
        elif last:
            # Unused for half of the run, and yet used in the end.
            self._said.pop("collapse", None)
        self._was_collapsed = collapsed
        for on_floor in likelihoods_on_floor(p_x):
            self._say(
                f"floor of {on_floor.part}",
                f"The scale of the likelihood {on_floor.part} is on its floor of {on_floor.floor:g} after epoch "
                f"{epoch}, for {on_floor.where()}: without the floor the density would grow without bound, as it does "
                "where values are constant, repeated or copied from one entry to another. Leave such entries out, use "
                "a likelihood of discrete values, or raise scale_floor to the precision of the data.",
            )
        repair = "Raise the scale of the likelihood, or its floor."
        conditional = [module for module in self.modules if isinstance(module, ConditionalVAE)]
        raw = raw_columns(self.modules, conditional[0].split(rows)[0] if conditional else rows)
        if raw is not None:
            # Columns would take the heavy tails of the likelihood away.
            parts = "Columns with ColumnEncoder" if "likelihood" in raw.slots else "ColumnEncoder"
            repair = f"Take {parts}: the columns are too large, or too far apart in scale."
        for on_floor in posteriors_on_floor(q_z):
            self._say(
                f"floor of {on_floor.part}",
                f"The scale of the posterior {on_floor.part} is on its floor of {on_floor.floor:g} after epoch "
                f"{epoch}, for {on_floor.where()}: the latents are all but exact copies of something in the data. "
                f"{repair}",
            )

    def _say_collapsed(
        self, epoch: int, unused: int, total: int, units: str, fixed: dict[str, float], *, floors: bool
    ) -> None:
        beta = self.objective.beta_at(1.0)
        smaller = f"a smaller beta (it is {beta:g}), " if beta > 1 else ""
        free_bits = ", free bits (TraceMeanField_ELBO(free_bits=0.1))" if floors else ""
        # A reconstruction that is off by less than the scale is hardly worth any KL.
        learned = "".join(
            f"a learned scale of the likelihood {part} (scale='shared'; it is fixed at {number:g}), "
            for part, number in fixed.items()
        )
        self._say(
            "collapse",
            f"Posterior collapse: the KL is below {_UNUSED_KL} nats in {unused} of {total} {units} after epoch "
            f"{epoch}. If the ELBO is good as it is, fewer dimensions are enough; else try {smaller}{learned}a KL "
            f"warm-up (beta=Linear()){free_bits} or a weaker decoder.",
        )

    def _say(self, key: str, sign: str) -> None:
        if key not in self._said:
            self._said[key] = sign
            if self.aloud:
                say(sign)


def schedules(objective: Objective) -> dict[str, Schedule]:
    """The weights of an objective that move, by name."""
    named = {"beta": objective.beta, "capacity": getattr(objective, "capacity", None)}
    return {name: weight for name, weight in named.items() if isinstance(weight, Schedule)}


def moving_weights(objective: Objective) -> str:
    """Their names, for sentences about one."""
    moving = schedules(objective)
    return max(moving, key=lambda name: moving[name].settled) if moving else "a weight of the objective"
