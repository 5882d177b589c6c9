"""LiteRT on the host: open a .tflite file, look into it, and put real values in and take them out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.errors import ConversionError, MissingExtraError

if TYPE_CHECKING:
    import numpy as np

THREADS = 2
_BORDERS = ("QUANTIZE", "DEQUANTIZE")


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


def flowing(content: bytes) -> set[str]:
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


def float_operations(content: bytes) -> list[str]:
    """Return the operations of a quantized .tflite file that compute in floats, one of each kind."""
    from litert_quantizer.utils import tfl_flatbuffer_utils

    model = tfl_flatbuffer_utils.read_model(memoryview(content))
    kinds = tfl_flatbuffer_utils.TENSOR_CODE_TO_TYPE
    graph, found = model.subgraphs[0], dict[str, str]()
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex].builtinCode
        op = _operation_names().get(code, str(code))
        made = graph.tensors[int(operator.outputs[0])]
        read = [graph.tensors[int(t)] for t in operator.inputs if t >= 0]
        if op not in _BORDERS and any(kinds[t.type] == "FLOAT32" for t in (made, *read)):
            found.setdefault(op, f"{op} {made.name.decode()!r}")
    return list(found.values())


def _operation_names() -> dict[int, str]:
    from ai_edge_litert import schema_py_generated as schema

    return {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}


def interfaces(content: bytes) -> set[str]:
    """Return the names of a .tflite file's inputs and outputs."""
    interpreter = open_interpreter(content)
    return {d["name"] for d in (*interpreter.get_input_details(), *interpreter.get_output_details())}


def weights_in_8_bits(content: bytes) -> int:
    """Return how many tensors a .tflite file stores in 8 bits with a scale of their own."""
    import numpy as np

    details = open_interpreter(content).get_tensor_details()
    return sum(d["dtype"] == np.int8 and len(d["quantization_parameters"]["scales"]) > 0 for d in details)


def stored(values: np.ndarray[Any, Any], detail: dict[str, Any]) -> np.ndarray[Any, Any]:
    """Return real values as the tensor stores them."""
    import numpy as np

    if detail["dtype"] == np.float32:
        return values.astype(np.float32)
    scale, zero_point = detail["quantization"]
    limits = np.iinfo(detail["dtype"])
    steps = np.clip(np.round(values / scale) + zero_point, limits.min, limits.max)
    kept: np.ndarray[Any, Any] = steps.astype(detail["dtype"])
    return kept


def real(values: np.ndarray[Any, Any], detail: dict[str, Any]) -> np.ndarray[Any, Any]:
    """Return stored values as real ones."""
    import numpy as np

    if detail["dtype"] == np.float32:
        return np.array(values)
    scale, zero_point = detail["quantization"]
    values_real: np.ndarray[Any, Any] = ((values.astype(np.float32) - zero_point) * scale).astype(np.float32)
    return values_real
