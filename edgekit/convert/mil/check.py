"""Hold a Core ML package against what it was made from: its inputs and outputs, and each weight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from edgekit.convert.ranges import Grid
    from edgekit.source import FrozenGraph

    Array = np.ndarray[Any, Any]

HALF = (2.0**-10, 6e-8)
"""Relative and absolute: half a unit in the last place of float16 is 2^-11, its smallest step 6e-8."""
_TOLERANCE = {"fp32": (1e-6, 1e-30)}
"""Of what is held as it is; HALF for all other precisions."""
LAYERS = ("Conv2D", "DepthwiseConv2dNative", "MatMul", "Conv2DBackpropInput")
"""The operations whose weights a precision may store in fewer bits."""


def check_program(
    path: Path, frozen: FrozenGraph, precision: str, grids: frozenset[Grid] = frozenset()
) -> None:
    """Hold a package against the frozen graph: inputs, outputs, each weight as it is stored, activations.

    Args:
        path: the .mlpackage folder.
        frozen: what it was made from.
        precision: one of Core ML's.
        grids: the only grids that activations may have; used by "w8a8".

    Raises:
        ConversionError: something is missing, unknown or changed; it is named.
    """
    from edgekit.convert.mil import check_stored
    from edgekit.convert.mil.evaluate import load, read_spec

    spec = read_spec(path)
    _check_ends(spec, frozen)
    program = load(path, spec)
    found = [c for c in program.constants.values() if getattr(c, "dtype", None) == "float32"]
    _check_weights(frozen.weights, found, precision)
    check_stored.check_weights(spec, program.constants, precision)
    if precision == "w8a8":
        check_stored.check_activations(spec, program.constants, grids)


def _check_ends(spec: Any, frozen: FrozenGraph) -> None:
    for what, features, wanted in (
        ("input", spec.description.input, frozen.source.input),
        ("output", spec.description.output, frozen.source.output),
    ):
        if len(features) != 1 or features[0].name != wanted.name:
            raise ConversionError(
                f"the Core ML package's {what}s are {[f.name for f in features]}, not {wanted.name}"
            )
        shape = tuple(features[0].type.multiArrayType.shape)
        if shape and shape != wanted.shape:
            raise ConversionError(
                f"the Core ML package's {what} has the shape {shape}, the source's {wanted.shape}"
            )


def _check_weights(weights: Mapping[str, tuple[str, Array]], found: list[Array], precision: str) -> None:
    by_size: dict[int, list[Array]] = {}
    for array in found:
        by_size.setdefault(array.size, []).append(array)
    for name, (op, value) in weights.items():
        if value.size < 2 or not value.any():  # noqa: PLR2004 - scalars become parameters, added zeros go
            continue
        candidates = by_size.get(value.size, [])
        kept = precision if op in LAYERS else {"fp32": "fp32"}.get(precision, "fp16")
        if not any(_same(form, array, kept) for form in _forms(op, value) for array in candidates):
            raise ConversionError(f"the Core ML program lacks the weight {name} of {op}, or has changed it")


def _forms(op: str, value: Array) -> Iterator[Array]:
    """Yield a weight as a MIL operation of its kind may hold it."""
    if op in ("Conv2D", "Conv2DBackpropInput"):  # HWIO -> OIHW, HWOI -> IOHW
        yield value.transpose(3, 2, 0, 1)
    elif op == "DepthwiseConv2dNative":  # HWCM -> (CM)1HW
        yield value.transpose(2, 3, 0, 1)
    elif op == "MatMul":
        yield value
        yield value.T
    else:
        yield value


def _same(wanted: Array, got: Array, precision: str) -> bool:
    """Say whether a weight, made a float again, is what its precision must make of the wanted one."""
    wanted = wanted.reshape(got.shape).astype(np.float64)
    error = np.abs(got - wanted)
    if precision in ("w8", "w8a8"):
        return any(bool((error <= _half_steps(wanted, axis)).all()) for axis in range(wanted.ndim))
    if precision[0] == "p":
        return _nearest(wanted, got, error, int(precision[1:]))
    relative, absolute = _TOLERANCE.get(precision, HALF)
    return bool((error <= relative * np.abs(wanted) + absolute).all())


def _half_steps(wanted: Array, axis: int) -> Array:
    """Return half a step of each channel's grid, and what 16 bits cost beside."""
    others = tuple(i for i in range(wanted.ndim) if i != axis)
    peak = np.abs(wanted).max(axis=others, keepdims=True)
    relative, absolute = HALF
    return np.asarray(peak / 254 * (1 + 1e-4) + peak * relative + 64 * absolute)


def _nearest(wanted: Array, got: Array, error: Array, bits: int) -> bool:
    """Say whether each value became the palette's nearest; a small weight has none and stays."""
    relative, absolute = HALF
    slack = (
        2 * relative * np.maximum(np.abs(wanted), np.abs(got)) + absolute
    )  # weight and palette are rounded
    palette = np.unique(got).astype(np.float64)
    if len(palette) > 1 << bits:
        return bool((error <= slack).all())
    middles = (palette[1:] + palette[:-1]) / 2
    best = np.abs(palette[np.searchsorted(middles, wanted)] - wanted)
    return bool((error <= best + slack).all()) and float((error**2).sum()) < 0.5 * float((wanted**2).sum())
