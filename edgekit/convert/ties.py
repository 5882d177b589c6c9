"""Which tensors must share a grid, so that no format has to requantize where values only move.

Pooling, padding, reshaping, splitting and picking give out what they take in: the output has the input's
grid. A concatenation has one grid for all that goes in; what is computed for it alone is computed in that
grid. A softmax or a sigmoid has a grid that the runtimes fix.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

MOVING = {
    "AvgPool": 0, "BatchToSpaceND": 0, "ExpandDims": 0, "GatherV2": 0, "Identity": 0, "MaxPool": 0,
    "MirrorPad": 0, "Pad": 0, "PadV2": 0, "Reshape": 0, "ResizeBilinear": 0, "ResizeNearestNeighbor": 0,
    "Slice": 0, "SpaceToBatchND": 0, "SpaceToDepth": 0, "DepthToSpace": 0, "Split": 1, "SplitV": 0,
    "Squeeze": 0, "StridedSlice": 0, "Tile": 0, "Transpose": 0, "Unpack": 0,
}  # fmt: skip
"""Operations whose output has the grid of an input, with that input's place."""
JOINING = ("ConcatV2", "Pack")
FIXED = {"Softmax": (0.0, 255 / 256), "Sigmoid": (0.0, 255 / 256), "Tanh": (-1.0, 127 / 128)}
"""Grids that TFLite's kernels demand: 1/256 from 0, 1/128 around 0."""


def tied(graph_def: Any, ranges: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Return ranges in which tied tensors have one range.

    Args:
        graph_def: the frozen graph, in the order of computing.
        ranges: (low, high) by tensor, as measured.
    """
    found = dict(ranges)
    nodes = {node.name: node for node in graph_def.node}
    for node in reversed(graph_def.node):  # a concatenation of concatenations is one
        if node.op in FIXED and node.name in found:
            found[node.name] = FIXED[node.op]
        elif node.op in JOINING:
            _join(node, nodes, found)
    for node in graph_def.node:
        source = _tensor(node.input[MOVING[node.op]]) if node.op in MOVING and node.input else None
        if source in found:
            for name in _outputs(node.name, found):
                found[name] = found[source]
    return found


def _join(node: Any, nodes: Mapping[str, Any], found: dict[str, tuple[float, float]]) -> None:
    """Give what is computed for a concatenation the concatenation's range."""
    if node.name not in found:
        return
    for name in map(_tensor, node.input):
        producer = nodes.get(name.split(":")[0])
        if name in found and producer is not None and producer.op not in (*MOVING, *FIXED, "Placeholder"):
            found[name] = found[node.name]


def _outputs(node: str, found: Mapping[str, Any]) -> list[str]:
    names, index = [node], 1
    while f"{node}:{index}" in found:
        names.append(f"{node}:{index}")
        index += 1
    return [name for name in names if name in found]


def _tensor(name: str) -> str:
    return name.removesuffix(":0")
