"""What the on-device program tells, line by line, held against the protocol; on_device's head has it.

A device's answer is data: every line is bounded, every field typed, and whatever does not fit is a
ProtocolError. What passes here can be stored and printed as it is.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from typing import TYPE_CHECKING, Any, NoReturn

from edgekit.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

PROTOCOL = 2
PASS_NAMES = ("memory", "latency", "power", "profile")
MAX_LINE_BYTES = 16 << 20
_MAX_NUMBER = (1 << 63) - 1
_MAX_SAMPLES = 1 << 20
_MAX_TEXT = 4096
_MAX_READING = 16384
_MAX_PARTS = 64
_MAX_NODES = 1 << 16
_MAX_RANK = 8
_TAIL = 200


def parse_line(line: bytes) -> dict[str, Any]:
    """Return one line of a spool as an event.

    Args:
        line: the line, with or without its newline.

    Returns:
        The event's fields, each of the protocol's type and within its bounds; "e" names it.

    Raises:
        ProtocolError: it is no such line; the line's tail is the evidence.
    """
    try:
        return _event(_decoded(line))
    except (ValueError, RecursionError) as error:
        tail = line[-_TAIL:].decode("utf-8", "replace")
        shown = "".join(c if c.isprintable() else "?" for c in tail)
        raise ProtocolError(
            f"the device told something that is no line of protocol {PROTOCOL} ({error}): ...{shown[-60:]}",
            hint="look at the log of the run on the device",
            evidence=shown,
        ) from error


def output_array(event: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """Return an output event's tensor as float32, of the shape that it tells."""
    import numpy as np

    return np.frombuffer(base64.b64decode(event["data"]), "<f4").reshape(event["shape"])


def _decoded(line: bytes) -> dict[str, Any]:
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(f"it has {len(line)} bytes")
    data = json.loads(line.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_no_duplicate)
    if not isinstance(data, dict):
        raise ValueError("it is no object")  # noqa: TRY004 - told as what the line is
    return data


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}")


def _no_duplicate(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("it says a key twice")
    return table


def _event(data: dict[str, Any]) -> dict[str, Any]:
    name = data.get("e")
    if not isinstance(name, str) or name not in _EVENTS:
        raise ValueError(f"unknown event {str(name)[:40]!r}")
    required, optional = _EVENTS[name]
    event = _table(data, {**_EVERY, **required}, optional)
    if name == "output":
        _check_output(event)
    return event


def _table(data: Any, required: _Fields, optional: _Fields) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ValueError("a table is none")  # noqa: TRY004
    for key in required:
        if key not in data:
            raise ValueError(f"{key!r} is missing")
    known = {**required, **optional}
    for key in data:
        if key not in known:
            raise ValueError(f"unknown key {key[:40]!r}")
    return {key: _field(key, known[key], value) for key, value in data.items()}


def _field(key: str, check: Callable[[Any], Any], value: Any) -> Any:
    try:
        return check(value)
    except ValueError as error:
        raise ValueError(f"{key!r}: {error}") from None


def _check_output(event: dict[str, Any]) -> None:
    try:
        size = len(base64.b64decode(event["data"], validate=True))
    except binascii.Error as error:
        raise ValueError(f"'data': {error}") from None
    if size != 4 * math.prod(event["shape"]):
        raise ValueError(f"'data' has {size} bytes, not those of the shape {event['shape']}")


# --- the types of fields: each takes a value and returns it, or raises ValueError -----------------
def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAX_NUMBER:
        raise ValueError("is no count")
    return value


def _positive(value: Any) -> int:
    if _count(value) == 0:
        raise ValueError("is 0")
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:  # noqa: PLR2004
        raise ValueError("is no number")
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise ValueError("is no text")
    return _clean(value)


def _clean(value: str) -> str:
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in value)


def _text_or_none(value: Any) -> str | None:
    return None if value is None else _text(value)


