"""ONNX's transposed convolution: TensorFlow's, over the whole plane, and what padding takes away cut off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.source.axes import Value, arranged, channels_last
from edgekit.source.onnx.node import operation
from edgekit.source.onnx.window import imaged, rows_again

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.source.onnx.node import Node

_IMAGE = 4


@operation("ConvTranspose")
def _transposed(given: Node) -> Value:
    import tensorflow as tf

    node = imaged(given)
    value, kernel = node.value(), _kernel(node)
    if value.rank != _IMAGE or kernel.shape[3] != value.shape[1]:
        raise given.refusal(f"does not fit {given.value().shape}; two axes can be carried over")
    size, spans = value.shape[2:], kernel.shape[:2]
    strides = [int(n) for n in node.attributes.get("strides", (1, 1))]
    more = [int(n) for n in node.attributes.get("output_padding", (0, 0))]
    whole = [strides[i] * (size[i] - 1) + spans[i] + more[i] for i in (0, 1)]
    before, final = _cut(node, size, strides, whole)
    images = arranged(value, channels_last(_IMAGE))
    same = all(
        final[i] == size[i] * strides[i]
        and before[i] == max(0, (size[i] - 1) * strides[i] + spans[i] - final[i]) // 2
        for i in (0, 1)
    )
    shape = (value.shape[0], *(final if same else whole), kernel.shape[2])
    made = tf.nn.conv2d_transpose(images, kernel, shape, strides, "SAME" if same else "VALID")
    if not same and whole != final:
        made = made[:, before[0] : before[0] + final[0], before[1] : before[1] + final[1], :]
    if node.has(2):
        made = tf.nn.bias_add(made, node.fixed(2, "a bias"))
    return rows_again(given, Value(tensor=made, order=channels_last(_IMAGE)))


def _kernel(node: Node) -> np.ndarray[Any, Any]:
    """Return the weights, H x W x out x in: dilations and groups written out as zeros."""
    weights, group = node.fixed(1, "weights"), int(node.attributes.get("group", 1))
    channels, each = weights.shape[0], weights.shape[1]
    apart = [int(n) for n in node.attributes.get("dilations", (1, 1))]
    spans = [(n - 1) * d + 1 for n, d in zip(weights.shape[2:], apart, strict=True)]
    kernel = np.zeros((*spans, each * group, channels), np.float32)
    for part in range(group):
        into = slice(part * channels // group, (part + 1) * channels // group)
        turned = np.transpose(weights[into], (2, 3, 1, 0))
        kernel[:: apart[0], :: apart[1], part * each : (part + 1) * each, into] = turned
    return kernel


def _cut(
    node: Node, size: Sequence[int], strides: list[int], whole: list[int]
) -> tuple[list[int], list[int]]:
    """Return how much is cut off in front of each axis, and the size that is left."""
    mode = node.text("auto_pad", "NOTSET")
    wanted = [int(n) for n in node.attributes.get("output_shape", ())][-2:]
    if not wanted and mode.startswith("SAME"):
        wanted = [size[i] * strides[i] for i in (0, 1)]
    if wanted:
        total = [whole[i] - wanted[i] for i in (0, 1)]
        before = [n // 2 if mode == "SAME_UPPER" else n - n // 2 for n in total]
    else:
        pads = [int(n) for n in node.attributes.get("pads", (0, 0, 0, 0))]
        pads = [0, 0, 0, 0] if mode == "VALID" else pads
        total, before = [pads[i] + pads[i + 2] for i in (0, 1)], pads[:2]
    final = [whole[i] - total[i] for i in (0, 1)]
    if min(*before, *total) < 0 or min(final) < 1:
        raise node.refusal(f"makes {final} of {whole}", "export it with an output that the window reaches")
    return before, final
