"""Leaving out operations that a recording does for nothing."""

import torch
from torch import Tensor, fx

from pyrovae.recording.writes import does_more, memory_of, written_nodes

aten = torch.ops.aten

# Their result is their first argument where shape, strides and type are the same.
_SHAPES = {
    aten.alias.default,
    aten.detach.default,
    aten.expand.default,
    aten.slice.Tensor,
    aten.view.default,
    aten._unsafe_view.default,
}
# And that of these where the second argument is this number.
_NEUTRAL: dict[object, int] = {aten.mul.Tensor: 1, aten.div.Tensor: 1, aten.add.Tensor: 0, aten.sub.Tensor: 0}


def simplify(graph: fx.GraphModule) -> None:
    """Leave out, in place, operations that change nothing or lead nowhere; no result changes, and no random draw."""
    written = written_nodes(graph)
    for node in list(graph.graph.nodes):
        if _changes_nothing(node, written):
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
    for node in reversed(list(graph.graph.nodes)):
        if node.op == "call_function" and not node.users and not does_more(node.target):
            graph.graph.erase_node(node)
    graph.graph.lint()
    graph.recompile()


def _changes_nothing(node: fx.Node, written: set[fx.Node]) -> bool:
    if node.op != "call_function" or not node.args or not isinstance(node.args[0], fx.Node):
        return False
    neutral = node.target in _NEUTRAL and len(node.args) == 2
    if node.target not in _SHAPES and not (neutral and _is_number(node.args[1], _NEUTRAL[node.target])):
        return False
    # x + 0 is a tensor of its own, where one of the two is written into later.
    if neutral and not written.isdisjoint({memory_of(node), memory_of(node.args[0])}):
        return False
    before, after = node.args[0].meta.get("val"), node.meta.get("val")
    if not isinstance(before, Tensor) or not isinstance(after, Tensor):
        return False
    return (before.shape, before.stride(), before.dtype) == (after.shape, after.stride(), after.dtype)


def _is_number(argument: object, number: int) -> bool:
    return isinstance(argument, int | float) and argument == number
