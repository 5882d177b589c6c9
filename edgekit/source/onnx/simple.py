"""ONNX's operations that act element by element, on every axis alike or on one of them."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.source.axes import Value, arranged, plain, reshape
from edgekit.source.onnx.node import operation

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.source.axes import Order
    from edgekit.source.onnx.node import Node, Operand

_BINARY = {
    "Add": "add", "Sub": "subtract", "Mul": "multiply", "Div": "divide", "Sum": "add", "Pow": "pow",
    "Max": "maximum", "Min": "minimum", "Mean": "add", "Equal": "equal", "Greater": "greater",
    "GreaterOrEqual": "greater_equal", "Less": "less", "LessOrEqual": "less_equal", "And": "logical_and",
    "Or": "logical_or",
}  # fmt: skip
_UNARY = {
    "Sigmoid": "sigmoid", "Tanh": "tanh", "Exp": "exp", "Sqrt": "sqrt", "Neg": "negative", "Abs": "abs",
    "Log": "math.log", "Floor": "floor", "Reciprocal": "math.reciprocal", "Softplus": "math.softplus",
    "Ceil": "math.ceil", "Round": "round", "Sign": "sign", "Sin": "sin", "Cos": "cos", "Not": "logical_not",
    "Softsign": "nn.softsign",
}  # fmt: skip
_POSITIVE = frozenset({"Sigmoid", "Exp", "Sqrt", "Abs", "Softplus"})
_SIX = 6.0


@operation("Identity", "Dropout")
def _same(node: Node) -> list[Value]:
    if node.op == "Dropout" and node.outputs > 1:
        import tensorflow as tf

        value = node.value()
        return [value, value.holding(tf.ones_like(value.tensor, tf.bool))]
    return [node.value()]


@operation(*_UNARY)
def _unary(node: Node) -> Value:
    value = node.value()
    return value.holding(_named(_UNARY[node.op])(value.tensor), nonnegative=node.op in _POSITIVE)


@operation(*_BINARY)
def _binary(node: Node) -> Value:
    if node.attributes.get("broadcast") and "axis" in node.attributes:
        raise node.refusal("broadcasts along an axis, which ONNX gave up in 2017", "export it anew")
    call = _named(_BINARY[node.op])
    present = [o for o in node.operands if o is not None]
    if node.op == "Div" and isinstance(present[1], np.ndarray) and np.all(present[1]):
        call, present[1] = _named("multiply"), (1.0 / present[1]).astype(present[1].dtype)
    order = _common(present)
    result = functools.reduce(call, (spread(operand, order) for operand in present))
    if node.op == "Mean":
        result = result * (1.0 / len(present))
    floors = [_nonnegative(o) for o in present]
    every = node.op in ("Add", "Sum", "Mul", "Min", "Div", "Mean") and all(floors)
    return Value(tensor=result, order=order, nonnegative=every or (node.op == "Max" and any(floors)))


@operation("Relu")
def _relu(node: Node) -> Value:
    import tensorflow as tf

    value = node.value()
    return value.holding(tf.nn.relu(value.tensor), nonnegative=True)


@operation("Clip")
def _clip(node: Node) -> Value:
    import tensorflow as tf

    value, (low, high) = node.value(), (_bound(node, 1, "min"), _bound(node, 2, "max"))
    if low == 0.0 and high in (_SIX, math.inf):
        call = tf.nn.relu6 if high == _SIX else tf.nn.relu
        return value.holding(call(value.tensor), nonnegative=True)
    tensor = value.tensor
    if math.isinf(high):
        return value.holding(tf.nn.relu(tensor - low) + low, nonnegative=low >= 0)
    if math.isinf(low):
        return value.holding(high - tf.nn.relu(high - tensor))
    return value.holding(_between(tensor, low, high), nonnegative=low >= 0)


def _between(tensor: Any, low: float, high: float) -> Any:
    """Clip by relu6, which every format has in integers too; not all have a minimum."""
    import tensorflow as tf

    reach = (high - low) / _SIX
    if reach <= 0:
        return tf.minimum(tf.maximum(tensor, low), high)
    six = tf.nn.relu6((tensor if low == 0 else tensor - low) * (1.0 / reach)) * reach
    return six if low == 0 else six + low


@operation("Where")
def _where(node: Node) -> Value:
    import tensorflow as tf

    present = [node.operands[i] if node.has(i) else node.value(i) for i in (0, 1, 2)]
    order = _common([o for o in present if o is not None])
    result = tf.where(*(spread(o, order, flat=False) for o in present if o is not None))
    return Value(tensor=result, order=order)


@operation("PRelu")
def _prelu(node: Node) -> Value:
    import tensorflow as tf

    value, slope = node.value(), node.fixed(1, "a slope")
    above = tf.nn.relu(value.tensor)  # written with what every format has in integers
    return value.holding(above + (value.tensor - above) * spread(slope, value.order))


@operation("HardSigmoid", "HardSwish")
def _hard(node: Node) -> Value:
    """Written with relu6, as TFLite's converter knows them."""
    import tensorflow as tf

    value = node.value()
    alpha, beta = float(node.attributes.get("alpha", 0.2)), float(node.attributes.get("beta", 0.5))
    if node.op == "HardSwish":
        return value.holding(value.tensor * (tf.nn.relu6(value.tensor + 3.0) * (1.0 / 6.0)))
    if math.isclose(alpha, 1 / 6, rel_tol=1e-5) and beta == 1 / 2:
        return value.holding(tf.nn.relu6(value.tensor + 3.0) * (1.0 / 6.0), nonnegative=True)
    raised = value.tensor * (alpha * _SIX) + beta * _SIX
    return value.holding(tf.nn.relu6(raised) * (1.0 / _SIX), nonnegative=True)


