"""Quantize a float .tflite by litert-quantizer, with ranges from the calibration record."""

from __future__ import annotations

import contextlib
import io
from functools import partial
from typing import TYPE_CHECKING, Any

from edgekit.convert.matching import ranges_of, summed_up
from edgekit.convert.ranges import grid
from edgekit.convert.tflite_biases import biases_in_16_bits
from edgekit.convert.tflite_buffers import apart
from edgekit.convert.tflite_run import flowing, open_interpreter
from edgekit.errors import ConversionError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np

    from edgekit.convert.base import Work

    Ranges = Mapping[str, tuple[float, float]]

CALIBRATED = ("int8", "w8a16")


def quantized(content: bytes, precision: str, work: Work) -> tuple[bytes, dict[str, str]]:
    """Return a float .tflite in another precision, and what made it.

    Args:
        content: the float file.
        precision: "fp16", "int8", "w8a16", "dyn8" or "w8".
        work: with the calibration record, for "int8" and "w8a16".

    Raises:
        ConversionError: litert-quantizer refused it; or a weight is beyond what 16 bits hold.
    """
    if precision not in CALIBRATED:
        made = _quantize(content, _recipe(precision), None)
        return biases_in_16_bits(made) if precision == "fp16" else made, {}
    ranges, lacking = work.once("tflite ranges", lambda: _ranges(content, work))
    if precision == "int8":  # the very grid: low and high land on steps
        ranges = {name: (grid(*pair).low, grid(*pair).high) for name, pair in ranges.items()}
    found = {"quantizer": f"litert-quantizer, 8-bit weights per channel, {work.recorded.method}"}
    if lacking:
        found["measured_apart"] = ", ".join(lacking)
    return _quantize(content, _recipe(precision), ranges), found


def _recipe(precision: str) -> Any:
    try:
        from litert_quantizer import algorithm_manager, qtyping, recipe, recipe_manager
    except ImportError as error:
        raise MissingExtraError("litert-quantizer", "convert") from error
    plain = {
        "int8": recipe.static_wi8_ai8,
        "dyn8": recipe.dynamic_wi8_afp32,
        "w8": recipe.weight_only_wi8_afp32,
    }
    if precision in plain:
        return plain[precision]()
    manager = recipe_manager.RecipeManager()
    names, keys = qtyping.TFLOperationName, algorithm_manager.AlgorithmName
    if precision == "fp16":
        manager.add_weight_only_config(
            regex=".*", operation_name=names.ALL_SUPPORTED, num_bits=16, algorithm_key=keys.FLOAT_CASTING
        )
    else:
        manager.add_static_config(".*", names.ALL_SUPPORTED, activation_num_bits=16, weight_num_bits=8)
        for end in (names.INPUT, names.OUTPUT):  # floats in and out: no device has to know 16-bit integers
            manager.add_quantization_config(".*", end, algorithm_key=keys.NO_QUANTIZE)
    return manager.get_quantization_recipe()


def _quantize(content: bytes, recipe: Any, ranges: Ranges | None) -> bytes:
    import numpy as np
    from litert_quantizer import quantizer

    shape = (1, 1, 1, 1)
    given: dict[str, Any] | None = None
    if ranges is not None:
        given = {
            n: {"min": np.full(shape, low), "max": np.full(shape, high)} for n, (low, high) in ranges.items()
        }
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # its progress bar can't be turned off
            result = quantizer.Quantizer(bytearray(apart(content)), recipe).quantize(
                given, enable_progress_bar=False, enable_progress_report=False
            )
    except (ValueError, RuntimeError, KeyError, NotImplementedError) as error:
        raise ConversionError(
            f"litert-quantizer refused the float .tflite ({str(error)[:200]})", evidence=str(error)
        ) from error
    return bytes(result.quantized_model)


def _ranges(content: bytes, work: Work) -> tuple[dict[str, tuple[float, float]], tuple[str, ...]]:
    return ranges_of(work.recorded, work.samples, partial(_rows, content), partial(_extremes, content))


def _rows(content: bytes, samples: Any) -> Iterator[dict[str, tuple[int, float, float, float]]]:
    for held in _values(content, samples, flowing(content)):
        yield {name: summed_up(value) for name, value in held.items()}


def _extremes(content: bytes, names: list[str], samples: Any) -> Iterator[dict[str, tuple[float, float]]]:
    for held in _values(content, samples, set(names)):
        yield {name: (float(value.min()), float(value.max())) for name, value in held.items()}


def _values(content: bytes, samples: Any, names: set[str]) -> Iterator[dict[str, np.ndarray[Any, Any]]]:
    """Run a float .tflite; yield the float tensors of these names, input by input."""
    import numpy as np

    interpreter = open_interpreter(content, keep_all=True)
    into = interpreter.get_input_details()[0]["index"]
    kept = [
        (d["index"], d["name"])
        for d in interpreter.get_tensor_details()
        if d["dtype"] == np.float32 and d["name"] in names
    ]
    for row in samples:
        interpreter.set_tensor(into, row[None])
        interpreter.invoke()
        yield {name: interpreter.get_tensor(index) for index, name in kept}
