"""ONNX's normalizations by what the data itself holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.source.axes import Value, reshape
from edgekit.source.onnx.node import operation
from edgekit.source.onnx.simple import spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.source.onnx.node import Node


def _normal(value: Value, axes: Sequence[int], epsilon: float) -> Value:
    """Return values with a mean of 0 and a variance of 1 over logical axes."""
    import tensorflow as tf

    places = sorted(value.stored(axis) for axis in axes)
    mean = tf.reduce_mean(value.tensor, places, keepdims=True)
    variance = tf.reduce_mean(tf.math.squared_difference(value.tensor, mean), places, keepdims=True)
    return value.holding((value.tensor - mean) * tf.math.rsqrt(variance + epsilon))


def _scaled(node: Node, value: Value, shape: Sequence[int] = ()) -> Value:
    """Return values times operand 1 plus operand 2, each seen in this shape."""
    tensor = value.tensor
    for index in (1, 2):
        if node.has(index):
            factor = node.fixed(index, "a factor or an addend")
            if np.all(factor == (1 if index == 1 else 0)):
                continue
            factor = spread(factor.reshape(shape) if shape else factor, value.order)
            tensor = tensor * factor if index == 1 else tensor + factor
    return value.holding(tensor)


@operation("LayerNormalization")
def _layer(node: Node) -> Value:
    value, axis = node.value(), int(node.attributes.get("axis", -1))
    if node.outputs > 1:
        raise node.refusal("gives its statistics as well", "export the network for inference: model.eval()")
    axes = range(axis % value.rank, value.rank)
    return _scaled(node, _normal(value, axes, float(node.attributes.get("epsilon", 1e-5))))


@operation("InstanceNormalization")
def _instance(node: Node) -> Value:
    value = node.value()
    normal = _normal(value, range(2, value.rank), float(node.attributes.get("epsilon", 1e-5)))
    return _scaled(node, normal, (1, -1, *[1] * (value.rank - 2)))


@operation("GroupNormalization")
def _group(node: Node) -> Value:
    value, groups = node.value(), int(node.attributes["num_groups"])
    batch, channels, *inner = value.shape
    split = reshape(value, (batch, groups, channels // groups, *inner))
    normal = _normal(split, range(2, split.rank), float(node.attributes.get("epsilon", 1e-5)))
    return _scaled(node, reshape(normal, value.shape), (1, channels, *[1] * len(inner)))


@operation("MeanVarianceNormalization")
def _mean_variance(node: Node) -> Value:
    return _normal(node.value(), [int(n) for n in node.attributes.get("axes", (0, 2, 3))], 1e-9)


@operation("LpNormalization")
def _length(node: Node) -> Value:
    import tensorflow as tf

    value, power = node.value(), int(node.attributes.get("p", 2))
    place = value.stored(int(node.attributes.get("axis", -1)))
    if power == 1:
        length: Any = tf.reduce_sum(tf.abs(value.tensor), place, keepdims=True)
    else:
        length = tf.sqrt(tf.reduce_sum(tf.square(value.tensor), place, keepdims=True))
    return value.holding(value.tensor / tf.maximum(length, np.finfo(np.float32).tiny))
