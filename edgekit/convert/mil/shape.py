"""Operations of ML programs that rearrange values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgekit.convert.mil.operations import Given, evaluates
from edgekit.errors import ConversionError

if TYPE_CHECKING:
    from edgekit.convert.mil.values import Array


@evaluates("reshape", exact=True)
def _reshape(given: Given) -> Array:
    x, shape = given["x"], given.ints("shape")
    if len(shape) == x.ndim:
        shape = [old if new == 0 else new for old, new in zip(x.shape, shape, strict=True)]
    return x.reshape(shape)


@evaluates("flatten2d", exact=True)
def _flatten2d(given: Given) -> Array:
    x, axis = given["x"], given.integer("axis", 1)
    return x.reshape(int(np.prod(x.shape[:axis], dtype=np.int64)), -1)


@evaluates("transpose", exact=True)
def _transpose(given: Given) -> Array:
    return np.transpose(given["x"], given.ints("perm"))


@evaluates("squeeze", exact=True)
def _squeeze(given: Given) -> Array:
    x = given["x"]
    axes = given.ints("axes", range(x.ndim))
    return np.squeeze(x, axis=tuple(a for a in axes if x.shape[a] == 1))


@evaluates("expand_dims", exact=True)
def _expand_dims(given: Given) -> Array:
    return np.expand_dims(given["x"], tuple(given.ints("axes")))


@evaluates("concat", exact=True)
def _concat(given: Given) -> Array:
    values, axis = given.many("values"), given.integer("axis")
    if not given.flag("interleave"):
        return np.concatenate(values, axis=axis)
    axis %= values[0].ndim
    shape = list(values[0].shape)
    shape[axis] *= len(values)
    return np.stack(values, axis=axis + 1).reshape(shape)


@evaluates("stack", exact=True)
def _stack(given: Given) -> Array:
    return np.stack(given.many("values"), axis=given.integer("axis"))


@evaluates("split", exact=True)
def _split(given: Given) -> tuple[Array, ...]:
    x, axis = given["x"], given.integer("axis")
    if given.array("split_sizes") is None:
        return tuple(np.split(x, given.integer("num_splits"), axis=axis))
    ends = np.cumsum(given.ints("split_sizes"))
    return tuple(np.split(x, [int(n) for n in ends[:-1]], axis=axis))


@evaluates("tile", exact=True)
def _tile(given: Given) -> Array:
    return np.tile(given["x"], given.ints("reps"))


@evaluates("reverse", exact=True)
def _reverse(given: Given) -> Array:
    x = given["x"]
    return np.flip(x, tuple(given.ints("axes", range(x.ndim))))


@evaluates("pad", exact=True)
def _pad(given: Given) -> Array:
    x, amounts, mode = given["x"], given.ints("pad"), given.text("mode", "constant")
    pairs = list(zip(amounts[::2], amounts[1::2], strict=True))
    pairs = [(0, 0)] * (x.ndim - len(pairs)) + pairs
    if mode == "constant":
        value = np.asarray(given.number("constant_val", 0.0)).astype(x.dtype)
        return np.pad(x, pairs, constant_values=value)
    if mode == "reflect":
        return np.pad(x, pairs, mode="reflect")
    if mode == "replicate":
        return np.pad(x, pairs, mode="edge")
    raise ConversionError(f"its mode {mode!r} is not known")


@evaluates("crop", exact=True)
def _crop(given: Given) -> Array:
    x = given["x"]
    (top, bottom), (left, right) = given.ints("crop_height"), given.ints("crop_width")
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]


@evaluates("sliding_windows", exact=True)
def _sliding_windows(given: Given) -> Array:
    x, axis = given["x"], given.integer("axis")
    axis %= x.ndim
    found = np.lib.stride_tricks.sliding_window_view(x, given.integer("size"), axis=axis)
    cut = [slice(None)] * x.ndim
    cut[axis] = slice(None, None, given.integer("stride", 1))
    return np.moveaxis(found[tuple(cut)], -1, axis + 1)


@evaluates("depth_to_space", exact=True)
def _depth_to_space(given: Given) -> Array:
    """Channels are (block row, block column, depth), as TensorFlow's."""
    x, block = given["x"], given.integer("block_size")
    n, c, h, w = x.shape
    return _apart(np.moveaxis(x.reshape(n, block, block, c // block**2, h, w), 3, 1))


@evaluates("space_to_depth", exact=True)
def _space_to_depth(given: Given) -> Array:
    blocks = np.moveaxis(_blocks(given["x"], given.integer("block_size")), 1, 3)
    return blocks.reshape(blocks.shape[0], -1, *blocks.shape[4:])


@evaluates("pixel_shuffle", exact=True)
def _pixel_shuffle(given: Given) -> Array:
    """Channels are (depth, block row, block column), as PyTorch's."""
    x, block = given["x"], given.integer("upscale_factor")
    n, c, h, w = x.shape
    return _apart(x.reshape(n, c // block**2, block, block, h, w))


@evaluates("pixel_unshuffle", exact=True)
def _pixel_unshuffle(given: Given) -> Array:
    blocks = _blocks(given["x"], given.integer("downscale_factor"))
    return blocks.reshape(blocks.shape[0], -1, *blocks.shape[4:])


def _apart(blocks: Array) -> Array:
    """Lay blocks out in space: N x depth x block row x block column x rows x columns."""
    n, depth, block, _, rows, columns = blocks.shape
    return blocks.transpose(0, 1, 4, 2, 5, 3).reshape(n, depth, rows * block, columns * block)


def _blocks(x: Array, block: int) -> Array:
    """Return N x C x H x W as `_apart` takes it."""
    n, c, h, w = x.shape
    return x.reshape(n, c, h // block, block, w // block, block).transpose(0, 1, 3, 5, 2, 4)


@evaluates("space_to_batch", exact=True)
def _space_to_batch(given: Given) -> Array:
    x, (rows, columns) = given["x"], given.ints("block_shape")
    top, bottom, left, right = given.ints("paddings")
    x = np.pad(x, [(0, 0), (0, 0), (top, bottom), (left, right)])
    n, c, h, w = x.shape
    parts = x.reshape(n, c, h // rows, rows, w // columns, columns).transpose(3, 5, 0, 1, 2, 4)
    return parts.reshape(n * rows * columns, c, h // rows, w // columns)


@evaluates("batch_to_space", exact=True)
def _batch_to_space(given: Given) -> Array:
    x, (rows, columns) = given["x"], given.ints("block_shape")
    top, bottom, left, right = given.ints("crops")
    n, c, h, w = x.shape
    parts = x.reshape(rows, columns, n // (rows * columns), c, h, w).transpose(2, 3, 4, 0, 5, 1)
    whole = parts.reshape(n // (rows * columns), c, h * rows, w * columns)
    return whole[:, :, top : h * rows - bottom, left : w * columns - right]
