"""How a weight moves over a run: from its first value to its last, in a part of the run."""

import bisect
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence

from pyrovae.distributions.arguments import is_finite_number, is_whole_number


class Schedule(ABC):
    r"""A weight that moves from ``start`` to ``end`` in the first part of a run, and stays there.

    One of your own is a subclass with a method ``shape``.

    .. math:: w(t) = \mathrm{start} + (\mathrm{end} - \mathrm{start}) \, s(\min(1, t / \mathrm{length}))

    where t goes from 0 at the first step of the run to 1 at the last. From ``settled`` on the value is ``end``,
    whatever s says, so that it is always reached.

    Args:
        start: value at the first step.
        end: value from ``length`` of the run on.
        length: fraction of the run, in (0, 1].

    Raises:
        ValueError: a value that is negative or not finite, a length outside (0, 1].
    """

    def __init__(self, start: float = 0.0, end: float = 1.0, length: float = 0.25) -> None:
        name = type(self).__name__
        for argument, value in (("start", start), ("end", end)):
            check_weight(f"{name}: {argument}", value)
        if not is_finite_number(length) or not 0 < length <= 1:
            raise ValueError(
                f"{name}: length is {length!r}; expected a fraction of the run in (0, 1], or the schedule would never "
                "reach its end"
            )
        self.start, self.end, self.length = float(start), float(end), float(length)

    @abstractmethod
    def shape(self, progress: float) -> float:
        """The way done, 0 to 1, when ``progress`` of the length, 0 to 1, has passed."""

    def __call__(self, progress: float) -> float:
        """The value when the fraction ``progress`` of the run's steps is done, in [0, 1]."""
        way = self.shape(progress / self.length) if progress < self.settled else 1.0
        # At the ends the value itself, not what rounding leaves of it.
        return self.end if way == 1 else self.start + (self.end - self.start) * way

    @property
    def settled(self) -> float:
        """The fraction of the run from which on the value is ``end``."""
        return self.length

    def __repr__(self) -> str:
        numbers = [f"{name}={value:g}" for name, value in vars(self).items() if isinstance(value, int | float)]
        return f"{type(self).__name__}({', '.join(numbers)})"


class Linear(Schedule):
    """A straight line (Bowman et al., 2016; Sonderby et al., 2016).

    Args:
        start: value at the first step.
        end: value from ``length`` of the run on.
        length: fraction of the run, in (0, 1].

    Raises:
        ValueError: a value that is negative or not finite, a length outside (0, 1].

    Example:
        >>> warm_up = Linear(0, 1, length=0.5)
        >>> [warm_up(progress) for progress in (0.0, 0.25, 0.5, 1.0)]
        [0.0, 0.5, 1.0, 1.0]
    """

    def shape(self, progress: float) -> float:
        """As much of the way as of the length."""
        return progress


class Cosine(Schedule):
    """Half a wave of the cosine: slow at both ends.

    Args:
        start: value at the first step.
        end: value from ``length`` of the run on.
        length: fraction of the run, in (0, 1].

    Raises:
        ValueError: a value that is negative or not finite, a length outside (0, 1].

    Example:
        >>> [round(Cosine(0, 1, length=1)(progress), 3) for progress in (0.0, 0.25, 0.5, 1.0)]
        [0.0, 0.146, 0.5, 1.0]
    """

    def shape(self, progress: float) -> float:
        """Half a wave."""
        return (1 - math.cos(math.pi * progress)) / 2


class Sigmoid(Schedule):
    """The logistic curve, brought to its ends exactly (Bowman et al., 2016).

    Args:
        start: value at the first step.
        end: value from ``length`` of the run on.
        length: fraction of the run, in (0, 1].
        steepness: the larger, the more of the way is done in the middle.

    Raises:
        ValueError: a value that is negative or not finite, a length outside (0, 1], a steepness that is not positive.

    Example:
        >>> [round(Sigmoid(0, 1, length=1)(progress), 3) for progress in (0.0, 0.25, 0.5, 1.0)]
        [0.0, 0.07, 0.5, 1.0]
    """

    def __init__(self, start: float = 0.0, end: float = 1.0, length: float = 0.25, steepness: float = 10.0) -> None:
        super().__init__(start, end, length)
        if not is_finite_number(steepness) or not steepness > 0:
            raise ValueError(f"Sigmoid: steepness is {steepness!r}; expected a positive number")
        self.steepness = steepness

    def shape(self, progress: float) -> float:
        """The logistic curve between its ends."""
        # A logistic curve is half a hyperbolic tangent, which is odd about the middle.
        half = self.steepness / 4
        return 0.5 + 0.5 * math.tanh(half * (2 * progress - 1)) / math.tanh(half)


