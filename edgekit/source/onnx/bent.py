"""ONNX's activation functions that are no plain ReLU, and the error function."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.source.onnx.node import operation

if TYPE_CHECKING:
    from edgekit.source.axes import Value
    from edgekit.source.onnx.node import Node

_SELU = (1.6732632423543772, 1.0507009873554805)
"""Alpha and gamma (Klambauer et al., 2017, section 2)."""
_ERF = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
_ERF_P = 0.3275911
"""Abramowitz and Stegun, 1964, formula 7.1.26: off by 1.5e-7 at most."""


@operation("LeakyRelu")
def _leaky(node: Node) -> Value:
    import tensorflow as tf

    value = node.value()
    above = tf.nn.relu(value.tensor)  # written with what every format has in integers
    return value.holding(above + (value.tensor - above) * float(node.attributes.get("alpha", 0.01)))


@operation("Gelu")
def _gelu(node: Node) -> Value:
    import tensorflow as tf

    value = node.value()
    if node.text("approximate", "none") == "tanh":
        return value.holding(tf.nn.gelu(value.tensor, approximate=True))
    raised = (
        tf.math.erf(value.tensor / np.float32(math.sqrt(2))) + 1.0
    )  # TensorFlow's own has no Core ML form
    return value.holding(value.tensor * 0.5 * raised)


@operation("Elu", "Celu", "Selu")
def _elu(node: Node) -> Value:
    import tensorflow as tf

    value, gamma = node.value(), 1.0
    alpha = float(node.attributes.get("alpha", _SELU[0] if node.op == "Selu" else 1.0))
    if node.op == "Selu":
        gamma = float(node.attributes.get("gamma", _SELU[1]))
    if alpha == gamma == 1.0:
        return value.holding(tf.nn.elu(value.tensor))
    below = -tf.nn.relu(-value.tensor)
    below = tf.nn.elu(below / alpha if node.op == "Celu" else below)
    return value.holding(tf.nn.relu(value.tensor) * gamma + below * (alpha * gamma))


@operation("Mish", "Swish")
def _gated(node: Node) -> Value:
    import tensorflow as tf

    value = node.value()
    if node.op == "Mish":
        return value.holding(value.tensor * tf.tanh(tf.math.softplus(value.tensor)))
    alpha = float(node.attributes.get("alpha", 1.0))
    gate = tf.sigmoid(value.tensor if alpha == 1.0 else value.tensor * alpha)
    return value.holding(value.tensor * gate)


@operation("ThresholdedRelu", "Shrink")
def _threshold(node: Node) -> Value:
    import tensorflow as tf

    value = node.value()
    if node.op == "ThresholdedRelu":
        alpha = float(node.attributes.get("alpha", 1.0))
        return value.holding(
            tf.where(value.tensor > alpha, value.tensor, tf.zeros_like(value.tensor)), nonnegative=alpha >= 0
        )
    bound, bias = float(node.attributes.get("lambd", 0.5)), float(node.attributes.get("bias", 0.0))
    zeros = tf.zeros_like(value.tensor)
    low = tf.where(value.tensor < -bound, value.tensor + bias, zeros)
    return value.holding(tf.where(value.tensor > bound, value.tensor - bias, low))


@operation("Erf")
def _erf(node: Node) -> Value:
    """As a polynomial: TFLite has no error function. Inside a Gelu it never comes here; see `gelu`."""
    import tensorflow as tf

    value = node.value()
    size = tf.abs(value.tensor)
    t = 1.0 / (size * _ERF_P + 1.0)
    total: Any = t * _ERF[-1]
    for factor in _ERF[-2::-1]:
        total = (total + factor) * t
    return value.holding(tf.sign(value.tensor) * (1.0 - total * tf.exp(-tf.square(value.tensor))))
