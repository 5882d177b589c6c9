"""TFLite: float by TensorFlow's converter, fp16 and int8 from that by litert-quantizer, proved by LiteRT."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from edgekit.artifact import TensorSpec
from edgekit.convert.base import Made, Work
from edgekit.convert.swap import swapped_tflite
from edgekit.convert.tflite_quantize import quantized
from edgekit.convert.tflite_run import (
    float_operations,
    float_tensors,
    interfaces,
    open_interpreter,
    real,
    stored,
    weights_in_8_bits,
)
from edgekit.errors import ConversionError
from edgekit.source.memory import give_back

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np

    from edgekit.source import FrozenGraph

_FORM = "tflite"
_NAMED = re.compile(r"(?:Custom|Flex) ops: ([^\n]+)")


class TfliteConverter:
    """The format "tflite"; see `base.Converter`.

    fp32: as converted. fp16: weights in 16 bits. int8: full integer, input and output int8, weights symmetric
    per channel, activations asymmetric per tensor. w8a16: activations in 16 bits, symmetric. dyn8, w8:
    weights in 8 bits, computed in integers or floats. All but int8 take and give float32.
    """

    suffix = ".tflite"
    libraries = ("tensorflow", "tensorflow-cpu", "litert-quantizer", "ai-edge-litert")

    def convert(self, work: Work, precision: str, path: Path) -> Made:
        """Write a .tflite file."""
        content = work.float_once(_FORM, precision, _float_file, swapped_tflite)
        provenance: dict[str, str] = {}
        if precision != "fp32":
            content, provenance = quantized(content, precision, work)
        path.write_bytes(content)
        interpreter = open_interpreter(path.read_bytes())
        return Made(
            inputs=tuple(_spec(d, work.frozen.source.input.layout) for d in interpreter.get_input_details()),
            outputs=tuple(
                _spec(d, work.frozen.source.output.layout) for d in interpreter.get_output_details()
            ),
            provenance=provenance,
        )

    def early(self, _frozen: FrozenGraph) -> tuple[str, Callable[[FrozenGraph], bytes]]:
        """Return the float form's name and what makes it; see `ahead.Ahead`."""
        return _FORM, _float_file

    def run(self, path: Path, inputs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Run a .tflite file in LiteRT."""
        import numpy as np

        interpreter = open_interpreter(path.read_bytes())
        into, outof = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
        rows = []
        for row in inputs:
            interpreter.set_tensor(into["index"], stored(row[None], into))
            interpreter.invoke()
            rows.append(real(interpreter.get_tensor(outof["index"]), outof)[0])
        return np.stack(rows)

    def inspect(self, work: Work, precision: str, path: Path) -> str:
        """Refuse an integer file in which anything is still float, and one without 8-bit weights."""
        if precision in ("fp32", "fp16"):
            return "run on the host (LiteRT)"
        content, name = path.read_bytes(), work.frozen.source.name
        if precision in ("int8", "w8a16"):
            ends = () if precision == "int8" else interfaces(content)
            left = [tensor for tensor in float_tensors(content) if tensor not in ends]
            if left:
                named = ", ".join(float_operations(content)) or f"the tensor {left[0]!r}"
                raise ConversionError(
                    f"tflite-{precision} of {name} is not integer throughout; still in floats: {named}",
                    hint="replace it in the network, or convert tflite-fp16 or tflite-dyn8",
                )
        if not weights_in_8_bits(content):
            raise ConversionError(
                f"{name} has no weights that tflite-{precision} stores in 8 bits", hint="convert tflite-fp16"
            )
        return "run on the host (LiteRT)"


CONVERTER = TfliteConverter()


def _float_file(frozen: FrozenGraph) -> bytes:
    """Return a .tflite file of a frozen graph.

    TensorFlow's converter for functions would freeze it once more, for as long as the conversion takes; the
    one for frozen graphs writes the same operations and tensors.
    """
    import tensorflow as tf
    from tensorflow.lite.python.convert import ConverterError

    graph = frozen.function.graph
    ends = [[graph.get_tensor_by_name(name)] for name in ("input:0", "output:0")]
    converter = tf.compat.v1.lite.TFLiteConverter(frozen.graph_def, *ends)
    try:
        return bytes(converter.convert())
    except (ConverterError, tf.errors.OpError, ValueError, RuntimeError) as error:
        raise ConversionError(
            f"TFLite can't express {frozen.source.name} ({_operation(str(error))})",
            hint="replace the operation by one of TFLite's",
            evidence=str(error)[-4000:],
        ) from error
    finally:
        give_back()


def _operation(text: str) -> str:
    """Return what the converter's error says of operations, or its first line."""
    named = _NAMED.search(text)
    if named:
        return f"operation {named.group(1)}"
    return next((line.strip() for line in text.splitlines() if line.strip()), "no reason given")[:200]


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
