"""Recorded operations against the functions that they come from."""

import numpy as np
import pytest
import torch
from compilers import has_compiler
from torch import nn
from torch._inductor import config

from pyrovae.recording import Replay, compiling
from pyrovae.recording.record import Recording, record

WEIGHT = nn.Parameter(torch.tensor([[1.0, -2.0], [0.5, 3.0]]))


def batches(count, rows=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(rows, 2, generator=generator) for _ in range(count)]


def noisy(x):
    """A loss with a draw, and its gradient."""
    loss = ((x + torch.randn_like(x)) @ WEIGHT).exp().sum(1).log().mean()
    return loss[None].detach(), *torch.autograd.grad(loss, [WEIGHT])


def replay(function, weights=(WEIGHT,), stepping="recorded", calls=1000, **options):
    return Replay(function, lambda: list(weights), stepping, calls, **options)


def run(function, inputs):
    torch.manual_seed(3)
    return [function(x) for x in inputs], torch.get_rng_state()


def test_the_same_values_gradients_and_draws_while_weights_move():
    inputs, step = batches(8), replay(noisy)

    def moving(function):
        def call(x):
            outputs = function(x)
            with torch.no_grad():
                WEIGHT.sub_(0.1 * outputs[1])
            return outputs

        return call

    before = WEIGHT.detach().clone()
    recorded, state = run(moving(step), inputs)
    with torch.no_grad():
        WEIGHT.copy_(before)
    plain, plain_state = run(moving(noisy), inputs)
    with torch.no_grad():
        WEIGHT.copy_(before)
    assert step.way == "recorded"
    assert torch.equal(state, plain_state)
    for ours, theirs in zip(recorded, plain, strict=True):
        assert all(map(torch.equal, ours, theirs))


def test_the_function_runs_no_more_once_it_is_checked():
    calls = []

    def counted(x):
        calls.append(1)
        return noisy(x)

    step = replay(counted)
    run(step, batches(2))
    # Once to record, twice to check.
    assert len(calls) == 3
    run(step, batches(498))
    assert len(calls) == 3
    run(step, batches(2))
    assert len(calls) == 4


def test_auto_records_after_a_hundred_calls_where_many_are_to_come():
    short, long = replay(noisy, stepping="auto", calls=300), replay(noisy, stepping="auto", calls=301)
    for step, way in ((short, "plain"), (long, "recorded")):
        run(step, batches(100))
        assert step.way == "plain"
        run(step, batches(2))
        assert step.way == way
    assert long.reason == ""


def test_the_last_batches_of_epochs_do_not_keep_auto_from_recording():
    step = replay(noisy, stepping="auto", calls=1000)
    for _ in range(11):
        run(step, [*batches(10), *batches(1, rows=3)])
    assert step.way == "recorded"
    assert step._shapes[0][0] == (4, 2)


def test_other_shapes_go_through_the_function():
    step = replay(noisy)
    recorded, _ = run(step, [*batches(3), *batches(1, rows=3), *batches(3)])
    plain, _ = run(noisy, [*batches(3), *batches(1, rows=3), *batches(3)])
    assert step.way == "recorded"
    for ours, theirs in zip(recorded, plain, strict=True):
        assert all(map(torch.equal, ours, theirs))


def decides(x):
    return ((x.sum() if x.sum() > 0 else -x.sum())[None],)


def reads_a_weight(x):
    return ((x * WEIGHT[0, 0].item()).sum()[None],)


def reads_a_parameter(x):
    return ((x.sum() * SCALAR.item())[None],)


def turns_to_numpy(x):
    return (torch.from_numpy(np.exp(x.detach().numpy())).sum()[None],)


SCALAR = nn.Parameter(torch.tensor(2.0))


@pytest.mark.parametrize("function", [decides, reads_a_weight, reads_a_parameter, turns_to_numpy])
def test_what_reads_values_runs_itself(function):
    inputs, step = batches(5), replay(function, weights=(WEIGHT, SCALAR))
    recorded, _ = run(step, inputs)
    assert step.way == "plain: it reads values of tensors, to decide what to do for example"
    assert all(torch.equal(ours[0], function(x)[0]) for ours, x in zip(recorded, inputs, strict=True))


def masked(x):
    return ((x[x > 0].square().sum() - x.masked_select(x < -1).sum())[None],)


def written_by_a_mask(x):
    y = x.clone()
    y[x > 1] = 2 * x[x > 1]
    return (y.sum()[None],)


@pytest.mark.parametrize("function", [masked, written_by_a_mask])
def test_tensors_that_are_as_large_as_values_say_run_themselves(function):
    inputs, step = batches(5), replay(function)
    recorded, _ = run(step, inputs)
    assert step.way == "plain: the shapes of its tensors depend on values, as those of x[x > 0] do"
    assert all(torch.equal(ours[0], function(x)[0]) for ours, x in zip(recorded, inputs, strict=True))