def _data(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("is no text")  # noqa: TRY004
    return value


def _counts(value: Any) -> list[int]:
    if not isinstance(value, list) or len(value) > _MAX_SAMPLES:
        raise ValueError("is no list of counts")
    return [_count(n) for n in value]


def _shape(value: Any) -> list[int]:
    if not isinstance(value, list) or len(value) > _MAX_RANK:
        raise ValueError("is no shape")
    return [_positive(n) for n in value]


def _clusters(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or len(value) > 4 * _MAX_PARTS:
        raise ValueError("is no list of clusters")
    fields: _Fields = {"cpus": _text, "governor": _text, "cur_khz": _count, "max_khz": _count}
    return [_table(part, {}, fields) for part in value]


def _temperatures(value: Any) -> dict[str, float]:
    if not isinstance(value, dict) or len(value) > 2 * _MAX_PARTS:
        raise ValueError("is no table of temperatures")
    return {_text(key): _number(degrees) for key, degrees in value.items()}


def _trips(value: Any) -> dict[str, dict[str, float]]:
    if not isinstance(value, dict) or len(value) > 2 * _MAX_PARTS:
        raise ValueError("is no table of trip points")
    return {_text(key): _temperatures(kinds) for key, kinds in value.items()}


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list) or len(value) > 4 * _MAX_PARTS:
        raise ValueError("is no list of texts")
    return [_text(text) for text in value]


def _seen(value: Any) -> dict[str, int]:
    if not isinstance(value, dict) or len(value) > _MAX_NODES:
        raise ValueError("is no table of counts")
    return {_text(key): _count(times) for key, times in value.items()}


def _nodes(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or len(value) > _MAX_NODES:
        raise ValueError("is no list of nodes")
    fields: _Fields = {"index": _count, "kind": _text, "inputs": _counts, "outputs": _counts}
    return [_table(node, fields, {}) for node in value]


def _delegated(value: Any) -> dict[str, Any]:
    return _table(value, {"nodes": _count, "taken": _count, "left": _counts}, {})


def _readings(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or len(value) > _MAX_PARTS:
        raise ValueError("is no table of readings")
    if not all(isinstance(text, str) and len(text) <= _MAX_READING for text in value.values()):
        raise ValueError("holds what is no text")
    return {_text(name): _clean(text) for name, text in value.items()}


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("is neither true nor false")  # noqa: TRY004
    return value


def _one_of(*words: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in words:
            raise ValueError(f"is none of {', '.join(words)}")
        return str(value)

    return check


def _protocol(value: Any) -> int:
    if value != PROTOCOL or isinstance(value, bool):
        raise ValueError(f"is not {PROTOCOL}")
    return PROTOCOL


_Fields = dict[str, "Callable[[Any], Any]"]
_EVERY: _Fields = {"e": _text, "pass": _one_of(*PASS_NAMES), "t": _count}
_NS: _Fields = {"ns": _count}
_NS_LIST: _Fields = {"ns": _counts}
_EVENTS: dict[str, tuple[_Fields, _Fields]] = {
    "hello": (
        {
            "protocol": _protocol, "run": _text, "pid": _positive, "program": _text, "runtime": _text,
            "version": _text, "threads": _count,
        },
        {},
    ),
    "conditions": (
        {"when": _one_of("before", "during", "after")},
        {
            "load1": _number, "mem_available_bytes": _count, "cpus_allowed": _text, "clusters": _clusters,
            "temperatures": _temperatures, "trips": _trips, "throttled": _text_or_none, "wall_ns": _count,
            "canary_ns": _count,
        },
    ),
    "memory": (
        {
            "phase": _one_of("baseline", "loaded", "first", "peak"), "pss_bytes": _count,
            "private_dirty_bytes": _count, "swap_bytes": _count,
        },
        {"file_bytes": _count, "measure": _one_of("pss", "footprint")},
    ),
    "load": (_NS, {}),
    "first": (_NS, {}),
    "warmup": (_NS_LIST, {}),
    "placed": (
        {"threads_before": _count, "threads_after": _count, "cpus_allowed": _text},
        {"nodes": _nodes, "providers": _texts, "delegated": _delegated},
    ),
    "overhead": (_NS_LIST, {}),
    "samples": (_NS_LIST, {}),
    "nodes": ({"nodes": _nodes}, {}),
    "profiler": (
        {"plain_ns": _counts},
        {"profiled_ns": _counts, "resolution_ns": _count, "unavailable": _text},
    ),
    "cores": ({"cpus": _seen}, {}),
    "op": (
        {"index": _count, "kind": _text, "name": _text, "where": _text, "ns": _counts},
        {"inputs": _texts, "outputs": _texts},
    ),
    "output": ({"golden": _count, "output": _count, "shape": _shape, "data": _data}, {}),
    "idle": ({"when": _one_of("before", "after"), "begin_ns": _count, "end_ns": _count}, {}),
    "segment": (
        {"sampling": _flag, "begin_ns": _count, "end_ns": _count, "count": _count, "ns": _counts},
        {},
    ),
    "reading": ({"took_ns": _count, "raw": _readings}, {"errors": _readings}),
    "end": ({"reason": _one_of("done", "limit", "enough", "stopped"), "count": _count}, {}),
    "error": (
        {"kind": _one_of("runtime", "load", "invoke", "job", "memory"), "message": _text},
        {},
    ),
}  # fmt: skip
