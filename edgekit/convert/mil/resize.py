"""Resizing of images in ML programs: the last two dimensions, by nearest neighbour or bilinearly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgekit.convert.mil.operations import Given, evaluates
from edgekit.errors import ConversionError

if TYPE_CHECKING:
    from edgekit.convert.mil.values import Array


def grid(size: int, wanted: int, mode: str) -> Array:
    """Return where each of the `wanted` samples lies on 0 .. size - 1, by the sampling mode's name.

    The formulas are those of MIL's documentation of resize_bilinear.

    Raises:
        ConversionError: the mode is not known.
    """
    steps = np.arange(wanted, dtype=np.float64)
    if mode == "ALIGN_CORNERS" and wanted == 1:
        return np.array([(size - 1) / 2])
    if mode in {"STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"}:
        found = steps * ((size - 1) / max(1, wanted - 1))
    elif mode == "DEFAULT":
        found = steps * (size / wanted)
    elif mode == "OFFSET_CORNERS":
        delta = max(1, size - 1) / wanted
        found = 0.5 * delta + steps * delta
    elif mode == "UNALIGN_CORNERS":
        found = (steps + 0.5) * (size / wanted) - 0.5
    else:
        raise ConversionError(f"its sampling mode {mode!r} is not known")
    return np.clip(found, 0, size - 1)


def _blend(x: Array, axis: int, places: Array) -> Array:
    low = np.floor(places).astype(np.int64)
    high = np.minimum(low + 1, x.shape[axis] - 1)
    share = (places - low).astype(np.float32).reshape(-1, *[1] * (-1 - axis))
    return np.asarray(np.take(x, low, axis=axis) * (1 - share) + np.take(x, high, axis=axis) * share)


def _bilinear(x: Array, height: int, width: int, mode: str) -> Array:
    found = _blend(x, -2, grid(x.shape[-2], height, mode))
    return _blend(found, -1, grid(x.shape[-1], width, mode))


def _nearest(x: Array, height: int, width: int) -> Array:
    for axis, wanted in ((-2, height), (-1, width)):
        size = x.shape[axis]
        x = np.take(x, np.arange(wanted) * size // wanted, axis=axis)
    return x


def _scaled(given: Given) -> tuple[Array, int, int]:
    x = given["x"]
    height, width = given.number("scale_factor_height", 1.0), given.number("scale_factor_width", 1.0)
    return x, int(np.floor(x.shape[-2] * height)), int(np.floor(x.shape[-1] * width))


@evaluates("upsample_nearest_neighbor", exact=True)
def _upsample_nearest_neighbor(given: Given) -> Array:
    return _nearest(*_scaled(given))


@evaluates("resize_nearest_neighbor", exact=True)
def _resize_nearest_neighbor(given: Given) -> Array:
    return _nearest(given["x"], given.integer("target_size_height"), given.integer("target_size_width"))


@evaluates("upsample_bilinear")
def _upsample_bilinear(given: Given) -> Array:
    aligned = given.array("align_corners") is None or given.flag("align_corners")
    return _bilinear(*_scaled(given), "STRICT_ALIGN_CORNERS" if aligned else "UNALIGN_CORNERS")


@evaluates("resize_bilinear")
def _resize_bilinear(given: Given) -> Array:
    height, width = given.integer("target_size_height", 1), given.integer("target_size_width", 1)
    return _bilinear(given["x"], height, width, given.text("sampling_mode", "DEFAULT"))


@evaluates("resize")
def _resize(given: Given) -> Array:
    x, wanted, count = given["x"], given.ints("shape"), given.integer("resized_dims")
    if count != 2:  # noqa: PLR2004 - height and width
        raise ConversionError(f"it resizes {count} dimensions; 2 are evaluated here")
    height, width = (w or n for w, n in zip(wanted[-2:], x.shape[-2:], strict=True))
    mode = given.text("sampling_mode", "DEFAULT")
    if given.text("interpolation_mode", "LINEAR") == "LINEAR":
        return _bilinear(x, height, width, mode)
    if mode != "DEFAULT":
        raise ConversionError(f"its nearest neighbour in the sampling mode {mode} is not evaluated here")
    return _nearest(x, height, width)
