"""What every network that is carried over to TensorFlow shares: its proof, and what it says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.artifact import TensorSpec
from edgekit.errors import ConversionError, UsageError
from edgekit.source.trace import to_function
from edgekit.source.types import Source, run_each

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from edgekit.source.graph import Graph

    Reference = Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]

IMPORT_SNR_DB = 60.0
"""The bar on carrying over: 100 dB and more were measured; a wrong attribute is below 40."""
_TRIALS = 2
_STATISTICS = (3, 4)


def carried_source(
    graph: Graph,
    reference: Reference,
    shape: tuple[int, ...],
    *,
    name: str,
    kind: str,
    runtime: str,
    layout: str,
    options: Mapping[str, str],
    proto: Any = None,
) -> Source:
    """Return a network that was carried over as a source, proved against its own runtime.

    Args:
        graph: what was made of it.
        reference: its own runtime.
        shape: of its input, the batch of 1 included.
        name: the source's.
        kind: one of `types.KINDS`.
        runtime: how the own runtime is called, for messages.
        layout: of its input.
        options: how it was asked for.
        proto: of an ONNX network, the network itself.

    Raises:
        ConversionError: the outputs differ.
        UsageError: it does not give one row for a batch of 1.
    """
    outputs = _prove(graph, reference, shape, name, runtime)
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
        proto=proto,
        reference=reference,
    )


def _prove(
    graph: Graph, reference: Reference, shape: tuple[int, ...], name: str, runtime: str
) -> tuple[int, ...]:
    """Hold the graph against the network's own runtime on noise; return the shape of the outputs."""
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
            f"{name} could not be carried over: {found or f'{snr(wanted, got):.1f} dB from {runtime}'} "
            f"(bar {IMPORT_SNR_DB:g} dB)",
            hint="report it with the network",
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
