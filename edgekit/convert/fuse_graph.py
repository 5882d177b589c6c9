"""Put a 1 x 1 convolution at the input of a traced graph, or into the convolution that begins it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.source.fold import split_groups
from edgekit.source.graph import node_of

if TYPE_CHECKING:
    import numpy as np

    from edgekit.bundle import Preprocessing
    from edgekit.source.graph import Graph

_NCHW_TO_NHWC, _NHWC_TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointwise:
    """Preprocessing as a 1 x 1 convolution.

    Attributes:
        weights: from the decoder's channels to the network's, C x C, float64.
        bias: of the network's channels, C, float64.
    """

    weights: np.ndarray[Any, Any]
    bias: np.ndarray[Any, Any]

    @classmethod
    def of(cls, preprocessing: Preprocessing, channels: int) -> Pointwise:
        """Return the convolution that does what this preprocessing does."""
        import numpy as np

        mean = np.broadcast_to(np.asarray(preprocessing.mean, np.float64), (channels,))
        std = np.broadcast_to(np.asarray(preprocessing.std, np.float64), (channels,))
        weights = np.diag(preprocessing.scale / std)
        if preprocessing.order == "BGR":
            weights = weights[::-1]
        return cls(weights=weights, bias=0.0 - mean / std)


def fused_graph(original: Graph, step: Pointwise, *, first: bool, fold: bool) -> Graph | None:
    """Return the graph behind the step.

    Args:
        original: with the node "input"; not changed.
        step: what is put in.
        first: the input has its channels first.
        fold: into the first convolution, where that is exact.

    Returns:
        The graph; None where the step can't be folded and should be.
    """
    graph = original.copy()
    split_groups(graph)
    readers = graph.users("input")
    entry = "input"
    if first and len(readers) == 1 and _transposes(graph, readers[0], _NCHW_TO_NHWC):
        entry, first = readers[0], False
    if fold:
        return graph.copy() if not first and _fold(graph, entry, step) else None
    _in_front(graph, entry, step, around=first)
    return graph.copy()  # which rounds to float32: the identity is that of what is stored


def _transposes(graph: Graph, name: str, axes: tuple[int, ...]) -> bool:
    node = graph.nodes[name]
    value = graph.constants.get(node_of(node.input[1])) if node.op == "Transpose" else None
    return value is not None and tuple(int(n) for n in value) == axes


def _in_front(graph: Graph, entry: str, step: Pointwise, *, around: bool) -> None:
    """Put the step between a node and its readers, with its channels moved to the end and back."""
    last = _free(graph, "preprocessing/last")
    bias = _free(graph, "preprocessing/BiasAdd")
    back = _free(graph, "preprocessing/first")
    graph.redirect(entry, back if around else bias)
    if around:
        entry = _transpose(graph, last, entry, _NCHW_TO_NHWC)
    weights = graph.add_constant("preprocessing/weights", step.weights[None, None])
    convolution = _free(graph, "preprocessing/Conv2D")
    graph.add("Conv2D", convolution, [entry, weights], **_attributes("Conv2D"))
    shift = graph.add_constant("preprocessing/bias", step.bias)
    graph.add("BiasAdd", bias, [convolution, shift], **_attributes("BiasAdd"))
    if around:
        _transpose(graph, back, bias, _NHWC_TO_NCHW)


def _fold(graph: Graph, entry: str, step: Pointwise) -> bool:
    """Fold the step into the convolution that reads the entry; tell whether that was possible."""
    import numpy as np

    readers = graph.users(entry)
    while not step.bias.any() and len(readers) == 1 and graph.nodes[readers[0]].op == "Pad":
        entry, readers = readers[0], graph.users(readers[0])
    node = graph.nodes[readers[0]] if len(readers) == 1 else None
    if node is None or node.op != "Conv2D" or node.input[0] != entry or node.name == graph.output:
        return False
    weights = graph.constants.get(node_of(node.input[1]))
    padded = node.attr["padding"].s != b"VALID" and step.bias.any()
    if weights is None or padded or weights.shape[2] != len(step.bias):
        return False
    wide = weights.astype(np.float64)
    shift = np.einsum("hwmo,m->o", wide, step.bias)
    if shift.any():
        name = _free(graph, f"{node.name}/preprocessing")
        graph.redirect(node.name, name)
        bias = graph.add_constant(f"{name}/bias", shift)
        graph.add("BiasAdd", name, [node.name, bias], **_attributes("BiasAdd"))
    folded = np.einsum("im,hwmo->hwio", step.weights, wide)
    node.input[1] = graph.add_constant(f"{node.name}/preprocessing/weights", folded)
    graph.prune()
    return True


def _free(graph: Graph, name: str) -> str:
    while name in graph.nodes:
        name += "_"
    return name


def _transpose(graph: Graph, name: str, source: str, axes: tuple[int, ...]) -> str:
    import numpy as np
    import tensorflow as tf

    kinds = {
        key: tf.compat.v1.AttrValue(type=kind.as_datatype_enum)
        for key, kind in (("T", tf.float32), ("Tperm", tf.int32))
    }
    constant = graph.add_constant(f"{name}/axes", np.array(axes, np.int32))
    graph.add("Transpose", name, [source, constant], **kinds)
    return name


def _attributes(op: str) -> dict[str, Any]:
    import tensorflow as tf

    value = tf.compat.v1.AttrValue
    attributes = {"T": value(type=tf.float32.as_datatype_enum), "data_format": value(s=b"NHWC")}
    if op == "Conv2D":
        ones = value(list=value.ListValue(i=[1, 1, 1, 1]))
        attributes |= {"strides": ones, "dilations": ones, "padding": value(s=b"VALID")}
    return attributes
