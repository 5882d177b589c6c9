"""How many nodes an .onnx file has, read from its bytes alone: no library, and no weights in memory."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_GRAPH, _NODE = 7, 1
"""Fields of ModelProto and of GraphProto (onnx.proto)."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST = 10


def count_nodes(path: Path) -> int | None:
    """Return how many nodes the file's graph has, those within branches and loops not counted.

    None where it is no such file, whatever it holds instead.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            graphs = [span for field, span in _fields(content, (0, len(content))) if field == _GRAPH]
            if len(graphs) != 1:
                return None
            return sum(field == _NODE for field, _ in _fields(content, graphs[0]))
    except (OSError, ValueError, IndexError):
        return None


def _fields(content: mmap.mmap, span: tuple[int, int]) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield the number and the place of each field of bytes in a message of Protocol Buffers."""
    at, end = span
    while at < end:
        key, at = _varint(content, at)
        kind, size = key & 7, {_FIXED64: 8, _FIXED32: 4}.get(key & 7, 0)
        if kind == _VARINT:
            _, at = _varint(content, at)
        elif kind == _BYTES:
            size, at = _varint(content, at)
            yield key >> 3, (at, at + size)
        elif not size:
            raise ValueError(f"{kind} is no kind of field")
        at += size
    if at != end:
        raise ValueError("a field goes beyond its message")


def _varint(content: mmap.mmap, at: int) -> tuple[int, int]:
    """Return a number and where the next thing begins."""
    value = 0
    for place in range(_LONGEST):
        byte = content[at + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:  # noqa: PLR2004 - the top bit says that more follows
            return value, at + place + 1
    raise ValueError("a number is too long")
