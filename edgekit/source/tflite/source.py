"""A TFLite network as a source: carried over to TensorFlow and held against LiteRT over the original."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from edgekit.errors import MissingExtraError, UsageError
from edgekit.source.carried import carried_source
from edgekit.source.tflite.file import open_tflite
from edgekit.source.tflite.network import written
from edgekit.source.trace import trace

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from edgekit.source.tflite.network import Network
    from edgekit.source.types import Source

_THREADS = 2
_IMAGE = 4
_TO_LAST = (0, 2, 3, 1)
_ELEMENTWISE = frozenset({"ADD", "SUB", "MUL", "DIV", "MINIMUM", "MAXIMUM", "PAD", "RELU", "RELU6", "NEG"})


def load_tflite(path: Path, *, resolution: int | None = None) -> Source:
    """Read a float32 .tflite file as a source.

    Args:
        path: the file.
        resolution: for an open height and width, in pixels.

    Raises:
        UsageError: a file that can't be read or believed, that is quantized, or whose size stays open.
        ConversionError: an operation that can't be carried over, named with what it makes; outputs that
            differ from LiteRT's.
        MissingExtraError: ai-edge-litert or TensorFlow is not installed.
    """
    from edgekit.source.tflite.graph import importer

    network = open_tflite(path)
    shape = _closed(network, resolution)
    network = _shaped(network, shape)
    graph = trace(importer(network), shape, network.name)
    return carried_source(
        graph,
        LiteRTReference(network),
        shape,
        name=network.name,
        kind="tflite",
        runtime="LiteRT",
        layout=_layout(network),
        options={} if resolution is None else {"resolution": str(resolution)},
    )


class LiteRTReference:
    """The original network in LiteRT, opened when it is first asked.

    Args:
        network: of a static input shape.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._interpreter: Any = None

    def __call__(self, inputs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return the outputs, float32, N x the output's shape without its batch.

        Raises:
            UsageError: LiteRT can't load or run the network.
        """
        import numpy as np

        try:
            if self._interpreter is None:
                self._interpreter = _interpreter(written(self._network), self._network)
            rows = [self._run(row) for row in inputs]
        except (ValueError, RuntimeError) as error:
            raise UsageError(
                f"LiteRT can't run {self._network.name} ({str(error)[:200]})",
                hint="convert it anew, for a version of TFLite that this LiteRT knows",
                evidence=str(error),
            ) from error
        return np.concatenate(rows).astype(np.float32)

    def _run(self, row: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        held = self._interpreter
        held.set_tensor(held.get_input_details()[0]["index"], row[None])
        held.invoke()
        found: np.ndarray[Any, Any] = held.get_tensor(held.get_output_details()[0]["index"])
        return found


def _interpreter(content: bytes, network: Network) -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise MissingExtraError("ai-edge-litert", "convert") from error
    made = Interpreter(model_content=content, num_threads=_THREADS)
    made.resize_tensor_input(made.get_input_details()[0]["index"], list(network.tensors[network.input].shape))
    made.allocate_tensors()
    return made


def _closed(network: Network, resolution: int | None) -> tuple[int, ...]:
    """Return the input's shape with a batch of 1 and nothing open."""
    open_ = network.tensors[network.input].signature
    name, sizes = network.name, list(open_)
    if not sizes or sizes[0] not in (None, 1):
        raise UsageError(
            f"{name} has a fixed batch of {sizes[0] if sizes else 'none'}",
            hint="convert it with a batch of 1",
        )
    sizes[0] = 1
    if len(sizes) == _IMAGE:
        for axis in (2, 3) if _layout(network) == "NCHW" else (1, 2):
            if resolution is not None and sizes[axis] not in (None, resolution):
                raise UsageError(f"{name} has a fixed input of {tuple(sizes)}", hint="leave out --resolution")
            sizes[axis] = resolution if sizes[axis] is None else sizes[axis]
    found = tuple(n for n in sizes if n is not None)
    if len(found) != len(sizes):
        raise UsageError(f"{name} leaves its input's size open", hint="say which: --resolution PIXELS")
    return found


def _shaped(network: Network, shape: tuple[int, ...]) -> Network:
    """Return the network with this input shape; what follows from it is LiteRT's to find."""
    tensors = list(network.tensors)
    tensors[network.input] = dataclasses.replace(tensors[network.input], shape=shape)
    return dataclasses.replace(network, tensors=tuple(tensors))


def _layout(network: Network) -> str:
    """Tell how the input is laid out: channels last, unless the first thing done is to put them there."""
    if len(network.tensors[network.input].shape) != _IMAGE:
        return "any"
    flowing = network.input
    for operator in network.operators:
        if flowing not in operator.inputs:
            continue
        if operator.op == "TRANSPOSE":
            order = network.tensors[operator.inputs[1]].value
            return "NCHW" if order is not None and tuple(order.reshape(-1).tolist()) == _TO_LAST else "NHWC"
        if operator.op not in _ELEMENTWISE:
            break
        flowing = operator.outputs[0]
    return "NHWC"
