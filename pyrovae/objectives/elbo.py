"""The evidence lower bound by Pyro's own estimators, and with a floor or a target for its KL term."""

import itertools
from collections.abc import Iterator
from typing import Any, Literal

import pyro.infer
import torch
from pyro import poutine
from torch import Tensor

from pyrovae.distributions.arguments import is_whole_number
from pyrovae.distributions.divergence import has_right_rule
from pyrovae.objectives.kl_forms import KlForm, forms_of_latents
from pyrovae.objectives.kl_groups import KlGroups
from pyrovae.objectives.kl_terms import total_kl
from pyrovae.objectives.objective import Objective, check_reparameterized
from pyrovae.objectives.schedules import Schedule, check_schedule, check_weight, value_at
from pyrovae.objectives.terms import ObjectiveTerms
from pyrovae.programs import Program, Sampler, SiteScales, VectorizedSampler, is_deterministic, sample_sites


class _Recording:
    """An estimator that keeps the traces that its one number is summed from."""

    traces: list[tuple[poutine.Trace, poutine.Trace]]

    def _get_trace(self, model: Program, guide: Program, *arguments: Any) -> tuple[poutine.Trace, poutine.Trace]:
        # Pyro looks for the guide's sites in the model, also for those that are no draws.
        drawing = poutine.block(guide, hide_fn=is_deterministic)
        pair = super()._get_trace(model, drawing, *arguments)  # type: ignore[misc]
        self.traces.append(pair)
        return pair


class _RecordingTrace(_Recording, pyro.infer.Trace_ELBO):
    pass


class _RecordingMeanField(_Recording, pyro.infer.TraceMeanField_ELBO):
    def _get_trace(self, model: Program, guide: Program, *arguments: Any) -> tuple[poutine.Trace, poutine.Trace]:
        model_trace, guide_trace = super()._get_trace(model, guide, *arguments)
        of_model = sample_sites(model_trace)
        for name, site in sample_sites(guide_trace).items():
            if not has_right_rule(site["fn"], of_model[name]["fn"]):
                # Its log-density is there already, and is what counts where Pyro finds no closed form.
                guide_trace.nodes[name]["fn"] = _WithoutClosedForm()  # type: ignore[typeddict-item]
        return model_trace, guide_trace


class _WithoutClosedForm:
    """In place of a distribution whose registered KL is wrong; Pyro asks it how it was drawn."""

    has_rsample = True


