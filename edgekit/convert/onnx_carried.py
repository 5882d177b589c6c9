"""Carry a frozen graph over to ONNX by tf2onnx, and do only what a frozen graph still needs."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from edgekit.convert.onnx_settled import settled
from edgekit.source.memory import give_back

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

INPUT, OUTPUT = "input:0", "output:0"
_ONLY_FOR = {
    "remove_redundant_upsample": {"Upsample", "Resize"},
    "const_dequantize_optimizer": {"DequantizeLinear"},
    "loop_optimizer": {"Loop", "Scan", "If"},
    "q_dq_optimizer": {"QuantizeLinear", "DequantizeLinear"},
    "einsum_optimizer": {"Einsum"},
}
"""What these of tf2onnx's optimizers look for; without it they only read the graph."""


def carried_over(graph_def: Any, opset: int) -> Any:
    """Return a frozen GraphDef as an ONNX ModelProto.

    tf2onnx's own entry runs TensorFlow's optimizer over the graph first, whose constants are folded here
    already, and copies graph and weights before each of two dozen passes, to go on where one fails. Here the
    passes work in place; where one fails, all is done again in tf2onnx's way.

    Args:
        graph_def: with the nodes "input" and "output".
        opset: of ONNX.

    Raises:
        ValueError, RuntimeError, KeyError, NotImplementedError, AttributeError: tf2onnx failed.
    """
    try:
        with settled(), _constants_in_place():
            return _carried(graph_def, opset, catch=False)
    except (ValueError, RuntimeError, KeyError, TypeError, AttributeError, IndexError, AssertionError):
        with settled():
            return _carried(graph_def, opset, catch=True)
    finally:
        give_back(cycles=True)


def _carried(graph_def: Any, opset: int, *, catch: bool) -> Any:
    import tensorflow as tf
    from tf2onnx import optimizer, tfonnx

    with tf.Graph().as_default() as traced:
        tf.graph_util.import_graph_def(graph_def, name="")
        graph = tfonnx.process_tf_graph(
            traced, continue_on_error=True, opset=opset, input_names=[INPUT], output_names=[OUTPUT]
        )
    passes = optimizer._get_optimizers()  # noqa: SLF001 - there is no other list of them
    graph = optimizer.optimize_graph(graph, catch, optimizers=_needed(passes, graph))
    return graph.make_model("converted from unknown")


@contextlib.contextmanager
def _constants_in_place() -> Iterator[None]:
    """Keep tf2onnx from writing every weight into its node anew after each pass.

    Nobody reads it there: the file's initializers are made of what the nodes hold beside. Sixteen times all
    weights cost a quarter of the time, and hundreds of megabytes for 30 MB of weights.
    """
    from tf2onnx.graph import Graph

    before = Graph.update_proto

    def update_proto(self: Any, external_tensor_storage: Any = None) -> None:
        for node in self.get_nodes():
            if not node.is_const():
                node.update_proto(external_tensor_storage)

    Graph.update_proto = update_proto
    try:
        yield
    finally:
        Graph.update_proto = before


def _needed(passes: Mapping[str, Any], graph: Any) -> dict[str, Any]:
    found = {node.type for node in graph.get_nodes()}
    return {name: factory for name, factory in passes.items() if _ONLY_FOR.get(name, found) & found}
