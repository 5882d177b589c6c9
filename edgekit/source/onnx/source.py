"""An ONNX network as a source: carried over to TensorFlow and held against ONNX Runtime over the original."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.artifact import TensorSpec
from edgekit.errors import ConversionError, MissingExtraError, UsageError
from edgekit.source.onnx.file import closed_shape, layout_of, make_static, open_onnx, set_shape
from edgekit.source.trace import to_function, trace
from edgekit.source.types import Source, run_each

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

    from edgekit.source.graph import Graph

IMPORT_SNR_DB = 60.0
"""The bar on carrying over: 100 dB and more were measured; a wrong attribute is below 40."""
_TRIALS = 2
_THREADS = 2
_STATISTICS = (3, 4)


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
    outputs = _prove(graph, reference, shape, name)
    set_shape(static.graph.output[0], (1, *outputs[1:]))
    layout = layout_of(static, shape)
    return Source(
        name=name,
        kind=kind,
        graph=graph,
        inputs=(TensorSpec(name="input", shape=shape, dtype="float32", layout=layout),),
        outputs=(
            TensorSpec(
                name="output",
                shape=(1, *outputs[1:]),
                dtype="float32",
                layout="NC" if len(outputs) == 2 else "any",  # noqa: PLR2004 - batch and classes
            ),
        ),
        sha256=graph.sha256(),
        parameters=parameters(graph),
        options=options,
        proto=static,
        reference=reference,
    )


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


def _prove(graph: Graph, reference: OnnxReference, shape: tuple[int, ...], name: str) -> tuple[int, ...]:
    """Hold the graph against ONNX Runtime on noise; return the shape of the outputs."""
    import numpy as np
    import tensorflow as tf

    from edgekit.source.freezing import snr

    noise = np.random.default_rng(1).uniform(-1, 1, size=(_TRIALS, *shape[1:])).astype(np.float32)
    wanted = reference(noise)
    try:
        got = run_each(to_function(graph.to_graph_def()), noise)
    except (tf.errors.OpError, TypeError) as error:  # it asks for another signature when an operation failed
        raise ConversionError(
            f"{name} could not be carried over: TensorFlow can't run it",
            hint="report it with the network",
            evidence=str(error),
        ) from error
    if len(wanted) != _TRIALS:
        raise UsageError(
            f"{name} gives {len(wanted) // _TRIALS} rows for a batch of 1", hint="export one that gives one"
        )
    if got.shape != wanted.shape or not snr(wanted, got) >= IMPORT_SNR_DB:
        found = f"{got.shape} instead of {wanted.shape}" if got.shape != wanted.shape else ""
        raise ConversionError(
            f"{name} could not be carried over: {found or f'{snr(wanted, got):.1f} dB from ONNX Runtime'} "
            f"(bar {IMPORT_SNR_DB:g} dB)",
            hint="report it with the network; ONNX recipes need the same",
        )
    return tuple(int(n) for n in wanted.shape)


def parameters(graph: Graph) -> int:
    """Return how many numbers training could change: float constants, without batch norm's statistics."""
    found: dict[str, int] = {}
    for name in graph.order():
        node = graph.nodes[name]
        for index, reference in enumerate(node.input):
            statistic = node.op.startswith("FusedBatchNorm") and index in _STATISTICS
            value = graph.constants.get(reference)
            if value is not None and value.dtype.kind == "f" and value.ndim and not statistic:
                found[reference] = int(value.size)
    return sum(found.values())
