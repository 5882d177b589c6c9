"""ONNX's poolings."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.source.axes import Value, arranged, channels_last
from edgekit.source.onnx.node import operation
from edgekit.source.onnx.window import Window, imaged, rows_again, window

if TYPE_CHECKING:
    from edgekit.source.onnx.node import Node

_IMAGE = 4


@operation("GlobalAveragePool", "GlobalMaxPool")
def _global(node: Node) -> Value:
    import tensorflow as tf

    value = node.value()
    if node.op == "GlobalMaxPool" and value.rank == _IMAGE:  # integers have a pooling, and no largest of all
        images = arranged(value, channels_last(_IMAGE))
        pooled = tf.nn.max_pool2d(images, value.shape[2:], 1, "VALID")
        return Value(tensor=pooled, order=channels_last(_IMAGE), nonnegative=value.nonnegative)
    axes = sorted(value.stored(axis) for axis in range(2, value.rank))
    call = tf.reduce_mean if node.op == "GlobalAveragePool" else tf.reduce_max
    return value.holding(call(value.tensor, axis=axes, keepdims=True), nonnegative=value.nonnegative)


@operation("MaxPool")
def _max_pool(given: Node) -> Value:
    import tensorflow as tf

    if given.outputs > 1:
        raise given.refusal("gives indices as well")
    node = imaged(given)
    value, w = _window(node)
    images = arranged(value, channels_last(_IMAGE))
    padding = "VALID"
    if w.same and w.strides[0] == w.strides[1]:
        padding = "SAME"
    elif value.nonnegative:
        images = tf.pad(images, w.pads) if any(n for pair in w.pads for n in pair) else images
    elif max(w.dilations) > 1 and any(n for pair in w.pads for n in pair):
        raise node.refusal("pads below zero around a dilated window", "put a Relu before it")
    else:
        images = _repeated(images, w)
    made = (
        tf.nn.pool(images, w.kernel, "MAX", w.strides, padding, dilations=w.dilations)
        if max(w.dilations) > 1
        else tf.nn.max_pool2d(images, w.kernel, w.strides, padding)
    )
    return rows_again(given, Value(tensor=made, order=channels_last(_IMAGE), nonnegative=value.nonnegative))


def _repeated(images: Any, w: Window) -> Any:
    """Pad with the rows and columns of the edge, which every window that reaches out holds anyway.

    A padding with the lowest float, as ONNX has it, would ruin the range of an integer tensor.
    """
    import tensorflow as tf

    for axis in (1, 2):
        front, back = w.pads[axis]
        first = images[:, :1] if axis == 1 else images[:, :, :1]
        last = images[:, -1:] if axis == 1 else images[:, :, -1:]
        if front or back:
            images = tf.concat([*[first] * front, images, *[last] * back], axis)
    return images


@operation("AveragePool")
def _average_pool(given: Node) -> Value:
    import tensorflow as tf

    node = imaged(given)
    value, w = _window(node)
    if max(w.dilations) > 1:
        raise node.refusal("averages over a dilated window")
    include = bool(node.attributes.get("count_include_pad", 0))
    images = arranged(value, channels_last(_IMAGE))
    some = any(n for pair in w.pads for n in pair)
    if some and w.same and w.strides[0] == w.strides[1] and not include:
        made = tf.nn.avg_pool2d(images, w.kernel, w.strides, "SAME")
    else:
        images = tf.pad(images, w.pads) if some else images
        made = tf.nn.avg_pool2d(images, w.kernel, w.strides, "VALID")
        share = _share(w, value.shape[2:], include=include)
        made = made * share if np.any(share != 1.0) else made
    return rows_again(given, Value(tensor=made, order=channels_last(_IMAGE), nonnegative=value.nonnegative))


def _share(w: Window, size: tuple[int, ...], *, include: bool) -> np.ndarray[Any, Any]:
    """Return by what the mean over all of each window becomes the mean over what counts, 1 x H x W x 1."""
    counts = []
    for i in (0, 1):
        begins = np.arange(w.places[i]) * w.strides[i]
        low, high = w.before[i], w.before[i] + size[i]
        if include:
            low, high = 0, high + w.after[i]
        counts.append(np.minimum(begins + w.kernel[i], high) - np.maximum(begins, low))
    share = math.prod(w.kernel) / np.outer(*counts)
    return share[None, :, :, None].astype(np.float32)


def _window(node: Node) -> tuple[Value, Window]:
    value = node.value()
    kernel = [int(n) for n in node.attributes["kernel_shape"]]
    if value.rank != _IMAGE or len(kernel) != 2:  # noqa: PLR2004
        raise node.refusal(f"pools {len(kernel)} axes; one or two can be carried over")
    return value, window(node, value.shape[2:], kernel)
