"""ONNX's convolutions, dense layers and normalizations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.source.axes import Value, arranged, channels_last, logical, plain
from edgekit.source.onnx.node import operation
from edgekit.source.onnx.window import Window, imaged, padded, rows_again, window

if TYPE_CHECKING:
    from edgekit.source.onnx.node import Node

_IMAGE = 4


@operation("Conv")
def _conv(given: Node) -> Value:
    import tensorflow as tf

    node = imaged(given)
    value, weights = node.value(), node.fixed(1, "weights")
    if value.rank != _IMAGE or weights.ndim != _IMAGE:
        raise given.refusal(f"convolves {value.rank - 2} axes; one or two can be carried over")
    group = int(node.attributes.get("group", 1))
    if value.shape[1] != weights.shape[1] * group:
        raise node.refusal(f"takes {weights.shape[1] * group} channels, {value.shape[1]} flow in")
    w = window(node, value.shape[2:], weights.shape[2:])
    images, padding = padded(arranged(value, channels_last(_IMAGE)), w)
    if group == value.shape[1] and group > 1:
        made = _depthwise(images, weights, group, w, padding)
    else:
        made = tf.nn.conv2d(images, _turned(weights), w.strides, padding, dilations=w.dilations)
    if node.has(2):
        made = tf.nn.bias_add(made, node.fixed(2, "a bias"))
    return rows_again(given, Value(tensor=made, order=channels_last(_IMAGE)))


def _depthwise(images: Any, weights: np.ndarray[Any, Any], channels: int, w: Window, padding: str) -> Any:
    import tensorflow as tf

    each = weights.shape[0] // channels
    kernel = np.transpose(weights.reshape(channels, each, *weights.shape[2:]), (2, 3, 0, 1))
    if w.strides[0] == w.strides[1]:
        strides = (1, *w.strides, 1)
        return tf.nn.depthwise_conv2d(images, kernel, strides, padding, dilations=w.dilations)
    # TensorFlow's depthwise convolution has one stride for both axes: stride 1, then every n-th of each.
    whole = tf.nn.depthwise_conv2d(images, kernel, (1, 1, 1, 1), "VALID", dilations=w.dilations)
    return whole[:, :: w.strides[0], :: w.strides[1], :]


def _turned(weights: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.transpose(weights, (2, 3, 1, 0))


@operation("Gemm")
def _gemm(node: Node) -> Value:
    import tensorflow as tf

    alpha, beta = (float(node.attributes.get(k, 1.0)) for k in ("alpha", "beta"))
    left, right = logical(node.value(0)), _matrix(node, 1)
    turned = bool(node.attributes.get("transB"))
    if isinstance(right, np.ndarray):
        right, turned = alpha * (right.T if turned else right), False
    elif alpha != 1.0:
        right = right * alpha
    made = tf.matmul(left, right, transpose_a=bool(node.attributes.get("transA")), transpose_b=turned)
    if node.has(2) and beta:
        addend = _matrix(node, 2)
        flat = isinstance(addend, np.ndarray) and addend.size == made.shape[-1]
        made = made + (addend.reshape(-1) if flat else addend) * (beta if beta != 1.0 else 1)
    return Value(tensor=made, order=plain(2))


def _matrix(node: Node, index: int) -> Any:
    operand = node.operands[index]
    return logical(operand) if isinstance(operand, Value) else operand


@operation("MatMul")
def _matmul(node: Node) -> Value:
    import tensorflow as tf

    left, right = _matrix(node, 0), _matrix(node, 1)
    single = [len(side.shape) == 1 for side in (left, right)]
    left = tf.expand_dims(left, 0) if single[0] else left
    right = tf.expand_dims(right, 1) if single[1] else right
    made = tf.matmul(left, right)
    made = (
        tf.squeeze(made, [axis for axis, one in zip((-2, -1), single, strict=True) if one])
        if any(single)
        else made
    )
    return Value(tensor=made, order=plain(len(made.shape)))


@operation("BatchNormalization")
def _batch_norm(node: Node) -> Value:
    import tensorflow as tf

    value = node.value()
    if node.attributes.get("training_mode"):
        raise node.refusal("is in training", "export the network for inference: model.eval()")
    scale, shift, mean, variance = (node.fixed(i, "a parameter") for i in (1, 2, 3, 4))
    epsilon = float(node.attributes.get("epsilon", 1e-5))
    order = channels_last(value.rank)
    tensor = arranged(value, order)
    if value.rank == _IMAGE:
        normal = tf.raw_ops.FusedBatchNormV3(
            x=tensor, scale=scale, offset=shift, mean=mean, variance=variance, epsilon=epsilon,
            is_training=False,
        )  # fmt: skip
        return Value(tensor=normal.y, order=order)
    factor = scale / np.sqrt(variance.astype(np.float64) + epsilon)
    made = tensor * factor.astype(np.float32) + (shift - mean * factor).astype(np.float32)
    return Value(tensor=made, order=order)


@operation("LRN")
def _response_norm(node: Node) -> Value:
    import tensorflow as tf

    value, size = node.value(), int(node.attributes["size"])
    if value.rank != _IMAGE or size % 2 == 0:
        raise node.refusal(f"normalizes over {size} channels; TensorFlow does over odd numbers of them")
    alpha, beta, bias = (
        float(node.attributes.get(key, default))
        for key, default in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0))
    )
    images = arranged(value, channels_last(_IMAGE))
    made = tf.nn.local_response_normalization(images, size // 2, bias, alpha / size, beta)
    return Value(tensor=made, order=channels_last(_IMAGE), nonnegative=value.nonnegative)
