"""Where the window of a convolution or a pooling goes: strides, dilations and padding."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.source.axes import Value, reshape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.source.onnx.node import Node

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A window over two axes.

    Attributes:
        kernel: its size.
        strides: how far apart its places are.
        dilations: how far apart its elements are.
        before: padding in front of each axis.
        after: padding behind each axis, as the network asks for it.
        beyond: further padding behind that ceil_mode makes the last place reach into.
        places: how many places there are on each axis.
        same: the padding is TensorFlow's "SAME".
    """

    kernel: Pair
    strides: Pair
    dilations: Pair
    before: Pair
    after: Pair
    beyond: Pair
    places: Pair
    same: bool

    @property
    def pads(self) -> list[Pair]:
        """The padding of a tensor with channels last, `beyond` included."""
        inner = [(self.before[i], self.after[i] + self.beyond[i]) for i in (0, 1)]
        return [(0, 0), *inner, (0, 0)]


_ROWS = 3
_WIDENED = {
    "strides": 1, "dilations": 1, "kernel_shape": 1, "output_padding": 0, "output_shape": 1,
}  # fmt: skip


def imaged(node: Node) -> Node:
    """Return a node over rows (N x C x L) as one over images that are one pixel high; any other as it is."""
    value = node.operands[0]
    if not isinstance(value, Value) or value.rank != _ROWS:
        return node
    batch, channels, length = value.shape
    operands = [reshape(value, (batch, channels, 1, length)), *node.operands[1:]]
    if node.has(1) and isinstance(operands[1], np.ndarray) and operands[1].ndim == _ROWS:
        operands[1] = operands[1][:, :, None, :]
    attributes = dict(node.attributes)
    for key, one in _WIDENED.items():
        if key in attributes:
            attributes[key] = [one, *attributes[key][-1:]]
    if "pads" in attributes:
        before, after = attributes["pads"]
        attributes["pads"] = [0, before, 0, after]
    return dataclasses.replace(node, operands=tuple(operands), attributes=attributes)


def rows_again(node: Node, made: Value) -> Value:
    """Return what `imaged` led to in as many axes as the node's own."""
    batch, channels, *inner = made.shape
    return reshape(made, (batch, channels, inner[1])) if node.value().rank == _ROWS else made


def window(node: Node, size: Sequence[int], kernel: Sequence[int]) -> Window:
    """Read a node's window.

    Args:
        node: a Conv, MaxPool or AveragePool.
        size: of the image.
        kernel: of the window.
    """
    strides, dilations = (_pair(node, key, (1, 1)) for key in ("strides", "dilations"))
    spans = _both(lambda i: (kernel[i] - 1) * dilations[i] + 1)
    before, after = _asked(node, size, spans, strides)
    ceil = bool(node.attributes.get("ceil_mode", 0))
    room = _both(lambda i: size[i] + before[i] + after[i] - spans[i])
    if min(room) < 0:
        raise node.refusal(f"has a window of {spans}, larger than its input {tuple(size)}")
    places = _both(lambda i: _places(room[i], strides[i], size[i] + before[i], ceil=ceil))
    beyond = _both(lambda i: max(0, (places[i] - 1) * strides[i] - room[i]))
    whole = _both(lambda i: before[i] + after[i] + beyond[i])
    same = all(
        places[i] == -(-size[i] // strides[i])
        and whole[i] == max(0, (places[i] - 1) * strides[i] + spans[i] - size[i])
        and before[i] == whole[i] // 2
        for i in (0, 1)
    )
    return Window(
        kernel=_both(lambda i: kernel[i]), strides=strides, dilations=dilations, before=before, after=after,
        beyond=beyond, places=places, same=same,
    )  # fmt: skip


def padded(images: Any, w: Window) -> tuple[Any, str]:
    """Return images, padded with zeros unless TensorFlow does so itself, and its name of the padding."""
    import tensorflow as tf

    if not any(w.before + w.after + w.beyond):
        return images, "VALID"
    if w.same and w.strides[0] == w.strides[1]:
        return images, "SAME"
    return tf.pad(images, w.pads), "VALID"


def _asked(node: Node, size: Sequence[int], spans: Pair, strides: Pair) -> tuple[Pair, Pair]:
    mode = node.text("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        whole = _both(lambda i: max(0, (-(-size[i] // strides[i]) - 1) * strides[i] + spans[i] - size[i]))
        less = _both(lambda i: whole[i] // 2)
        more = _both(lambda i: whole[i] - less[i])
        return (less, more) if mode == "SAME_UPPER" else (more, less)
    if mode == "VALID":
        return (0, 0), (0, 0)
    pads = [int(n) for n in node.attributes.get("pads", (0, 0, 0, 0))]
    if min(pads) < 0:
        raise node.refusal(f"pads by {pads}")
    return (pads[0], pads[1]), (pads[2], pads[3])


def _places(room: int, stride: int, reach: int, *, ceil: bool) -> int:
    if not ceil:
        return room // stride + 1
    places = -(-room // stride) + 1
    return places - 1 if (places - 1) * stride >= reach else places  # none begins in the padding behind


def _pair(node: Node, key: str, default: Pair) -> Pair:
    first, second = node.attributes.get(key, default)
    return int(first), int(second)


def _both(what: Any) -> Pair:
    return int(what(0)), int(what(1))
