"""Schedules at their points and ends, for many of their arguments."""

import itertools
import math

import pytest

from pyrovae.objectives import Cosine, Cyclical, Linear, Schedule, Sigmoid, Trace_ELBO

KINDS = {
    "Linear": Linear,
    "Cosine": Cosine,
    "Sigmoid": Sigmoid,
    "Cyclical": Cyclical,
    "Sigmoid, flat": lambda *ends: Sigmoid(*ends, steepness=1e-3),
    "Sigmoid, steep": lambda *ends: Sigmoid(*ends, steepness=1e4),
    "Cyclical, once": lambda *ends: Cyclical(*ends, cycles=1, rise=0.1),
    "Cyclical, without a rest": lambda *ends: Cyclical(*ends, cycles=3, rise=1.0),
    "Cyclical, in thirds": lambda *ends: Cyclical(*ends, cycles=7, rise=1 / 3),
}
ENDS = ((0.0, 1.0), (1.0, 0.0), (0.1, 4.7), (30.0, 0.3), (2.0, 2.0), (0, 25))
LENGTHS = (1e-6, 0.1, 0.25, 1 / 3, 0.7, 0.99, 1.0)
GRID = [step / 1000 for step in range(1001)]

each = pytest.mark.parametrize("kind", KINDS)


def schedules(kind):
    return [KINDS[kind](*ends, length) for ends, length in itertools.product(ENDS, LENGTHS)]


@each
def test_the_ends_are_exact(kind):
    for schedule in schedules(kind):
        assert schedule(0.0) == schedule.start
        for progress in (schedule.settled, schedule.length, math.nextafter(schedule.settled, 2), 1.0):
            assert schedule(progress) == schedule.end
        assert 0 < schedule.settled <= schedule.length


@each
def test_it_stays_at_its_end_and_between_its_ends(kind):
    for schedule in schedules(kind):
        lowest, highest = sorted((schedule.start, schedule.end))
        for progress in GRID:
            value = schedule(progress)
            # Rounding of start + (end - start) * way.
            assert lowest - 1e-14 * highest <= value <= highest + 1e-14 * highest
            assert progress < schedule.settled or value == schedule.end


@each
def test_it_moves_one_way_within_a_cycle(kind):
    for schedule in schedules(kind):
        cycles = getattr(schedule, "cycles", 1)
        sign = 1 if schedule.end >= schedule.start else -1
        for first, second in itertools.pairwise(GRID):
            same_cycle = int(first / schedule.length * cycles) == int(second / schedule.length * cycles)
            if same_cycle or first >= schedule.settled:
                assert sign * (schedule(second) - schedule(first)) >= -1e-12


@each
def test_an_objective_takes_it(kind):
    for schedule in schedules(kind):
        objective = Trace_ELBO(beta=schedule)
        assert objective.beta_at(1.0) == schedule.end
        assert objective.settled == schedule.settled


@pytest.mark.parametrize("cycles", [1, 2, 3, 5, 10])
@pytest.mark.parametrize("rise", [0.05, 0.1, 0.3, 1 / 3, 0.7, 0.9, 1.0])
def test_cycles_reach_their_end_whatever_rounding_does(cycles, rise):
    """Where the last rest starts, (cycles - 1 + rise) / cycles is no number of floating point."""
    for length in (*LENGTHS, 0.17, 0.61803, math.pi / 4):
        schedule = Cyclical(0.2, 1.3, length, cycles, rise)
        assert schedule.settled == pytest.approx(length * (cycles - 1 + rise) / cycles)
        assert schedule(schedule.settled) == 1.3
        assert Trace_ELBO(beta=schedule).beta is schedule


POINTS = [
    (Linear(1, 3, length=0.5), {0.1: 1.4, 0.25: 2, 0.4: 2.6}),
    (Linear(4, 0, length=1), {0.25: 3, 0.5: 2}),
    (Cosine(0, 2, length=0.5), {0.125: 1 - math.cos(math.pi / 4), 0.25: 1, 0.375: 1 + math.cos(math.pi / 4)}),
    (Cyclical(0, 2, length=0.8, cycles=4), {0.05: 1, 0.1: 2, 0.19: 2, 0.2: 0, 0.25: 1, 0.62: 0.4, 0.7: 2, 0.9: 2}),
    (Cyclical(0, 1, length=1, cycles=2, rise=1), {0.1: 0.2, 0.4: 0.8, 0.75: 0.5}),
]


@pytest.mark.parametrize(("schedule", "points"), POINTS, ids=repr)
def test_points(schedule, points):
    for progress, value in points.items():
        assert schedule(progress) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("steepness", [0.5, 10.0, 30.0])
