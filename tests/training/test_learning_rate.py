"""The learning rate of a fit: a number, or a schedule that sets it at each step."""

import math

import pytest
import torch
from problems import bits, small_vae

from pyrovae import fit_svi
from pyrovae.checkpoints import Checkpoints
from pyrovae.objectives import Cosine, Linear, Stages


class CutError(Exception):
    """What cuts a fit off."""


def seeded_vae():
    torch.manual_seed(0)
    return small_vae()


class Noted(torch.optim.SGD):
    """SGD that notes its learning rate at each step."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, lr=lr)
        self.rates = []

    def step(self, closure=None):
        self.rates.append(self.param_groups[0]["lr"])
        return super().step(closure)


def rates_of(lr, epochs=4, **options):
    made = []

    def make(parameters):
        made.append(Noted(parameters, lr=0.5))
        return made[0]

    vae = seeded_vae()
    result = fit_svi(
        vae.model, vae.guide, bits(60), epochs=epochs, batch_size=20, lr=lr, optimizer=make, progress=False, **options
    )
    return made[0].rates, result


def test_a_number_leaves_an_optimiser_of_ones_own_alone():
    rates, result = rates_of(1e-3)
    assert rates == [0.5] * 12
    assert "lr" not in result.history[0]


def test_a_schedule_sets_the_rate_of_each_step():
    rates, result = rates_of(Cosine(1e-2, 0, length=1))
    assert rates == pytest.approx([1e-2 * (1 + math.cos(math.pi * step / 11)) / 2 for step in range(12)])
    assert [terms["lr"] for terms in result.history] == rates[2::3]


def test_stages_follow_one_another():
    rates, _ = rates_of(Stages([3e-3, 2e-3, 1e-3], [1, 2, 1]))
    assert rates == [3e-3] * 3 + [2e-3] * 6 + [1e-3] * 3


def test_the_schedule_of_burda_grosse_and_salakhutdinov():
    """Learning rate 0.001 * 10^(-i / 7) for 3^i epochs, i = 0 to 7: 3,280 epochs in all."""
    rates = Stages([1e-3 * 10 ** (-i / 7) for i in range(8)], [3**i for i in range(8)])
    by_epoch = [1e-3 * 10 ** (-i / 7) for i in range(8) for _ in range(3**i)]
    assert len(by_epoch) == 3280
    # In the middle of each epoch, so that no boundary is met.
    assert [rates((epoch + 0.5) / 3280) for epoch in range(3280)] == by_epoch
    assert rates(1.0) == rates.end == 1e-4
    assert rates.settled == pytest.approx(1093 / 3280)


@pytest.mark.parametrize("optimizer", [None, lambda parameters: torch.optim.Adam(parameters, lr=1.0)])
@pytest.mark.parametrize("step", ["plain", "recorded"])
def test_the_weights_are_those_of_adam_with_a_scheduler_of_torch(step, optimizer):
    """The same fit, with ``LambdaLR`` around Adam in the place of the schedule."""
    x, schedule = bits(60), Linear(2e-3, 1e-3, length=1)
    fitted = seeded_vae()
    fit_svi(
        fitted.model,
        fitted.guide,
        x,
        epochs=4,
        batch_size=20,
        lr=schedule,
        optimizer=optimizer,
        step=step,
        progress=False,
    )

    class Scheduled(torch.optim.Adam):
        def __init__(self, parameters):
            super().__init__(parameters, lr=1.0)
            self.scheduler = torch.optim.lr_scheduler.LambdaLR(self, lambda number: schedule(min(1.0, number / 11)))

        def step(self, closure=None):
            super().step(closure)
            self.scheduler.step()

    expected = seeded_vae()
    fit_svi(expected.model, expected.guide, x, epochs=4, batch_size=20, optimizer=Scheduled, step=step, progress=False)
    for ours, theirs in zip(fitted.parameters(), expected.parameters(), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-7)


def test_a_fit_that_is_cut_off_goes_on_with_its_rates(tmp_path):
    schedule = Stages([3e-3, 1e-3], [1, 1])
    whole = seeded_vae()
    fit_svi(whole.model, whole.guide, bits(60), epochs=4, batch_size=20, lr=schedule, progress=False)

    steps = []

    def transform(x):
        steps.append(len(x))
        if len(steps) == 9:
            raise CutError
        return x

    cut = seeded_vae()
    options = {
        "epochs": 4,
        "batch_size": 20,
        "lr": schedule,
        "progress": False,
        "checkpoints": Checkpoints(tmp_path, every_seconds=0),
        "resume": True,
    }
    with pytest.raises(CutError):
        fit_svi(cut.model, cut.guide, bits(60), train_transform=transform, **options)
    again = seeded_vae()
    result = fit_svi(again.model, again.guide, bits(60), train_transform=transform, **options)
    assert [terms["lr"] for terms in result.history] == [3e-3, 3e-3, 1e-3, 1e-3]
    for ours, theirs in zip(again.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    with pytest.raises(ValueError, match=r"lr is Stages\(\[0\.003, 0\.001\], \[1\.0, 2\.0\]\), and was"):
        fit_svi(
            again.model,
            again.guide,
            bits(60),
            train_transform=transform,
            **options | {"lr": Stages([3e-3, 1e-3], [1, 2])},
        )


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Stages([], []), "Stages: 0 values and 0 lengths; expected one of each"),
        (lambda: Stages(1e-2, 1e-3), r"Stages: values is 0.01; expected a number for each stage, as in Stages\("),
        (lambda: Stages([1e-2, 1e-3], 1), "Stages: lengths is 1; expected a number for each stage"),
        (lambda: Stages([1, 2], [1]), "Stages: 2 values and 1 lengths"),
        (lambda: Stages([1, -1], [1, 1]), r"Stages: values\[1\] is -1; expected a finite number"),
        (lambda: Stages([1, 1], [1, 0]), r"Stages: lengths\[1\] is 0; expected a positive number"),
    ],
)
def test_stages_that_are_none_are_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()
