"""Which channels of a network must be scaled alike: what one operation makes and all others read.

A channel can be multiplied by a positive factor where it is made and divided by it where it is read, if
everything between passes a factor on: activation functions without a ceiling, pooling, padding with zeros,
moving values about. Where two channels are added they need one factor. Channels are followed through the
graph by numbers: each tensor gets an array of them, and the operations that move values move the numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.convert.ptq.execute import execute
from edgekit.convert.ptq.grids import readers_of
from edgekit.source.fold import LINEAR
from edgekit.source.graph import node_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from edgekit.source.graph import Graph

FIXED = 0
"""The class of channels that keep their scale."""
_SAME = ("Relu", "Relu6", "MaxPool", "AvgPool", "Pad", "Identity", "Mean", "BiasAdd", "ResizeBilinear",
         "ResizeNearestNeighbor")  # fmt: skip
_MOVING = ("Reshape", "Transpose", "StridedSlice", "Split", "SplitV", "ConcatV2", "Squeeze", "ExpandDims",
           "Slice", "GatherV2", "Pack", "Unpack", "SpaceToDepth", "DepthToSpace")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """The classes of a network's channels.

    Attributes:
        count: of classes, FIXED included.
        tensors: the class of each channel, by tensor; tensors whose places differ are left out.
        made: the class of each output channel of a linear operation, by node.
        read: the class of each input channel of a linear operation, by node; None where places differ.
    """

    count: int
    tensors: Mapping[str, np.ndarray[Any, Any]]
    made: Mapping[str, np.ndarray[Any, Any]]
    read: Mapping[str, np.ndarray[Any, Any] | None]


def channels_of(graph: Graph, shapes: Mapping[str, tuple[int, ...]]) -> Channels:
    """Follow every channel through a frozen graph.

    Args:
        graph: operations and constants.
        shapes: of its tensors, with a batch of 1.
    """
    return _Follow(graph, shapes).run()


class _Follow:
    def __init__(self, graph: Graph, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._graph, self._shapes = graph, shapes
        self._parents = [FIXED]
        self._numbers: dict[str, np.ndarray[Any, Any]] = {}
        self._made: dict[str, np.ndarray[Any, Any]] = {}
        self._read: dict[str, np.ndarray[Any, Any] | None] = {}
        self._readers = readers_of(graph)

    def run(self) -> Channels:
        import numpy as np

        for name in self._graph.order():
            if name not in self._graph.constants:
                self._follow(self._graph.nodes[name])
        self._fix(self._numbers[self._graph.output])
        roots = np.array([self._root(number) for number in range(len(self._parents))])
        rows = {name: _row(numbers) for name, numbers in self._numbers.items()}
        return Channels(
            count=len(roots),
            tensors={name: roots[row] for name, row in rows.items() if row is not None},
            made={name: roots[row] for name, row in self._made.items()},
            read={name: None if row is None else roots[row] for name, row in self._read.items()},
        )

    def _follow(self, node: Any) -> None:
        flowing = [i for i in node.input if node_of(i) not in self._graph.constants]
        if node.op in LINEAR and len(flowing) == 1 and flowing == [node.input[0]]:
            self._linear(node)
        elif not self._passed(node, flowing):
            for name in flowing:
                self._fix(self._numbers[name])
            self._put(node, None)

    def _passed(self, node: Any, flowing: list[str]) -> bool:
        """Follow a node that passes a factor on; tell whether it is one."""
        if node.op in _SAME:
            return self._passes(node)
        if node.op in _MOVING:
            return self._move(node)
        return node.op in ("Add", "AddV2") and self._sum(node, flowing)

    def _put(self, node: Any, numbers: np.ndarray[Any, Any] | None) -> None:
        """Give every tensor of a node its numbers: the same row for all places, or FIXED."""
        import numpy as np

        port = 0
        while (name := f"{node.name}:{port}" if port else node.name) in self._shapes:
            row = np.zeros(1, np.int64) if numbers is None else numbers
            self._numbers[name] = np.broadcast_to(row, self._shapes[name])
            port += 1
        if not port:
            self._numbers[node.name] = np.zeros((), np.int64)

    def _linear(self, node: Any) -> None:
        import numpy as np

        numbers = self._numbers[node.input[0]]
        row = _row(numbers)
        if row is None:
            self._fix(numbers)
        self._read[node.name] = row
        begin, width = len(self._parents), self._shapes[node.name][-1]
        self._parents.extend(range(begin, begin + width))
        self._made[node.name] = np.arange(begin, begin + width)
        self._put(node, self._made[node.name])

    def _passes(self, node: Any) -> bool:
        source = self._numbers.get(node.input[0])
        row = None if source is None else _row(source)
        shape = self._shapes.get(node.name)
        if row is None or shape is None or shape[-1] != len(row) or not self._is_own_bias(node):
            return False
        self._put(node, row)
        return True

    def _is_own_bias(self, node: Any) -> bool:
        """Tell whether a bias is scaled with what it is added to: a constant, alone to read the sums."""
        if node.op != "BiasAdd":
            return True
        inner = node_of(node.input[0])
        alone = inner in self._made and self._readers[inner] == [node.name]
        return alone and node_of(node.input[1]) in self._graph.constants

    def _move(self, node: Any) -> bool:
        import numpy as np
        import tensorflow as tf

        if any(i not in self._numbers and node_of(i) not in self._graph.constants for i in node.input):
            return False
        copy = type(node)()
        copy.CopyFrom(node)
        copy.attr["T"].type = tf.int32.as_datatype_enum
        operands = [
            tf.constant(self._numbers[i].astype(np.int32) if i in self._numbers else self._constant(i))
            for i in node.input
        ]
        for port, moved in enumerate(execute(copy, operands)):
            self._numbers[f"{node.name}:{port}" if port else node.name] = moved.numpy().astype(np.int64)
        return True

    def _constant(self, name: str) -> np.ndarray[Any, Any]:
        return self._graph.constants[node_of(name)]

    def _sum(self, node: Any, flowing: list[str]) -> bool:
        import numpy as np

        if len(flowing) != 2:  # noqa: PLR2004 - the operands of a sum
            return False
        left, right = (self._numbers[name] for name in flowing)
        if left.shape != right.shape:
            return False
        first, second = _row(left), _row(right)
        if first is None or second is None:
            first, second = left.ravel(), right.ravel()
        for a, b in np.unique(np.stack([first, second], axis=1), axis=0):
            self._join(int(a), int(b))
        self._numbers[node.name] = left
        return True

    def _fix(self, numbers: np.ndarray[Any, Any]) -> None:
        import numpy as np

        for number in np.unique(numbers):
            self._join(FIXED, int(number))

    def _root(self, number: int) -> int:
        while self._parents[number] != number:
            self._parents[number] = self._parents[self._parents[number]]
            number = self._parents[number]
        return number

    def _join(self, left: int, right: int) -> None:
        left, right = self._root(left), self._root(right)
        self._parents[max(left, right)] = min(left, right)


def _row(numbers: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    """Return the numbers of the channels; None where they differ from place to place."""
    if not numbers.ndim:
        return None
    rows = numbers.reshape(-1, numbers.shape[-1])
    return rows[0] if bool((rows == rows[:1]).all()) else None
