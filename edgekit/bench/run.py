"""A run: the raw and immutable record of one artifact on one device. What is stored is this.

plan (intention) -> run (what happened) -> summary (derived, never stored as truth) -> report (text)
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

from edgekit.artifact import checked

if TYPE_CHECKING:
    from collections.abc import Mapping

RUN_SCHEMA = 2
READABLE = (1, RUN_SCHEMA)
"""Schemas of records that can still be read; what an older one did not tell is empty."""
_SINCE_2 = ("overhead_ns", "placed", "ops", "told")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactRef:
    """Which artifact ran.

    Attributes:
        recipe: the recipe's name, or the file's name when it came without a bundle.
        format: "tflite", "onnx" or "coreml".
        precision: as in the recipe, or "" when nobody said.
        sha256: of what ran, as read back on the device.
        size_bytes: of the file.
        source: the source's name, or "".
        bundle: the bundle's folder on the host, or "".
    """

    recipe: str
    format: str
    precision: str
    sha256: str
    size_bytes: int
    source: str = ""
    bundle: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeRef:
    """What executed it: the runtime's name, the version it told, and the threads it honoured."""

    name: str
    version: str
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryReading:
    """The process's own memory at one moment, in bytes (smaps_rollup: Pss, Private_Dirty, SwapPss, Pss_File).

    Attributes:
        phase: "baseline" (runtime imported, before load), "loaded", "first" or "peak".
        pss_bytes: proportional set size.
        private_dirty_bytes: pages that only this process holds and has written.
        swap_bytes: its share of swap.
        file_bytes: the part of pss_bytes that files back.
        measure: "pss", or "footprint" of a Mac: pss_bytes is the physical footprint (dirty and compressed
            pages) then, which shares nothing and counts no file.
    """

    phase: str
    pss_bytes: int
    private_dirty_bytes: int
    swap_bytes: int
    file_bytes: int = 0
    measure: str = "pss"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityReading:
    """The golden inputs' outputs on the device against the float source's.

    Attributes:
        max_abs_error: the largest absolute difference; None when outputs are missing, misshapen or not
            finite.
        snr_db: signal to error, 200 at most; None as above.
        top1_agreement: share of golden inputs with the same largest output (near ties count as the same);
            None as above.
        limit: what max_abs_error had to stay within.
        tolerance: where the limit comes from, or what is wrong with outputs that can't be compared.
        ok: whether the outputs are right.
        count: how many golden inputs ran.
        blind: whether an answer that ignores its input would have stayed within the limit too, so that
            `ok` proves little.
        rms_error: the root mean square of all differences; None as above.
        rms_limit: what rms_error had to stay within; None as above.
    """

    max_abs_error: float | None
    snr_db: float | None
    top1_agreement: float | None
    limit: float
    tolerance: str
    ok: bool
    count: int
    blind: bool = False
    rms_error: float | None = None
    rms_limit: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One artifact on one device, as it happened. Raw: nothing in it is derived from the samples.

    Attributes:
        id: unique; also the nonce of the process on the device.
        started_at: UTC, ISO 8601, by the host's clock.
        device: its address.
        target: the recognized target's name, or "".
        facts: what the device said of itself (machine, kernel, model, soc, libc, python, emulated ...).
        artifact: what ran.
        runtime: what executed it.
        plan: what was asked for (runs, warmup, threads, max_s).
        load_ns: from opening the artifact to ready; None when the run ended before.
        first_ns: the first invocation.
        warmup_ns: the invocations before the timed ones.
        samples_ns: every timed invocation, in order.
        memory: readings of the memory pass, in order; empty when it could not be measured.
        power: {"unavailable": reason}, or what was sampled beside the timed loop of the power pass.
        parity: of the golden inputs, or None when there were none.
        conditions: before, during and after, as the device told them.
        ended: "done", "limit", or what broke it off.
        versions: of EdgeKit and the protocol.
        overhead_ns: the timed loop around a call that does nothing.
        placed: threads_before (the load), threads_after (the warm-up), cpus_allowed; empty if not told.
        ops: per-operator times of the profile pass, as the device told them.
        told: what a tool of the user's own said beside its times, under its own names; empty of others.
        schema: of this record.
    """

    id: str
    started_at: str
    device: str
    target: str
    facts: Mapping[str, Any]
    artifact: ArtifactRef
    runtime: RuntimeRef
    plan: Mapping[str, Any]
    load_ns: int | None
    first_ns: int | None
    warmup_ns: tuple[int, ...]
    samples_ns: tuple[int, ...]
    memory: tuple[MemoryReading, ...]
    power: Mapping[str, Any]
    parity: ParityReading | None
    conditions: tuple[Mapping[str, Any], ...] = ()
    ended: str = "done"
    versions: Mapping[str, str] = field(default_factory=dict)
    overhead_ns: tuple[int, ...] = ()
    placed: Mapping[str, Any] = field(default_factory=dict)
    ops: tuple[Mapping[str, Any], ...] = ()
    told: Mapping[str, Any] = field(default_factory=dict)
    schema: int = RUN_SCHEMA

    def to_json(self) -> dict[str, Any]:
        """Return the run as JSON's types, without what its schema does not know yet."""
        later = _SINCE_2 if self.schema < RUN_SCHEMA else ()
        data = {key: value for key, value in asdict(self).items() if key not in later}
        for reading in data["memory"] if later else ():
            del reading["measure"]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises:
            UsageError: a key is unknown or missing.
        """
        values = checked(cls, data, "run")
        values["artifact"] = ArtifactRef(**checked(ArtifactRef, data["artifact"], "artifact"))
        values["runtime"] = RuntimeRef(**checked(RuntimeRef, data["runtime"], "runtime"))
        values["memory"] = tuple(MemoryReading(**checked(MemoryReading, m, "memory")) for m in data["memory"])
        parity = data.get("parity")
        values["parity"] = (
            None if parity is None else ParityReading(**checked(ParityReading, parity, "parity"))
        )
        for name in ("warmup_ns", "samples_ns", "conditions", "overhead_ns", "ops"):
            values[name] = tuple(data.get(name, ()))
        return cls(**values)
