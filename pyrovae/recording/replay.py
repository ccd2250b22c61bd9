"""Calling a function by its recorded operations, for as long as these give what the function gives."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from pyrovae.programs import RandomState, generator_states, set_generator_states
from pyrovae.recording.agreement import SINGLE, agree
from pyrovae.recording.attributes import Attributes
from pyrovae.recording.compiling import ARITHMETIC_WORTH_COMPILING, has_much_arithmetic, has_shown_to_be_long
from pyrovae.recording.function import CannotRecordError, TensorFunction

if TYPE_CHECKING:
    from pyrovae.recording.record import Recording

Stepping = Literal["auto", "plain", "recorded", "compiled"]
"""How a function is called again and again: by itself; by its recorded operations; by these, compiled.

``"auto"`` records after a hundred calls, and compiles where much arithmetic is to come; calls that have little, once
there were many, if as many are to come.
"""

_CALLS_BEFORE_RECORDING = 100
# What recording costs is gained in so many calls.
_CALLS_WORTH_RECORDING = 200
_CHECKS = 2
_CALLS_BETWEEN_CHECKS = 500


class Replay:
    """A function of tensors that is recorded once it has been called often enough.

    Each recording is checked against the function itself: at the two calls after it is made, and at each five-hundredth
    call. There both run, from the same random state, and values, what they wrote, and the random state that they leave
    have to agree; what the function gave is what counts. Where they do not, and where the function cannot be recorded,
    it is called itself from then on, and ``reason`` says why.

    Args:
        function: from tensors to a tuple of tensors, some of which may be None. The first is finite where all is well.
        weights: gives the tensors that change from call to call without being arguments.
        stepping: how to call it.
        calls: how many calls are to come.
        recordable: the same function where the first cannot be recorded; None is ``function``.
        rounding: how far recorded values may be off, as a part of themselves.
        owners: programs, modules and other objects by which the function may reach numbers, texts and tensors: where
            one changes its operations are not all that it does.
        worth_compiling: ``"auto"`` compiles at once where so many additions and multiplications in matrix products are
            to come.

    Attributes:
        reason: why the function cannot be recorded; empty while nothing speaks against it.
    """

    def __init__(
        self,
        function: TensorFunction,
        weights: Callable[[], Sequence[Tensor]],
        stepping: Stepping,
        calls: int,
        recordable: TensorFunction | None = None,
        rounding: float = SINGLE,
        owners: Sequence[Any] = (),
        worth_compiling: float = ARITHMETIC_WORTH_COMPILING,
    ) -> None:
        self.function, self.recordable, self.rounding = function, recordable or function, rounding
        self.weights, self.stepping, self.owners = weights, stepping, owners
        self.calls = self.calls_left = calls
        self.worth_compiling = worth_compiling
        self.reason = ""
        self._recorded: Recording | None = None
        self._compiled: Recording | None = None
        self._may_compile = stepping == "auto"
        self._attributes = Attributes([])
        # How a run that was cut off called it, for arguments of which shapes.
        self._before: tuple[str, str] | None = None
        self._shapes: object = None
        self._calls_of: Counter[str] = Counter()
        self._checks, self._calls_since_check = 0, 0

    @property
    def way(self) -> str:
        """How the function is called now: ``"recorded"``, ``"compiled"``, or ``"plain"``, with the reason if any."""
        if self._before is not None:
            return self._before[0]
        if self._recorded is None:
            return f"plain: {self.reason}" if self.reason else "plain"
        return "recorded" if self._compiled is None else "compiled"

    def __call__(self, *inputs: Tensor) -> tuple[Tensor | None, ...]:
        """What the function gives."""
        self.calls_left -= 1
        if self.reason or self.stepping == "plain":
            return self.function(*inputs)
        shapes = [(tensor.shape, tensor.dtype, tensor.device) for tensor in inputs]
        if self._before is not None:
            return self._again(inputs, shapes, *self._before)
        if self._recorded is None and self._is_time(shapes):
            self._record(inputs)
        if self._recorded is None or shapes != self._shapes:
            return self.function(*inputs)
        self._calls_since_check += 1
        if self._is_time_to_check():
            done = self.calls - self.calls_left
            if self._may_compile and has_shown_to_be_long(self._recorded, done, self.calls_left):
                self._compile_late(inputs)
            return self._checked(inputs)
        if self._attributes.changed():
            # By a call for other rows perhaps, whose number it is.
            outputs = self.function(*inputs)
            if changed := self._attributes.changed():
                self._give_up(changed)
            return outputs
        states, written = generator_states(inputs[0].device), _copies(self._recorded.written)
        outputs = (self._compiled or self._recorded)(*inputs)
        if _is_finite(outputs[0]):
            return outputs
        # An error of the program is for the program to say, which begins where the operations did.
        set_generator_states(states, inputs[0].device)
        _restore(self._recorded.written, written)
        return self.function(*inputs)

    def check_next(self) -> None:
        """Check the next call too, where the recording has met tensors that are neither arguments nor weights.

        A program may keep one for another program, or put a new one in its place.
        """
        if self._recorded is not None:
            known = {id(weight) for weight in self.weights()}
            if any(id(tensor) not in known for tensor in self._recorded.captured):
                self._checks = max(self._checks, 1)

    def state(self) -> dict[str, Any]:
        """What a run that goes on from here needs to call the function in the same ways, as numbers and texts."""
        way, shapes = self._before or (self.way, str(self._shapes))
        return {
            "way": way,
            "shapes": shapes,
            "reason": self.reason,
            "calls_left": self.calls_left,
            "may_compile": self._may_compile,
            "calls_of": dict(self._calls_of),
            "checks": self._checks,
            "calls_since_check": self._calls_since_check,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` gave: what was recorded then is recorded again when it is needed."""
        self.reason, self.calls_left, self._calls_of = state["reason"], state["calls_left"], Counter(state["calls_of"])
        # Those of earlier versions do not say.
        self._may_compile = state.get("may_compile", self._may_compile)
        self._checks, self._calls_since_check = state["checks"], state["calls_since_check"]
        if state["way"] in ("recorded", "compiled"):
            self._before = state["way"], state["shapes"]

    def _again(
        self, inputs: tuple[Tensor, ...], shapes: object, way: str, shapes_before: str
    ) -> tuple[Tensor | None, ...]:
        """Record once more what was recorded before; what it gives counts where it would have counted then."""
        if str(shapes) != shapes_before:
            return self.function(*inputs)
        self._before, self._shapes = None, shapes
        checks, calls = self._checks, self._calls_since_check
        self._record(inputs, compiles=way == "compiled")
        if self._recorded is None:
            return self.function(*inputs)
        self._checks, self._calls_since_check = checks, calls + 1
        return self._checked(inputs, unasked=not self._is_time_to_check())

    def _is_time_to_check(self) -> bool:
        return self._checks > 0 or self._calls_since_check >= _CALLS_BETWEEN_CHECKS

    def _is_time(self, shapes: object) -> bool:
        # The last batch of an epoch may have a shape of its own: that of most batches comes first to a hundred.
        self._shapes = shapes
        if self.stepping != "auto":
            return True
        self._calls_of[str(shapes)] += 1
        return self._calls_of[str(shapes)] > _CALLS_BEFORE_RECORDING and self.calls_left >= _CALLS_WORTH_RECORDING

    def _record(
        self, inputs: tuple[Tensor, ...], compiles: bool | None = None, first: Attributes | None = None
    ) -> None:
        # Imported when needed: it takes half a second.
        from pyrovae.recording.record import record

        state, weights = RandomState.now(inputs[0].device), list(self.weights())
        before, attributes = _copies(weights), Attributes(self.owners)
        if unforeseen := attributes.unforeseen():
            self._give_up(unforeseen)
            return
        try:
            self._recorded = record(self.recordable, tuple(_copies(inputs)), weights)
            self._checks = _CHECKS
            copies = tuple(_copies(inputs))
            if compiles is None:
                compiles = self.stepping == "compiled" or (
                    self._may_compile
                    and has_much_arithmetic(self._recorded, copies, self.calls_left, self.worth_compiling)
                )
            if compiles:
                self._compile(copies)
        except CannotRecordError as error:
            self._give_up(str(error))
        except Exception as error:  # whatever a program raises that cannot run this way
            self._give_up(f"{type(error).__name__}: {_first_line(error)}")
        finally:
            now = list(self.weights())
            _restore(now, before)
            state.put_back()
        if self._recorded is not None:
            attributes.meet((*self._recorded.captured, *self._recorded.read))
        if replaced := attributes.replaced():
            self._give_up(replaced)
        attributes.put_tensors_back()
        if _differ(now, weights):
            self._give_up("it puts new tensors in place of its weights")
        if changed := attributes.changed() or attributes.moved():
            if first is None and not self.reason:
                # It may be the number of rows, of which there were others before.
                self._record(inputs, compiles, first=attributes)
                return
            (first or attributes).put_back()
            self._give_up(changed)
        self._attributes = attributes

    def _compile(self, inputs: tuple[Tensor, ...]) -> None:
        assert self._recorded is not None
        self._may_compile = False
        try:
            self._compiled = self._recorded.compiled(inputs)
        except Exception:  # no compiler, or one that fails: the recorded operations are as right
            self._compiled = None

    def _compile_late(self, inputs: tuple[Tensor, ...]) -> None:
        """Compile what has run as recorded until now, and trust it after the checks that a recording has."""
        state, weights = RandomState.now(inputs[0].device), list(self.weights())
        before = _copies(weights)
        self._compile(tuple(_copies(inputs)))
        _restore(weights, before)
        state.put_back()
        self._checks = _CHECKS

    def _checked(self, inputs: tuple[Tensor, ...], *, unasked: bool = False) -> tuple[Tensor | None, ...]:
        """What the function gives, or, where it was not the time for a check, what its operations do."""
        assert self._recorded is not None
        device = inputs[0].device
        state, weights = RandomState.now(device), list(self.weights())
        before = _copies(weights)
        # The function may write into what it is given.
        try:
            replayed = (self._compiled or self._recorded)(*_copies(inputs))
        except Exception as error:  # an operation that cannot run by itself, such as one of an LSTM
            self._give_up(f"its recorded operations cannot run: {type(error).__name__}: {_first_line(error)}")
            _restore(weights, before)
            state.put_back()
            return self.function(*inputs)
        written, drawn = _copies(weights), RandomState.now(device)
        _restore(weights, before)
        state.put_back()
        self._attributes.note()
        outputs = self.function(*inputs)
        if moved := self._attributes.moved() or self._attributes.replaced():
            self._give_up(moved)
            return outputs
        if not _is_finite(outputs[0]):
            return outputs
        if not unasked:
            self._checks, self._calls_since_check = max(self._checks - 1, 0), 0
        now = list(self.weights())
        if drawn != RandomState.now(device):
            difference = "other random draws"
        elif _differ(now, weights):
            difference = "no new tensors in place of weights"
        elif not agree(now, written, self.rounding):
            difference = "other changes of its weights"
        else:
            difference = "" if agree(outputs, replayed, self.rounding) else "other values"
        if difference and self._compiled is not None:
            self._compiled, self._checks = None, _CHECKS
        elif difference:
            self._give_up(f"its recorded operations gave {difference}")
        if difference or not unasked:
            return outputs
        _restore(weights, written)
        return replayed

    def _give_up(self, reason: str) -> None:
        self._recorded, self._compiled, self.reason = None, None, reason


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")


def _is_finite(values: Tensor | None) -> bool:
    return values is not None and math.isfinite(float(values.sum()))


def _differ(now: Sequence[Tensor], before: Sequence[Tensor]) -> bool:
    """Whether tensors were replaced, not only written."""
    return len(now) != len(before) or any(a is not b for a, b in zip(now, before, strict=True))


def _copies(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in tensors]


@torch.no_grad()
def _restore(tensors: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for tensor, value in zip(tensors, values, strict=True):
        if not torch.equal(tensor, value):
            tensor.copy_(value)
