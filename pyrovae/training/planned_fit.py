"""A fit from beginning to end: the pair is looked at, then trained."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from pyro.params.param_store import StateDict

from pyrovae.checkpoints import Keeper, State
from pyrovae.programs import (
    PROBE_ROWS,
    Program,
    buffers_put_back,
    check_known,
    check_support,
    evaluation_mode,
    inspect_pair,
    isolated_rng,
    make_sampler,
    private_param_store,
    probe_rows,
    tried_in_training,
)
from pyrovae.training.best import Best
from pyrovae.training.fitted_pair import FittedPair
from pyrovae.training.held import held_parameters, without_gradients
from pyrovae.training.loop import TrainingLoop
from pyrovae.training.plan import Plan
from pyrovae.training.result import FitResult
from pyrovae.training.transform import transformed


def fit_as_planned(
    model: Program, guide: Program, plan: Plan, keeper: Keeper, kept: State | None, *, shown: bool
) -> FitResult:
    """Fit a pair as ``fit_svi`` does, whose arguments are in order.

    Args:
        model: Pyro program of the rows.
        guide: Pyro program of the latents.
        plan: what was asked for.
        keeper: keeps the fit from time to time.
        kept: the state to go on from; None begins.
        shown: whether to say how far the fit is.

    Raises:
        ValueError: a pair that breaks the contract of ``check_pair``, or cannot be fitted as was asked.
        NonFiniteLossError: the loss became NaN or infinite.
    """
    train, seed, device = plan.train, plan.seed, plan.train.device
    with _all_put_back(model, guide, seed, device) as outside:
        few_rows = transformed(probe_rows(train, max(PROBE_ROWS)), plan.train_transform)
        with evaluation_mode(model, guide), buffers_put_back(model, guide):
            structure = inspect_pair(model, guide, few_rows, len(train))
            with isolated_rng(seed, device):
                sampler = make_sampler(model, guide, few_rows, structure)
            kl_forms = plan.objective.kl_forms(sampler, few_rows)
            check_support(model, guide, train if plan.train_transform is None else few_rows)
            if plan.validation is not None:
                check_support(model, guide, plan.validation)
        pair = FittedPair.of(sampler, outside)
        best = Best(pair.weights)
        with evaluation_mode(model, guide), buffers_put_back(model, guide), isolated_rng(seed, device):
            check_known(sampler, few_rows, pair.weights)
        try:
            with tried_in_training(model, guide, structure, few_rows), isolated_rng(seed, device):
                plan.objective.check(sampler, few_rows)
                held = held_parameters(plan.trained, sampler, pair.weights, few_rows)
            pair.weights.restore(best.weights)
            with without_gradients(held):
                return TrainingLoop(plan, pair, best, kl_forms, keeper, shown=shown).run(kept)
        except BaseException:
            # Whatever stops a fit, a pair is left with its best weights, not halfway through a step.
            pair.keep(best.weights)
            raise


@contextmanager
def _all_put_back(model: Program, guide: Program, seed: int, device: torch.device) -> Iterator[StateDict]:
    """What a fit needs of Python, torch and Pyro, which are afterwards as they were; gives the caller's param store."""
    with (
        # A caller may have turned gradients off.
        torch.enable_grad(),
        private_param_store(model, guide) as outside,
        isolated_rng(seed, device),
        warnings.catch_warnings(),
    ):
        # A loss that is not finite stops the fit with an error that says more.
        warnings.filterwarnings("ignore", message="Encountered NaN", category=UserWarning)
        yield outside