@operation("Softmax", "LogSoftmax")
def _softmax(node: Node) -> Value:
    import tensorflow as tf

    value = node.value()
    axis = int(node.attributes.get("axis", 1 if node.opset < 13 else -1)) % value.rank  # noqa: PLR2004
    call = tf.nn.softmax if node.op == "Softmax" else tf.nn.log_softmax
    shape = value.shape
    if node.opset < 13 and any(n != 1 for n in shape[axis + 1 :]):  # noqa: PLR2004 - it took all axes from there
        flat = reshape(value, (math.prod(shape[:axis]), math.prod(shape[axis:])))
        rows = Value(tensor=call(arranged(flat, plain(2)), axis=1), order=plain(2), nonnegative=True)
        return reshape(rows, shape)
    return value.holding(call(value.tensor, axis=value.stored(axis)), nonnegative=node.op == "Softmax")


@operation("Cast")
def _cast(node: Node) -> Value:
    import tensorflow as tf
    from onnx import helper

    value = node.value()
    kind = tf.as_dtype(helper.tensor_dtype_to_np_dtype(node.attributes["to"]))
    if kind == value.tensor.dtype:
        return value
    return value.holding(tf.cast(value.tensor, kind), nonnegative=value.nonnegative)


def _named(path: str) -> Callable[..., Any]:
    import tensorflow as tf

    found: Callable[..., Any] = functools.reduce(getattr, path.split("."), tf)
    return found


def _bound(node: Node, index: int, key: str) -> float:
    if key in node.attributes:
        return float(node.attributes[key])
    ends = -math.inf if key == "min" else math.inf
    found = float(node.fixed(index, f"a {key}imum").reshape(())) if node.has(index) else ends
    return ends if abs(found) >= np.finfo(np.float32).max else found


def _common(operands: list[Operand]) -> Order:
    """Return the order of the flowing operand with the most axes, with axes in front where one needs them."""
    rank = max(len(o.shape) for o in operands)
    best = max((o for o in operands if isinstance(o, Value)), key=lambda v: (v.rank, math.prod(v.shape)))
    missing = rank - best.rank
    return (*range(missing), *(axis + missing for axis in best.order))


def spread(operand: Operand, order: Order, *, flat: bool = True) -> Any:
    """Return an operand with as many axes as `order`, in that order, ready to be broadcast.

    Args:
        operand: flowing or constant.
        order: of what it meets.
        flat: a constant that is one row, or one number, loses its axes of size 1.
    """
    shape = (*[1] * (len(order) - len(operand.shape)), *operand.shape)
    if isinstance(operand, Value):
        return arranged(operand if len(shape) == operand.rank else reshape(operand, shape), order)
    turned = np.transpose(operand.reshape(shape), order)
    return turned.reshape(-1) if flat and turned.ndim and turned.size == turned.shape[-1] else turned


def _nonnegative(operand: Operand) -> bool:
    return operand.nonnegative if isinstance(operand, Value) else bool(np.all(operand >= 0))
