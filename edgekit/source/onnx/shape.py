"""ONNX's operations that move, cut, join and reduce."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.source.axes import Value, arranged, channels_last, logical, plain, reshape, transpose, without
from edgekit.source.onnx.node import operation

if TYPE_CHECKING:
    from edgekit.source.onnx.node import Node

_REDUCTIONS = {
    "ReduceMean": "reduce_mean",
    "ReduceSum": "reduce_sum",
    "ReduceMax": "reduce_max",
    "ReduceMin": "reduce_min",
    "ReduceProd": "reduce_prod",
}
_POWERS = ("ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp")
_IMAGE = 4
_MODES = ("constant", "reflect", "edge", "wrap")


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
        sizes = [max(0, min(each, size - each * part)) for part in range(node.outputs)]
    if len(set(sizes)) > 1:  # integers have slices, and no split in unequal parts
        ends = np.cumsum(sizes)
        if int(ends[-1]) != size:
            raise node.refusal(f"splits {size} in {sizes}")
        whole = [slice(None)] * value.rank
        cuts = [
            (*whole[:axis], slice(int(e) - n, int(e)), *whole[axis + 1 :])
            for n, e in zip(sizes, ends, strict=True)
        ]
        return [value.holding(value.tensor[cut], nonnegative=value.nonnegative) for cut in cuts]
    parts = tf.split(value.tensor, len(sizes), axis)
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
    counted = (indices % value.shape[axis]).astype(np.int32)  # TensorFlow does not count from the end
    if indices.ndim > 1:
        taken = tf.gather(logical(value), counted, axis=axis)
        return Value(tensor=taken, order=plain(value.rank - 1 + indices.ndim))
    taken = tf.gather(value.tensor, counted, axis=value.stored(axis))
    return without(value, taken, [axis]) if indices.ndim == 0 else value.holding(taken)


@operation("Pad")
def _pad(node: Node) -> Value:
    import tensorflow as tf

    value, mode = node.value(), node.text("mode", "constant")
    old = node.attributes.get("paddings")
    pads = [int(n) for n in old] if old else node.setting(1, "pads", "pads") or []
    axes = [axis % value.rank for axis in node.setting(3, "axes", "axes") or range(value.rank)]
    filling = float(node.attributes.get("value", 0.0))
    if node.has(2):
        filling = float(node.fixed(2, "a filling").reshape(()))
    if mode not in _MODES:
        raise node.refusal(f"pads in the mode {mode!r}")
    amounts = [(0, 0)] * value.rank
    for index, axis in enumerate(axes):
        amounts[value.stored(axis)] = (pads[index], pads[index + len(axes)])
    tensor = _cropped(value.tensor, amounts)
    amounts = [(max(before, 0), max(after, 0)) for before, after in amounts]
    if mode in ("edge", "wrap"):
        tensor = _repeated(tensor, amounts, mode)
    elif any(map(any, amounts)):
        tensor = tf.pad(tensor, amounts, mode=mode.upper(), constant_values=filling)
    return value.holding(tensor, nonnegative=value.nonnegative and (mode != "constant" or filling >= 0))


def _cropped(tensor: Any, amounts: list[tuple[int, int]]) -> Any:
    """Cut off what negative amounts say."""
    if min(n for pair in amounts for n in pair) >= 0:
        return tensor
    return tensor[tuple(slice(max(0, -before), min(0, after) or None) for before, after in amounts)]


def _repeated(tensor: Any, amounts: list[tuple[int, int]], mode: str) -> Any:
    """Pad with the edge, or with what lies at the other end."""
    import tensorflow as tf

    for axis, (before, after) in enumerate(amounts):
        size = int(tensor.shape[axis])
        places = np.arange(-before, size + after)
        places = places % size if mode == "wrap" else np.clip(places, 0, size - 1)
        if before or after:
            tensor = tf.gather(tensor, places.astype(np.int32), axis=axis)
    return tensor


@operation(*_REDUCTIONS, *_POWERS)
def _reduce(node: Node) -> Value:
    value, axes = node.value(), node.setting(1, "axes", "axes")
    if not axes:
        axes = [] if node.attributes.get("noop_with_empty_axes") else list(range(value.rank))
    keep = bool(node.attributes.get("keepdims", 1))
    places = sorted(value.stored(axis) for axis in axes)
    if not places:
        return value if node.op in _REDUCTIONS else value.holding(_reduced(node.op, value.tensor, [], keep))
    reduced = _reduced(node.op, value.tensor, places, keep)
    floor = value.nonnegative and node.op in _REDUCTIONS
    if keep:
        return value.holding(reduced, nonnegative=floor)
    return without(value, reduced, [axis % value.rank for axis in axes])


def _reduced(op: str, tensor: Any, axes: list[int], keep: bool) -> Any:  # noqa: FBT001
    import tensorflow as tf

    if op in _REDUCTIONS:
        return getattr(tf, _REDUCTIONS[op])(tensor, axis=axes, keepdims=keep)
    if op == "ReduceLogSumExp":  # relative to the largest, or the exponential overflows
        highest = tf.reduce_max(tensor, axis=axes, keepdims=True)
        total = tf.reduce_sum(tf.exp(tensor - highest), axis=axes, keepdims=True)
        found = tf.math.log(total) + highest
        return found if keep else tf.squeeze(found, axes)
    inner = tf.abs(tensor) if op == "ReduceL1" else tensor if op == "ReduceLogSum" else tf.square(tensor)
    total = tf.reduce_sum(inner, axis=axes, keepdims=keep)
    return {"ReduceL2": tf.sqrt, "ReduceLogSum": tf.math.log}.get(op, tf.identity)(total)


@operation("Expand")
def _expand(node: Node) -> Value:
    import tensorflow as tf

    value, wanted = node.value(), [int(n) for n in node.fixed(1, "a shape")]
    rank = max(value.rank, len(wanted))
    value = reshape(value, (*[1] * (rank - value.rank), *value.shape))
    shape = np.broadcast_shapes(value.shape, tuple(wanted))
    return value.holding(tf.broadcast_to(value.tensor, [shape[axis] for axis in value.order]))


@operation("Tile")
def _tile(node: Node) -> Value:
    import tensorflow as tf

    value, times = node.value(), [int(n) for n in node.fixed(1, "repeats")]
    return value.holding(
        tf.tile(value.tensor, [times[axis] for axis in value.order]), nonnegative=value.nonnegative
    )


@operation("DepthToSpace", "SpaceToDepth")
def _blocks(node: Node) -> Value:
    import tensorflow as tf

    value, block = node.value(), int(node.attributes["blocksize"])
    last = channels_last(_IMAGE)
    images = arranged(value, last)
    if node.op == "SpaceToDepth":
        return Value(tensor=tf.nn.space_to_depth(images, block), order=last, nonnegative=value.nonnegative)
    if node.text("mode", "DCR") == "CRD":  # TensorFlow has the block in front of the channel, this behind it
        places = np.arange(value.shape[1]).reshape(-1, block * block).T.reshape(-1)
        images = tf.gather(images, places.astype(np.int32), axis=3)
    return Value(tensor=tf.nn.depth_to_space(images, block), order=last, nonnegative=value.nonnegative)


@operation("Einsum")
def _einsum(node: Node) -> Value:
    import tensorflow as tf

    operands = [logical(o) if isinstance(o, Value) else o for o in node.operands]
    made = tf.einsum(node.text("equation", ""), *operands)
    return Value(tensor=made, order=plain(len(made.shape)))
