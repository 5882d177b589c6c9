"""TFLite's convolutions, dense layers and poolings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.source.tflite.node import operation

if TYPE_CHECKING:
    from edgekit.source.tflite.node import Node

_PADDING = {0: "SAME", 1: "VALID"}


def _window(node: Node) -> tuple[tuple[int, int], str, tuple[int, int]]:
    """Return strides, padding and dilations."""
    strides = int(node.option("strideH", 1)), int(node.option("strideW", 1))
    dilations = (
        int(getattr(node.options, "dilationHFactor", 1)),
        int(getattr(node.options, "dilationWFactor", 1)),
    )
    if min(*strides, *dilations) < 1:
        raise node.refusal(f"has strides of {strides} and dilations of {dilations}")
    return strides, _PADDING[node.option("padding")], dilations


def _biased(node: Node, made: Any, index: int) -> Any:
    import tensorflow as tf

    return tf.nn.bias_add(made, node.value(index)) if node.has(index) else made


@operation("CONV_2D")
def _conv(node: Node) -> Any:
    import tensorflow as tf

    strides, padding, dilations = _window(node)
    weights = np.transpose(node.fixed(1, "weights"), (1, 2, 3, 0))
    made = tf.nn.conv2d(node.value(), weights, strides, padding, dilations=dilations)
    return _biased(node, made, 2)


@operation("DEPTHWISE_CONV_2D")
def _depthwise(node: Node) -> Any:
    import tensorflow as tf

    strides, padding, dilations = _window(node)
    images, weights = node.value(), node.fixed(1, "weights")
    kernel = weights.reshape(*weights.shape[1:3], images.shape[-1], -1)
    if strides[0] == strides[1]:
        made = tf.nn.depthwise_conv2d(images, kernel, (1, *strides, 1), padding, dilations=dilations)
        return _biased(node, made, 2)
    # TensorFlow's depthwise convolution has one stride for both axes: stride 1, then every n-th of each.
    if padding == "SAME":
        images = tf.pad(images, _same(images.shape, kernel.shape, strides, dilations))
    whole = tf.nn.depthwise_conv2d(images, kernel, (1, 1, 1, 1), "VALID", dilations=dilations)
    return _biased(node, whole[:, :: strides[0], :: strides[1], :], 2)


def _same(
    images: Any, kernel: Any, strides: tuple[int, int], dilations: tuple[int, int]
) -> list[tuple[int, int]]:
    pads = [(0, 0)]
    for i in (0, 1):
        size = int(images[i + 1])
        span = (int(kernel[i]) - 1) * dilations[i] + 1
        whole = max(0, (-(-size // strides[i]) - 1) * strides[i] + span - size)
        pads.append((whole // 2, whole - whole // 2))
    return [*pads, (0, 0)]


@operation("TRANSPOSE_CONV")
def _transposed(node: Node) -> Any:
    import tensorflow as tf

    strides, padding, _ = _window(node)
    weights = np.transpose(node.fixed(1, "weights"), (1, 2, 0, 3))
    size = node.integers(0, "an output shape")
    images = node.value(2)
    made = tf.nn.conv2d_transpose(images, weights, [int(images.shape[0]), *size[1:]], strides, padding)
    return _biased(node, made, 3)


@operation("FULLY_CONNECTED")
def _dense(node: Node) -> Any:
    import tensorflow as tf

    if node.option("weightsFormat"):
        raise node.refusal("has shuffled weights", "convert it anew")
    value, weights = node.value(), node.value(1)
    rows = tf.reshape(value, (-1, int(weights.shape[1])))
    made = (
        tf.matmul(rows, np.ascontiguousarray(weights.T))
        if isinstance(weights, np.ndarray)
        else tf.matmul(rows, weights, transpose_b=True)
    )
    made = _biased(node, made, 2)
    if node.option("keepNumDims", default=False):
        made = tf.reshape(made, [*(int(n) for n in value.shape[:-1]), int(weights.shape[0])])
    return made


@operation("BATCH_MATMUL")
def _matmul(node: Node) -> Any:
    import tensorflow as tf

    turned = [bool(node.option(key, default=False)) for key in ("adjX", "adjY")]
    return tf.matmul(node.value(0), node.value(1), transpose_a=turned[0], transpose_b=turned[1])


@operation("AVERAGE_POOL_2D", "MAX_POOL_2D")
def _pool(node: Node) -> Any:
    import tensorflow as tf

    strides, padding, _ = _window(node)
    kernel = int(node.option("filterHeight", 1)), int(node.option("filterWidth", 1))
    call = tf.nn.max_pool2d if node.op == "MAX_POOL_2D" else tf.nn.avg_pool2d
    return call(node.value(), kernel, strides, padding)


@operation("LOCAL_RESPONSE_NORMALIZATION")
def _response_norm(node: Node) -> Any:
    import tensorflow as tf

    settings = [node.option(key) for key in ("radius", "bias", "alpha", "beta")]
    return tf.nn.local_response_normalization(node.value(), *settings)
