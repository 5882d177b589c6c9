"""The float graph with its reductions: what each tensor held in a batch of inputs, reduced inside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.convert.methods import BINS
from edgekit.convert.monotone import extremes
from edgekit.source.freezing import FOLD_SNR_DB, snr
from edgekit.source.running import opened

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from edgekit.source import FrozenGraph

BATCH = 8
"""Inputs at a time, at most; more gain nothing on a few cores."""
ELEMENTS = 2**23
"""Of the largest tensor of a batch: 32 MB."""
_COPIES = 4
"""So many times a tensor is held while its histogram is counted."""
_TRIALS = 2
_TINY = 1e-30


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """Measures a batch.

    Attributes:
        function: takes N inputs and whether means are wanted; gives the outputs, the least and the largest
            value by channel (N x all channels), the means (N x tensors) and, where asked for, each tensor's
            exponent and counts over the batch.
        names: of the tensors.
        widths: channels of each.
        sizes: elements of each for one input.
        batch: how many inputs at a time.
        close: frees what it holds.
    """

    function: Callable[[np.ndarray[Any, Any], bool], list[Any]]
    names: list[str]
    widths: list[int]
    sizes: list[int]
    batch: int
    close: Callable[[], None]


def meter(frozen: FrozenGraph, names: list[str], *, with_counts: bool, count: int) -> Meter:
    """Return a meter of these tensors, for as many inputs at a time as the network allows.

    A network has a batch of 1 written into it. Where it gives the same with another, which is tried, it is
    run in batches; otherwise input by input.

    Args:
        frozen: the frozen graph.
        names: of its nodes, from `observe.watched`.
        with_counts: histograms are wanted.
        count: how many inputs there are.
    """
    single = {t.name: t for op in frozen.function.graph.get_operations() for t in op.outputs}
    largest = max((n.shape.num_elements() or 1) for n in single.values() if n.shape.is_fully_defined())
    batch = min(BATCH, count, ELEMENTS // (largest * (_COPIES if with_counts else 1)))
    graph_def = _batched(frozen, single) if batch > 1 else None
    if graph_def is not None:
        found = _build(frozen, graph_def, names, batch, with_counts=with_counts)
        if found is not None and _same(frozen, found):
            return found
        if found is not None:
            found.close()
    alone = _build(frozen, frozen.graph_def, names, 1, with_counts=with_counts)
    if alone is None:
        raise ValueError("a graph has the shapes that it has")
    return alone


def _batched(frozen: FrozenGraph, single: dict[str, Any]) -> Any:
    """Return the graph with every batch of 1 in a new shape left open; None where a shape has none."""
    import tensorflow as tf

    graph_def = type(frozen.graph_def)()
    graph_def.CopyFrom(frozen.graph_def)
    for node in [n for n in graph_def.node if n.op == "Reshape"]:
        shape = single[f"{node.name}:0"].shape
        if not shape.rank or not shape.is_fully_defined() or shape[0] != 1:
            return None
        wanted = graph_def.node.add(name=f"{node.name}/batched", op="Const")
        value = tf.make_tensor_proto([-1, *shape.as_list()[1:]], tf.int32)
        wanted.attr["value"].tensor.CopyFrom(value)
        wanted.attr["dtype"].type = value.dtype
        node.attr["Tshape"].type = value.dtype
        node.input[1] = wanted.name
    return graph_def


def _build(
    frozen: FrozenGraph, graph_def: Any, names: list[str], batch: int, *, with_counts: bool
) -> Meter | None:
    """Return a meter over a graph; None where a tensor's shape shows that it can't be batched."""
    import tensorflow as tf

    shape = (None if batch > 1 else 1, *frozen.source.input.shape[1:])
    with tf.Graph().as_default() as graph:
        image = tf.compat.v1.placeholder(tf.float32, shape)
        want_means = tf.compat.v1.placeholder(tf.bool, ())
        try:
            tf.graph_util.import_graph_def(graph_def, input_map={"input:0": image}, name="m")
        except ValueError:  # a shape does not fit a batch
            if batch > 1:
                return None
            raise
        kept = _tensors(frozen, graph, names, image)
        if batch > 1 and not all(_is_batch(tensor.shape) for _, tensor in kept):
            return None
        measured = _measured(graph, [tensor for _, tensor in kept], want_means, batch, with_counts)
    session = opened(graph)
    shapes = [tensor.shape.as_list() for _, tensor in kept]
    return Meter(
        function=lambda rows, means: session.run(measured, {image: rows, want_means: means}),
        names=[name for name, _ in kept],
        widths=[shape[-1] for shape in shapes],
        sizes=[_product(shape[1:]) * (shape[0] or 1) for shape in shapes],
        batch=batch,
        close=session.close,
    )


def _measured(graph: Any, tensors: list[Any], want_means: Any, batch: int, with_counts: bool) -> list[Any]:  # noqa: FBT001
    import tensorflow as tf

    count = tf.shape(tensors[0])[0] if batch > 1 else 1
    rows = [_rows(tensor, count) for tensor in tensors]
    low, high = extremes(tensors, rows)
    measured = [
        graph.get_tensor_by_name("m/output:0"),
        tf.concat(low, 1),
        tf.concat(high, 1),
        _means(rows, want_means, count),
    ]
    return measured + ([*_counts(rows, low, high)] if with_counts else [])


def _is_batch(shape: Any) -> bool:
    """Tell whether the batch, and nothing else, is open."""
    return bool(shape.rank) and shape[0] is None and shape[1:].is_fully_defined()


def _product(sizes: list[int]) -> int:
    found = 1
    for size in sizes:
        found *= size
    return found


def _same(frozen: FrozenGraph, found: Meter) -> bool:
    """Tell whether inputs give in a batch what each gives alone, which is what the network gives.

    With one input an open batch is a batch of 1, which is the network itself: no other session is opened.
    """
    import numpy as np
    import tensorflow as tf

    noise = np.random.default_rng(2).uniform(-1, 1, (_TRIALS, *frozen.source.input.shape[1:]))
    inputs = np.asarray(noise * (255 if frozen.source.fused is not None else 1), np.float32)
    try:
        wanted = np.concatenate([found.function(row[None], False)[0] for row in inputs])
        got = found.function(inputs, False)[0]
    except tf.errors.OpError:  # a transposed convolution has its batch written into its output's shape
        return False
    return got.shape == wanted.shape and snr(wanted, got) >= FOLD_SNR_DB


def _tensors(frozen: FrozenGraph, graph: Any, names: list[str], image: Any) -> list[tuple[str, Any]]:
    """Return the float tensors of known shape, by name; only a node's later outputs carry a number."""
    import tensorflow as tf

    alone = frozen.function.graph
    found = [(names[0], image)]
    for name in names[1:]:
        outputs = graph.get_operation_by_name(f"m/{name}").outputs
        for index, tensor in enumerate(outputs):
            shape = alone.get_operation_by_name(name).outputs[index].shape
            known = tensor.dtype == tf.float32 and shape.is_fully_defined()
            if known and shape.rank and shape.num_elements():
                found.append((f"{name}:{index}" if index else name, tensor))
    return found


