"""ONNX's operations that move, cut, join and reduce."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.source.axes import Value, arranged, channels_last, reshape, transpose, without
from edgekit.source.onnx.node import operation

if TYPE_CHECKING:
    from edgekit.source.onnx.node import Node

_REDUCTIONS = {
    "ReduceMean": "reduce_mean",
    "ReduceSum": "reduce_sum",
    "ReduceMax": "reduce_max",
    "ReduceMin": "reduce_min",
}
_MODES = {"constant": "CONSTANT", "reflect": "REFLECT"}


@operation("Shape")
def _shape(node: Node) -> np.ndarray[Any, Any]:
    begin, end = int(node.attributes.get("start", 0)), node.attributes.get("end")
    return np.array(node.value().shape[begin:end], np.int64)


@operation("Size")
def _size(node: Node) -> np.ndarray[Any, Any]:
    return np.array(math.prod(node.value().shape), np.int64)


@operation("Reshape")
def _reshape(node: Node) -> Value:
    value, wanted = node.value(), node.setting(1, "shape", "a shape") or []
    if not node.attributes.get("allowzero", 0):
        wanted = [value.shape[axis] if n == 0 else n for axis, n in enumerate(wanted)]
    total, given = math.prod(value.shape), math.prod(n for n in wanted if n != -1)
    closed = [total // given if n == -1 else n for n in wanted]
    if math.prod(closed) != total:
        raise node.refusal(
            f"makes {tuple(wanted)} of {value.shape}",
            "export the network with a batch of 1, or with shapes that follow the input",
        )
    return reshape(value, closed)


@operation("Flatten")
def _flatten(node: Node) -> Value:
    value, axis = node.value(), int(node.attributes.get("axis", 1))
    axis = axis + value.rank if axis < 0 else axis
    return reshape(value, (math.prod(value.shape[:axis]), math.prod(value.shape[axis:])))


@operation("Squeeze")
def _squeeze(node: Node) -> Value:
    value, axes = node.value(), node.setting(1, "axes", "axes")
    ones = [axis for axis, size in enumerate(value.shape) if size == 1]
    gone = ones if axes is None else [axis % value.rank for axis in axes]
    return reshape(value, [n for axis, n in enumerate(value.shape) if axis not in gone])


@operation("Unsqueeze")
def _unsqueeze(node: Node) -> Value:
    value, axes = node.value(), node.setting(1, "axes", "axes") or []
    rank = value.rank + len(axes)
    new = {axis % rank for axis in axes}
    sizes = iter(value.shape)
    return reshape(value, [1 if axis in new else next(sizes) for axis in range(rank)])


@operation("Transpose")
def _transpose(node: Node) -> Value:
    value = node.value()
    return transpose(value, node.attributes.get("perm") or range(value.rank)[::-1])


@operation("Concat")
def _concat(node: Node) -> Value:
    import tensorflow as tf

    values = [node.value(index) for index in range(len(node.operands))]
    flowing = [v for v, o in zip(values, node.operands, strict=True) if isinstance(o, Value)]
    order = flowing[0].order
    axis = values[0].stored(int(node.attributes["axis"])) if values[0].order == order else None
    axis = order.index(int(node.attributes["axis"]) % len(order)) if axis is None else axis
    joined = tf.concat([arranged(v, order) for v in values], axis)
    return Value(tensor=joined, order=order, nonnegative=all(v.nonnegative for v in values))


@operation("Split")
def _split(node: Node) -> list[Value]:
    import tensorflow as tf

    value = node.value()
    axis = value.stored(int(node.attributes.get("axis", 0)))
    size = int(value.tensor.shape[axis])
    sizes = node.setting(1, "split", "sizes")
    if sizes is None:
        each = -(-size // node.outputs)
        sizes = [min(each, size - begin) for begin in range(0, size, each)]
    parts = tf.split(value.tensor, len(sizes) if len(set(sizes)) == 1 else sizes, axis)
    return [value.holding(part, nonnegative=value.nonnegative) for part in parts]


@operation("Slice")
def _slice(node: Node) -> Value:
    value = node.value()
    starts, ends = (node.setting(i, k, f"{k}") or [] for i, k in ((1, "starts"), (2, "ends")))
    axes = node.setting(3, "axes", "axes") or list(range(len(starts)))
    steps = node.setting(4, "steps", "steps") or [1] * len(starts)
    cut = [slice(None)] * value.rank
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        size = value.shape[axis % value.rank]
        cut[value.stored(axis)] = _within(start, end, step, size)
    return value.holding(value.tensor[tuple(cut)], nonnegative=value.nonnegative)


def _within(start: int, end: int, step: int, size: int) -> slice:
    """Return a slice as Python and TensorFlow read it of bounds that may lie far outside."""
    found = range(*slice(start, end if step > 0 or end >= -size else None, step).indices(size))
    if step > 0:
        return slice(found.start, max(found.stop, found.start), step)
    return slice(found.start, found.stop if found.stop >= 0 else None, step)


@operation("Gather")
def _gather(node: Node) -> Value:
    import tensorflow as tf

    value, indices = node.value(), node.fixed(1, "indices")
    axis = int(node.attributes.get("axis", 0)) % value.rank
    if indices.ndim > 1:
        raise node.refusal("takes a table of indices")
    counted = (indices % value.shape[axis]).astype(np.int32)  # TensorFlow does not count from the end
    taken = tf.gather(value.tensor, counted, axis=value.stored(axis))
    return without(value, taken, [axis]) if indices.ndim == 0 else value.holding(taken)


@operation("Pad")
def _pad(node: Node) -> Value:
    import tensorflow as tf

    value, mode = node.value(), node.text("mode", "constant")
    old = node.attributes.get("paddings")
    pads = [int(n) for n in old] if old else node.setting(1, "pads", "pads") or []
    axes = node.setting(3, "axes", "axes") or list(range(value.rank))
    filling = float(node.attributes.get("value", 0.0))
    if node.has(2):
        filling = float(node.fixed(2, "a filling").reshape(()))
    if mode not in _MODES or min(pads, default=0) < 0:
        raise node.refusal(f"pads in the mode {mode!r} by {pads}")
    amounts = [(0, 0)] * value.rank
    for index, axis in enumerate(axes):
        amounts[value.stored(axis)] = (pads[index], pads[index + len(axes)])
    padded = tf.pad(value.tensor, amounts, mode=_MODES[mode], constant_values=filling)
    return value.holding(padded, nonnegative=value.nonnegative and filling >= 0)


@operation(*_REDUCTIONS)
def _reduce(node: Node) -> Value:
    import tensorflow as tf

    value, axes = node.value(), node.setting(1, "axes", "axes")
    if axes is None:
        axes = [] if node.attributes.get("noop_with_empty_axes") else list(range(value.rank))
    keep = bool(node.attributes.get("keepdims", 1))
    call = getattr(tf, _REDUCTIONS[node.op])
    places = sorted(value.stored(axis) for axis in axes)
    reduced = call(value.tensor, axis=places, keepdims=keep) if places else value.tensor
    if keep or not places:
        return value.holding(reduced, nonnegative=value.nonnegative)
    return without(value, reduced, [axis % value.rank for axis in axes])


@operation("Expand")
def _expand(node: Node) -> Value:
    import tensorflow as tf

    value, wanted = node.value(), [int(n) for n in node.fixed(1, "a shape")]
    rank = max(value.rank, len(wanted))
    value = reshape(value, (*[1] * (rank - value.rank), *value.shape))
    shape = np.broadcast_shapes(value.shape, tuple(wanted))
    return value.holding(tf.broadcast_to(value.tensor, [shape[axis] for axis in value.order]))


@operation("Resize", "Upsample")
def _resize(node: Node) -> Value:
    import tensorflow as tf

    value, mode = node.value(), node.text("mode", "nearest")
    place = node.text("coordinate_transformation_mode", "asymmetric" if node.opset < 11 else "half_pixel")  # noqa: PLR2004
    known = ("asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners")
    if value.rank != 4 or mode not in ("nearest", "linear") or place not in known:  # noqa: PLR2004
        raise node.refusal(f"resizes {value.rank} axes by {mode}, {place}")
    if node.attributes.get("antialias") or node.attributes.get("axes"):
        raise node.refusal("resizes with antialias or along chosen axes")
    size = _resized(node, value.shape)
    if size[:2] != value.shape[:2]:
        raise node.refusal("resizes the batch or the channels")
    last = channels_last(4)
    call = tf.raw_ops.ResizeNearestNeighbor if mode == "nearest" else tf.raw_ops.ResizeBilinear
    resized = call(
        images=arranged(value, last),
        size=list(size[2:]),
        align_corners=place == "align_corners",
        half_pixel_centers=place.endswith("half_pixel"),
    )
    return Value(tensor=resized, order=last, nonnegative=value.nonnegative)


def _resized(node: Node, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the logical shape after a Resize, whose inputs changed twice."""
    late = node.op == "Resize" and node.opset >= 11  # noqa: PLR2004 - region of interest, scales, sizes
    if late and node.has(3):
        return tuple(int(n) for n in node.fixed(3, "sizes"))
    listed = node.attributes.get("scales")
    scales = listed or node.fixed(2 if late else 1, "scales")
    return tuple(math.floor(n * float(s)) for n, s in zip(shape, scales, strict=True))
