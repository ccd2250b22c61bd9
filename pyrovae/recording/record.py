"""Recording the tensor operations of a function, once, so that they run without the Python that led to them."""

import sys
import warnings
from collections.abc import Callable, Sequence
from types import CodeType, FrameType
from typing import Any

import pyro
import torch
from pyro.infer.util import Dice, torch_item
from pyro.util import warn_if_nan
from torch import Tensor, fx
from torch._guards import TracingContext, tracing
from torch._subclasses import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode

from pyrovae.recording.function import CannotRecordError, TensorFunction
from pyrovae.recording.simplify import simplify
from pyrovae.recording.writes import written_nodes

_NUMBERS = {
    getattr(Tensor, name) for name in ("item", "__bool__", "__float__", "__int__", "__index__", "tolist", "numpy")
} | {Tensor.__array__}
_REQUIRES_GRAD: Any = Tensor.requires_grad
_WHOLE = {Tensor.tolist, Tensor.numpy, Tensor.__array__}


class Recording:
    """Operations on tensors, in order; called as the function that they were recorded from.

    Tensors that the function met and did not get as arguments, weights for example, are used as they are at each call.
    Random operations draw from the global generators, in the order in which the function does.

    Attributes:
        graph: the operations, its arguments those of the function and then ``captured``.
        captured: the tensors that were met.
        written: those of them that the operations write into.
        num_operations: how many there are.
        read: other tensors, whose values were read as Python numbers, which are part of the operations.
    """

    def __init__(self, graph: fx.GraphModule, captured: list[Tensor], read: Sequence[Tensor] = ()) -> None:
        self.graph, self.captured, self.read = graph, captured, read
        self.num_operations = sum(node.op == "call_function" for node in graph.graph.nodes)
        written, placeholders = written_nodes(graph), graph.graph.find_nodes(op="placeholder")
        of_captured = placeholders[len(placeholders) - len(captured) :]
        self.written = [tensor for node, tensor in zip(of_captured, captured, strict=True) if node in written]
        self._run: Callable[..., Any] = graph.forward

    def __call__(self, *inputs: Tensor) -> tuple[Tensor | None, ...]:
        """What the function gives for these tensors, of the shapes of those it was recorded with; no gradients."""
        with torch.no_grad():
            return tuple(self._run(*inputs, *self.captured))

    def compiled(self, inputs: tuple[Tensor, ...]) -> "Recording":
        """The same operations, joined to fewer and faster ones by TorchInductor.

        Args:
            inputs: arguments like those to come.

        Raises:
            Exception: whatever the compiler raises, without a C++ compiler for example.
        """
        # Imported when asked for: it takes a second.
        from torch._inductor import compile as inductor
        from torch._inductor import config

        compiled = Recording(self.graph, self.captured)
        arguments: list[Any] = [*inputs, *self.captured]
        # Draws as without the compiler, whose warnings are of its own parts.
        with torch.no_grad(), config.patch(fallback_random=True), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compiled._run = inductor(self.graph, arguments)
        return compiled


