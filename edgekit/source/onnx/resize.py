"""ONNX's resizing, in every mode: TensorFlow's own where it gives the same, else along one axis at a time.

Resizing is linear and acts on each axis alone: ONNX Runtime says what becomes of every unit vector, and the
matrix of the answers is the whole truth about a mode. TensorFlow's operations are tried against it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.source.axes import Value, arranged, channels_last
from edgekit.source.onnx.node import operation

if TYPE_CHECKING:
    from edgekit.source.onnx.node import Node

    Matrix = np.ndarray[Any, Any]

_FOUR_INPUTS = 11
"""The first version with a region of interest, scales and sizes."""
_IMAGE = 4
_LARGEST = 4096
_NEAR = 1e-5
_OURS = ("axes", "keep_aspect_ratio_policy")
_VARIANTS = ((False, True), (False, False), (True, False))
"""TensorFlow's (align_corners, half_pixel_centers)."""


@operation("Resize", "Upsample")
def _resize(node: Node) -> Value:
    value = node.value()
    size, scales = _wanted(node, value.shape)
    axes = [axis for axis in range(value.rank) if size[axis] != value.shape[axis]]
    if any(axis < 2 for axis in axes) or max(*size, *value.shape) > _LARGEST:  # noqa: PLR2004 - batch, channels
        raise node.refusal(f"makes {size} of {value.shape}", "resize height and width only")
    if node.text("coordinate_transformation_mode", "") == "tf_crop_and_resize":
        raise node.refusal("crops as well", "cut with a Slice, then resize")
    matrices = {
        axis: _matrix(node, value.shape[axis], size[axis], None if scales is None else scales[axis])
        for axis in axes
    }
    if not matrices:
        return value
    found = _tensorflows(node, value, size, matrices)
    return _axis_by_axis(value, matrices) if found is None else found


def _wanted(node: Node, shape: tuple[int, ...]) -> tuple[list[int], list[float] | None]:
    """Return the logical shape behind it, and the scales where they are given instead of sizes."""
    late = node.op == "Resize" and node.opset >= _FOUR_INPUTS
    axes = [int(n) % len(shape) for n in node.attributes.get("axes", range(len(shape)))]
    if node.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise node.refusal("keeps the aspect ratio", "export it with the size that comes of it")
    size, scales = list(shape), [1.0] * len(shape)
    if late and node.has(3) and node.fixed(3, "sizes").size:
        for axis, n in zip(axes, node.fixed(3, "sizes").tolist(), strict=True):
            size[axis] = int(n)
        return size, None
    listed = node.attributes.get("scales")
    given = node.fixed(2 if late else 1, "scales").tolist() if listed is None else listed
    for axis, scale in zip(axes, given, strict=True):
        size[axis], scales[axis] = math.floor(shape[axis] * scale), float(scale)
    return size, scales


def _matrix(node: Node, before: int, after: int, scale: float | None) -> Matrix:
    """Return what makes `after` values of `before`, from ONNX Runtime over unit vectors."""
    from onnx import helper, numpy_helper

    from edgekit.source.onnx.source import run_once

    held: dict[str, np.ndarray[Any, Any]] = {"roi": np.zeros(0, np.float32)}
    if scale is None:
        held |= {"scales": np.zeros(0, np.float32), "sizes": np.array([1, before, after, 1], np.int64)}
        names = ["x", "roi", "scales", "sizes"]
    else:
        held["scales"] = np.array([1, 1, scale, 1], np.float32)
        late = node.op == "Resize" and node.opset >= _FOUR_INPUTS
        names = ["x", "roi", "scales"] if late else ["x", "scales"]
    attributes = {k: v for k, v in node.attributes.items() if k not in _OURS and k != "scales"}
    if node.attributes.get("scales"):  # the oldest Upsample keeps them in an attribute
        names, attributes["scales"] = ["x"], [1.0, 1.0, float(scale or 1), 1.0]
    graph = helper.make_graph(
        [helper.make_node(node.op, names, ["y"], **attributes)],
        "resize",
        [helper.make_tensor_value_info("x", 1, [1, before, before, 1])],
        [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(held[n], n) for n in names[1:]],
    )
    opset = [helper.make_opsetid("", node.opset)]
    unit = np.eye(before, dtype=np.float32)[None, :, :, None]
    made: Matrix = run_once(helper.make_model(graph, opset_imports=opset, ir_version=8), unit, node.source)
    return made[0, :, :, 0].T


def _tensorflows(node: Node, value: Value, size: list[int], matrices: dict[int, Matrix]) -> Value | None:
    """Return what TensorFlow's own operation makes, where that is the same."""
    import tensorflow as tf

    nearest = node.text("mode", "nearest") == "nearest"
    if value.rank != _IMAGE or node.text("mode", "nearest") not in ("nearest", "linear"):
        return None
    if nearest and any(len(matrix) < matrix.shape[1] for matrix in matrices.values()):
        return None  # Core ML only enlarges so
    call = tf.raw_ops.ResizeNearestNeighbor if nearest else tf.raw_ops.ResizeBilinear
    for corners, centers in _VARIANTS:
        with tf.init_scope():
            same = all(
                np.allclose(matrix, _tried(call, matrix.shape, corners, centers), atol=_NEAR)
                for matrix in matrices.values()
            )
        if same:
            last = channels_last(_IMAGE)
            images = arranged(value, last)
            made = call(images=images, size=size[2:], align_corners=corners, half_pixel_centers=centers)
            return Value(tensor=made, order=last, nonnegative=value.nonnegative)
    return None


def _tried(call: Any, shape: tuple[int, ...], corners: bool, centers: bool) -> Matrix:  # noqa: FBT001
    after, before = shape
    unit = np.eye(before, dtype=np.float32)[None, :, None, :]
    made = call(images=unit, size=[after, 1], align_corners=corners, half_pixel_centers=centers)
    found: Matrix = made.numpy()[0, :, 0, :]
    return found


def _axis_by_axis(value: Value, matrices: dict[int, Matrix]) -> Value:
    """Pick along each axis, or multiply by its matrix."""
    import tensorflow as tf

    for axis, matrix in matrices.items():
        if np.all((matrix == 0) | (matrix == 1)) and np.all(matrix.sum(axis=1) == 1):
            value = _picked(value, axis, matrix.argmax(axis=1))
            continue
        order = (*(other for other in value.order if other != axis), axis)
        tensor = arranged(value, order)
        shape = [int(n) for n in tensor.shape]
        rows = tf.matmul(tf.reshape(tensor, (-1, shape[-1])), np.ascontiguousarray(matrix.T))
        value = Value(tensor=tf.reshape(rows, (*shape[:-1], len(matrix))), order=order)
    return value


def _picked(value: Value, axis: int, places: np.ndarray[Any, Any]) -> Value:
    """Return what lies at these places: every n-th where that is so."""
    import tensorflow as tf

    place, steps = value.stored(axis), set(np.diff(places).tolist()) or {1}
    step = steps.pop()
    if steps or step < 1:
        taken = tf.gather(value.tensor, places.astype(np.int32), axis=place)
    else:
        cut = [slice(None)] * value.rank
        cut[place] = slice(int(places[0]), int(places[-1]) + 1, int(step))
        taken = value.tensor[tuple(cut)]
    return value.holding(taken, nonnegative=value.nonnegative)
