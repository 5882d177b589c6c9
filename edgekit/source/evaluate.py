"""Compute what is constant in a graph: weights in float64, shapes by TensorFlow itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.source.graph import node_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from edgekit.source.graph import Graph


def _table() -> dict[str, Callable[..., Any]]:
    import numpy as np

    return {
        "Add": np.add,
        "AddV2": np.add,
        "Sub": np.subtract,
        "Mul": np.multiply,
        "RealDiv": np.divide,
        "Neg": np.negative,
        "Sqrt": np.sqrt,
        "Square": np.square,
        "Rsqrt": lambda x: 1.0 / np.sqrt(x),
        "Reshape": lambda x, shape: np.reshape(x, tuple(int(n) for n in shape)),
    }


def evaluate_constants(graph: Graph) -> int:
    """Replace every node whose inputs are all constant by its value; return how many there were.

    Arithmetic on weights is done in float64 and rounded once, when the graph is written; shapes and what is
    made of them come from one run of TensorFlow over the traced graph.
    """
    import numpy as np

    table = _table()
    known = dict(graph.constants)
    left: list[str] = []
    for name in graph.order():
        node = graph.nodes[name]
        if name in known or not _is_constant(node, known, left):
            continue
        operands = [known.get(node_of(i)) for i in node.input]
        if node.op in table and all(
            o is not None and ":" not in i for o, i in zip(operands, node.input, strict=True)
        ):
            known[name] = np.asarray(table[node.op](*(_wide(o) for o in operands)))
        else:
            left.append(name)
    known.update(_by_tensorflow(graph, left))
    made = [name for name in known if name not in graph.constants and name != graph.output]
    for name in made:
        _become_constant(graph, name, known[name])
    graph.prune()
    return len(made)


def _is_constant(node: Any, known: dict[str, Any], left: list[str]) -> bool:
    if node.op == "Shape" and "_static" in node.attr:
        return True
    names = [node_of(i) for i in node.input]
    return bool(names) and all(n in known or n in left for n in names) and node.op != "Placeholder"


def _wide(value: Any) -> Any:
    import numpy as np

    return value.astype(np.float64) if value.dtype.kind == "f" else value


def _become_constant(graph: Graph, name: str, value: np.ndarray[Any, Any]) -> None:
    graph.nodes.pop(name)
    graph.add("Const", name, [])
    graph.constants[name] = value


def mark_static_shapes(graph: Graph) -> None:
    """Mark each Shape whose operand has a shape that is wholly known, as TensorFlow infers it."""
    import tensorflow as tf

    shapes = [n for n in graph.order() if graph.nodes[n].op == "Shape"]
    if not shapes:
        return
    with tf.Graph().as_default() as traced:
        tf.import_graph_def(graph.to_outline(), name="")
        for name in shapes:
            if traced.get_operation_by_name(name).inputs[0].shape.is_fully_defined():
                graph.nodes[name].attr["_static"].b = True


def _by_tensorflow(graph: Graph, names: list[str]) -> dict[str, Any]:
    """Return the values of nodes with one output, from one run; the others stay as they are."""
    import tensorflow as tf

    if not names:
        return {}
    with tf.Graph().as_default() as traced:
        tf.import_graph_def(graph.to_graph_def(), name="")
        single = [n for n in names if len(traced.get_operation_by_name(n).outputs) == 1]
        holder = next(o for o in traced.get_operations() if o.type == "Placeholder")
        with tf.compat.v1.Session(graph=traced) as session:
            feed = {holder.outputs[0]: _zeros(holder.outputs[0].shape)}
            values = session.run([f"{n}:0" for n in single], feed)
    return dict(zip(single, values, strict=True))


def _zeros(shape: Any) -> Any:
    import numpy as np

    return np.zeros([n or 1 for n in shape.as_list()], np.float32)
