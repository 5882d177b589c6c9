"""Walk a TFLite network and make TensorFlow's operations of it; what is constant is computed on the way."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.errors import ConversionError
from edgekit.source.tflite import linear, shape, simple  # noqa: F401 - fill the table
from edgekit.source.tflite.node import OPERATIONS, Node

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.source.tflite.network import Network, Operator

_FOREIGN = re.compile(r"[^A-Za-z0-9_./-]")
_LONGEST = 80
_FUSED = "fusedActivationFunction"


def importer(network: Network) -> Callable[[Any], Any]:
    """Return a function that computes with TensorFlow what a TFLite network computes; it is to be traced.

    It raises ConversionError, which names the operation, for what has no counterpart.
    """

    def call(tensor: Any) -> Any:
        known: dict[int, Any] = {-1: None}
        known.update({i: t.value for i, t in enumerate(network.tensors) if t.value is not None})
        known[network.input] = tensor
        for operator in network.operators:
            _step(operator, known, network)
        result = known[network.output]
        if isinstance(result, np.ndarray):
            raise ConversionError(f"{network.name} gives the same output whatever its input is")
        return result

    return call


def _step(operator: Operator, known: dict[int, Any], network: Network) -> None:
    """Compute one operation into `known`."""
    import tensorflow as tf

    node = Node(
        op=operator.op,
        name=network.tensors[operator.outputs[0]].name,
        operands=tuple(known[i] for i in operator.inputs),
        options=operator.options,
        outputs=len(operator.outputs),
        source=network.name,
    )
    handler = OPERATIONS.get(node.op)
    if handler is None or operator.custom:
        raise _unknown(node, custom=operator.custom)
    try:
        if any(o is not None and not isinstance(o, np.ndarray) for o in node.operands):
            with tf.name_scope(_scope(node.name)):
                results = _made(handler, node)
        else:
            with tf.init_scope():
                results = [np.asarray(r) for r in _made(handler, node)]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, tf.errors.OpError) as error:
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise node.refusal(f"does not fit its inputs ({first[:160]})") from error
    if len(results) != len(operator.outputs):
        raise node.refusal(f"has {len(operator.outputs)} results instead of {len(results)}")
    known.update(zip(operator.outputs, results, strict=True))


def _made(handler: Callable[[Node], Any], node: Node) -> list[Any]:
    made = handler(node)
    results = list(made) if isinstance(made, (list, tuple)) else [made]
    fused = int(getattr(node.options, _FUSED, 0) or 0)
    return [simple.activated(node, fused, r) for r in results] if fused else results


def _unknown(node: Node, *, custom: bool) -> ConversionError:
    if custom:
        return node.refusal("is a custom operation", "convert the network with TFLite's own operations")
    near = difflib.get_close_matches(node.op, OPERATIONS, n=1, cutoff=0.75)
    offer = f" ({near[0]} is)" if near else ""
    return node.refusal(f"is no operation that can be carried over{offer}")


def _scope(name: str) -> str:
    cleaned = _FOREIGN.sub("_", name.partition(";")[0]).strip("/_.-")
    return cleaned[-_LONGEST:].strip("/_.-") or "node"
