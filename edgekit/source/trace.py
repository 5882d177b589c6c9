"""Trace a callable once, with a batch of 1, into a graph whose weights are constants."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from edgekit.errors import ConversionError, UsageError
from edgekit.source.graph import Graph

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

_CALLS = ("StatefulPartitionedCall", "PartitionedCall")
_NO_INLINING = ("_XlaMustCompile", "_noinline")
_serial = itertools.count()
_VARIABLE = "/ReadVariableOp/resource"


def trace(call: Callable[[Any], Any], shape: tuple[int, ...], name: str) -> Graph:
    """Return the graph of a call on one float32 tensor.

    Args:
        call: takes a tensor, returns one.
        shape: of the input, the batch of 1 included.
        name: the source's, for messages.

    Raises:
        UsageError: weights that are not finite, NCHW convolutions, an output that is no float32 tensor.
        ConversionError: TensorFlow could not trace it, or a function call in it could not be inlined.
    """
    import tensorflow as tf

    spec = tf.TensorSpec(shape, tf.float32, name="input")
    try:
        function = tf.function(call, autograph=False).get_concrete_function(spec)
        graph_def, values = _flat(function)
    except (tf.errors.OpError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise ConversionError(
            f"{name} can't be traced for inference", hint=_first_line(error), evidence=str(error)
        ) from error
    if len(function.outputs) != 1:
        raise _several(name, "outputs", len(function.outputs))
    graph = Graph(graph_def, function.outputs[0].op.name)
    for constant, value in values.items():
        _become_constant(graph, constant, value)
    graph.bypass()
    _rename(graph)
    _refuse(graph, name)
    return graph


def to_function(graph_def: Any) -> Any:
    """Return a GraphDef with the nodes "input" and "output" as a ConcreteFunction."""
    import tensorflow as tf

    given = next(node for node in graph_def.node if node.name == "input")
    shape = [dim.size for dim in given.attr["shape"].shape.dim]
    rest = type(graph_def)(versions=graph_def.versions)
    rest.node.extend(node for node in graph_def.node if node.name != "input")

    def load(tensor: Any) -> Any:
        return tf.graph_util.import_graph_def(
            rest, name="", input_map={"input:0": tensor}, return_elements=["output:0"]
        )[0]

    return tf.compat.v1.wrap_function(load, [tf.TensorSpec(shape, tf.float32, name="input")])


def _flat(function: Any) -> tuple[Any, dict[str, Any]]:
    """Return a traced function's GraphDef without function calls, and the values of what became constant.

    A function that calls no other is taken as it is: TensorFlow's own way, which is for every function,
    copies the weights four times and the graph three times.
    """
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    graph_def = function.graph.as_graph_def()
    values = None if graph_def.library.function else _read_once(function, graph_def)
    if values is not None:
        return graph_def, values
    inlined = _inlined(convert_variables_to_constants_v2(function))
    return inlined.graph.as_graph_def(), {}


def _read_once(function: Any, graph_def: Any) -> dict[str, Any] | None:
    """Return the values of captured variables and tensors by placeholder; reads hand them on, in place.

    None where something else than a reading is done with a variable.
    """
    import tensorflow as tf

    held = {inner.op.name: outer for outer, inner in function.graph.captures}
    variables = {name for name, outer in held.items() if outer.dtype == tf.resource}
    for node in graph_def.node:
        used = variables.intersection(name.partition(":")[0] for name in node.input)
        if used and node.op != "ReadVariableOp":
            return None
        if used:
            kind = node.attr["dtype"].type
            node.op = "Identity"
            node.attr.clear()
            node.attr["T"].type = kind
    if not all(outer.dtype.is_numpy_compatible for name, outer in held.items() if name not in variables):
        return None
    by_handle = {id(variable.handle): variable for variable in function.graph.variables}
    if any(id(held[name]) not in by_handle for name in variables):
        return None
    return {n: (by_handle[id(o)] if n in variables else o).numpy() for n, o in held.items()}


def _become_constant(graph: Graph, name: str, value: np.ndarray[Any, Any]) -> None:
    import tensorflow as tf

    kind = tf.compat.v1.AttrValue(type=tf.as_dtype(value.dtype).as_datatype_enum)
    graph.nodes.pop(name)
    graph.add("Const", name, [], dtype=kind)
    graph.constants[name] = value


def _inlined(function: Any) -> Any:
    """Inline what was marked for just-in-time compilation, which keeps TensorFlow from doing so itself."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    graph_def = function.graph.as_graph_def()
    if not any(node.op in _CALLS for node in graph_def.node):
        return function
    suffix = f"_inlined{next(_serial)}"  # a process knows each function's name once
    for body in graph_def.library.function:
        body.signature.name += suffix
        for mark in _NO_INLINING:
            body.attr.pop(mark, None)
    bodies = [body.node_def for body in graph_def.library.function]
    for node in (n for nodes in (graph_def.node, *bodies) for n in nodes):
        node.attr.pop("_XlaMustCompile", None)
        if node.op in _CALLS:
            node.attr["f"].func.name += suffix
    output = function.outputs[0].name

    def load() -> None:
        tf.graph_util.import_graph_def(graph_def, name="")

    wrapped = tf.compat.v1.wrap_function(load, [])
    pruned = wrapped.prune(
        wrapped.graph.get_tensor_by_name("input:0"), wrapped.graph.get_tensor_by_name(output)
    )
    return convert_variables_to_constants_v2(pruned)