class Trace_ELBO(Objective):  # noqa: N801
    r"""The ELBO by Pyro's ``Trace_ELBO``, whose KL term is drawn: right for a guide of any structure.

    .. math:: E_{q(z|x)}[\log p(x|z)] - \beta\, KL(q(z|x) \,\|\, p(z))

    Beta scales the latent sites in the model and in the guide (Higgins et al., 2017). Free bits put a floor under the
    KL of each dimension or group, beta times the sum over j of max(floor, KL_j), the KL being a mean over the batch
    (Kingma et al., 2016); below the floor nothing presses on it. A capacity C replaces the KL by \|KL - C\| (Burgess et
    al., 2018).

    Args:
        num_particles: draws of the latents for each row and step.
        beta: weight of the KL term, a number or a schedule.
        free_bits: floor of the KL of each group, in nats; 0 is none.
        free_bits_per: what a group is: ``"dimension"``, ``"site"`` (all of a latent), or a number of dimensions that
            follow one another.
        capacity: C, the target of the KL of a row, in nats, a number or a schedule; None is none.
        num_reconstructions: how many of the draws are decoded; None decodes all. With fewer, the KL terms that are
            drawn, or depend on draws, still use all, and the decoder runs less.

    Raises:
        ValueError: a number out of range, a schedule that does not reach its end, more reconstructions than particles,
            free bits and a capacity together.

    Example:
        >>> Trace_ELBO(num_particles=2, beta=4.0).beta
        4.0
    """

    _analytic = False
    _estimator: type[Any] = _RecordingTrace

    def __init__(
        self,
        num_particles: int = 1,
        beta: float | Schedule = 1.0,
        free_bits: float = 0.0,
        free_bits_per: Literal["dimension", "site"] | int = "dimension",
        capacity: float | Schedule | None = None,
        num_reconstructions: int | None = None,
    ) -> None:
        super().__init__(num_particles, beta)
        check_weight("free_bits", free_bits)
        if capacity is not None:
            check_schedule("capacity", capacity)
            if free_bits:
                raise ValueError("free_bits and capacity both bend the KL term, and only one can: drop one")
        if num_reconstructions is not None and (
            not is_whole_number(num_reconstructions) or not 1 <= num_reconstructions <= num_particles
        ):
            raise ValueError(
                f"num_reconstructions is {num_reconstructions!r}; expected a whole number from 1 to num_particles, "
                f"which is {num_particles}"
            )
        self.groups = KlGroups(free_bits_per)
        self.free_bits, self.capacity = free_bits, capacity
        self.num_reconstructions = int(num_reconstructions or num_particles)

    def weights(self) -> Iterator[float | Schedule]:
        """The weights that may move over the run."""
        yield from super().weights()
        if self.capacity is not None:
            yield self.capacity

    @property
    def _is_plain(self) -> bool:
        return not self.free_bits and self.capacity is None and self.num_reconstructions == self.num_particles

    def check(self, sampler: Sampler, x: Tensor) -> None:
        """Refuse a pair that the estimator may be wrong for, or that free bits have no dimensions in."""
        if self._is_plain:
            return
        what = "free_bits" if self.free_bits else "num_reconstructions" if self.capacity is None else "capacity"
        check_reparameterized(f"{self.name} with {what}", sampler.structure, "objective='Trace_ELBO' without it")
        if self.free_bits:
            self.groups.check(sampler, x)

    def terms(self, sampler: Sampler, x: Tensor, progress: float) -> ObjectiveTerms:
        """The terms of a batch of rows."""
        beta = self.beta_at(progress)
        return self._by_pyro(sampler, x, beta) if self._is_plain else self._by_groups(sampler, x, beta, progress)

    def _by_pyro(self, sampler: Sampler, x: Tensor, beta: float) -> ObjectiveTerms:
        structure = sampler.structure
        vectorized = isinstance(sampler, VectorizedSampler) and self.num_particles > 1
        nesting = structure.max_plate_nesting if vectorized else float("inf")
        estimator = self._estimator(self.num_particles, max_plate_nesting=nesting, vectorize_particles=vectorized)
        estimator.traces = []
        with SiteScales(structure.latents, beta):
            loss = torch.as_tensor(estimator.differentiable_loss(sampler.model, sampler.guide, x))
        for trace in itertools.chain(*estimator.traces):
            structure.check_run(trace)
        with torch.no_grad():
            objective = -loss.detach()
            reconstruction = self._mean([_observed(model_trace) for model_trace, _ in estimator.traces])
            # One that moves is not looked at: in a recording it is a tensor.
            if isinstance(self.beta, int | float) and self.beta == 1:
                return ObjectiveTerms(loss, objective, objective, reconstruction, reconstruction - objective)
            kl = self._mean([total_kl(p, q, structure.latents, analytic=self._analytic) for p, q in estimator.traces])
        return ObjectiveTerms(loss, objective, reconstruction - kl, reconstruction, kl)

    def _mean(self, sums: list[Tensor]) -> Tensor:
        """Mean over particles of what was summed in each trace, or over all of them in one."""
        return torch.stack(sums).sum() / self.num_particles

    def _by_groups(self, sampler: Sampler, x: Tensor, beta: float, progress: float) -> ObjectiveTerms:
        trace = sampler.trace_guide(x, self.num_particles)
        latents = sampler.latents_of(trace, self.num_particles)
        decoded = {name: value[: self.num_reconstructions] for name, value in latents.items()}
        if self.num_reconstructions == self.num_particles:
            model_trace = sampler.trace_model(x, latents)
            log_likelihood = sampler.log_likelihood_of(model_trace, self.num_particles, len(x))
        else:
            model_trace = sampler.trace_prior(x, latents)
            log_likelihood = sampler.log_terms(x, decoded)[1]
        groups = self.groups if self.free_bits else KlGroups("site")
        # Means over draws, for each row and group.
        kl = groups.kl(sampler, trace, model_trace, self.num_particles, analytic=self._analytic).mean(0)
        of_batch = kl.mean(0)
        if self.capacity is not None:
            bent = (of_batch.sum() - value_at(self.capacity, progress)).abs()
        else:
            bent = of_batch.clamp(min=self.free_bits).sum()
        reconstruction = log_likelihood.mean(0).sum()
        objective = reconstruction - beta * len(x) * bent
        values = [value.detach() for value in (objective, reconstruction - kl.sum(), reconstruction, kl.sum())]
        return ObjectiveTerms(-objective, *values)


class TraceMeanField_ELBO(Trace_ELBO):  # noqa: N801
    r"""The ELBO by Pyro's ``TraceMeanField_ELBO``, whose KL term is in closed form where there is one.

    .. math:: E_{q(z|x)}[\log p(x|z)] - \beta\, KL(q(z|x) \,\|\, p(z))

    Its gradients vary less than those of ``Trace_ELBO``. Beta, free bits and capacity are as there.

    Args:
        num_particles: draws of the latents for each row and step.
        beta: weight of the KL term, a number or a schedule.
        free_bits: floor of the KL of each group, in nats; 0 is none.
        free_bits_per: what a group is: ``"dimension"``, ``"site"`` (all of a latent), or a number of dimensions that
            follow one another.
        capacity: C, the target of the KL of a row, in nats, a number or a schedule; None is none.
        num_reconstructions: how many of the draws are decoded; None decodes all. With fewer, the KL terms that are
            drawn, or depend on draws, still use all, and the decoder runs less.

    Raises:
        ValueError: a number out of range, a schedule that does not reach its end, more reconstructions than particles,
            free bits and a capacity together.

    Example:
        >>> TraceMeanField_ELBO(free_bits=0.5).free_bits
        0.5
    """

    _analytic = True
    _estimator = _RecordingMeanField

    def check(self, sampler: Sampler, x: Tensor) -> None:
        """Refuse a pair that the estimator may be wrong for, or that free bits have no dimensions in."""
        structure = sampler.structure
        check_reparameterized(self.name, structure, "objective='Trace_ELBO'")
        if structure.latents != structure.model_latents:
            raise ValueError(
                f"{self.name} may be wrong where model and guide draw their latents in different orders "
                f"({', '.join(structure.model_latents)} and {', '.join(structure.latents)}): use the same order, "
                "or objective='Trace_ELBO'"
            )
        super().check(sampler, x)

    def kl_forms(self, sampler: Sampler, x: Tensor) -> dict[str, KlForm]:
        """How the KL term of each latent site is found."""
        return forms_of_latents(sampler.model, sampler.guide, x, sampler.structure.latents)


def _observed(model_trace: poutine.Trace) -> Tensor:
    sites = model_trace.nodes.values()
    return torch.stack([s["log_prob_sum"] for s in sites if s["type"] == "sample" and s["is_observed"]]).sum()
