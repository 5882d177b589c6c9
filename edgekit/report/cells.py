"""What a run and its summary say, as text: the same words in the terminal and on the page.

Everything that came from a device, a file or a user passes `clean` here, before anybody prints it.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit import units
from edgekit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from edgekit.bench.run import ParityReading, Run
    from edgekit.bench.summary import Curve, Doubt, Estimate, Latency, Memory, Summary

NOT_HARDWARE = "not a hardware benchmark"
_EXTRA = ("P90", "P99")
"""Percentiles of which nothing is said where their reason is not told."""
_WORTH = 0.9
"""Share of the samples from which on they are taken for independent."""
_SOFT_LABELS = ("emulated", "instruction time", "fake", "null")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number as text.

    Attributes:
        text: the number without its unit, or the words that stand for a missing one.
        interval: "[low, high]", or "".
        unit: "ms", "MiB" or "".
    """

    text: str
    interval: str = ""
    unit: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (self.text, self.interval, self.unit) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One run as text, every column of it.

    Attributes:
        device: its address.
        target: the target's name, or "".
        labels: what the numbers must never be shown without.
        artifact: the recipe's name.
        source: the source's name, or "".
        runtime: its name and version.
        threads: how many it honoured.
        load: opening the artifact.
        first: the first invocation.
        p50: the median, or why it is withheld.
        p95: likewise.
        p90: likewise.
        p99: likewise.
        count: timed invocations.
        count_more: warm-up, and what the samples are worth where that is less than their number, or "".
        sustained: the last minute against the first, or "".
        memory: peak over baseline.
        peak: the peak itself, or "".
        power: figures, or why there are none.
        parity: the verdict on the outputs and the error, in a few words.
        parity_more: the other figures of parity, or "".
        verdict: "valid", "suspect" or "invalid".
        notes: numbers of the notes that concern it.
    """

    device: str
    target: str
    labels: tuple[str, ...]
    artifact: str
    source: str
    runtime: str
    threads: str
    load: Figure
    first: Figure
    p50: Figure
    p90: Figure
    p95: Figure
    p99: Figure
    count: str
    count_more: str
    sustained: str
    memory: Figure
    peak: str
    power: str
    parity: str
    parity_more: str
    verdict: str
    notes: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A doubt as text; runs that share code, limit and hint share the note.

    Attributes:
        number: counts from 1, in the order of the runs.
        code: the doubt's code.
        measured: its number, or the range of numbers where runs share the note.
        limit: what it should have kept to.
        hint: what to do about it.
        verdict: what the doubt alone makes of a run.
        told: (place in the pairs, number) of every run it concerns.
    """

    number: int
    code: str
    measured: str
    limit: str
    hint: str
    verdict: str
    told: tuple[tuple[int, str], ...]

    @property
    def runs(self) -> int:
        """How many runs it concerns."""
        return len({index for index, _ in self.told})

    def __str__(self) -> str:
        runs = f" in {self.runs} runs" if self.runs > 1 else ""
        if self.is_flag:
            return f"{self.code}{runs}: {self.hint}"
        return f"{self.code}: {self.measured}{runs}, limit {self.limit}; {self.hint}"

    @property
    def is_flag(self) -> bool:
        """Whether its number only says that something is so."""
        return (self.measured, self.limit) == ("1", "0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The runs of one device, by their place in the pairs.

    Attributes:
        device: its address.
        target: the target's name, or "".
        labels: of all its runs, each once.
        power: what all its runs say of power, when that is the same reason why there is none; else "".
        threads: what all its runs used, or "" when they differ.
        members: indices into the pairs, in order.
    """

    device: str
    target: str
    labels: tuple[str, ...]
    power: str
    threads: str
    members: tuple[int, ...]


def clean(text: object) -> str:
    """Return text that can't steer a terminal or a page: control and bidi characters become U+FFFD."""
    folded = str(text).replace("\t", " ").replace("\r\n", " ").replace("\n", " ")
    return "".join(
        "\ufffd" if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} else c for c in folded
    )


