"""How what a linear operation reads varies together, from some of its places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

ROWS, ROWS_EACH, MOST = 4096, 16, 8192
"""Places that are looked at: so many, or so many for each input of an output, but no more than MOST."""
APART = 1024
"""The same for a depthwise convolution, whose channels have a small matrix each."""
WIDEST = 2560
"""Inputs of one output, at most: beyond it, the matrix of second moments takes minutes."""


def moments(values: Any, node: Any, kernel: tuple[int, ...]) -> Array:
    """Return the covariance of a linear operation's inputs, groups x inputs x inputs.

    Args:
        values: what the operation reads, batch first.
        node: the operation.
        kernel: the shape of its weights.
    """
    rows = read_rows(values, node, kernel)
    return covariance(rows, rows)


def read_rows(values: Any, node: Any, kernel: tuple[int, ...]) -> Any:
    """Return what some places of a linear operation's output read: places x inputs x groups.

    Args:
        values: what the operation reads, batch first.
        node: the operation.
        kernel: the shape of its weights.
    """
    import tensorflow as tf

    if node.op == "MatMul":
        return _drawn(values, values.shape[1], apart=False)[:, :, None]
    size = _size(node, kernel)
    rows = _patches(values, node, kernel, size)
    return rows if node.op == "DepthwiseConv2dNative" else tf.reshape(rows, [-1, size, 1])


def made_rows(values: Any, node: Any, kernel: tuple[int, ...]) -> Any:
    """Return what an operation gives at the places that `read_rows` looks at: places x outputs x groups.

    Args:
        values: what the operation gives, batch first.
        node: the operation.
        kernel: the shape of its weights.
    """
    import tensorflow as tf

    width = values.shape[-1]
    apart = node.op == "DepthwiseConv2dNative"
    rows = _drawn(tf.reshape(values, [-1, width]), _size(node, kernel), apart=apart)
    if not apart:
        return rows[:, :, None]
    if kernel[3] == 1:
        return rows[:, None]
    return tf.transpose(tf.reshape(rows, [-1, kernel[2], kernel[3]]), [0, 2, 1])


def covariance(rows: Any, others: Any, weights: Any = None) -> Array:
    """Return how columns vary together, groups x columns x the others' columns.

    Args:
        rows: places x columns x groups.
        others: the same places of something else.
        weights: what each place counts, places x groups; None counts all alike.
    """
    import tensorflow as tf

    total = float(rows.shape[0]) if weights is None else tf.reduce_sum(weights, 0)
    shares = (tf.ones((rows.shape[0], 1)) if weights is None else weights) / total
    left = _centred(rows, shares)
    right = left if others is rows else others * tf.sqrt(shares)[:, None]  # one mean taken out is enough
    if rows.shape[2] == 1:
        found = tf.matmul(left[:, :, 0], right[:, :, 0], transpose_a=True)[None]
    else:
        left = tf.transpose(left, [2, 1, 0])
        right = left if others is rows else tf.transpose(right, [2, 1, 0])
        found = tf.matmul(left, right, transpose_b=True)
    result: Array = found.numpy()
    return result


def _centred(rows: Any, shares: Any) -> Any:
    """Return rows without their mean, times the root of each place's share."""
    import tensorflow as tf

    return (rows - tf.reduce_sum(rows * shares[:, None], 0)) * tf.sqrt(shares)[:, None]


def _size(node: Any, kernel: tuple[int, ...]) -> int:
    """Return how many inputs one output has."""
    if node.op == "MatMul":
        return int(kernel[1] if node.attr["transpose_b"].b else kernel[0])
    return int(kernel[0] * kernel[1] * (1 if node.op == "DepthwiseConv2dNative" else kernel[2]))


def _wanted(size: int, *, apart: bool) -> int:
    return max(APART, ROWS_EACH * size) if apart else min(max(ROWS, ROWS_EACH * size), MOST)


def _drawn(values: Any, size: int, *, apart: bool) -> Any:
    """Return some rows of a matrix."""
    import tensorflow as tf

    return tf.gather(values, _chosen(values.shape[0], _wanted(size, apart=apart)))


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

    apart = node.op == "DepthwiseConv2dNative"
    count, shape = values.shape[0], values.shape[1:3]
    axes = [_reads(node, axis, shape[axis - 1], kernel[axis - 1]) for axis in (1, 2)]
    chosen = _chosen(count * len(axes[0]) * len(axes[1]), _wanted(size, apart=apart))
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
