"""From what a device told to a run: pure, so that the same events always make the same record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit._version import __version__
from edgekit.bench import profile
from edgekit.bench.checks import DONE
from edgekit.bench.onnx_count import count_nodes
from edgekit.bench.parity import compare, outputs_of
from edgekit.bench.run import MemoryReading, Run, RuntimeRef
from edgekit.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from edgekit.bench.plan import Item, Work
    from edgekit.bench.run import ParityReading

    Event = Mapping[str, Any]

_NOT_KEPT = ("e",)
PLACED = ("threads_before", "threads_after", "cpus_allowed", "nodes", "delegated", "providers")
"""What a run keeps of where its work was placed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the host knows of a run before the device tells anything.

    Attributes:
        id: the run's id.
        started_at: UTC, ISO 8601.
        target: the recognized target's name, or "".
        facts: what the device said of itself.
        item: what runs, where, and what shall execute it.
        plan: what was asked for.
        power: what is known of it before the run; the rest comes after.
        own_load1: the load average that this bench itself left there, by its last runs.
    """

    id: str
    started_at: str
    target: str
    facts: Mapping[str, Any]
    item: Item
    plan: Mapping[str, Any]
    power: Mapping[str, Any]
    own_load1: float = 0.0


def from_events(events: Sequence[Event], header: Header, *, broken: str = "") -> Run | None:
    """Build the run that these events tell of.

    Args:
        events: all that arrived, in order, of all passes.
        header: what the host knows.
        broken: why no more will come ("the link is gone"), or "" when the program ended by itself.

    Returns:
        None when nothing ran: no invocation finished, so that there is nothing to keep.

    Raises:
        ProtocolError: an event lacks a field, or outputs can't be read.
    """
    try:
        return _build(events, header, broken)
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolError(f"{header.item.device.address}: an event can't be read ({error!r})") from None


def _build(events: Sequence[Event], header: Header, broken: str) -> Run | None:
    timed = [event for event in events if event.get("pass") == "latency"]
    first, samples = _one(timed, "first"), _many(timed, "samples")
    warmup = _many(timed, "warmup")
    if first is None and not samples and not warmup:
        return None
    ended = _ended(timed, broken)
    whole = ended in DONE
    return Run(
        id=header.id,
        started_at=header.started_at,
        device=header.item.device.address,
        target=header.target,
        facts=header.facts,
        artifact=header.item.work.ref,
        runtime=_runtime(events, header),
        plan=header.plan,
        load_ns=_one(timed, "load"),
        first_ns=first,
        warmup_ns=warmup,
        samples_ns=samples,
        memory=tuple(_memory(event) for event in events if event["e"] == "memory"),
        power=header.power,
        parity=_parity(events, header.item.work, whole=whole) if header.item.provable else None,
        conditions=_conditions(events, header.own_load1),
        ended=ended,
        versions={"edgekit": __version__, "protocol": str(_hello(events).get("protocol", ""))},
        overhead_ns=_many(timed, "overhead"),
        placed=_placed(timed, header.item.work),
        ops=profile.kept(events, header.item.work),
        told=next((event["figures"] for event in timed if event["e"] == "told"), {}),
    )


def _ended(timed: Iterable[Event], broken: str) -> str:
    for event in timed:
        if event["e"] == "end" and not (broken and event["reason"] == "stopped"):
            return str(event["reason"])
    told = next((f"{e['kind']}: {e['message']}" for e in timed if e["e"] == "error"), "")
    return told or broken or "no end was told"


def _hello(events: Sequence[Event]) -> Event:
    """Return the timed pass's greeting, or any, or an empty one."""
    greetings = [event for event in events if event["e"] == "hello"]
    timed = [event for event in greetings if event.get("pass") != "memory"]
    return (timed or greetings or [{}])[0]


def _runtime(events: Sequence[Event], header: Header) -> RuntimeRef:
    hello = _hello(events)
    return RuntimeRef(
        name=str(hello.get("runtime", header.item.runtime)),
        version=str(hello.get("version", "")),
        threads=int(hello.get("threads", 0)),
    )


def _one(events: Iterable[Event], kind: str) -> int | None:
    return next((int(event["ns"]) for event in events if event["e"] == kind), None)


def _many(events: Iterable[Event], kind: str) -> tuple[int, ...]:
    return tuple(int(ns) for event in events if event["e"] == kind for ns in event["ns"])


def _placed(events: Iterable[Event], work: Work) -> Event:
    """Return what was told of the placing; ONNX Runtime tells providers alone, so nodes are counted here."""
    told = next((event for event in events if event["e"] == "placed"), {})
    count = count_nodes(work.path) if told.get("providers") else None
    counted = {} if count is None else {"artifact_nodes": count}
    return {key: told[key] for key in PLACED if key in told} | counted


def _memory(event: Event) -> MemoryReading:
    return MemoryReading(
        phase=str(event["phase"]),
        pss_bytes=int(event["pss_bytes"]),
        private_dirty_bytes=int(event["private_dirty_bytes"]),
        swap_bytes=int(event["swap_bytes"]),
        file_bytes=int(event.get("file_bytes", 0)),
        measure=str(event.get("measure", "pss")),
    )


def _conditions(events: Iterable[Event], own_load1: float) -> tuple[Event, ...]:
    told = [
        {key: value for key, value in event.items() if key not in _NOT_KEPT}
        for event in events
        if event["e"] == "conditions"
    ]
    return ({"when": "before", "pass": "host", "own_load1": own_load1}, *told)


def _parity(events: Sequence[Event], work: Work, *, whole: bool) -> ParityReading | None:
    if work.bundle is None or work.artifact is None:
        return None
    _, expected = work.bundle.golden_arrays()
    return compare(outputs_of(events), expected, work.artifact, whole=whole)
