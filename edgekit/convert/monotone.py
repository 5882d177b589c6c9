"""Extremes by channel, each value read once: what follows from another tensor's extremes is not read again.

An activation function that never falls maps the extremes of what goes in to those of what comes out; padding
adds a zero; what only moves whole channels moves their extremes. Both are exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Pair = tuple[Any, Any]

_SAME_CHANNELS = ("Identity", "Reshape", "Squeeze", "Transpose")
_PADS = ("Pad", "PadV2")


def extremes(tensors: list[Any], rows: list[Any]) -> tuple[list[Any], list[Any]]:
    """Return the least and the largest value of each tensor by input and channel.

    Args:
        tensors: of one graph, in the order of computing.
        rows: the same as inputs x places x channels.

    Returns:
        Two lists of tensors, inputs x channels.
    """
    import tensorflow as tf

    known: dict[str, Pair] = {}
    for tensor, row in zip(tensors, rows, strict=True):
        pair = _derived(tensor, known)
        known[tensor.name] = pair or (tf.reduce_min(row, axis=1), tf.reduce_max(row, axis=1))
    pairs = [known[tensor.name] for tensor in tensors]
    return [low for low, _ in pairs], [high for _, high in pairs]


def _derived(tensor: Any, known: dict[str, Pair]) -> Pair | None:
    """Return a tensor's extremes where they follow from others that are known."""
    import tensorflow as tf

    op = tensor.op
    rules: dict[str, Callable[[Any, dict[str, Pair]], Pair | None]] = {
        "Relu": lambda tensor, known: _mapped(tensor, known, tf.nn.relu),
        "Relu6": lambda tensor, known: _mapped(tensor, known, tf.nn.relu6),
        "ConcatV2": _joined,
        **dict.fromkeys(_SAME_CHANNELS, _moved),
        **dict.fromkeys(_PADS, _padded),
    }
    rule = rules.get(op.type)
    return rule(tensor, known) if rule is not None else None


def _mapped(tensor: Any, known: dict[str, Pair], function: Callable[[Any], Any]) -> Pair | None:
    pair = known.get(tensor.op.inputs[0].name)
    return None if pair is None else (function(pair[0]), function(pair[1]))


def _moved(tensor: Any, known: dict[str, Pair]) -> Pair | None:
    """Pass on what a movement of whole channels leaves: the last axis stays the last, and as long."""
    import tensorflow as tf

    given = tensor.op.inputs[0]
    if not tensor.shape.rank or not given.shape.rank or tensor.shape[-1] != given.shape[-1]:
        return None
    if tensor.op.type == "Transpose":
        order = tf.get_static_value(tensor.op.inputs[1])
        if order is None or order[0] != 0 or order[-1] != len(order) - 1:
            return None
    return known.get(given.name)


def _padded(tensor: Any, known: dict[str, Pair]) -> Pair | None:
    import tensorflow as tf

    pair, sizes = known.get(tensor.op.inputs[0].name), tf.get_static_value(tensor.op.inputs[1])
    with_zeros = tensor.op.type == "Pad" or tf.get_static_value(tensor.op.inputs[2]) == 0.0
    if (
        pair is None
        or sizes is None
        or not with_zeros
        or sizes[0].any()
        or sizes[-1].any()
        or not sizes.any()
    ):
        return None
    return tf.minimum(pair[0], 0.0), tf.maximum(pair[1], 0.0)


def _joined(tensor: Any, known: dict[str, Pair]) -> Pair | None:
    import tensorflow as tf

    *parts, axis = tensor.op.inputs
    at = tf.get_static_value(axis)
    pairs = [known.get(part.name) for part in parts]
    found = [pair for pair in pairs if pair is not None]
    if at is None or int(at) not in (-1, tensor.shape.rank - 1) or len(found) != len(pairs):
        return None
    return tf.concat([low for low, _ in found], 1), tf.concat([high for _, high in found], 1)