def rows_of(pairs: Sequence[tuple[Run, Summary]]) -> tuple[tuple[Row, ...], tuple[Note, ...]]:
    """Return one row a run, in order, and the notes they refer to.

    Raises:
        UsageError: there are no runs, or a summary belongs to another run.
    """
    if not pairs:
        raise UsageError("there are no runs to report", hint="bench something first, or widen the query")
    for run, summary in pairs:
        if run.id != summary.run_id:
            raise UsageError(f"the summary of run {summary.run_id!r} was paired with run {run.id!r}")
    alike: dict[tuple[object, ...], list[tuple[int, Doubt]]] = {}
    for index, (_, summary) in enumerate(pairs):
        for doubt in summary.doubts:
            alike.setdefault(_key(doubt), []).append((index, doubt))
    numbers = {key: number for number, key in enumerate(alike, start=1)}
    rows = tuple(_row(run, summary, numbers) for run, summary in pairs)
    return rows, tuple(_note(numbers[key], same) for key, same in alike.items())


def groups_of(rows: Sequence[Row]) -> tuple[Group, ...]:
    """Return the rows by device, devices in the order of their first row."""
    members: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        members.setdefault(row.device, []).append(index)
    return tuple(_group([(i, rows[i]) for i in indices]) for indices in members.values())


def banner(labels: Iterable[str]) -> str:
    """Return labels as the warning to print large: 'emulated: qemu-user, not a hardware benchmark'."""
    texts = list(labels)
    soft = any(text.startswith(_SOFT_LABELS) for text in texts)
    return ", ".join([*texts, NOT_HARDWARE] if soft else texts)


def power_text(power: Mapping[str, Any]) -> str:
    """Return a run's power: '812 mW, 1.23 mJ an inference (ina219)' or 'not measurable here: no sensor'."""
    if "unavailable" in power or not power:
        reason = clean(power.get("unavailable", "")) or "nobody said why"
        return reason if reason.startswith("not measurable") else f"not measurable here: {reason}"
    shown = (("mean_mw", units.mw_text, ""), ("energy_per_inference_uj", units.uj_text, " an inference"))
    parts = [f"{_maybe_interval(power[key], text)}{tail}" for key, text, tail in shown if power.get(key)]
    cost = power.get("sampling_cost")
    if cost:
        parts.append(f"sampling costs {_maybe_interval(cost, _percent)}")
    source = clean(power.get("source", "")) or "unnamed sensor"
    return f"{', '.join(parts) or 'no figures'} ({source})"


def _row(run: Run, summary: Summary, numbers: Mapping[tuple[object, ...], int]) -> Row:
    parity, parity_more = _parity(run.parity)
    threads = run.runtime.threads
    return Row(
        device=clean(run.device),
        target=clean(run.target),
        labels=tuple(clean(label) for label in summary.labels),
        artifact=clean(run.artifact.recipe),
        source=clean(run.artifact.source),
        runtime=clean(f"{run.runtime.name} {run.runtime.version}".strip()),
        threads=f"{threads} thread" if threads == 1 else f"{threads} threads",
        load=_time(summary.latency.load_ms),
        first=_time(summary.latency.first_ms),
        p50=_percentile(summary.latency, "P50", summary.latency.p50_ms),
        p90=_percentile(summary.latency, "P90", summary.latency.p90_ms),
        p95=_percentile(summary.latency, "P95", summary.latency.p95_ms),
        p99=_percentile(summary.latency, "P99", summary.latency.p99_ms),
        count=str(summary.latency.count),
        count_more=_count_more(summary.latency),
        sustained=sustained_text(summary.curve),
        memory=_memory(summary.memory),
        peak="" if summary.memory is None else units.bytes_text(summary.memory.peak_pss_bytes),
        power=power_text(summary.power),
        parity=parity,
        parity_more=parity_more,
        verdict=clean(summary.verdict),
        notes=tuple(sorted({numbers[_key(doubt)] for doubt in summary.doubts})),
    )


def _time(milliseconds: float | None) -> Figure:
    if milliseconds is None:
        return Figure(text="not reached")
    number, _, unit = units.ms_text(milliseconds).partition(" ")
    return Figure(text=number, unit=unit)


def _percentile(latency: Latency, name: str, estimate: Estimate | None) -> Figure:
    if estimate is not None:
        number, interval = units.interval_texts(estimate.value, estimate.low, estimate.high)
        return Figure(text=number, interval=interval, unit="ms")
    if latency.count == 0:
        return Figure(text="no samples")
    reason = _withheld(clean(latency.withheld), name)
    if name in _EXTRA and f"{name} " not in latency.withheld:
        reason = ""
    return Figure(text=f"withheld: {reason}" if reason else "withheld")