def test_the_sigmoid_is_the_logistic_curve_stretched_to_its_ends(steepness):
    def logistic(way):
        return 1 / (1 + math.exp(-steepness * (way - 0.5)))

    schedule = Sigmoid(0, 1, length=0.5, steepness=steepness)
    for progress in (0.01, 0.1, 0.2, 0.25, 0.3, 0.49):
        wanted = (logistic(progress / 0.5) - logistic(0)) / (logistic(1) - logistic(0))
        assert schedule(progress) == pytest.approx(wanted, abs=1e-12)


def test_the_slowest_weight_settles_the_objective():
    objective = Trace_ELBO(beta=Linear(length=0.2), capacity=Linear(0, 5, length=0.6))
    assert objective.settled == 0.6
    assert Trace_ELBO(beta=2.0, capacity=1.0).settled == 0.0


class Square(Schedule):
    def shape(self, progress):
        return progress**2


class Switch(Schedule):
    """A shape that only jumps to its end."""

    def shape(self, progress):
        return 0.0


def test_a_schedule_of_ones_own():
    objective = Trace_ELBO(beta=Square(0, 4, length=0.5))
    assert [objective.beta_at(progress) for progress in (0.0, 0.25, 0.5, 0.75, 1.0)] == [0.0, 1.0, 4.0, 4.0, 4.0]
    assert [Trace_ELBO(beta=Switch()).beta_at(progress) for progress in (0.0, 0.24, 0.25, 1.0)] == [0.0, 0.0, 1.0, 1.0]
    assert repr(objective.beta) == "Square(start=0, end=4, length=0.5)"


class Never(Linear):
    def __call__(self, progress):
        return 0.9 * super().__call__(progress)


class Leaves(Linear):
    """At its end only where it says that it settles."""

    def __call__(self, progress):
        return self.end if progress == self.settled else self.start


class Late(Linear):
    settled = 1.2


class Odd(Schedule):
    def shape(self, progress):
        return math.nan if progress > 0.5 else 0.0


class Falls(Schedule):
    def shape(self, progress):
        return -progress


REFUSED = [
    (lambda: Linear(length=0), r"Linear: length is 0; expected a fraction of the run in \(0, 1\].*never reach its end"),
    (lambda: Cosine(length=1.5), r"Cosine: length is 1.5; expected a fraction"),
    (lambda: Sigmoid(length=math.nan), r"Sigmoid: length is nan; expected a fraction"),
    (lambda: Cyclical(length=-0.1), r"Cyclical: length is -0.1; expected a fraction"),
    (lambda: Linear(length="0.5"), r"Linear: length is '0.5'; expected a fraction"),
    (lambda: Linear(length=True), r"Linear: length is True; expected a fraction"),
    (lambda: Linear(-1), r"Linear: start is -1; expected a finite number of at least 0$"),
    (lambda: Linear(0, math.inf), r"Linear: end is inf; expected a finite number of at least 0$"),
    (lambda: Linear(0, math.nan), r"Linear: end is nan; expected a finite number"),
    (lambda: Linear(None), r"Linear: start is None; expected a finite number"),
    (lambda: Sigmoid(steepness=0), r"Sigmoid: steepness is 0; expected a positive number"),
    (lambda: Sigmoid(steepness=math.inf), r"Sigmoid: steepness is inf; expected a positive number"),
    (lambda: Cyclical(cycles=0), r"Cyclical: cycles is 0; expected a positive integer"),
    (lambda: Cyclical(cycles=2.5), r"Cyclical: cycles is 2.5; expected a positive integer"),
    (lambda: Cyclical(rise=0), r"Cyclical: rise is 0; expected a fraction of a cycle in \(0, 1\]"),
    (lambda: Cyclical(rise=1.1), r"Cyclical: rise is 1.1; expected a fraction"),
    (lambda: Trace_ELBO(beta=Never()), r"beta: Never is not at its end, 1, from its settled fraction 0.25 of the run"),
    (lambda: Trace_ELBO(beta=Leaves()), r"beta: Leaves is not at its end, 1, from its settled fraction 0.25"),
    (lambda: Trace_ELBO(beta=Late()), r"beta: Late is not at its end.*1.2 of the run on; expected a fraction in"),
    (lambda: Trace_ELBO(capacity=Odd()), r"capacity: Odd, after 13 % of the run, is nan; expected a finite number"),
    (lambda: Trace_ELBO(beta=Falls()), r"beta: Falls, after 1 % of the run, is -0.04; expected a finite number"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
