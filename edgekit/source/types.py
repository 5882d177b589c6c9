"""What a source is once it is read, and what it is once it is frozen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgekit.source.running import as_written, run_graph

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from edgekit.artifact import TensorSpec
    from edgekit.bundle import Preprocessing
    from edgekit.source.graph import Graph

KINDS = ("zoo", "keras", "h5", "savedmodel", "onnx", "tflite", "torch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A network as the user gave it, traced once with a batch of 1; its weights are constants.

    Attributes:
        name: the zoo name or the file's name.
        kind: one of KINDS.
        graph: operations and weights, as traced, batch norm unfolded.
        inputs: its only input, float32, in the source's own layout.
        outputs: its only output, float32.
        sha256: of operations and weights, whatever the nodes are called and whichever file they came from.
        parameters: how many trainable parameters.
        preprocessing: how an image becomes its input, where that is known.
        options: how it was asked for (weights, resolution, seed).
        proto: of an ONNX source, the network itself with a batch of 1 and static shapes.
        reference: gives the outputs of N inputs in the source's own runtime; None where that is TensorFlow.
        fused: the preprocessing that was built into it, so that it takes pixels 0..255; or None.
    """

    name: str
    kind: str
    graph: Graph
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    sha256: str
    parameters: int
    preprocessing: Preprocessing | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    proto: Any = None
    reference: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]] | None = None
    fused: Preprocessing | None = None

    @property
    def input(self) -> TensorSpec:
        """The only input."""
        return self.inputs[0]

    @property
    def output(self) -> TensorSpec:
        """The only output."""
        return self.outputs[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenGraph:
    """A source made ready for every format: batch 1, weights as constants, batch norm folded.

    Attributes:
        source: what it was made from.
        graph_def: a TensorFlow GraphDef; the input is the node "input", the output the node "output".
        function: the same as a TensorFlow ConcreteFunction.
        reference: the unfolded graph as a GraphDef.
        weights: every weight by its node's name, with the operation that consumes it.
        folded: how many multiplications and additions were folded into weights and biases.
        snr_db: how near the folded graph's outputs are to the unfolded one's, on seeded noise.
        tuned: whether its weights were made for integers, and are no longer the source's.
    """

    source: Source
    graph_def: Any
    function: Any
    reference: Any
    weights: Mapping[str, tuple[str, np.ndarray[Any, Any]]]
    folded: int
    snr_db: float
    tuned: bool = False

    def outputs(self, inputs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return the float source's outputs: those of its own runtime, or of the unfolded graph.

        Args:
            inputs: float32, N x the input's shape without its batch.

        Returns:
            float32, N x the output's shape without its batch.
        """
        own = self.source.reference
        return run_graph(self.reference, inputs) if own is None else own(inputs)


def run_each(function: Any, inputs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Run a ConcreteFunction with a batch of 1 over N inputs and stack what comes out."""
    import numpy as np
    import tensorflow as tf

    rows = []
    with as_written():
        for row in inputs:
            out = function(tf.constant(row[None], dtype=tf.float32))
            rows.append((out[0] if isinstance(out, (list, tuple)) else out).numpy()[0])
    return np.stack(rows)