def _rename(graph: Graph) -> None:
    """Call the output "output" and drop the folders that all names share."""
    import tensorflow as tf

    while prefix := _shared_prefix(graph):
        _drop(graph, prefix)
    last = graph.nodes[graph.output]
    if last.op == "Identity" or graph.output == "output":
        _move(graph, graph.output, "output")
    else:
        kind = tf.compat.v1.AttrValue(type=tf.float32.as_datatype_enum)
        graph.add("Identity", "output", [graph.output], T=kind)
        graph.output = "output"
    for node in graph.nodes.values():
        if node.op == "Placeholder":
            _move(graph, node.name, "input")
            break


def _shared_prefix(graph: Graph) -> str:
    inner = [n for n in graph.nodes if "/" in n]
    first = {n.partition("/")[0] for n in inner}
    if len(first) != 1 or not inner:
        return ""
    prefix = first.pop() + "/"
    return "" if any(n.removeprefix(prefix) in graph.nodes for n in inner) else prefix


def _drop(graph: Graph, prefix: str) -> None:
    for node in graph.nodes.values():
        node.name = node.name.removeprefix(prefix)
        node.input[:] = [name.removeprefix(prefix) for name in node.input]
    graph.nodes = {node.name: node for node in graph.nodes.values()}
    graph.constants = {name.removeprefix(prefix): value for name, value in graph.constants.items()}
    graph.output = graph.output.removeprefix(prefix)


def _move(graph: Graph, old: str, new: str) -> None:
    if old == new:
        return
    node = graph.nodes.pop(old)
    node.name = new
    graph.nodes[new] = node
    if old in graph.constants:
        graph.constants[new] = graph.constants.pop(old)
    for other in graph.nodes.values():
        for index, name in enumerate(other.input):
            base, _, port = name.partition(":")
            if base == old:
                other.input[index] = f"{new}:{port}" if port else new
    if graph.output == old:
        graph.output = new


def _refuse(graph: Graph, name: str) -> None:
    import numpy as np

    for constant, _, value in graph.weights():
        bad = int(value.size - np.isfinite(value).sum())
        if bad:
            raise UsageError(
                f"{name} has weights that are not finite: "
                f"{bad} of {value.size} in {constant.removesuffix(_VARIABLE)}",
                hint="give a checkpoint from before training diverged",
            )
    for node in graph.nodes.values():
        if node.op in _CALLS:
            raise ConversionError(f"{name} calls a function that can't be inlined ({node.name})")
        if "data_format" in node.attr and node.attr["data_format"].s == b"NCHW":
            raise UsageError(
                f"{name} is laid out channels first ({node.name})",
                hint="save it with data_format='channels_last'",
            )


def _several(name: str, what: str, count: int) -> UsageError:
    return UsageError(
        f"{name} has {count} {what}; EdgeKit proves one output against one input",
        hint=f"save a network with one of its {what}",
    )


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
