"""TFLite: float by TensorFlow's converter, fp16 and int8 from that by litert-quantizer, proved by LiteRT."""

from __future__ import annotations

import contextlib
import io
import re
from typing import TYPE_CHECKING, Any

from edgekit.artifact import TensorSpec
from edgekit.convert.base import Made, Work
from edgekit.convert.ranges import Ranges
from edgekit.errors import ConversionError, MissingExtraError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

THREADS = 2
_NAMED = re.compile(r"(?:Custom|Flex) ops: ([^\n]+)")


class TfliteConverter:
    """The format "tflite"; see `base.Converter`.

    fp32: as converted. fp16: weights in 16 bits, input and output float32. int8: full integer, input and
    output int8, weights symmetric per channel, activations asymmetric per tensor.
    """

    suffix = ".tflite"
    libraries = ("tensorflow", "tensorflow-cpu", "litert-quantizer", "ai-edge-litert")

    def convert(self, work: Work, precision: str, path: Path) -> Made:
        """Write a .tflite file."""
        content = work.once("tflite", lambda: _float_file(work))
        provenance = {}
        if precision == "fp16":
            content = _half(content)
        elif precision == "int8":
            ranges = work.once("tflite ranges", lambda: observe(content, _samples(work)))
            content = _integer(content, ranges)
            provenance = {"quantizer": "litert-quantizer static_wi8_ai8, min/max"}
        path.write_bytes(content)
        interpreter = open_interpreter(path.read_bytes())
        return Made(
            inputs=tuple(_spec(d, work.frozen.source.input.layout) for d in interpreter.get_input_details()),
            outputs=tuple(
                _spec(d, work.frozen.source.output.layout) for d in interpreter.get_output_details()
            ),
            provenance=provenance,
        )

    def run(self, path: Path, inputs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Run a .tflite file in LiteRT."""
        import numpy as np

        interpreter = open_interpreter(path.read_bytes())
        into, outof = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
        rows = []
        for row in inputs:
            interpreter.set_tensor(into["index"], _stored(row[None], into))
            interpreter.invoke()
            rows.append(_real(interpreter.get_tensor(outof["index"]), outof)[0])
        return np.stack(rows)

    def inspect(self, work: Work, precision: str, path: Path) -> str:
        """Refuse an integer file in which anything is still float."""
        del work
        if precision == "int8":
            left = float_tensors(path.read_bytes())
            if left:
                raise ConversionError(
                    f"tflite-int8 is not full integer: {len(left)} tensors are still float, first {left[0]}",
                    hint="convert tflite-fp16, or replace the operation before it",
                )
        return "run on the host (LiteRT)"


CONVERTER = TfliteConverter()


def open_interpreter(content: bytes, *, keep_all: bool = False) -> Any:
    """Return a LiteRT interpreter with its tensors allocated.

    Args:
        content: a .tflite file.
        keep_all: keep every tensor's value, for calibration.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise MissingExtraError("ai-edge-litert", "convert") from error
    try:
        interpreter = Interpreter(
            model_content=content, num_threads=THREADS, experimental_preserve_all_tensors=keep_all
        )
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ConversionError(
            f"LiteRT can't load the .tflite file ({str(error)[:200]})", evidence=str(error)
        ) from error
    return interpreter


def observe(content: bytes, samples: np.ndarray[Any, Any]) -> Ranges:
    """Run a float .tflite file over samples and return the range of each tensor that it computes or reads."""
    import numpy as np

    interpreter = open_interpreter(content, keep_all=True)
    into = interpreter.get_input_details()[0]["index"]
    flowing = _flowing(content)
    watched = [
        (d["index"], d["name"])
        for d in interpreter.get_tensor_details()
        if d["dtype"] == np.float32 and d["name"] in flowing
    ]
    ranges = Ranges()
    for row in samples:
        interpreter.set_tensor(into, row[None])
        interpreter.invoke()
        for index, name in watched:
            ranges.see_values(name, interpreter.get_tensor(index))
    return ranges


def _flowing(content: bytes) -> set[str]:
    """Return the names of the tensors that are an input or some operation's output."""
    from litert_quantizer.utils import tfl_flatbuffer_utils

    graph = tfl_flatbuffer_utils.read_model(memoryview(content)).subgraphs[0]
    made = {int(t) for op in graph.operators for t in op.outputs} | {int(t) for t in graph.inputs}
    return {graph.tensors[t].name.decode() for t in made}


def float_tensors(content: bytes) -> list[str]:
    """Return the names of the tensors of a .tflite file that are stored or computed in floats."""
    import numpy as np

    details = open_interpreter(content).get_tensor_details()
    return [d["name"] for d in details if np.issubdtype(d["dtype"], np.floating)]


def _samples(work: Work) -> np.ndarray[Any, Any]:
    if work.calibration is None:
        raise ConversionError("int8 needs calibration data")
    return work.calibration.inputs


def _float_file(work: Work) -> bytes:
    import tensorflow as tf
    from tensorflow.lite.python.convert import ConverterError

    converter = tf.lite.TFLiteConverter.from_concrete_functions([work.frozen.function])
    try:
        return bytes(converter.convert())
    except (ConverterError, tf.errors.OpError, ValueError, RuntimeError) as error:
        raise ConversionError(
            f"TFLite can't express {work.frozen.source.name} ({_operation(str(error))})",
            hint="replace the operation by one of TFLite's",
            evidence=str(error)[-4000:],
        ) from error


def _operation(text: str) -> str:
    """Return what the converter's error says of operations, or its first line."""
    named = _NAMED.search(text)
    if named:
        return f"operation {named.group(1)}"
    return next((line.strip() for line in text.splitlines() if line.strip()), "no reason given")[:200]


def _quantizer(content: bytes, recipe: Any) -> Any:
    try:
        from litert_quantizer import quantizer
    except ImportError as error:
        raise MissingExtraError("litert-quantizer", "convert") from error
    return quantizer.Quantizer(bytearray(content), recipe)


def _half(content: bytes) -> bytes:
    """Store the weights in 16 bits.

    Raises:
        ConversionError: a weight is beyond what 16 bits hold.
    """
    from litert_quantizer import algorithm_manager, recipe_manager

    manager = recipe_manager.RecipeManager()
    manager.add_weight_only_config(
        regex=".*",
        operation_name="*",
        num_bits=16,
        algorithm_key=algorithm_manager.AlgorithmName.FLOAT_CASTING,
    )
    return _quantized(_quantizer(content, manager.get_quantization_recipe()), None)


def _integer(content: bytes, ranges: Ranges) -> bytes:
    import numpy as np
    from litert_quantizer import recipe

    found = {
        name: {"min": np.full((1, 1, 1, 1), low, np.float32), "max": np.full((1, 1, 1, 1), high, np.float32)}
        for name, (low, high) in ranges.pairs().items()
    }
    return _quantized(_quantizer(content, recipe.static_wi8_ai8()), found)


def _quantized(quantizer: Any, ranges: dict[str, Any] | None) -> bytes:
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # its progress bar can't be turned off
            result = quantizer.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    except (ValueError, RuntimeError, KeyError, NotImplementedError) as error:
        raise ConversionError(
            f"litert-quantizer refused the float .tflite ({str(error)[:200]})", evidence=str(error)
        ) from error
    return bytes(result.quantized_model)


def _spec(detail: dict[str, Any], layout: str) -> TensorSpec:
    import numpy as np

    scales = detail["quantization_parameters"]["scales"]
    quantized = len(scales) == 1
    return TensorSpec(
        name=detail["name"],
        shape=tuple(int(n) for n in detail["shape"]),
        dtype=np.dtype(detail["dtype"]).name,
        layout=layout,
        scale=float(scales[0]) if quantized else None,
        zero_point=int(detail["quantization_parameters"]["zero_points"][0]) if quantized else None,
    )


def _stored(values: np.ndarray[Any, Any], detail: dict[str, Any]) -> np.ndarray[Any, Any]:
    """Return real values as the tensor stores them."""
    import numpy as np

    if detail["dtype"] == np.float32:
        return values.astype(np.float32)
    scale, zero_point = detail["quantization"]
    limits = np.iinfo(detail["dtype"])
    stored = np.clip(np.round(values / scale) + zero_point, limits.min, limits.max)
    kept: np.ndarray[Any, Any] = stored.astype(detail["dtype"])
    return kept


def _real(values: np.ndarray[Any, Any], detail: dict[str, Any]) -> np.ndarray[Any, Any]:
    """Return stored values as real ones."""
    import numpy as np

    if detail["dtype"] == np.float32:
        return np.array(values)
    scale, zero_point = detail["quantization"]
    real: np.ndarray[Any, Any] = ((values.astype(np.float32) - zero_point) * scale).astype(np.float32)
    return real
