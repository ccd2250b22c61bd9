"""The state of a fit: everything that the steps to come depend on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrovae.checkpoints import State
from pyrovae.programs import RandomState, Weights

if TYPE_CHECKING:
    from pyrovae.training.loop import TrainingLoop

_NUMBERS = (
    "epoch",
    "step_of_epoch",
    "steps_done",
    "progress",
    "seconds",
    "stopped_early",
    "said_why_plain",
)


def state_of(loop: TrainingLoop) -> State:
    """What ``restore`` needs, between two steps."""
    return {
        **{name: getattr(loop, name) for name in _NUMBERS},
        "history": [dict(terms) for terms in loop.history],
        "weights": loop.pair.weights.copy(of_buffers=True),
        "best_epoch": loop.best.epoch,
        "best_objective": loop.best.objective,
        "best_weights": loop.best.weights,
        "optimizer": loop.step.optimizer.state_dict(),
        "totals": loop.totals,
        "shuffler": loop.shuffler.state,
        "random": RandomState.now(loop.totals.device).as_plain(),
        "looked_at": loop.looked_at if loop.plan.validation is None else [],
        "trouble": loop.trouble.state(),
        "skipped": loop.skipped.state(),
        "step": loop.step.batch_terms.replay.state(),
        "judge": loop.judge.replay.state(),
    }


def restore(loop: TrainingLoop, state: State) -> None:
    """Make the state of a loop that has not begun the one that ``state_of`` gave.

    Raises:
        ValueError: it is of programs with other weights.
    """
    _check_fits(loop.pair.weights, state)
    for name in _NUMBERS:
        setattr(loop, name, state[name])
    device = loop.totals.device
    loop.history[:] = state["history"]
    loop.pair.weights.restore(state["weights"])
    now = loop.pair.weights.copy(of_buffers=True)
    loop.best.epoch, loop.best.objective = state["best_epoch"], state["best_objective"]
    loop.best.weights = {name: value.to(now[name]) for name, value in state["best_weights"].items()}
    loop.step.optimizer.load_state_dict(state["optimizer"])
    loop.totals.copy_(state["totals"])
    loop.shuffler.restore(state["shuffler"])
    if loop.plan.validation is None:
        loop.looked_at = [rows.to(device) for rows in state["looked_at"]]
    loop.trouble.restore(state["trouble"])
    loop.skipped.restore(state["skipped"])
    loop.step.batch_terms.replay.restore(state["step"])
    loop.judge.replay.restore(state["judge"])
    RandomState.from_plain(state["random"], device).put_back()


def _check_fits(weights: Weights, state: State) -> None:
    shapes = [
        {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        for tensors in (weights.copy(of_buffers=True), state["weights"])
    ]
    # The optimiser knows the weights by their order.
    if list(shapes[0].items()) != list(shapes[1].items()) and shapes[0] == shapes[1]:
        raise ValueError(
            "the weights stand in another order in the checkpoint than in the programs: begin anew, with another folder"
        )
    if shapes[0] != shapes[1]:
        name = next(name for name in {**shapes[0], **shapes[1]} if shapes[0].get(name) != shapes[1].get(name))
        now, before = (f"has shape {of[name]}" if name in of else "is not there" for of in shapes)
        raise ValueError(
            f"the weights {name!r}: in the programs it {now}, and in the checkpoint it {before}. A fit goes on with "
            "the programs that it began with"
        )
