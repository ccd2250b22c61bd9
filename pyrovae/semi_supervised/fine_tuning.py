"""Training the stacked M1 and M2 as one model."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceEnum_ELBO
from torch import Tensor

from pyrovae.programs import isolated_rng
from pyrovae.semi_supervised.batches import Batch
from pyrovae.semi_supervised.closed_form import with_closed_form_kl
from pyrovae.semi_supervised.loop import LabelledLoop, Step, TrainingPlan
from pyrovae.semi_supervised.m1 import M1, fit_classifier
from pyrovae.semi_supervised.m1m2_programs import M1M2Programs
from pyrovae.training import EpochTerms
from pyrovae.training.diagnosis import first_non_finite_site


def joint_loop(
    programs: M1M2Programs,
    x: Tensor,
    y: Tensor,
    weight: float,
    closed_form_kl: bool,
    judge: Callable[[], EpochTerms] | None,
    plan: TrainingPlan,
) -> LabelledLoop:
    """The fit of all parts together; the weights before it are the first to be judged.

    Args:
        programs: what is trained, in evaluation mode.
        x: all rows, as the parameters are.
        y: their labels, -1 for none.
        weight: of the cross-entropy of q(y|z1), in nats per labelled row.
        closed_form_kl: take the KL of z2 in closed form, where there is one.
        judge: terms of the weights as they are, which ``judge_by`` gives; None keeps the last weights.
        plan: how long, and in which steps.
    """
    step = joint_step(programs, weight, closed_form_kl)
    loop = LabelledLoop(programs, x, y, step, partial(joint_non_finite_site, programs), judge, plan, {})
    if judge is not None:
        before = judge()
        loop.best = (before["validation_accuracy"], -before["validation_cross_entropy"])
    return loop


def joint_step(programs: M1M2Programs, weight: float, closed_form_kl: bool) -> Step:
    """What gives the terms of a batch, means over rows in nats.

    Args:
        programs: what is trained.
        weight: of the cross-entropy of q(y|z1), in nats per labelled row.
        closed_form_kl: take the KL of z2 in closed form, where there is one.
    """
    with_class, without = Trace_ELBO(), TraceEnum_ELBO(max_plate_nesting=1)
    if closed_form_kl:
        model, guide = with_closed_form_kl(programs.model, programs.guide, "z2")
    else:
        model, guide = programs.model, poutine.trace(programs.guide)

    def step(batch: Batch) -> dict[str, Tensor]:
        labelled = -with_class.differentiable_loss(model, guide, batch.labelled, batch.y) / len(batch.labelled)
        # That which the bound is of.
        z1 = guide.trace.nodes["z1"]["value"]
        cross_entropy = F.cross_entropy(programs.second.classifier(z1), batch.y)
        terms = {"labelled_elbo": labelled, "cross_entropy": cross_entropy}
        if len(batch.unlabelled):
            unlabelled = -without.differentiable_loss(model, guide, batch.unlabelled) / len(batch.unlabelled)
            terms["unlabelled_elbo"] = unlabelled
        elbo = batch.mean(labelled, terms.get("unlabelled_elbo"))
        return {"loss": weight * cross_entropy - elbo, "elbo": elbo, **terms}

    return step


@torch.no_grad()
def joint_non_finite_site(programs: M1M2Programs, batch: Batch) -> str | None:
    """Name of the first site that is not finite for a batch; None if all are."""
    rows = torch.cat([batch.labelled, batch.unlabelled])
    # The other sites first, with any class: one cannot be drawn with a probability that is NaN.
    y = batch.y.new_zeros(len(rows))
    site = first_non_finite_site(partial(programs.model, y=y), partial(programs.guide, y=y), rows)
    return site or first_non_finite_site(programs.model, programs.guide, rows)


def refit_classifier(m1: M1, x: Tensor, y: Tensor) -> None:
    """Fit the classifier of a fitted M1 again, to the latents of labelled rows as they are now."""
    known = y >= 0
    with isolated_rng(m1.seed, next(m1.vae_.parameters()).device):
        fit_classifier(m1, m1.classifier_, m1.vae_, x[known.to(x.device)], y[known])