def _withheld(reasons: str, name: str) -> str:
    """Return one percentile's reason: P50's in 'P50 needs 6 samples, 2 more; P95 ...' is 'needs 2 more'."""
    mine = [part for part in reasons.split("; ") if part.startswith(f"{name} ")]
    reason = mine[0].removeprefix(f"{name} ") if mine else reasons
    needs, comma, more = reason.partition(" samples, ")
    return f"needs {more}" if comma and needs.startswith("needs ") else reason


def sustained_text(curve: Curve | None) -> str:
    """Return the last minute against the first: '+7.7 % [6.6 %, 8.9 %] from minute 1 to minute 5', or ""."""
    if curve is None:
        return ""
    span = f"from minute 1 to minute {curve.minutes[-1].number}"
    found = curve.slowdown
    if found is None:
        return f"withheld {span}: too few samples a minute"
    value, low, high = (f"{100 * share:+.1f} %" for share in (found.value, found.low, found.high))
    return f"{value} [{low}, {high}] {span}"


def _count_more(latency: Latency) -> str:
    """Return '12 warm-up, worth 57': what was left out before, and how many independent samples there are."""
    parts = [f"{latency.warmup_count} warm-up"] if latency.warmup_count else []
    found = latency.p50_ms
    if not latency.steady:
        parts.append("not steady")
    if found and found.n and found.n_eff and found.n_eff < _WORTH * found.n:
        parts.append(f"worth {found.n_eff:.0f}")
    return ", ".join(parts)


def _memory(memory: Memory | None) -> Figure:
    if memory is None:
        return Figure(text="not measured")
    return Figure(text=units.mib_text(memory.peak_over_baseline_bytes), unit="MiB")


def _parity(parity: ParityReading | None) -> tuple[str, str]:
    if parity is None:
        return "not checked", "no golden outputs were compared"
    word = "ok" if parity.ok else "WRONG"
    error = "can't compare" if parity.max_abs_error is None else units.number_text(parity.max_abs_error)
    more = [f"limit {units.number_text(parity.limit)}"]
    if parity.snr_db is not None:
        more.append(f"SNR {units.db_text(parity.snr_db)}")
    if parity.top1_agreement is not None:
        more.append(f"top-1 {units.percent_text(parity.top1_agreement)} of {parity.count}")
    if parity.blind:
        more.append("blind: an answer that ignores its input would pass too")
    return f"{word}, {error}", ", ".join(more)


def _percent(share: float) -> str:
    """Return a small share, which may be less than nothing, as percent."""
    return f"{share * 100:.1f} %"


def _maybe_interval(value: object, text: Any) -> str:
    """Return a number, or {value, low, high}, in the words of `text`."""
    if hasattr(value, "keys"):
        low, high = text(value["low"]), text(value["high"])  # type: ignore[index]
        return f"{text(value['value'])} [{low}, {high}]"  # type: ignore[index]
    return str(text(value))


def _group(members: Sequence[tuple[int, Row]]) -> Group:
    rows = [row for _, row in members]
    same = rows[0].power if len({row.power for row in rows}) == 1 else ""
    return Group(
        device=rows[0].device,
        target=next((row.target for row in rows if row.target), ""),
        labels=tuple(dict.fromkeys(label for row in rows for label in row.labels)),
        power=same if same.startswith("not measurable") else "",
        threads=rows[0].threads if len({row.threads for row in rows}) == 1 else "",
        members=tuple(index for index, _ in members),
    )


def _key(doubt: Doubt) -> tuple[object, ...]:
    return (doubt.code, doubt.limit, doubt.hint, doubt.verdict)


def _note(number: int, same: Sequence[tuple[int, Doubt]]) -> Note:
    """Return the note for doubts of one key, each with its run's place in the pairs."""
    doubt = same[0][1]
    low, high = (units.number_text(end(d.value for _, d in same)) for end in (min, max))
    return Note(
        number=number,
        code=clean(doubt.code),
        measured=low if low == high else f"{low} to {high}",
        limit=units.number_text(doubt.limit),
        hint=clean(doubt.hint),
        verdict=clean(doubt.verdict),
        told=tuple((index, units.number_text(d.value)) for index, d in same),
    )
