"""Hold a Core ML package against what it was made from: its inputs and outputs, and each weight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import numpy as np

    from edgekit.source import FrozenGraph

_TOLERANCE = {"fp32": (1e-6, 1e-30), "fp16": (2.0**-10, 6e-8)}
"""Relative and absolute: half a unit in the last place of float16 is 2^-11, its smallest step 6e-8."""


def check_program(path: Path, frozen: FrozenGraph, precision: str) -> None:
    """Hold a package against the frozen graph: inputs, outputs, and each weight, decompressed.

    Args:
        path: the .mlpackage folder.
        frozen: what it was made from.
        precision: "fp32" or "fp16".

    Raises:
        ConversionError: something is missing, unknown or changed; it is named.
    """
    from edgekit.convert.mil.evaluate import load, read_spec

    spec = read_spec(path)
    _check_ends(spec, frozen)
    found = [c.ravel() for c in load(path, spec).constants.values() if getattr(c, "dtype", None) == "float32"]
    _check_weights(frozen.weights, found, precision)


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


def _check_weights(
    weights: Mapping[str, tuple[str, np.ndarray[Any, Any]]], found: list[np.ndarray[Any, Any]], precision: str
) -> None:
    by_size: dict[int, list[np.ndarray[Any, Any]]] = {}
    for array in found:
        by_size.setdefault(array.size, []).append(array)
    for name, (op, value) in weights.items():
        if value.size < 2 or not value.any():  # noqa: PLR2004 - scalars become parameters, added zeros go
            continue
        candidates = by_size.get(value.size, [])
        forms = list(_forms(op, value))
        if not any(_same(form, array, precision) for form in forms for array in candidates):
            raise ConversionError(f"the Core ML program lacks the weight {name} of {op}, or has changed it")


def _forms(op: str, value: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
    """Yield a weight as a MIL operation of its kind may hold it, flat."""
    if op == "Conv2D":  # HWIO -> OIHW
        yield value.transpose(3, 2, 0, 1).ravel()
    elif op == "DepthwiseConv2dNative":  # HWCM -> (CM)1HW
        yield value.transpose(2, 3, 0, 1).ravel()
    elif op == "MatMul":
        yield value.ravel()
        yield value.T.ravel()
    else:
        yield value.ravel()


def _same(wanted: np.ndarray[Any, Any], got: np.ndarray[Any, Any], precision: str) -> bool:
    import numpy as np

    relative, absolute = _TOLERANCE[precision]
    return bool(np.allclose(got.astype(np.float64), wanted.astype(np.float64), rtol=relative, atol=absolute))
