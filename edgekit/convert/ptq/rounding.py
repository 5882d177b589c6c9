"""Round weights so that an operation's outputs stay, not each weight.

One weight after another is rounded, and those that are left make up for its error as far as the inputs allow.
Source: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers"
(2023), section 3; the order by the diagonal is theirs too. What a bias can make up for (the inputs' mean) is
left to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.convert.ptq.grids import LEVELS, weight_steps

if TYPE_CHECKING:
    import numpy as np

ROWS = 8192
"""Input patches of an operation that are looked at, at most."""
WIDEST = 2560
"""Inputs of one output, at most: beyond it, the matrix of second moments takes minutes."""
_DAMPING = 0.01
_BLOCK = 64


def moments(values: Any, node: Any, kernel: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Return the covariance of a linear operation's inputs, groups x inputs x inputs.

    Args:
        values: what the operation reads, batch first.
        node: the operation.
        kernel: the shape of its weights.
    """
    import tensorflow as tf

    patches = _patches(values, node, kernel)
    if node.op == "DepthwiseConv2dNative":
        places = tf.reshape(patches, [-1, kernel[0] * kernel[1], kernel[2]])
        rows = tf.transpose(_some(places), [2, 0, 1])
    else:
        rows = _some(tf.reshape(patches, [-1, patches.shape[-1]]))[None]
    rows -= tf.reduce_mean(rows, axis=1, keepdims=True)
    found: np.ndarray[Any, Any] = (tf.matmul(rows, rows, transpose_a=True) / rows.shape[1]).numpy()
    return found


def _some(rows: Any) -> Any:
    step = -(-rows.shape[0] // ROWS)
    return rows[::step]


def _patches(values: Any, node: Any, kernel: tuple[int, ...]) -> Any:
    import tensorflow as tf

    if node.op == "MatMul":
        return values
    strides, padding = list(node.attr["strides"].list.i), node.attr["padding"].s.decode()
    if padding == "EXPLICIT":
        pads = list(node.attr["explicit_paddings"].list.i)
        values, padding = tf.pad(values, [pads[i : i + 2] for i in range(0, 8, 2)]), "VALID"
    if kernel[0] == kernel[1] == 1:
        return values[:, :: strides[1], :: strides[2], :]
    dilations = list(node.attr["dilations"].list.i) or [1, 1, 1, 1]
    return tf.image.extract_patches(values, [1, *kernel[:2], 1], strides, dilations, padding)


def rounded_together(rows: np.ndarray[Any, Any], covariance: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return weights on their grids, rounded so that the outputs' expected squared error is small.

    The largest weight of each output stays what it is, so that the grid does.

    Args:
        rows: groups x outputs x inputs.
        covariance: groups x inputs x inputs.
    """
    import numpy as np

    steps = weight_steps(rows)
    diagonal = np.einsum("gii->gi", covariance).astype(np.float64)
    order = np.argsort(-diagonal, axis=1, kind="stable")
    moved = np.take_along_axis(rows, order[:, None, :], axis=2)
    spread = np.take_along_axis(np.take_along_axis(covariance, order[:, :, None], 1), order[:, None, :], 2)
    factor = _factor(spread.astype(np.float64))
    fixed = np.abs(moved) >= LEVELS * steps * (1 - 1e-6)
    found = _one_by_one(moved, steps, factor, fixed)
    return np.take_along_axis(found, np.argsort(order, axis=1, kind="stable")[:, None, :], axis=2)


def _factor(spread: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return U with U'U the inverse of the damped covariance, upper triangular."""
    import numpy as np

    size = spread.shape[-1]
    mean = np.einsum("gii->g", spread) / size
    largest = max(float(mean.max()), 1e-12)
    damping = np.maximum(_DAMPING * mean, 1e-6 * largest)
    damped = (spread + spread.swapaxes(1, 2)) / 2 + damping[:, None, None] * np.eye(size)
    return np.linalg.cholesky(np.linalg.inv(damped)).swapaxes(1, 2)


def _one_by_one(
    rows: np.ndarray[Any, Any],
    steps: np.ndarray[Any, Any],
    factor: np.ndarray[Any, Any],
    fixed: np.ndarray[Any, Any],
) -> np.ndarray[Any, Any]:
    import numpy as np

    left, done = rows.astype(np.float64), np.empty(rows.shape)
    size = rows.shape[2]
    for begin in range(0, size, _BLOCK):
        end = min(begin + _BLOCK, size)
        errors = np.empty((*rows.shape[:2], end - begin))
        for place in range(begin, end):
            wanted = np.where(fixed[:, :, place], rows[:, :, place], left[:, :, place])
            taken = np.clip(np.rint(wanted / steps[:, :, 0]), -LEVELS, LEVELS) * steps[:, :, 0]
            error = (left[:, :, place] - taken) / factor[:, None, place, place]
            left[:, :, place:end] -= error[:, :, None] * factor[:, None, place, place:end]
            done[:, :, place], errors[:, :, place - begin] = taken, error
        left[:, :, end:] -= errors @ factor[:, begin:end, end:]
    return done