def test_indices_that_are_numbers_are_recorded():
    def function(x):
        return ((x[torch.tensor([0, 1])] * x[:, 0].argsort()[:, None][:2]).sum()[None],)

    inputs, step = batches(5), replay(function)
    recorded, _ = run(step, inputs)
    assert step.way == "recorded"
    assert all(torch.equal(ours[0], function(x)[0]) for ours, x in zip(recorded, inputs, strict=True))


def test_what_fails_only_when_recorded_runs_itself():
    generator = torch.Generator().manual_seed(0)

    def own_generator(x):
        return ((x + torch.randn(x.shape, generator=generator)).sum()[None],)

    step = replay(own_generator)
    run(step, batches(3))
    assert step.way.startswith("plain: ")


def test_what_changes_beside_tensors_is_found():
    count = []

    def counts(x):
        count.append(1)
        return ((x * len(count)).sum()[None],)

    step = replay(counts)
    run(step, batches(3))
    assert step.way == "plain: its recorded operations gave other values"


def test_draws_of_numpy_are_found():
    step = replay(lambda x: ((x * float(np.random.normal())).sum()[None],))
    np.random.seed(1)
    outputs, _ = run(step, batches(3))
    assert step.way == "plain: its recorded operations gave other random draws"
    np.random.seed(1)
    plain = [(x * float(np.random.normal())).sum() for x in batches(3)]
    assert all(torch.equal(ours[0][0], theirs) for ours, theirs in zip(outputs, plain, strict=True))


def test_buffers_that_a_module_writes_are_written():
    def outputs(way):
        torch.manual_seed(0)
        module = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(0.5), nn.Linear(2, 1))

        def function(x):
            loss = module(x).square().mean()
            return loss[None].detach(), *torch.autograd.grad(loss, list(module.parameters()))

        step = replay(function, weights=module.state_dict(keep_vars=True).values(), stepping=way)
        values, _ = run(step, batches(6))
        assert step.way == way
        return values, module.state_dict()

    (recorded, state), (plain, plain_state) = outputs("recorded"), outputs("plain")
    for ours, theirs in zip(recorded, plain, strict=True):
        assert all(map(torch.equal, ours, theirs))
    assert int(state["0.num_batches_tracked"]) == 6
    assert all(torch.equal(state[name], plain_state[name]) for name in state)


def test_buffers_that_are_replaced_are_found():
    class Averaging(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.zeros(2))

        def forward(self, x):
            self.mean = 0.9 * self.mean + 0.1 * x.mean(0)
            return ((x - self.mean).square().sum()[None],)

    module, twin = Averaging(), Averaging()
    step = Replay(module, lambda: list(module.buffers()), "recorded", 100)
    outputs, _ = run(step, batches(4))
    assert step.way == "plain: it puts new tensors in place of its weights"
    for ours, x in zip(outputs, batches(4), strict=True):
        torch.testing.assert_close(ours[0], twin(x)[0])


def test_errors_of_the_program_stay_its_own():
    def refuses(x):
        if torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.PROXY) is None and bool((x > 10).any()):
            raise ValueError("more than ten")
        return (torch.where(x > 10, torch.nan, x).sum()[None],)

    step = replay(refuses)
    run(step, batches(3))
    assert step.way == "recorded"
    with pytest.raises(ValueError, match="more than ten"):
        step(torch.full((4, 2), 11.0))


def test_arguments_that_the_function_writes_into_are_written_once():
    def shifts(x):
        return (x.add_(torch.randn(())).square().sum()[None],)

    step = replay(shifts)
    recorded, _ = run(step, batches(5))
    plain, _ = run(shifts, batches(5))
    assert step.way == "recorded"
    assert all(torch.equal(ours[0], theirs[0]) for ours, theirs in zip(recorded, plain, strict=True))


def test_operations_that_do_nothing_are_left_out():
    def wasteful(x):
        torch.log(x.abs())
        y = (x * 1 / 1 + 0).view(4, 2).expand(4, 2).detach()
        return ((y * 2).sum()[None],)

    recording = record(wasteful, (batches(1)[0],), [])
    names = [str(node.target) for node in recording.graph.graph.nodes if node.op == "call_function"]
    assert names == ["aten.mul.Tensor", "aten.sum.default", "aten.unsqueeze.default"]
    x = batches(2)[1]
    assert torch.equal(recording(x)[0], wasteful(x)[0])


def test_a_quotient_by_one_that_is_rounded_stays():
    def floors(x):
        return (torch.div(x, 1, rounding_mode="floor").sum()[None],)

    recording = record(floors, (batches(1)[0],), [])
    x = batches(2)[1]
    assert recording(x)[0].item() == x.floor().sum().item() != x.sum().item()