def _rows(tensor: Any, count: Any) -> Any:
    """Return a tensor as inputs x places x channels."""
    import tensorflow as tf

    return tf.reshape(tensor, [count, -1, tensor.shape[-1] or 1])


def _means(rows: list[Any], wanted: Any, count: Any) -> Any:
    """Return the means, inputs x tensors; zeros, and nothing is computed, where they are not wanted."""
    import tensorflow as tf

    found = [tf.reduce_mean(tf.raw_ops.Switch(data=row, pred=wanted)[1], axis=[1, 2]) for row in rows]
    none = tf.raw_ops.Switch(data=tf.zeros([count, len(rows)]), pred=wanted)[0]
    return tf.raw_ops.Merge(inputs=[none, tf.stack(found, axis=1)])[0]


def _counts(rows: list[Any], low: list[Any], high: list[Any]) -> tuple[Any, Any]:
    """Return each tensor's exponent and its counts over the batch."""
    import tensorflow as tf

    largest = [tf.reduce_max(tf.maximum(abs(a), abs(b))) for a, b in zip(low, high, strict=True)]
    exponents = _exponents(tf.stack(largest))
    counted = []
    for row, exponent in zip(rows, tf.unstack(exponents), strict=True):
        scaled = tf.reshape(row, [-1]) * (BINS / 2 / tf.pow(2.0, tf.cast(exponent, tf.float32)))
        places = tf.clip_by_value(tf.cast(tf.floor(scaled), tf.int32) + BINS // 2, 0, BINS - 1)
        counted.append(tf.math.bincount(places, minlength=BINS, maxlength=BINS))
    return exponents, tf.stack(counted)


def _exponents(largest: Any) -> Any:
    import tensorflow as tf

    logarithm = tf.math.log(tf.cast(tf.maximum(largest, _TINY), tf.float64)) / tf.math.log(
        tf.constant(2.0, tf.float64)
    )
    return tf.cast(tf.floor(logarithm) + 1.0, tf.int32)
