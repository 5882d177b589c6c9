"""Runs and event streams as a healthy device would tell them, to be changed by those who test with them."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgekit.bench.run import ArtifactRef, MemoryReading, ParityReading, Run, RuntimeRef

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

MIB = 1 << 20
CLUSTERS = ({"cpus": "0-3", "governor": "performance", "cur_khz": 2_400_000, "max_khz": 2_400_000},)
_FACTS = {
    "machine": "aarch64",
    "kernel": "6.1.0",
    "model": "Raspberry Pi 5",
    "emulated": "",
    "transport": "ssh",
}


def example_samples(count: int = 200, *, middle_ns: int = 10_000_000) -> tuple[int, ...]:
    """Return calm samples: within 1 % of `middle_ns`, without drift, the same each time."""
    return tuple(middle_ns + (i * 7919 % 201 - 100) * middle_ns // 10_000 for i in range(count))


def example_run(**changes: Any) -> Run:
    """Return a run about which there is no doubt.

    Args:
        changes: fields of `Run` that shall be otherwise.
    """
    run = Run(
        id="0123456789abcdef",
        started_at="2026-11-22T18:00:00.000+00:00",
        device="ssh://pi@10.0.0.7",
        target="raspberry-pi-5",
        facts=dict(_FACTS),
        artifact=ArtifactRef(
            recipe="tflite-int8",
            format="tflite",
            precision="int8",
            sha256="ab" * 32,
            size_bytes=4 * MIB,
            source="mobilenet_v2",
        ),
        runtime=RuntimeRef(name="litert", version="2.3.0", threads=1),
        plan={"runs": 200, "warmup": 10, "threads": 1, "max_s": 30.0, "passes": ["memory", "latency"]},
        load_ns=3_000_000,
        first_ns=15_000_000,
        warmup_ns=example_samples(10),
        samples_ns=example_samples(),
        memory=(
            MemoryReading(phase="baseline", pss_bytes=20 * MIB, private_dirty_bytes=9 * MIB, swap_bytes=0),
            MemoryReading(phase="peak", pss_bytes=31 * MIB, private_dirty_bytes=18 * MIB, swap_bytes=MIB),
        ),
        power={"unavailable": "not measurable here: no sensor that EdgeKit can read"},
        parity=ParityReading(
            max_abs_error=0.004,
            snr_db=31.0,
            top1_agreement=1.0,
            limit=0.02,
            tolerance="0.00409 on the host + 4 steps of 0.00391",
            ok=True,
            count=8,
        ),
        conditions=tuple(
            {"when": when, "pass": "latency", "load1": 0.1, "cpus_allowed": "0-3", "clusters": [*CLUSTERS]}
            for when in ("before", "during", "after")
        ),
        versions={"edgekit": "0", "protocol": "1"},
    )
    return replace(run, **changes)


def example_events(
    samples: Sequence[int] = (), *, outputs: Sequence[np.ndarray[Any, Any]] = (), **hello: Any
) -> list[dict[str, Any]]:
    """Return all events of a healthy run, the memory pass first.

    Args:
        samples: of the timed loop; empty for `example_samples()`.
        outputs: the artifact's one output for each golden input, batch included, float32.
        hello: fields of the greeting that shall be otherwise.
    """
    timed = list(samples or example_samples())
    chunks = [timed[i : i + 50] for i in range(0, len(timed), 50)]
    told: list[tuple[str, Mapping[str, Any]]] = [
        ("memory", _hello(hello)),
        ("memory", _reading("baseline", 20)),
        ("memory", {"e": "load", "ns": 9_000_000}),
        ("memory", {"e": "first", "ns": 40_000_000}),
        ("memory", _reading("peak", 31)),
        ("memory", {"e": "end", "reason": "done", "count": 1}),
        ("latency", _hello(hello)),
        ("latency", _condition("before")),
        ("latency", {"e": "load", "ns": 3_000_000}),
        ("latency", {"e": "first", "ns": 15_000_000}),
        ("latency", {"e": "warmup", "ns": list(example_samples(10))}),
        *(("latency", {"e": "samples", "ns": chunk}) for chunk in chunks),
        ("latency", _condition("during")),
        *(("latency", _output(index, array)) for index, array in enumerate(outputs)),
        ("latency", _condition("after")),
        ("latency", {"e": "end", "reason": "done", "count": len(timed)}),
    ]
    return [{**event, "pass": name, "t": 1_000 * index} for index, (name, event) in enumerate(told)]


def _hello(changes: Mapping[str, Any]) -> dict[str, Any]:
    told = {"e": "hello", "protocol": 2, "run": "r", "pid": 7, "program": "python", "runtime": "litert"}
    return {**told, "version": "2.3.0", "threads": 1, **changes}


def _reading(phase: str, mib: int) -> dict[str, Any]:
    sizes = {
        "pss_bytes": mib * MIB,
        "private_dirty_bytes": mib * MIB // 2,
        "swap_bytes": 0,
        "file_bytes": MIB,
    }
    return {"e": "memory", "phase": phase, **sizes}


def _condition(when: str) -> dict[str, Any]:
    return {"e": "conditions", "when": when, "load1": 0.1, "cpus_allowed": "0-3", "clusters": [*CLUSTERS]}


def _output(index: int, array: np.ndarray[Any, Any]) -> dict[str, Any]:
    data = base64.b64encode(array.astype("<f4").tobytes()).decode()
    return {"e": "output", "golden": index, "output": 0, "shape": list(array.shape), "data": data}
