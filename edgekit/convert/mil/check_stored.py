"""Hold a Core ML program to its precision: how weights are stored, and what is computed on which grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.convert.coreml_activations import LINEAR
from edgekit.convert.coreml_weights import SMALL
from edgekit.convert.ranges import Grid
from edgekit.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ON_GRIDS = (*LINEAR, "add", "avg_pool", "concat", "max_pool", "mul", "sub")
"""What reads nothing but dequantized values, beside activation functions that follow it."""
_WEIGHTS = ("weight", "y")
_STORED = {"w8": "constexpr_affine_dequantize", "w8a8": "constexpr_affine_dequantize"}


def check_weights(spec: Any, constants: Mapping[str, Any], precision: str) -> None:
    """Refuse a weight that is stored otherwise than its precision says.

    Args:
        spec: of the package.
        constants: the program's, worked out.
        precision: one of Core ML's.

    Raises:
        ConversionError: a weight is stored otherwise; it is named.
    """
    makers = _makers(spec)
    for operation in _operations(spec):
        for name in _named(operation, _WEIGHTS) if operation.type in LINEAR else ():
            maker = makers.get(name)
            if maker is None or name not in constants:
                continue  # computed, not a weight
            wanted = _kind(precision, constants[name].size)
            if maker.type != wanted:
                raise ConversionError(
                    f"the weight {name} of the Core ML program is {maker.type}, not {wanted}"
                )


def _kind(precision: str, size: int) -> str:
    if precision[0] == "p":
        return "constexpr_lut_to_dense" if size >= SMALL else "const"
    return _STORED.get(precision, "const")


def check_activations(spec: Any, constants: Mapping[str, Any], grids: frozenset[Grid]) -> None:
    """Refuse an operation that reads what was not quantized, and a grid that is not the calibration record's.

    Args:
        spec: of the package.
        constants: the program's, worked out.
        grids: those of the record, and of what had to be measured apart.

    Raises:
        ConversionError: an operation or a grid is not as it must be; it is named.
    """
    makers = _makers(spec)
    for operation in _operations(spec):
        label = f"{operation.type} ({operation.outputs[0].name if operation.outputs else ''})"
        if operation.type in ("quantize", "dequantize"):
            if _grid(operation, constants) not in grids:
                raise ConversionError(f"the Core ML program's {label} has a grid of its own")
        elif operation.type in ON_GRIDS:
            for name in _named(operation, ("x", "y", "values")):
                if name not in constants and _behind_casts(name, makers) != "dequantize":
                    raise ConversionError(
                        f"the Core ML program's {label} reads {name}, which is not quantized"
                    )


def _grid(operation: Any, constants: Mapping[str, Any]) -> Grid:
    (scale,), (zero,) = _named(operation, ("scale",)), _named(operation, ("zero_point",))
    return Grid(scale=float(constants[scale]), zero_point=int(constants[zero]))


def _behind_casts(name: str, makers: Mapping[str, Any]) -> str:
    """Return what made a value, casts left out; nothing for an input."""
    while name in makers and makers[name].type == "cast":
        (name,) = _named(makers[name], ("x",))
    return str(makers[name].type) if name in makers else ""


def _operations(spec: Any) -> Any:
    function = spec.mlProgram.functions["main"]
    return function.block_specializations[function.opset].operations


def _makers(spec: Any) -> dict[str, Any]:
    return {output.name: operation for operation in _operations(spec) for output in operation.outputs}


def _named(operation: Any, keys: tuple[str, ...]) -> Iterator[str]:
    for key in keys:
        if key in operation.inputs:
            yield from (a.name for a in operation.inputs[key].arguments if a.WhichOneof("binding") == "name")
