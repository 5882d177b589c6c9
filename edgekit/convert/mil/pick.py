"""Operations of ML programs that pick values out of tensors, or make tensors of few values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgekit.convert.mil.operations import Given, evaluates

if TYPE_CHECKING:
    from edgekit.convert.mil.values import Array


@evaluates("slice_by_index", exact=True)
def _slice_by_index(given: Given) -> Array:
    x = given["x"]
    begins, ends = given.ints("begin"), given.ints("end")
    steps = given.ints("stride", [1] * x.ndim)
    first, last = given.flags("begin_mask", x.ndim), given.flags("end_mask", x.ndim)
    single = given.flags("squeeze_mask", x.ndim)
    cut: list[slice | int] = []
    for axis in range(x.ndim):
        begin = None if first[axis] else begins[axis]
        if single[axis]:
            cut.append(begin or 0)
        else:
            cut.append(slice(begin, None if last[axis] else ends[axis], steps[axis]))
    return np.asarray(x[tuple(cut)])


@evaluates("slice_by_size", exact=True)
def _slice_by_size(given: Given) -> Array:
    x = given["x"]
    begins = [b % n if b < 0 else b for b, n in zip(given.ints("begin"), x.shape, strict=True)]
    sizes = given.ints("size")
    cut = (slice(b, None if s == -1 else b + s) for b, s in zip(begins, sizes, strict=True))
    return np.asarray(x[tuple(cut)])


@evaluates("gather", exact=True)
def _gather(given: Given) -> Array:
    x, indices, axis = given["x"], given["indices"].astype(np.int64), given.integer("axis", 0)
    batch = given.integer("batch_dims", 0)
    if not batch:
        return np.asarray(np.take(x, indices, axis=axis))
    outer = x.shape[:batch]
    axis = axis % x.ndim - batch
    rows = x.reshape(-1, *x.shape[batch:])
    chosen = indices.reshape(-1, *indices.shape[batch:])
    found = np.stack([np.take(row, one, axis=axis) for row, one in zip(rows, chosen, strict=True)])
    return found.reshape(*outer, *found.shape[1:])


@evaluates("gather_along_axis", exact=True)
def _gather_along_axis(given: Given) -> Array:
    return np.take_along_axis(given["x"], given["indices"].astype(np.int64), axis=given.integer("axis", 0))


@evaluates("gather_nd", exact=True)
def _gather_nd(given: Given) -> Array:
    x, indices = given["x"], given["indices"].astype(np.int64)
    batch = given.integer("batch_dims", 0)
    outer = np.indices(indices.shape[:batch])
    fill = (1,) * (indices.ndim - 1 - batch)
    places = [n.reshape(*n.shape, *fill) for n in outer]
    return np.asarray(x[(*places, *np.moveaxis(indices, -1, 0))])


@evaluates("topk", exact=True)
def _topk(given: Given) -> tuple[Array, Array]:
    x, axis, count = given["x"], given.integer("axis", -1), given.integer("k", 1)
    order = np.argsort(x if given.flag("ascending") else -x, axis=axis, kind="stable")
    order = np.take(order, range(count), axis=axis)
    return np.take_along_axis(x, order, axis=axis), order


@evaluates("argsort", exact=True)
def _argsort(given: Given) -> Array:
    x = given["x"]
    return np.argsort(x if given.flag("ascending") else -x, axis=given.integer("axis", -1), kind="stable")


@evaluates("shape", exact=True)
def _shape(given: Given) -> Array:
    return np.array(given["x"].shape, np.int32)


@evaluates("fill", exact=True)
def _fill(given: Given) -> Array:
    value = given.array("value")
    return np.full(given.ints("shape"), np.float32(0) if value is None else value)


@evaluates("range_1d", exact=True)
def _range_1d(given: Given) -> Array:
    return np.arange(*(given[name].item() for name in ("start", "end", "step")))


@evaluates("one_hot", exact=True)
def _one_hot(given: Given) -> Array:
    indices, size = given["indices"].astype(np.int64), given.integer("one_hot_vector_size")
    hot = np.arange(size) == indices[..., None]
    found = np.where(hot, given.number("on_value", 1.0), given.number("off_value", 0.0))
    return np.moveaxis(found, -1, given.integer("axis", -1))


@evaluates("band_part", exact=True)
def _band_part(given: Given) -> Array:
    x, lower, upper = given["x"], given.integer("lower", -1), given.integer("upper", -1)
    rows, columns = np.indices(x.shape[-2:])
    kept = (lower < 0) | (rows - columns <= lower)
    return np.where(kept & ((upper < 0) | (columns - rows <= upper)), x, x.dtype.type(0))
