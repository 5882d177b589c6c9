"""An ONNX network as a source: carried over to TensorFlow and held against ONNX Runtime over the original."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.errors import MissingExtraError, UsageError
from edgekit.source.carried import carried_source
from edgekit.source.onnx.file import closed_shape, layout_of, make_static, open_onnx, set_shape
from edgekit.source.trace import trace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

    from edgekit.source.types import Source

_THREADS = 2


def load_onnx(
    path: Path, *, resolution: int | None = None, input_shape: tuple[int, ...] | None = None
) -> Source:
    """Read a .onnx file as a source.

    Args:
        path: the file; external data lies beside it.
        resolution: for an open height and width, in pixels.
        input_shape: the whole shape of the input, where more of it is open.

    Raises:
        UsageError: a file that can't be read or believed, or a shape that stays open.
        ConversionError: an operation that can't be carried over, named with its node; outputs that differ
            from ONNX Runtime's.
        MissingExtraError: onnx, onnxruntime or TensorFlow is not installed.
    """
    options = {} if resolution is None else {"resolution": str(resolution)}
    if input_shape is not None:
        options["input_shape"] = ",".join(str(n) for n in input_shape)
    proto = open_onnx(path)
    shape = closed_shape(proto, path.name, resolution, input_shape)
    return onnx_source(proto, shape, name=path.name, kind="onnx", options=options)


def onnx_source(
    proto: Any, shape: tuple[int, ...], *, name: str, kind: str, options: Mapping[str, str]
) -> Source:
    """Return a checked ONNX network (`file.checked`) as a source.

    Args:
        proto: the network.
        shape: of its input, the batch of 1 included.
        name: the source's.
        kind: one of `types.KINDS`.
        options: how it was asked for.

    Raises:
        ConversionError: as `load_onnx` says.
    """
    from edgekit.source.onnx.graph import importer

    static = make_static(proto, shape)
    reference = OnnxReference(static, name)
    graph = trace(importer(static, name), shape, name)
    source = carried_source(
        graph,
        reference,
        shape,
        name=name,
        kind=kind,
        runtime="ONNX Runtime",
        layout=layout_of(static, shape),
        options=options,
        proto=static,
    )
    set_shape(static.graph.output[0], source.output.shape)
    return source


class OnnxReference:
    """The original network in ONNX Runtime, opened when it is first asked.

    Args:
        proto: a ModelProto.
        name: for messages.
    """

    def __init__(self, proto: Any, name: str) -> None:
        self._proto, self._name = proto, name
        self._session: Any = None

    def __call__(self, inputs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return the outputs, float32, N x the output's shape without its batch.

        Raises:
            UsageError: ONNX Runtime can't load or run the network.
        """
        import numpy as np

        try:
            if self._session is None:
                self._session = _session(self._proto.SerializeToString())
            name = self._session.get_inputs()[0].name
            rows = [self._session.run(None, {name: row[None]})[0] for row in inputs]
        except _runtime_errors() as error:
            raise UsageError(
                f"ONNX Runtime can't run {self._name} ({str(error)[:200]})",
                hint="export it anew, for a version of ONNX that this ONNX Runtime knows",
                evidence=str(error),
            ) from error
        return np.concatenate(rows).astype(np.float32)


def run_once(proto: Any, inputs: np.ndarray[Any, Any], name: str) -> np.ndarray[Any, Any]:
    """Return what ONNX Runtime makes of one input by a network of its own.

    Raises:
        UsageError: it can't; `name` says whose network it is for.
    """
    found: np.ndarray[Any, Any] = OnnxReference(proto, name)(inputs)
    return found


def _session(content: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _THREADS
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _runtime_errors() -> tuple[type[Exception], ...]:
    try:
        from onnxruntime.capi import onnxruntime_pybind11_state as state
    except ImportError as error:
        raise MissingExtraError("onnxruntime", "convert") from error
    names = (
        "Fail",
        "InvalidGraph",
        "InvalidProtobuf",
        "InvalidArgument",
        "NotImplemented",
        "RuntimeException",
    )
    return tuple(getattr(state, name) for name in names)
