"""Give each float constant of a .tflite file a buffer of its own."""

from __future__ import annotations

from typing import Any

_FLOAT32 = 0


def apart(content: bytes) -> bytes:
    """Return a float .tflite in which no two float tensors share what they hold; itself where none do.

    TFLite's converter stores equal bytes once, whatever the shapes. The quantizer takes a buffer for one
    tensor and gives both the scales of the first: one convolution's channels to the weights of another.
    """
    from litert_quantizer.utils import tfl_flatbuffer_utils

    model = tfl_flatbuffer_utils.read_model(memoryview(content))
    seen: set[int] = set()
    shared = False
    for tensor in (t for graph in model.subgraphs for t in graph.tensors if t.type == _FLOAT32):
        buffer = model.buffers[tensor.buffer]
        if tensor.buffer in seen and buffer.data is not None and len(buffer.data):
            own = type(buffer)()
            own.data = buffer.data
            model.buffers.append(own)
            tensor.buffer = len(model.buffers) - 1
            shared = True
        seen.add(tensor.buffer)
    return packed(model) if shared else content


def packed(model: Any) -> bytes:
    """Return the bytes of a file whose objects were changed."""
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
