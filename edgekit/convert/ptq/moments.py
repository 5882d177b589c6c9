"""How what a linear operation reads varies together, from some of its places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

ROWS, ROWS_EACH, MOST = 4096, 16, 8192
"""Places that are looked at: so many, or so many for each input of an output, but no more than MOST."""
WIDEST = 2560
"""Inputs of one output, at most: beyond it, the matrix of second moments takes minutes."""


def moments(values: Any, node: Any, kernel: tuple[int, ...]) -> Array:
    """Return the covariance of a linear operation's inputs, groups x inputs x inputs.

    Args:
        values: what the operation reads, batch first.
        node: the operation.
        kernel: the shape of its weights.
    """
    import tensorflow as tf

    each = node.op == "DepthwiseConv2dNative"
    if node.op == "MatMul":
        rows = _drawn(values)
    else:
        rows = _patches(values, node, kernel, kernel[0] * kernel[1] * (1 if each else kernel[2]))
    rows -= tf.reduce_mean(rows, axis=0)
    width = rows.shape[0]
    if each:
        turned = tf.transpose(rows, [2, 1, 0])
        found = tf.matmul(turned, turned, transpose_b=True)
    else:
        rows = tf.reshape(rows, [width, -1])
        found = tf.matmul(rows, rows, transpose_a=True)[None]
    result: Array = (found / width).numpy()
    return result


def _wanted(size: int) -> int:
    return min(max(ROWS, ROWS_EACH * size), MOST)


def _drawn(values: Any) -> Any:
    """Return some rows of a matrix."""
    import tensorflow as tf

    return tf.gather(values, _chosen(values.shape[0], _wanted(values.shape[1])))


def _chosen(count: int, wanted: int) -> Array:
    """Return places, in order, drawn with a seed: a stride would meet the same columns again and again."""
    import numpy as np

    if count <= wanted:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).integers(0, count, wanted))


def _patches(values: Any, node: Any, kernel: tuple[int, ...], size: int) -> Any:
    """Return what some places of a convolution's output read: places x the kernel's places x channels."""
    import numpy as np
    import tensorflow as tf

    count, shape = values.shape[0], values.shape[1:3]
    axes = [_reads(node, axis, shape[axis - 1], kernel[axis - 1]) for axis in (1, 2)]
    chosen = _chosen(count * len(axes[0]) * len(axes[1]), _wanted(size))
    image, row, column = np.unravel_index(chosen, (count, len(axes[0]), len(axes[1])))
    rows, columns = axes[0][row][:, :, None], axes[1][column][:, None, :]
    inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    index = np.where(inside, (image[:, None, None] * shape[0] + rows) * shape[1] + columns, 0)
    width = values.shape[3]
    found = tf.gather(tf.reshape(values, [-1, width]), index.reshape(len(chosen), -1))
    if inside.all():
        return found
    return found * inside.reshape(len(chosen), -1, 1).astype(np.float32)


def _reads(node: Any, axis: int, length: int, kernel: int) -> Array:
    """Return where each place of a convolution's output reads along an axis; beyond the ends is padding."""
    import numpy as np

    stride = int(node.attr["strides"].list.i[axis])
    dilation = int((list(node.attr["dilations"].list.i) or [1] * 4)[axis])
    reach = (kernel - 1) * dilation + 1
    padding = node.attr["padding"].s.decode()
    if padding == "EXPLICIT":
        before, after = list(node.attr["explicit_paddings"].list.i)[2 * axis : 2 * axis + 2]
    elif padding == "SAME":
        both = max((-(-length // stride) - 1) * stride + reach - length, 0)
        before, after = both // 2, both - both // 2
    else:
        before = after = 0
    places = (length + before + after - reach) // stride + 1
    begins, steps = np.arange(places) * stride - before, np.arange(kernel) * dilation
    return np.asarray(begins[:, None] + steps[None])
