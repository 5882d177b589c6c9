"""Move activation functions to where they cost nothing.

An activation function behind a concatenation of linear operations is an operation of its own, and what comes
before it has to be stored with a range that it is about to cut off. In front of the concatenation it is part
of the linear operations, for every runtime.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.source.fold import LINEAR
from edgekit.source.graph import node_of

if TYPE_CHECKING:
    from edgekit.source.graph import Graph

_ACTIVATIONS = ("Relu", "Relu6")


def hoist_activations(graph: Graph) -> int:
    """Move activation functions in front of concatenations of linear operations; return how many."""
    moved = 0
    for name in graph.order():
        node = graph.nodes.get(name)
        if node is None or node.op not in _ACTIVATIONS or name == graph.output:
            continue
        joined = graph.nodes[node_of(node.input[0])]
        if joined.op == "ConcatV2" and graph.users(joined.name) == [name] and _linear(graph, joined):
            _move(graph, node, joined)
            _join(graph, joined)
            moved += 1
    if moved:
        graph.prune()
    return moved


def _linear(graph: Graph, joined: Any) -> bool:
    """Tell whether all that is joined comes from linear operations that nobody else reads."""
    for name in joined.input[:-1]:
        node = graph.nodes[node_of(name)]
        inner = graph.nodes[node_of(node.input[0])] if node.op == "BiasAdd" else node
        if inner.op not in LINEAR or graph.users(node.name) != [joined.name]:
            return False
    return True


def _move(graph: Graph, node: Any, joined: Any) -> None:
    for index, name in enumerate(joined.input[:-1]):
        graph.add(node.op, f"{node.name}/{index}", [name], T=node.attr["T"])
        joined.input[index] = f"{node.name}/{index}"
    graph.redirect(node.name, joined.name)
    del graph.nodes[node.name]


def _join(graph: Graph, joined: Any) -> None:
    """Let a concatenation that one other alone reads, along the same axis, be a part of that one."""
    users = graph.users(joined.name)
    outer = graph.nodes[users[0]] if len(users) == 1 else None
    if outer is None or outer.op != "ConcatV2" or joined.name not in outer.input[:-1]:
        return
    axes = [graph.constants.get(node_of(node.input[-1])) for node in (joined, outer)]
    if any(axis is None for axis in axes) or axes[0] != axes[1]:
        return
    inputs = [
        part for name in outer.input[:-1] for part in (joined.input[:-1] if name == joined.name else [name])
    ]
    inputs.append(outer.input[-1])
    del outer.input[:]
    outer.input.extend(inputs)
    outer.attr["N"].i = len(inputs) - 1
    del graph.nodes[joined.name]
