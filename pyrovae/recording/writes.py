"""Which tensors recorded operations write into."""

import operator

import torch
from torch import fx
from torch._ops import OpOverload


def written_nodes(graph: fx.GraphModule) -> set[fx.Node]:
    """The nodes whose memory an operation writes into, be it through a view of it.

    Of each memory the first node that has it is meant, an argument of the graph for example.
    """
    return {
        memory_of(argument)
        for node in graph.graph.nodes
        if isinstance(node.target, OpOverload)
        for argument in _written_arguments(node, node.target)
    }


def memory_of(node: fx.Node) -> fx.Node:
    """The first node with the memory of this one, which may be a view of it."""
    while node.args and isinstance(node.args[0], fx.Node) and _keeps_memory(node.target):
        node = node.args[0]
    return node


def _keeps_memory(operation: object) -> bool:
    if operation is operator.getitem:
        return True
    if not isinstance(operation, OpOverload):
        return False
    # A view, several of them as those of split, or the argument itself as of add_.
    returned = operation._schema.returns
    return len(returned) == 1 and returned[0].alias_info is not None


def _written_arguments(node: fx.Node, operation: OpOverload) -> list[fx.Node]:
    # Batch normalisation writes its running means without saying so.
    silent = ("running_mean", "running_var") if "batch_norm" in operation.name() else ()
    written = [
        (position, argument.name)
        for position, argument in enumerate(operation._schema.arguments)
        if argument.name in silent or (argument.alias_info is not None and argument.alias_info.is_write)
    ]
    given = [node.args[at] if at < len(node.args) else node.kwargs.get(name) for at, name in written]
    return [argument for argument in given if isinstance(argument, fx.Node)]


def does_more(operation: object) -> bool:
    """Whether an operation does something beside its result: it writes, or moves a random generator."""
    if not isinstance(operation, OpOverload):
        return False
    return (
        operation._schema.is_mutable
        or torch.Tag.nondeterministic_seeded in operation.tags
        or "batch_norm" in operation.name()
    )
