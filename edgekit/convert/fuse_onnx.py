"""Build preprocessing into an ONNX network that a user brought, at its own input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.source.onnx.file import make_static

if TYPE_CHECKING:
    import numpy as np

    from edgekit.artifact import TensorSpec
    from edgekit.convert.fuse_graph import Pointwise

_TO_FIRST, _TO_LAST = [0, 3, 1, 2], [0, 2, 3, 1]


def fused(proto: Any, step: Pointwise, spec: TensorSpec, *, fold: bool) -> Any | None:
    """Return a network that takes raw pixels.

    Args:
        proto: static shapes, one input; not changed.
        step: the preprocessing.
        spec: of the input, which keeps its name, shape and layout.
        fold: into the first convolution, where that is exact.

    Returns:
        The network; None where the step can't be folded and should be.
    """
    copy = type(proto)()
    copy.CopyFrom(proto)
    graph = copy.graph
    entry = graph.input[0].name
    last = spec.layout == "NHWC"
    readers = [node for node in graph.node if entry in node.input]
    if last and len(readers) == 1 and _attribute(readers[0], "perm") == _TO_FIRST:
        entry, last = readers[0].output[0], False
    if not fold:
        _in_front(graph, entry, step, last=last)
    elif last or not _fold(graph, entry, step):
        return None
    return make_static(copy, spec.shape)


def _in_front(graph: Any, entry: str, step: Pointwise, *, last: bool) -> None:
    """Put the step between a tensor and its readers."""
    from onnx import helper

    weights = _store(graph, "preprocessing_weights", step.weights.T[:, :, None, None])
    bias = _store(graph, "preprocessing_bias", step.bias)
    first, made, result = (_free(graph, f"preprocessing_{n}") for n in ("first", "convolved", "last"))
    final = result if last else made
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = final if name == entry else name
    inner = first if last else entry
    given = [inner, weights, bias]
    nodes = [helper.make_node("Conv", given, [made], name="preprocessing", kernel_shape=[1, 1])]
    if last:
        nodes.insert(0, helper.make_node("Transpose", [entry], [first], name=first, perm=_TO_FIRST))
        nodes.append(helper.make_node("Transpose", [made], [result], name=result, perm=_TO_LAST))
    place = 1 + max((i for i, n in enumerate(graph.node) if entry in n.output), default=-1)
    for offset, node in enumerate(nodes):
        graph.node.insert(place + offset, node)


def _fold(graph: Any, entry: str, step: Pointwise) -> bool:
    """Fold the step into the convolution that reads the entry; tell whether that was possible."""
    import numpy as np
    from onnx import numpy_helper

    readers = [node for node in graph.node if entry in node.input]
    stored = {tensor.name: tensor for tensor in graph.initializer}
    if len(readers) != 1 or readers[0].op_type != "Conv" or list(readers[0].input).count(entry) != 1:
        return False
    node = readers[0]
    plain = not any(_attribute(node, "pads") or ())
    plain = plain and _attribute(node, "auto_pad") in (None, b"NOTSET", b"VALID")
    known = all(name in stored for name in node.input[1:] if name)
    if not known or _attribute(node, "group") not in (None, 1) or (step.bias.any() and not plain):
        return False
    weights = numpy_helper.to_array(stored[node.input[1]]).astype(np.float64)
    bias = np.zeros(len(weights))
    if len(node.input) > 2 and node.input[2]:  # noqa: PLR2004 - data, weights, bias
        bias = numpy_helper.to_array(stored[node.input[2]]).astype(np.float64)
    names = (
        _store(graph, "preprocessing_weights", np.einsum("im,omhw->oihw", step.weights, weights)),
        _store(graph, "preprocessing_bias", bias + np.einsum("omhw,m->o", weights, step.bias)),
    )
    del node.input[1:]
    node.input.extend(names)
    used = {name for other in graph.node for name in other.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return True


def _attribute(node: Any, name: str) -> Any:
    from onnx import helper

    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), None)


def _free(graph: Any, name: str) -> str:
    used = {n for node in graph.node for n in (*node.input, *node.output)}
    while name in used:
        name += "_"
    return name


def _store(graph: Any, name: str, value: np.ndarray[Any, Any]) -> str:
    import numpy as np
    from onnx import numpy_helper

    unique = _free(graph, name)
    graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), unique))
    return unique
