"""TFLite's operations that act element by element, and the activation functions fused into others."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.source.tflite.node import operation

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.source.tflite.node import Node

_NAMED = {
    "ADD": "add", "SUB": "subtract", "MUL": "multiply", "DIV": "divide", "MAXIMUM": "maximum",
    "MINIMUM": "minimum", "POW": "pow", "SQUARED_DIFFERENCE": "math.squared_difference",
    "FLOOR_DIV": "math.floordiv", "FLOOR_MOD": "math.floormod",
    "RELU": "nn.relu", "RELU6": "nn.relu6", "ELU": "nn.elu", "LOGISTIC": "sigmoid", "TANH": "tanh",
    "EXP": "exp", "LOG": "math.log", "SQRT": "sqrt", "RSQRT": "math.rsqrt", "ABS": "abs", "NEG": "negative",
    "SQUARE": "square", "FLOOR": "floor", "CEIL": "math.ceil", "ROUND": "round", "SIN": "sin", "COS": "cos",
    "SIGN": "sign", "LOG_SOFTMAX": "nn.log_softmax", "ZEROS_LIKE": "zeros_like", "RANK": "rank",
    "GREATER": "greater", "GREATER_EQUAL": "greater_equal", "LESS": "less", "LESS_EQUAL": "less_equal",
    "EQUAL": "equal", "NOT_EQUAL": "not_equal", "LOGICAL_AND": "logical_and", "LOGICAL_OR": "logical_or",
    "LOGICAL_NOT": "logical_not", "SELECT": "where", "SELECT_V2": "where", "RANGE": "range",
}  # fmt: skip
_CASTS = {0: "float32", 2: "int32", 4: "int64", 6: "bool"}
_RELU, _RELU_ONE, _RELU_SIX, _TANH = 1, 2, 3, 4
_TINY = 1e-12


@operation(*_NAMED)
def _plain(node: Node) -> Any:
    import tensorflow as tf

    call: Callable[..., Any] = functools.reduce(getattr, _NAMED[node.op].split("."), tf)
    return call(*(node.value(i) for i in range(len(node.operands))))


@operation("ADD_N")
def _sum(node: Node) -> Any:
    import tensorflow as tf

    return functools.reduce(tf.add, (node.value(i) for i in range(len(node.operands))))


@operation("RELU_N1_TO_1", "RELU_0_TO_1")
def _bounded(node: Node) -> Any:
    import tensorflow as tf

    low = -1.0 if node.op == "RELU_N1_TO_1" else 0.0
    return tf.minimum(tf.maximum(node.value(), low), 1.0)


def activated(node: Node, fused: int, tensor: Any) -> Any:
    """Return a tensor behind an activation function that is part of another operation."""
    import tensorflow as tf

    if fused == _RELU_ONE:
        return tf.minimum(tf.maximum(tensor, -1.0), 1.0)
    call = {_RELU: tf.nn.relu, _RELU_SIX: tf.nn.relu6, _TANH: tf.tanh}.get(fused)
    if call is None:
        raise node.refusal(f"has the activation function {fused} fused into it")
    return call(tensor)


@operation("LEAKY_RELU", "GELU")
def _bent(node: Node) -> Any:
    import tensorflow as tf

    if node.op == "GELU":
        value = node.value()
        if node.option("approximate", default=False):
            return tf.nn.gelu(value, approximate=True)
        raised = tf.math.erf(value / np.float32(math.sqrt(2))) + 1.0  # TensorFlow's own has no Core ML form
        return value * 0.5 * raised
    above = tf.nn.relu(node.value())  # written with what every format has in integers
    return above + (node.value() - above) * float(node.option("alpha"))


@operation("PRELU")
def _prelu(node: Node) -> Any:
    import tensorflow as tf

    value, slope = node.value(), node.fixed(1, "a slope")
    above = tf.nn.relu(value)
    return above + (value - above) * slope


@operation("HARD_SWISH")
def _hard_swish(node: Node) -> Any:
    import tensorflow as tf

    value = node.value()
    return value * (tf.nn.relu6(value + 3.0) * (1.0 / 6.0))


@operation("SOFTMAX")
def _softmax(node: Node) -> Any:
    import tensorflow as tf

    value, beta = node.value(), float(node.option("beta", 1.0))
    return tf.nn.softmax(value if beta == 1.0 else value * beta)


@operation("L2_NORMALIZATION")
def _l2(node: Node) -> Any:
    import tensorflow as tf

    return tf.math.l2_normalize(node.value(), axis=-1, epsilon=_TINY)


@operation("CAST")
def _cast(node: Node) -> Any:
    import tensorflow as tf

    kind = _CASTS.get(int(node.option("outDataType")))
    if kind is None:
        raise node.refusal("casts to a type that can't be carried over")
    return tf.cast(node.value(), kind)


@operation("DEQUANTIZE")
def _dequantize(node: Node) -> Any:
    """Weights in 16-bit floats are made 32-bit ones; a quantized network never comes here."""
    import tensorflow as tf

    return tf.cast(node.fixed(0, "values"), tf.float32)