def test_what_is_written_into_later_is_a_tensor_of_its_own():
    """0 + h is no h where something is added to it in place: tanh keeps h for its gradient."""

    def summed(x):
        x = x.detach().requires_grad_()
        total, shifted = 0, torch.exp(x) * 1
        for factor in (0.5, 1.0, 2.0):
            total += torch.tanh(factor * x)
        shifted.flatten()[0].add_(1.0)
        loss = (total * torch.exp(x)).sum() + shifted.sum() + (x + 0).sum()
        return (loss[None].detach(), *torch.autograd.grad(loss, [x]))

    step = replay(summed)
    recorded, _ = run(step, batches(4))
    assert step.way == "recorded"
    for ours, x in zip(recorded, batches(4), strict=True):
        assert all(map(torch.equal, ours, summed(x)))


def test_a_loss_that_is_not_finite_leaves_running_means_as_the_function_does():
    def outputs(way):
        torch.manual_seed(0)
        norm, trail = nn.BatchNorm1d(2, momentum=0.5), torch.zeros(3)

        def function(x):
            trail[:2].add_(1.0).mul_(0.9)
            loss = norm(x).square().sum() / (x[0, 0] != 7.0)
            return (loss[None].detach(),)

        step = replay(function, weights=[*norm.state_dict(keep_vars=True).values(), trail], stepping=way)
        x = batches(6)
        x[4][0, 0] = 7.0
        values, _ = run(step, x)
        assert step.way == way
        assert not values[4][0].isfinite()
        return [norm.running_mean, norm.running_var, norm.num_batches_tracked, trail]

    assert all(map(torch.equal, outputs("recorded"), outputs("plain")))


def test_a_loss_that_is_not_finite_leaves_the_random_state_as_the_function_does():
    def scaled(x):
        return ((x.sum() * torch.randn(20).exp().sum())[None],)

    step, inputs = replay(scaled), batches(6)
    inputs[5][0, 0] = torch.inf
    recorded, state = run(step, inputs)
    plain, plain_state = run(scaled, inputs)
    assert step.way == "recorded"
    assert torch.equal(state, plain_state)
    assert all(torch.equal(ours[0], theirs[0]) for ours, theirs in zip(recorded, plain, strict=True))


def test_draws_that_lead_nowhere_are_kept_for_those_after_them():
    def draws(x):
        torch.randn(3)
        return ((x + torch.randn_like(x)).sum()[None],)

    step = replay(draws)
    recorded, _ = run(step, batches(4))
    plain, _ = run(draws, batches(4))
    assert step.way == "recorded"
    assert all(torch.equal(ours[0], theirs[0]) for ours, theirs in zip(recorded, plain, strict=True))


def test_auto_compiles_small_steps_once_there_were_many(monkeypatch):
    """At a check in the first half of the calls, once for all, where no less than as much again is to come."""
    asked, enough = [], 1200

    def no_compiler(recording, inputs):
        asked.append(step.calls - step.calls_left)
        raise RuntimeError

    monkeypatch.setattr(Recording, "compiled", no_compiler)
    for calls in (2 * enough, 4 * enough):
        step = replay(noisy, stepping="auto", calls=calls)
        run(step, batches(110))
        monkeypatch.setattr(compiling, "_OPERATIONS_WORTH_COMPILING", enough * step._recorded.num_operations)
        run(step, batches(calls - 110))
        assert step.way == "recorded"
    # Checks are at calls 101, 102, 602, 1,102, too early for either, and 1,602, too late for the shorter run.
    assert asked == [1602]
    # A run that was cut off before the next check, and goes on, does not ask again there.
    kept = step.state() | {"calls_left": 2 * calls}
    step = replay(noisy, stepping="auto", calls=3 * calls)
    step.restore(kept)
    run(step, batches(600))
    assert (step.way, asked) == ("recorded", [1602])


@pytest.mark.ci
def test_compiled_late_it_gives_what_the_function_gives(monkeypatch):
    """Weights, draws and values, from the call on at which the compiled operations take over."""

    def moving(function):
        def call(x):
            outputs = function(x)
            with torch.no_grad():
                WEIGHT.sub_(0.01 * outputs[1])
            return outputs

        return call

    before = WEIGHT.detach().clone()
    monkeypatch.setattr(compiling, "_OPERATIONS_WORTH_COMPILING", 500)
    step, inputs = replay(noisy, stepping="auto", calls=5000), batches(700)
    compiled, state = run(moving(step), inputs)
    with torch.no_grad():
        WEIGHT.copy_(before)
    plain, plain_state = run(moving(noisy), inputs)
    with torch.no_grad():
        WEIGHT.copy_(before)
    assert step.way == ("compiled" if has_compiler() else "recorded")
    assert torch.equal(state, plain_state)
    for ours, theirs in zip(compiled, plain, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_without_a_compiler_the_recorded_operations_run():
    step = replay(noisy, stepping="compiled")
    with config.patch({"cpp.cxx": ("no-such-compiler",), "force_disable_caches": True}):
        recorded, _ = run(step, batches(4, rows=5))
    plain, _ = run(noisy, batches(4, rows=5))
    assert step.way == "recorded"
    assert all(torch.equal(ours[1], theirs[1]) for ours, theirs in zip(recorded, plain, strict=True))