class Cyclical(Schedule):
    """Several lines one after the other, each followed by a rest at the end value (Fu et al., 2019).

    Args:
        start: value at the first step, and of each new cycle.
        end: value from the last cycle's rest on.
        length: fraction of the run that the cycles fill, in (0, 1].
        cycles: number of cycles.
        rise: fraction of a cycle in which the value rises, in (0, 1].

    Raises:
        ValueError: a value that is negative or not finite, a length or a rise outside (0, 1], fewer than one cycle.

    Example:
        >>> cyclical = Cyclical(0, 1, length=1, cycles=2)
        >>> [cyclical(progress) for progress in (0.0, 0.125, 0.25, 0.4, 0.5, 0.75, 1.0)]
        [0.0, 0.5, 1.0, 1.0, 0.0, 1.0, 1.0]
    """

    def __init__(
        self, start: float = 0.0, end: float = 1.0, length: float = 1.0, cycles: int = 4, rise: float = 0.5
    ) -> None:
        super().__init__(start, end, length)
        if not is_whole_number(cycles) or cycles < 1:
            raise ValueError(f"Cyclical: cycles is {cycles!r}; expected a positive integer")
        if not is_finite_number(rise) or not 0 < rise <= 1:
            raise ValueError(f"Cyclical: rise is {rise!r}; expected a fraction of a cycle in (0, 1]")
        self.cycles, self.rise = int(cycles), float(rise)

    def shape(self, progress: float) -> float:
        """A rise and a rest in each cycle."""
        return min(1.0, progress * self.cycles % 1 / self.rise)

    @property
    def settled(self) -> float:
        """The fraction of the run at which the last cycle rests."""
        # In this order no rounding takes it beyond the length.
        return self.length * ((self.cycles - 1 + self.rise) / self.cycles)


class Stages(Schedule):
    r"""One value after the other, each for a part of the run, as learning rates often go.

    Args:
        values: of the stages, in their order.
        lengths: how long each stage is in proportion to the others, epochs for example.

    Raises:
        ValueError: no stage, numbers in place of lists of them, a value that is negative or not finite, a length that
            is not positive, other numbers of values and of lengths.

    Example:
        The learning rates of Burda, Grosse and Salakhutdinov (2016), of 3,280 epochs, or a run of as many as you like:

        >>> rates = Stages([1e-3 * 10 ** (-i / 7) for i in range(8)], [3**i for i in range(8)])
        >>> [round(rates(epoch / 3280), 6) for epoch in (0, 1, 4, 1092, 1093, 3280)]
        [0.001, 0.00072, 0.000518, 0.000139, 0.0001, 0.0001]
    """

    def __init__(self, values: Sequence[float], lengths: Sequence[float]) -> None:
        for name, given in (("values", values), ("lengths", lengths)):
            if not isinstance(given, Collection):
                raise ValueError(
                    f"Stages: {name} is {given!r}; expected a number for each stage, as in "
                    "Stages([1e-2, 1e-3], [2, 1]), 1e-2 for two thirds of the run and 1e-3 for the rest"
                )
        if not len(values) or len(values) != len(lengths):
            raise ValueError(
                f"Stages: {len(values)} values and {len(lengths)} lengths; expected one of each for every stage, and "
                "one stage at least"
            )
        for number, (value, length) in enumerate(zip(values, lengths, strict=True)):
            check_weight(f"Stages: values[{number}]", value)
            if not is_finite_number(length) or not length > 0:
                raise ValueError(f"Stages: lengths[{number}] is {length!r}; expected a positive number")
        self.values, self.lengths = tuple(map(float, values)), tuple(map(float, lengths))
        # Where each stage but the first begins.
        self.starts = [begun / sum(self.lengths) for begun in itertools.accumulate(self.lengths[:-1])]
        super().__init__(self.values[0], self.values[-1], self.starts[-1] if self.starts else 1.0)

    def shape(self, progress: float) -> float:
        """Of the stages after the first, the part that has begun."""
        return self._stage(progress * self.length) / max(1, len(self.starts))

    def __call__(self, progress: float) -> float:
        """The value when the fraction ``progress`` of the run's steps is done, in [0, 1]."""
        return self.values[self._stage(progress)]

    def _stage(self, progress: float) -> int:
        return bisect.bisect_right(self.starts, progress)

    def __repr__(self) -> str:
        return f"Stages({list(self.values)}, {list(self.lengths)})"


def check_weight(name: str, value: object, otherwise: str = "") -> None:
    """Refuse a weight that is no number, negative or not finite.

    Args:
        name: of the weight.
        value: what was given.
        otherwise: what else may be given in its place, for the error.

    Raises:
        ValueError: the weight, by its name.
    """
    if not is_finite_number(value) or value < 0:
        raise ValueError(f"{name} is {value!r}; expected a finite number of at least 0{otherwise}")


def check_schedule(name: str, value: float | Schedule) -> None:
    """Refuse a weight, or a schedule whose values are no weights or that does not reach its end.

    Raises:
        ValueError: the weight or the schedule, by its name.
    """
    if not isinstance(value, Schedule):
        check_weight(name, value, ", or a schedule from pyrovae.objectives")
        return
    values = {percent: value(percent / 100) for percent in range(101)}
    for percent, number in values.items():
        check_weight(f"{name}: {type(value).__name__}, after {percent} % of the run,", number)
    settled, end = value.settled, value.end
    reached = 0 < settled <= 1 and value(settled) == end
    if not reached or any(number != end for percent, number in values.items() if percent / 100 >= settled):
        raise ValueError(
            f"{name}: {type(value).__name__} is not at its end, {end:g}, from its settled fraction {settled:g} of the "
            "run on; expected a fraction in (0, 1] from which on it stays there"
        )


def value_at(weight: float | Schedule, progress: float) -> float:
    """The value of a weight when the fraction ``progress`` of the run's steps is done."""
    return weight(progress) if isinstance(weight, Schedule) else weight


def settled_at(weight: float | Schedule) -> float:
    """The fraction of the run from which on a weight has its final value; 0 where it never moves."""
    return weight.settled if isinstance(weight, Schedule) else 0.0
