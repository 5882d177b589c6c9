"""TFLite's operations that move, cut, join and reduce."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.source.tflite.node import operation

if TYPE_CHECKING:
    from edgekit.source.tflite.node import Node

_REDUCTIONS = {
    "MEAN": "reduce_mean", "SUM": "reduce_sum", "REDUCE_MAX": "reduce_max", "REDUCE_MIN": "reduce_min",
    "REDUCE_PROD": "reduce_prod",
}  # fmt: skip
_MASKS = {
    "begin_mask": "beginMask", "end_mask": "endMask", "ellipsis_mask": "ellipsisMask",
    "new_axis_mask": "newAxisMask", "shrink_axis_mask": "shrinkAxisMask",
}  # fmt: skip


@operation("SHAPE")
def _shape(node: Node) -> np.ndarray[Any, Any]:
    return np.array([int(n) for n in node.value().shape], np.int32)


@operation("RESHAPE")
def _reshape(node: Node) -> Any:
    import tensorflow as tf

    wanted = (
        node.integers(1, "a shape") if node.has(1) else [int(n) for n in node.option("newShape", default=())]
    )
    return tf.reshape(node.value(), wanted)


@operation("SQUEEZE")
def _squeeze(node: Node) -> Any:
    import tensorflow as tf

    axes = node.option("squeezeDims", default=None)
    return tf.squeeze(node.value(), None if axes is None or not len(axes) else [int(n) for n in axes])


@operation("EXPAND_DIMS")
def _expand(node: Node) -> Any:
    import tensorflow as tf

    return tf.expand_dims(node.value(), node.integers(1, "an axis")[0])


@operation("TRANSPOSE")
def _transpose(node: Node) -> Any:
    import tensorflow as tf

    return tf.transpose(node.value(), node.integers(1, "an order"))


@operation("CONCATENATION")
def _concat(node: Node) -> Any:
    import tensorflow as tf

    return tf.concat([node.value(i) for i in range(len(node.operands))], int(node.option("axis")))


@operation("PACK")
def _pack(node: Node) -> Any:
    import tensorflow as tf

    return tf.stack([node.value(i) for i in range(len(node.operands))], int(node.option("axis")))


@operation("UNPACK")
def _unpack(node: Node) -> Any:
    import tensorflow as tf

    return tf.unstack(node.value(), axis=int(node.option("axis")))


@operation("SPLIT", "SPLIT_V")
def _split(node: Node) -> Any:
    import tensorflow as tf

    if node.op == "SPLIT":
        return tf.split(node.value(1), int(node.option("numSplits", 1)), node.integers(0, "an axis")[0])
    return tf.split(node.value(0), node.integers(1, "sizes"), node.integers(2, "an axis")[0])


@operation("SLICE")
def _slice(node: Node) -> Any:
    import tensorflow as tf

    return tf.slice(node.value(), node.integers(1, "a begin"), node.integers(2, "sizes"))


@operation("STRIDED_SLICE")
def _strided(node: Node) -> Any:
    import tensorflow as tf

    begin, end, strides = (node.integers(i, "bounds") for i in (1, 2, 3))
    if node.option("offset", default=False):
        end = [b + n for b, n in zip(begin, end, strict=True)]
    masks = {key: int(node.option(name)) for key, name in _MASKS.items()}
    return tf.strided_slice(node.value(), begin, end, strides, **masks)


@operation("GATHER")
def _gather(node: Node) -> Any:
    import tensorflow as tf

    axis, batch = int(node.option("axis")), int(node.option("batchDims"))
    return tf.gather(node.value(0), node.value(1), axis=axis, batch_dims=batch)


@operation("PAD", "PADV2")
def _pad(node: Node) -> Any:
    import tensorflow as tf

    amounts = node.fixed(1, "amounts").tolist()
    filling = float(node.fixed(2, "a filling").reshape(())) if node.has(2) else 0.0
    return tf.pad(node.value(), amounts, constant_values=filling)


@operation("MIRROR_PAD")
def _mirror(node: Node) -> Any:
    import tensorflow as tf

    mode = "SYMMETRIC" if node.option("mode") else "REFLECT"
    return tf.pad(node.value(), node.fixed(1, "amounts").tolist(), mode=mode)


@operation("TILE", "BROADCAST_TO", "FILL")
def _spread(node: Node) -> Any:
    import tensorflow as tf

    if node.op == "FILL":
        return tf.fill(node.integers(0, "a shape"), node.value(1))
    call = tf.tile if node.op == "TILE" else tf.broadcast_to
    return call(node.value(), node.integers(1, "sizes"))


@operation("REVERSE_V2")
def _reverse(node: Node) -> Any:
    import tensorflow as tf

    return tf.reverse(node.value(), node.integers(1, "axes"))


@operation(*_REDUCTIONS)
def _reduce(node: Node) -> Any:
    import tensorflow as tf

    keep = bool(node.option("keepDims", default=False))
    call = getattr(tf, _REDUCTIONS[node.op])
    return call(node.value(), axis=node.integers(1, "axes"), keepdims=keep)


@operation("DEPTH_TO_SPACE", "SPACE_TO_DEPTH")
def _blocks(node: Node) -> Any:
    import tensorflow as tf

    call = tf.nn.depth_to_space if node.op == "DEPTH_TO_SPACE" else tf.nn.space_to_depth
    return call(node.value(), int(node.option("blockSize")))


@operation("SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND")
def _batches(node: Node) -> Any:
    import tensorflow as tf

    given = node.value(), node.integers(1, "a block"), node.fixed(2, "amounts").tolist()
    return tf.space_to_batch(*given) if node.op == "SPACE_TO_BATCH_ND" else tf.batch_to_space(*given)


@operation("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
def _resize(node: Node) -> Any:
    import tensorflow as tf

    ops = tf.raw_ops
    call = ops.ResizeBilinear if node.op == "RESIZE_BILINEAR" else ops.ResizeNearestNeighbor
    return call(
        images=node.value(),
        size=node.integers(1, "a size"),
        align_corners=bool(node.option("alignCorners", default=False)),
        half_pixel_centers=bool(node.option("halfPixelCenters", default=False)),
    )
