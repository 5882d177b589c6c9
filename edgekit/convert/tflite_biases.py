"""Store the biases of a 16-bit .tflite file in 16 bits too, as TensorFlow's own converter does.

litert-quantizer leaves them in 32. LiteRT 2.1.0, which devices without Python run, then leaves every
convolution to its plain kernels: its XNNPACK takes 16-bit weights together with 16-bit biases alone.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from edgekit.convert.tflite_buffers import packed

if TYPE_CHECKING:
    import numpy as np

_FLOAT32, _FLOAT16 = 0, 1
_DEQUANTIZE = 6
_BIASED = {3: 2, 4: 2, 9: 2, 67: 3}
"""Operations with a bias (convolution, depthwise, fully connected, transposed), and where they read it."""
_WEIGHTS = 1


def biases_in_16_bits(content: bytes) -> bytes:
    """Return a file in which what has 16-bit weights has a 16-bit bias; itself where nothing has.

    A bias beyond what 16 bits hold stays as it is.
    """
    from litert_quantizer.utils import tfl_flatbuffer_utils

    model = tfl_flatbuffer_utils.read_model(memoryview(content))
    changed = [_change(model, graph) for graph in model.subgraphs]
    return packed(model) if any(changed) else content


def _change(model: Any, graph: Any) -> bool:
    """Change one graph; tell whether there was anything to change."""
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    widened = {
        int(operator.outputs[0]): operator
        for operator in graph.operators
        if codes[operator.opcodeIndex] == _DEQUANTIZE and graph.tensors[operator.inputs[0]].type == _FLOAT16
    }
    made: dict[int, Any] = {}
    for operator in graph.operators:
        place = _BIASED.get(codes[operator.opcodeIndex], 0)
        read = [int(index) for index in operator.inputs]
        if 0 < place < len(read) and read[_WEIGHTS] in widened and read[place] not in made:
            values = _constant(model, graph, read[place])
            if values is not None:
                made[read[place]] = _halved(model, graph, read[place], widened[read[_WEIGHTS]], values)
    graph.operators = [*made.values(), *graph.operators]
    return bool(made)


def _constant(model: Any, graph: Any, index: int) -> np.ndarray[Any, Any] | None:
    """Return what a 32-bit constant holds in 16 bits; None where it is none, or too large."""
    import numpy as np

    if index < 0 or graph.tensors[index].type != _FLOAT32:
        return None
    data = model.buffers[graph.tensors[index].buffer].data
    if data is None or not len(data):
        return None
    with np.errstate(over="ignore"):
        found: np.ndarray[Any, Any] = np.frombuffer(bytes(data), np.float32).astype(np.float16)
    return found if np.isfinite(found).all() else None


def _halved(model: Any, graph: Any, index: int, like: Any, values: np.ndarray[Any, Any]) -> Any:
    """Let a constant be made from a 16-bit one; return the operation that makes it."""
    import numpy as np

    tensor, buffer = graph.tensors[index], type(model.buffers[0])()
    buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    if sum(other.buffer == tensor.buffer for every in model.subgraphs for other in every.tensors) == 1:
        model.buffers[tensor.buffer].data = None
    model.buffers.append(buffer)
    half = copy.copy(tensor)
    half.type, half.name, half.buffer = _FLOAT16, tensor.name + b"/half", len(model.buffers) - 1
    graph.tensors.append(half)
    tensor.buffer = 0  # what is computed has no bytes of its own
    operator = copy.copy(like)
    operator.inputs, operator.outputs = [len(graph.tensors) - 1], [index]
    return operator
