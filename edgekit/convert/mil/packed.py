"""Compressed weights and quantized values of ML programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgekit.convert.mil.operations import Given, evaluates
from edgekit.convert.mil.values import settle, unpack
from edgekit.errors import ConversionError

if TYPE_CHECKING:
    from edgekit.convert.mil.values import Array


def _along(values: Array | None, x: Array, axis: int) -> Array:
    """Return a scale or zero point as float32, in a shape that meets `x`; a vector lies along `axis`."""
    if values is None:
        return np.float32(0)  # type: ignore[return-value]
    values = values.astype(np.float32)
    if values.size == 1:
        return values.reshape(())
    shape = [1] * x.ndim
    shape[axis] = values.size
    return values.reshape(shape)


@evaluates("constexpr_affine_dequantize")
def _affine_dequantize(given: Given) -> Array:
    data, axis = given["quantized_data"], given.integer("axis", 0)
    zero = _along(given.array("zero_point"), data, axis)
    return np.asarray((data.astype(np.float32) - zero) * _along(given["scale"], data, axis))


@evaluates("dequantize", exact=True)
def _dequantize(given: Given) -> Array:
    x, axis = given["input"], given.integer("axis", 0)
    zero, scale = _along(given.array("zero_point"), x, axis), _along(given["scale"], x, axis)
    if zero.ndim or scale.ndim:
        return settle((x.astype(np.float32) - zero) * scale, given.dtype)
    levels = np.arange(256, dtype=np.uint8).view(x.dtype).astype(np.float32)
    return np.take(settle((levels - zero) * scale, given.dtype), x.view(np.uint8))


@evaluates("quantize", exact=True)
def _quantize(given: Given) -> Array:
    x, axis, name = given["input"], given.integer("axis", 0), given.text("output_dtype", "")
    if name not in {"int8", "uint8"}:
        raise ConversionError(f"its output_dtype {name!r} is not evaluated here")
    limits = np.iinfo(name)
    zero = _along(given.array("zero_point"), x, axis)
    found = np.divide(x, _along(given["scale"], x, axis))
    np.rint(found, out=found)
    found += zero
    return np.clip(found, limits.min, limits.max, out=found).astype(name)


@evaluates("constexpr_cast", exact=True)
def _constexpr_cast(given: Given) -> Array:
    return np.asarray(given["source_val"])


def _blocks(values: Array, shape: tuple[int, ...]) -> Array:
    """Return one value a block repeated to one an element."""
    for axis, (count, wanted) in enumerate(zip(values.shape, shape, strict=False)):
        if count != wanted:
            values = np.repeat(values, wanted // count, axis=axis)
    return values


def _shift_scale(data: Array, scale: Array, offset: Array | None) -> Array:
    data = data.astype(np.float32)
    if offset is not None:
        data = data - _blocks(offset.astype(np.float32), data.shape)
    return np.asarray(data * _blocks(scale, data.shape))


@evaluates("constexpr_blockwise_shift_scale")
def _blockwise_shift_scale(given: Given) -> Array:
    return _shift_scale(given["data"], given["scale"], given.array("offset"))


@evaluates("constexpr_lut_to_dense", exact=True)
def _lut_to_dense(given: Given) -> Array:
    """Two forms: packed indices with a shape and one table, or indices in their shape and a table a block."""
    indices, table = given["indices"], given["lut"]
    if given.array("shape") is None:
        return _looked_up(indices, table, given.integer("vector_axis", -1))
    shape = given.ints("shape")
    count = int(np.prod(shape, dtype=np.int64))
    bits = int(table.size).bit_length() - 1
    return np.asarray(table[unpack(indices, bits, count)]).reshape(shape)


def _looked_up(indices: Array, tables: Array, axis: int) -> Array:
    """Replace each index by the vector that its block's table has there, laid along `axis`.

    Args:
        indices: of rank K.
        tables: of rank K + 2: blocks, entries, the vector's length.
        axis: of the result.
    """
    entries, length = tables.shape[-2:]
    blocks = tables.shape[:-2]
    numbers = _blocks(np.arange(int(np.prod(blocks))).reshape(blocks), indices.shape)
    found = tables.reshape(-1, entries, length)[numbers, indices]  # indices' shape x length
    axis %= indices.ndim
    shape = [n * length if i == axis else n for i, n in enumerate(indices.shape)]
    return np.moveaxis(found, -1, axis + 1).reshape(shape)


@evaluates("constexpr_sparse_to_dense", exact=True)
def _sparse_to_dense(given: Given) -> Array:
    """Two forms: a packed mask with a shape, or a mask in its shape."""
    values, mask = given["nonzero_data"], given["mask"]
    if given.array("shape") is not None:
        shape = given.ints("shape")
        mask = unpack(mask, 1, int(np.prod(shape, dtype=np.int64))).reshape(shape)
    return _spread(values, mask)


def _spread(values: Array, mask: Array) -> Array:
    if int(np.count_nonzero(mask)) != values.size:
        raise ConversionError(f"its mask has {np.count_nonzero(mask)} places for {values.size} values")
    found = np.zeros(mask.shape, values.dtype)
    found[mask != 0] = values.reshape(-1)
    return found


@evaluates("constexpr_lut_to_sparse", exact=True)
def _lut_to_sparse(given: Given) -> tuple[Array, Array]:
    mask = given["indices_mask"]
    dense = _spread(given["indices_nonzero_data"], mask)
    axis, length = given.integer("vector_axis", -1), given["lut"].shape[-1]
    found = _looked_up(dense, given["lut"], axis)
    mask = np.repeat(mask, length, axis=axis) if length > 1 else mask
    return mask, found[mask != 0]


@evaluates("constexpr_sparse_blockwise_shift_scale")
def _sparse_blockwise_shift_scale(given: Given) -> tuple[Array, Array]:
    mask = given["data_mask"]
    dense = _spread(given["nonzero_data"], mask)
    return mask, _shift_scale(dense, given["scale"], given.array("offset"))[mask != 0]
