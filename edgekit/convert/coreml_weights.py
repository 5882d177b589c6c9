"""Store the weights of a Core ML program in 8 bits or fewer; they become floats before they are used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.convert.coreml_palettes import clustered
from edgekit.convert.coreml_program import apply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Array = np.ndarray[Any, Any]

OUTPUTS = {
    "conv": ("weight", 0),
    "conv_transpose": ("weight", 1),
    "linear": ("weight", 0),
    "matmul": ("y", -1),
}
"""Where the weight of an operation stands, and its axis of output channels."""
LARGEST = 127
SMALL = 2048
"""Weights of fewer elements get no palette: it would take more room than it saves."""
_STEP = 2.0**-11
"""Half a unit in the last place of float16."""


def linear_weights(program: Any, originals: Mapping[bytes, Array]) -> list[str]:
    """Store each weight as signed 8-bit integers, one scale an output channel, no zero point.

    Args:
        program: in 16-bit floats; it is changed.
        originals: the weights in 32-bit floats, by the bytes that 16-bit floats make of them.

    Returns:
        The names of the weights.
    """
    from coremltools.converters.mil.mil import Builder

    def store(name: str, weight: Array, axis: int) -> Any:
        stored, scale = eight_bits(originals.get(weight.tobytes(), weight), axis)
        return Builder.constexpr_affine_dequantize(
            quantized_data=stored, scale=scale, zero_point=np.int8(0), axis=axis, name=f"{name}_int8"
        )

    return _replaced(program, store)


def eight_bits(weight: Array, axis: int) -> tuple[Array, Array]:
    """Return a weight as int8 and its scales as float16, one an element of `axis`.

    The integers are those of the other formats: rounded with a scale of float32. Only where float16 can't
    hold that scale to its 11 bits, below 6e-5, are they rounded with the scale that it holds.
    """
    others = tuple(i for i in range(weight.ndim) if i != axis)
    peak = np.abs(weight.astype(np.float32)).max(axis=others, keepdims=True)
    scale = np.where(peak > 0, peak / np.float32(LARGEST), np.float32(1))
    held = scale.astype(np.float16)
    held = np.where(
        held.astype(np.float32) * LARGEST < peak * (1 - 2 * _STEP), np.nextafter(held, np.float16(1)), held
    )
    far = np.abs(held.astype(np.float32) - scale) > _STEP * scale
    stored = np.rint(weight / np.where(far, held.astype(np.float32), scale)).clip(-LARGEST, LARGEST)
    return stored.astype(np.int8), held.reshape(-1)


def palettes(program: Any, bits: int) -> list[str]:
    """Store each large weight as indices into a palette of its own, made by k-means.

    Args:
        program: in 16-bit floats; it is changed.
        bits: of an index: 4, 6 or 8.

    Returns:
        The names of the weights.
    """
    from coremltools.converters.mil.mil import Builder

    def store(name: str, weight: Array, _axis: int) -> Any:
        if weight.size < SMALL:
            return None
        indices, palette = palette_of(weight, bits)
        return Builder.constexpr_lut_to_dense(
            indices=packed(indices.reshape(-1), bits),
            lut=palette,
            shape=np.array(weight.shape, np.uint32),
            name=f"{name}_palette{bits}",
        )

    return _replaced(program, store)


def palette_of(weight: Array, bits: int) -> tuple[Array, Array]:
    """Return indices in the weight's shape and the palette, 2^bits values as float16, the smallest first.

    All but the best palette of so many values there is; see `coreml_palettes`.
    """
    values, places, counts = np.unique(weight.astype(np.float16), return_inverse=True, return_counts=True)
    palette = np.zeros(1 << bits, np.float16)
    count = min(len(values), 1 << bits)
    clusters, means = clustered(values.astype(np.float64), counts, count)
    palette[:count] = means
    return clusters.astype(np.uint8)[places].reshape(weight.shape), palette


def packed(indices: Array, bits: int) -> Array:
    """Return indices of a few bits packed into bytes, the least significant bits first."""
    split = np.unpackbits(indices[:, None], axis=1, count=bits, bitorder="little")
    return np.packbits(split, bitorder="little")


def weights_of(program: Any) -> dict[bytes, Array]:
    """Return a float32 program's weights by the bytes that 16-bit floats make of them."""
    found = (source.val for source, _ in _weights(program.functions["main"]))
    with np.errstate(over="ignore"):
        return {weight.astype(np.float16).tobytes(): weight for weight in found}


def _weights(block: Any) -> Iterator[tuple[Any, int]]:
    """Yield each constant weight of an operation and its axis of output channels."""
    for operation in list(block.operations):
        where, axis = OUTPUTS.get(operation.op_type, ("", 0))
        source = operation.inputs.get(where) if where else None
        if source is None or source.op is None or source.op.op_type != "const":
            continue
        if operation.op_type == "matmul" and operation.transpose_y.val:
            axis = -2
        yield source, axis % source.rank


def _replaced(program: Any, store: Callable[[str, Array, int], Any]) -> list[str]:
    """Replace the constant weights by what `store` makes of them; None leaves one as it is."""
    from coremltools.converters.mil.mil import Builder

    block, made = program.functions["main"], {}
    with block:
        for source, axis in _weights(block):
            if source.name in made:
                continue
            with Builder.set_before_op(source.op):
                found = store(source.name, source.val, axis)
            made[source.name] = found
            if found is not None:
                block.replace_uses_of_var_after_op(
                    anchor_op=source.op, old_var=source, new_var=found, no_check_var_types=True
                )
    apply(program, ("common::dead_code_elimination",))
    return [name for name, found in made.items() if found is not None]
