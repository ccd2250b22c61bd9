"""Where a parameter of a likelihood comes from: a fixed number, learned, or predicted from z."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pyrovae.distributions.arguments import is_finite_number
from pyrovae.networks.shapes import as_shape

Source = Literal["shared", "per_dimension", "predicted"]
"""A parameter that is learned: one for all entries, one for each, or given by the decoder."""


class Choice(ABC):
    """One parameter of a likelihood: what the user chose for it, and the way from an unbounded number to its value.

    Args:
        part: the likelihood, which errors name.
        name: name of the argument.
        chosen: a number keeps it fixed; else one of ``sources``.
        initial: where a learned or predicted parameter starts.
        data_shape: shape of one row, for ``"per_dimension"``.
        sources: what may be learned.
    """

    number_is: ClassVar[str]

    def __init__(
        self,
        part: nn.Module,
        name: str,
        chosen: float | str,
        initial: float,
        data_shape: Sequence[int] | None,
        sources: tuple[str, ...] = get_args(Source),
    ) -> None:
        self.name = name
        if isinstance(chosen, str) and chosen not in sources:
            named = [repr(source) for source in sources]
            raise ValueError(
                f"{type(part).__name__}: {name} is {chosen!r}; expected {self.number_is}, "
                f"{', '.join(named[:-1])} or {named[-1]}"
            )
        if chosen == "per_dimension" and data_shape is None:
            raise ValueError(
                f"{type(part).__name__}: {name} is 'per_dimension' without data_shape; give "
                "data_shape=data.data_shape, the shape of one row"
            )
        self.number = None if isinstance(chosen, str) else float(chosen)
        self.source = chosen if isinstance(chosen, str) else "fixed"
        self.shape = as_shape(data_shape, "data_shape") if chosen == "per_dimension" and data_shape is not None else ()
        # The unbounded number at the initial value.
        self.start = self.unbounded(torch.tensor(initial, dtype=torch.float64)).item() if self.number is None else 0.0

    @property
    def predicted(self) -> bool:
        """Whether the decoder gives it."""
        return self.source == "predicted"

    def new_parameter(self) -> nn.Parameter | None:
        """The unbounded number that is learned, at its start; None where there is none."""
        learned = self.source in ("shared", "per_dimension")
        return nn.Parameter(torch.full(self.shape, self.start)) if learned else None

    def fixed(self) -> Tensor:
        """The number that the user chose; float64, as a float32 buffer would lose digits that float64 models need."""
        return torch.tensor(self.number, dtype=torch.float64)

    def number_or(self, value: Tensor) -> Tensor:
        """The number that the user chose where there is one, else a value found in data."""
        return value if self.number is None else torch.full_like(value, self.number)

    @property
    def parameter(self) -> str:
        """What the unbounded number is called in the likelihood."""
        return f"raw_{self.name}"

    @abstractmethod
    def bounded(self, raw: Tensor) -> Tensor:
        """The value of an unbounded number."""

    @abstractmethod
    def unbounded(self, value: Tensor) -> Tensor:
        """The unbounded number of a value."""

    @abstractmethod
    def inside(self, value: Tensor) -> Tensor:
        """A value found in data, moved to where training can start."""

    def describe(self) -> str:
        """What a printed part says of it."""
        return f"{self.name}={self.source if self.number is None else f'{self.number:g}'}"


class Positive(Choice):
    """A positive parameter, ``floor + softplus(raw)`` where it is not fixed; ``unit`` is that of floor and initial."""

    number_is = "a positive number"

    def __init__(
        self,
        part: nn.Module,
        name: str,
        chosen: float | str,
        initial: float,
        floor: float,
        data_shape: Sequence[int] | None,
        sources: tuple[str, ...] = get_args(Source),
        meaning: str = "a standard deviation",
        unit: float = 1.0,
    ) -> None:
        if not isinstance(chosen, str):
            if not is_finite_number(chosen) or not chosen > 0:
                raise ValueError(
                    f"{type(part).__name__}: {name} is {chosen!r}; {meaning} has to be positive and finite"
                )
        elif chosen in sources and not (all(map(is_finite_number, (floor, initial))) and 0 < floor < initial):
            raise ValueError(
                f"{type(part).__name__}: {name}_floor is {floor} and initial_{name} {initial}; expected "
                f"0 < {name}_floor < initial_{name}"
            )
        # Needed for the start; a fixed value has neither.
        self.floor = floor * unit
        super().__init__(part, name, chosen, initial * unit, data_shape, sources)

    def bounded(self, raw: Tensor) -> Tensor:
        """Floor plus softplus."""
        return self.floor + F.softplus(raw)

    def unbounded(self, value: Tensor) -> Tensor:
        """The inverse, of a value above the floor."""
        above = value - self.floor
        return above + torch.log(-torch.expm1(-above))

    def inside(self, value: Tensor) -> Tensor:
        """At least twice the floor, near which it moves slowly."""
        return value.clamp(min=2 * self.floor)

    def describe(self) -> str:
        """What a printed part says of it."""
        return super().describe() + ("" if self.number is not None else f", {self.name}_floor={self.floor:g}")


class PositiveByLogarithm(Positive):
    """A positive parameter, ``floor + exp(10 raw)`` where it is learned: steps change it by a factor.

    For parameters that may be orders of magnitude from their start, and of which a percent more or less hardly matters,
    as Adam at a learning rate of 0.001 changes them by up to a percent a step. Predicted ones are those of
    ``Positive``, as the exponential of a decoder's output overflows.
    """

    log_per_raw: ClassVar[float] = 10.0
    # Such a number is learned without end, as the total count of Poisson counts is.
    largest_log: ClassVar[float] = 20.0

    @property
    def parameter(self) -> str:
        """A name of its own, so that numbers of the other kind are not taken for it."""
        return super().parameter if self.predicted else f"scaled_log_{self.name}"

    def bounded(self, raw: Tensor) -> Tensor:
        """Floor plus exponential, or softplus of what is predicted."""
        if self.predicted:
            return super().bounded(raw)
        return self.floor + (self.log_per_raw * raw).clamp(max=self.largest_log).exp()

    def unbounded(self, value: Tensor) -> Tensor:
        """The inverse, of a value above the floor."""
        return super().unbounded(value) if self.predicted else (value - self.floor).log() / self.log_per_raw


class ScaleByLogarithm(PositiveByLogarithm):
    """A scale, ``floor + exp(3 raw)`` where it is learned: data in any unit learn it in as many steps.

    Of a scale a percent matters: one for 784 pixels that is a percent off costs 0.1 nats a row, a third of a percent
    0.01.
    """

    log_per_raw = 3.0
    largest_log = math.inf


class LogOdds(Choice):
    """A probability, handed on as its log-odds, which keep their digits near 0 and 1."""

    number_is = "a probability in (0, 1)"

    def __init__(
        self, part: nn.Module, name: str, chosen: float | str, initial: float, data_shape: Sequence[int] | None
    ) -> None:
        for what, number in ((name, chosen), (f"initial_{name}", initial)):
            of_choice = what == name and isinstance(number, str)
            if not of_choice and not (is_finite_number(number) and 0 < number < 1):
                raise ValueError(
                    f"{type(part).__name__}: {what} is {number}; expected a probability, more than 0 and less than 1"
                )
        super().__init__(part, name, chosen, initial, data_shape)

    def fixed(self) -> Tensor:
        """The log-odds of the number that the user chose."""
        return torch.logit(super().fixed())

    def bounded(self, raw: Tensor) -> Tensor:
        """Log-odds have no bounds."""
        return raw

    def unbounded(self, value: Tensor) -> Tensor:
        """The log-odds of a probability."""
        return torch.logit(value)

    def inside(self, value: Tensor) -> Tensor:
        """Between 1 % and 99 %."""
        return value.clamp(0.01, 0.99)
