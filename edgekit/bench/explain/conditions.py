"""What makes two runs no fair comparison. As long as one of these holds, int8 is not to blame.

Each check has its limit as a constant with its reason; none looks at the runs' latencies.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgekit.bench.explain.side import Side

CLOCK_LIMIT = 0.10
"""How far the clocks may differ: latency follows them one to one, and a run alone may move that much too."""
CANARY_LIMIT = 0.15
"""How far the fixed piece of work may differ in time: its own medians repeat within 5 % on a quiet device."""
CORES_LIMIT = 0.5
"""Which part of the time may be spent on cores of another class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why it is as it is.

    Attributes:
        code: one word for it.
        line: one sentence without the numbers of latency.
        evidence: what shows it, each with its numbers.
        hint: the next thing to try.
        share: which part of B's time it concerns, or None when that was not measured.
    """

    code: str
    line: str
    evidence: tuple[str, ...]
    hint: str
    share: float | None = None


def differences(a: Side, b: Side) -> tuple[Cause, ...]:
    """Return all that makes two runs no fair comparison, the plainest first."""
    return tuple(cause for check in CHECKS for cause in check(a, b))


def _device(a: Side, b: Side) -> Iterator[Cause]:
    if a.run.device != b.run.device:
        evidence = f"{a.run.device} against {b.run.device}"
        yield _cause("device", "the runs are from different devices", evidence, "bench both on one device")


def _runtime(a: Side, b: Side) -> Iterator[Cause]:
    left, right = ((s.run.runtime.name, s.run.runtime.version) for s in (a, b))
    if left != right:
        evidence = f"{' '.join(left)} against {' '.join(right)}"
        hint = "bench both with one runtime: --runtime, and artifacts of one format"
        yield _cause("runtime", "different runtimes executed them", evidence, hint)


def _threads(a: Side, b: Side) -> Iterator[Cause]:
    left, right = (s.run.runtime.threads for s in (a, b))
    if left != right:
        evidence = f"{left} thread{'s' * (left != 1)} against {right}"
        hint = f"bench both with --threads {max(left, right)}"
        yield _cause("threads", "they ran with different numbers of threads", evidence, hint)


def _cores(a: Side, b: Side) -> Iterator[Cause]:
    left, right = (str(s.run.placed.get("cpus_allowed", "")) for s in (a, b))
    if left and right and left != right:
        evidence = f"CPUs {left} against {right}"
        hint = "bench both with the same --cores"
        yield _cause("cores", "they were kept to different cores", evidence, hint)
        return
    shares = [_fast_share(side) for side in (a, b)]
    if None not in shares and abs(shares[0] - shares[1]) > CORES_LIMIT:  # type: ignore[operator]
        evidence = f"{shares[0]:.0%} against {shares[1]:.0%} of the time on the fastest cores"
        hint = "keep both to one class of cores: --cores big"
        yield _cause("cores", "the scheduler put them on different cores", evidence, hint)


def _throttled(a: Side, b: Side) -> Iterator[Cause]:
    told = {name: _told(side, "throttled") for name, side in (("A", a), ("B", b))}
    held = {name: reasons for name, reasons in told.items() if reasons}
    if held:
        evidence = "; ".join(f"{name}: {reasons[-1]}" for name, reasons in held.items())
        hint = "let the device cool (--cooldown), mend its supply, and bench both again"
        yield _cause("throttled", "the device held back its clock", evidence, hint)


def _clock(a: Side, b: Side) -> Iterator[Cause]:
    left, right = _khz(a), _khz(b)
    if left and right and abs(left / right - 1.0) > CLOCK_LIMIT:
        evidence = f"{left / 1000:.0f} MHz against {right / 1000:.0f} MHz"
        hint = "fix the clock (--frequency or --governor performance) and bench both again"
        yield _cause("clock", "the cores ran at different clocks", evidence, hint)


def _canary(a: Side, b: Side) -> Iterator[Cause]:
    left, right = a.canary_ns, b.canary_ns
    if left and right and abs(left / right - 1.0) > CANARY_LIMIT:
        evidence = f"a fixed piece of work took {left / 1000:.0f} us beside {right / 1000:.0f} us"
        hint = "find what else ran there, let it cool, and bench both again, close together"
        yield _cause("canary", "the device itself was not equally fast", evidence, hint)


CHECKS: tuple[Callable[[Side, Side], Iterator[Cause]], ...] = (
    _device,
    _runtime,
    _threads,
    _cores,
    _throttled,
    _clock,
    _canary,
)
"""Every check, in the order in which they are told."""


def _cause(code: str, line: str, evidence: str, hint: str) -> Cause:
    return Cause(code=code, line=line, evidence=(evidence,), hint=hint)


def _told(side: Side, key: str) -> list[Any]:
    return [c[key] for c in side.run.conditions if c.get(key)]


def _khz(side: Side) -> float | None:
    """Return the fastest cluster's clock during the timed loop, its median."""
    told = [
        max(int(part["cur_khz"]) for part in c["clusters"] if part.get("cur_khz"))
        for c in side.run.conditions
        if c.get("when") == "during" and any(part.get("cur_khz") for part in c.get("clusters", ()))
    ]
    return median(told) if told else None


def _fast_share(side: Side) -> float | None:
    """Return which part of the profile was spent on the quickest cores, None where all are alike."""
    clocks = {number: cpu[1] for number, cpu in enumerate(side.run.facts.get("cpus", ())) if cpu[1]}
    if len(set(clocks.values())) < 2 or not side.cores:  # noqa: PLR2004
        return None
    fast = {number for number, mhz in clocks.items() if mhz == max(clocks.values())}
    return sum(n for cpu, n in side.cores.items() if cpu in fast) / sum(side.cores.values())