def record(function: TensorFunction, inputs: tuple[Tensor, ...], weights: list[Tensor]) -> Recording:
    """Run a function once and keep the operations that it did.

    The run is a true one: it draws random numbers and changes what the function changes.

    Args:
        function: of tensors to a tuple of tensors; it may take gradients.
        inputs: its arguments.
        weights: tensors that change from call to call without being arguments; the function may not read their values
            into Python.

    Raises:
        CannotRecordError: the function reads values of tensors, to decide what to do for example, or to say how large
            another one is.
        Exception: what the function raises.
    """
    # While it is traced, a tensor that an operation keeps for its gradient knows the operation: where no gradient comes
    # that way, neither would ever go.
    kept: list[Tensor] = []
    watch = _Watch(weights)

    def keep(tensor: Tensor) -> int:
        kept.append(tensor)
        return len(kept) - 1

    def watched(*arguments: Tensor) -> tuple[Tensor | None, ...]:
        with watch, saved_tensors_hooks(keep, kept.__getitem__):
            return function(*arguments)

    try:
        # Validation reads values; it has its place where the function itself runs.
        with pyro.validation_enabled(False), warnings.catch_warnings(), tracing(_one_fake_mode()):
            # What the function has to say it says where it runs itself.
            warnings.simplefilter("ignore")
            graph = make_fx(watched)(*inputs)
    except RuntimeError as error:
        if "get value out of a tracing tensor" in str(error) or "data-dependent" in str(error):
            raise CannotRecordError("it reads values of tensors, to decide what to do for example") from error
        raise
    finally:
        kept.clear()
    if any(map(_has_shape_of_values, graph.graph.nodes)):
        raise CannotRecordError("the shapes of its tensors depend on values, as those of x[x > 0] do")
    captured = _lift(graph)
    simplify(graph)
    return Recording(graph, captured, watch.read)


def _one_fake_mode() -> TracingContext:
    """Shapes of all operations are noted in one mode: in one for each, ``make_fx`` takes twice as long."""
    return TracingContext(FakeTensorMode(allow_fallback_kernels=True))


def _has_shape_of_values(node: fx.Node) -> bool:
    """Whether an operation gives a tensor whose shape is known only from the values of its arguments."""
    if torch.Tag.dynamic_output_shape not in getattr(node.target, "tags", ()):
        return False
    if node.target is not torch.ops.aten.index.Tensor:
        return True
    # Of indexing the tag is for masks; numbers give a tensor of their own shape.
    indices: Any = node.args[1]
    return any(index is not None and index.meta["val"].dtype in (torch.bool, torch.uint8) for index in indices)


class _Watch(TorchFunctionMode):
    """Keeps Pyro's own reading of values out of a recording, and refuses what would be recorded as a constant."""

    def __init__(self, weights: list[Tensor]) -> None:
        super().__init__()
        self.weights = {id(weight) for weight in weights}
        self.read: list[Tensor] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        caller = _caller()
        # Pyro reads the value of its loss as a number.
        if caller is torch_item.__code__ and function is Tensor.item:
            return args[0].detach()
        # And looks for NaN in it and, by hooks on what requires a gradient, on the way back.
        if caller is warn_if_nan.__code__ and function in (Tensor.__bool__, _REQUIRES_GRAD.__get__):
            return False
        # It leaves out classes of probability zero, whose product with a finite cost is zero: they may as well be in.
        if caller is Dice.compute_expectation.__code__ and function is Tensor.__bool__:
            return True
        if function in _NUMBERS and (function in _WHOLE or id(args[0]) in self.weights):
            raise CannotRecordError("it reads values of tensors, to decide what to do for example")
        if function in _NUMBERS:
            self.read.append(args[0])
        return function(*args, **(kwargs or {}))


def _caller() -> CodeType | None:
    """The code that called the function that modes look at, behind those that have looked already."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_name == "__torch_function__":
        frame = frame.f_back
    return None if frame is None else frame.f_code


def _lift(graph: fx.GraphModule) -> list[Tensor]:
    """Make the tensors that were met arguments, after those that are there; gives the tensors."""
    nodes = graph.graph
    last = [node for node in nodes.nodes if node.op == "placeholder"][-1]
    lifted: dict[int, fx.Node] = {}
    captured: list[Tensor] = []
    for node in list(nodes.nodes):
        if node.op != "get_attr":
            continue
        tensor = getattr(graph, str(node.target))
        if id(tensor) not in lifted:
            with nodes.inserting_after(last):
                last = nodes.placeholder(str(node.target))
            last.meta = node.meta
            lifted[id(tensor)] = last
            captured.append(tensor)
        node.replace_all_uses_with(lifted[id(tensor)])
        nodes.erase_node(node)
    return captured
