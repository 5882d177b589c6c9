"""Quantize the activations of a Core ML program, with grids from the calibration record.

A tensor is rounded to its grid by a `quantize` and made real again by a `dequantize`; Core ML computes what
stands between two such pairs in integers where the device can. A pair stands behind an operation and the
activation that follows it alone, and not behind what only moves values unless a computation reads it: so
every computation reads what was dequantized, and no value is rounded twice for nothing. The program's output
stays a float.
"""

from __future__ import annotations

import itertools
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.convert.coreml_program import apply, write
from edgekit.convert.matching import ranges_of, summed_up
from edgekit.convert.ranges import grid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgekit.convert.base import Work
    from edgekit.convert.mil.evaluate import Program
    from edgekit.convert.ranges import Grid

LINEAR = ("conv", "conv_transpose", "linear", "matmul")
COMPUTED = (
    *LINEAR, "add", "avg_pool", "concat", "max_pool", "maximum", "minimum", "mul", "pad", "relu", "relu6",
    "resize_bilinear", "resize_nearest_neighbor", "sub", "upsample_bilinear", "upsample_nearest_neighbor",
)  # fmt: skip
"""What is computed in 8 bits: it reads and gives what is on a grid. Means over the image and softmax are
not, as in ONNX: often they make the output, which is handed over as floats."""
MOVED = (
    "depth_to_space", "expand_dims", "pixel_shuffle", "pixel_unshuffle", "reshape", "slice_by_index",
    "slice_by_size", "space_to_batch", "batch_to_space", "space_to_depth", "split", "squeeze", "transpose",
)  # fmt: skip
"""What only moves values: its output is on its input's grid already."""
FUSED = (
    "clip", "leaky_relu", "relu", "relu6", "scaled_tanh", "sigmoid", "sigmoid_hard", "tanh",
)  # fmt: skip
"""Activation functions that Core ML joins with the operation before: no grid stands between."""
_READY = ("mil_backend::sanitize_name_strings", "common::dedup_op_and_var_names")
"""After these the package's tensors are called as the program's."""


def quantized_activations(
    program: Any, work: Work, target: str
) -> tuple[Any, dict[str, Grid], tuple[str, ...]]:
    """Put a quantization and its inverse behind every operation that is computed in 8 bits.

    Args:
        program: in 32-bit floats; it is changed.
        work: with the calibration record.
        target: the oldest system that the program is for.

    Returns:
        The program, its tensors' grids by their names in it, and the tensors that the record lacks.
    """
    apply(program, _READY)
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "float.mlpackage"
        write(program, package, target)
        grids, lacking = _grids(package, work)
    block = program.functions["main"]
    chosen = [var for var in _tensors(block) if var.name in grids and _on_grid(var, block.outputs)]
    for var in chosen:
        _quantize(block, var, grids[var.name])
    apply(program, ("common::const_deduplication", "common::dead_code_elimination"))
    used = {var.name for var in chosen}
    return program, {n: g for n, g in grids.items() if n in used}, tuple(n for n in lacking if n in used)


def _grids(package: Path, work: Work) -> tuple[dict[str, Grid], tuple[str, ...]]:
    from edgekit.convert.mil.evaluate import load

    program = load(package)
    ranges, lacking = ranges_of(
        work.recorded, work.samples, partial(_rows, program), partial(_extremes, program)
    )
    return {name: grid(*pair) for name, pair in ranges.items()}, lacking


def _rows(program: Program, samples: Any) -> Iterator[dict[str, tuple[int, float, float, float]]]:
    for x in samples:
        yield {name: summed_up(value) for name, value in _values(program, x)}


def _extremes(
    program: Program, names: list[str], samples: Any
) -> Iterator[Mapping[str, tuple[float, float]]]:
    wanted = set(names)
    for x in samples:
        yield {n: (float(v.min()), float(v.max())) for n, v in _values(program, x) if n in wanted}


def _values(program: Program, sample: Any) -> Iterator[tuple[str, Any]]:
    return program.steps({program.inputs[0].name: sample[None]})


def _tensors(block: Any) -> list[Any]:
    """Return the inputs and what is computed from them, in order."""
    made = [o.outputs for o in block.operations if o.op_type not in ("const", "cast")]
    return [*block.inputs.values(), *itertools.chain(*made)]


def _on_grid(var: Any, outputs: Any) -> bool:
    """Say whether a tensor is rounded to its grid."""
    readers = [operation.op_type for operation in var.child_ops]
    if not readers or (var in outputs and not any(r in COMPUTED for r in readers)):
        return False
    made = var.op.op_type if var.op is not None else None
    if made in (*COMPUTED, *MOVED) and _activated(var):
        return False
    if made is None or made in MOVED:
        return any(reader in COMPUTED for reader in readers)
    return made in (*COMPUTED, *FUSED) or any(reader in COMPUTED for reader in readers)


def _activated(var: Any) -> bool:
    """Say whether nothing but an activation function reads a tensor, moved or not."""
    while (
        len(var.child_ops) == 1 and var.child_ops[0].op_type in MOVED and len(var.child_ops[0].outputs) == 1
    ):
        (var,) = var.child_ops[0].outputs
    return len(var.child_ops) == 1 and var.child_ops[0].op_type in FUSED


def _quantize(block: Any, var: Any, on: Grid) -> None:
    """Put the pair behind a tensor; all that read it read the pair's output then."""
    import numpy as np
    from coremltools.converters.mil.mil import Builder

    operations = list(block.operations)
    follows = operations[operations.index(var.op) + 1] if var.op is not None else operations[0]
    scale, zero = np.float32(on.scale), np.int8(on.zero_point)
    with block:
        stored = Builder.quantize(
            input=var,
            scale=scale,
            zero_point=zero,
            output_dtype="int8",
            name=f"{var.name}_stored",
            before_op=follows,
        )
        real = Builder.dequantize(
            input=stored, scale=scale, zero_point=zero, name=f"{var.name}_real", before_op=follows
        )
        block.replace_uses_of_var_after_op(anchor_op=real.op, old_var=var, new_var=real)
