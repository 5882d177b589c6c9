"""The page's plots, as plain data for plotly.js: one row a run, by device, so that 40 runs still read.

Colours are words ("ink", "p50" ...): the page puts in those of its light or dark scheme.
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any

from edgekit.report.slots import Slots, envelope, layout_of, note, rounded, thinned
from edgekit.units import bytes_text, mib_text, ms_text, ns_to_ms, number_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edgekit.bench.run import Run
    from edgekit.bench.summary import Estimate, Summary

LOG_FROM = 20
"""The latency axis is logarithmic from this ratio of the longest to the shortest sample on."""
_TICKS = 160
"""Samples drawn a run in the left panel, evenly taken from the sorted ones, both ends included."""
_POINTS = 400
"""Points drawn a run in the right panel: the smallest and the largest of each stretch."""
_SIDE = 84
"""Pixels right of a plot for what is written behind its rows."""
_HALF = 0.36
"""Half the height of a run's line, in rows."""


def latency_figure(pairs: Sequence[tuple[Run, Summary]]) -> dict[str, Any] | None:
    """Return the latency plot, or None when no run has a sample.

    Left, on one axis for all: every sample as a tick, P50 and P95 with their intervals. Right: the samples in
    the order they were taken, against the run's own median, on one scale for all.
    """
    drawn = [index for index, (run, _) in enumerate(pairs) if run.samples_ns]
    if not drawn:
        return None
    slots = Slots(pairs)
    ms = {index: [ns_to_ms(n) for n in pairs[index][0].samples_ns] for index in drawn}
    span = _span(ms.values())
    traces = [_tick_trace(slots, ms)]
    for name, color, symbol, lift in (("P50", "p50", "circle", 0.24), ("P95", "p95", "diamond", 0.02)):
        traces.append(_estimate_trace(slots, pairs, name=name, color=color, symbol=symbol, lift=lift))
    traces.append(_line_trace(slots, ms, span))
    traces.append(_cut_trace(slots, ms, span))
    empty = [
        note("no samples", x=0.01, y=slots.y[i], anchor="left", color="dim") for i in slots.y if i not in ms
    ]
    layout = layout_of(slots) | {
        "xaxis": _latency_axis(ms.values()) | {"domain": [0, 0.6]},
        "xaxis2": {
            "domain": [0.64, 1],
            "title": {"text": f"invocation (row: ±{span:.0%})"},
            "rangemode": "nonnegative",
            "zeroline": False,
        },
    }
    layout["margin"]["r"] = _SIDE
    layout["annotations"] = [*slots.head_notes(), *_worst_notes(slots, ms), *empty]
    return {"data": traces, "layout": layout, "span": span}


def memory_figure(pairs: Sequence[tuple[Run, Summary]]) -> dict[str, Any] | None:
    """Return the memory plot (baseline and what came over it, in MiB), or None when no run has memory."""
    drawn = [index for index, (_, summary) in enumerate(pairs) if summary.memory is not None]
    if not drawn:
        return None
    slots = Slots(pairs)
    memory = {i: m for i, (_, summary) in enumerate(pairs) if (m := summary.memory) is not None}
    y = [slots.y[i] for i in drawn]
    base = [_mib(min(memory[i].baseline_bytes, memory[i].peak_pss_bytes)) for i in drawn]
    over = [_mib(max(0, memory[i].peak_over_baseline_bytes)) for i in drawn]
    traces = [
        _bar_trace("baseline", "base", y, base),
        _bar_trace("peak over baseline", "over", y, over),
        _loaded_trace(slots, [(i, pairs[i][0]) for i in drawn]),
    ]
    totals = [
        note(
            f"+{mib_text(memory[i].peak_over_baseline_bytes)} MiB",
            x=b + o,
            y=slots.y[i],
            anchor="left",
            ref="x",
        )
        for i, b, o in zip(drawn, base, over, strict=True)
    ]
    missing = [
        note("not measured", x=0.01, y=slots.y[i], anchor="left", color="dim")
        for i in slots.y
        if i not in memory
    ]
    layout = layout_of(slots) | {
        "barmode": "stack",
        "bargap": 0.5,
        "xaxis": {
            "title": {"text": "PSS and swap, MiB"},
            "range": [0, 1.02 * max(b + o for b, o in zip(base, over, strict=True))],
            "zeroline": True,
        },
    }
    layout["margin"]["r"] = _SIDE
    layout["annotations"] = [*slots.head_notes(), *totals, *missing]
    return {"data": traces, "layout": layout}


def _mib(count: float) -> float:
    return rounded(count / (1 << 20))


def _span(all_ms: Iterable[Sequence[float]]) -> float:
    """Return the share of its median that half a row stands for: 98 % of all samples fit, 5 to 50 %."""
    ratios = sorted(
        abs(value / middle - 1)
        for ms in all_ms
        if (middle := statistics.median(ms)) > 0
        for value in thinned(ms, _TICKS)
    )
    wanted = ratios[int(0.98 * (len(ratios) - 1))] if ratios else 0.0
    return next(step for step in (0.05, 0.1, 0.2, 0.3, 0.5) if step >= min(wanted, 0.5))


def _latency_axis(all_ms: Iterable[Sequence[float]]) -> dict[str, Any]:
    every = list(all_ms)
    low, high = min(map(min, every)), max(map(max, every))
    if low > 0 and high / low > LOG_FROM:
        ends = [math.log10(low) - 0.04, math.log10(high) + 0.04]
        steps = (1, 2, 5) if ends[1] - ends[0] < 4 else (1,)  # noqa: PLR2004
        ticks = [d * 10.0**e for e in range(math.floor(ends[0]), math.ceil(ends[1]) + 1) for d in steps]
        kept = [t for t in ticks if ends[0] <= math.log10(t) <= ends[1]]
        title = "latency, ms (logarithmic)"
        texts = [number_text(t) for t in kept]
        return {"type": "log", "range": ends, "tickvals": kept, "ticktext": texts, "title": {"text": title}}
    if high > 2 * low:
        return {
            "type": "linear",
            "range": [0, high * 1.04],
            "title": {"text": "latency, ms"},
            "zeroline": True,
        }
    pad = max((high - low) * 0.06, high * 0.002, 1e-6)
    title = "latency, ms (the axis does not begin at 0)"
    return {"type": "linear", "range": [low - pad, high + pad], "title": {"text": title}, "zeroline": False}


def _tick_trace(slots: Slots, ms: dict[int, list[float]]) -> dict[str, Any]:
    x: list[float] = []
    y: list[float] = []
    for index, values in ms.items():
        shown = thinned(values, _TICKS)
        x += map(rounded, shown)
        y += [slots.y[index] - 0.24] * len(shown)
    marker = {"symbol": "line-ns-open", "size": 7, "color": "sample", "opacity": 0.45, "line": {"width": 1}}
    return _points("samples", x, y, marker) | {"hovertemplate": "%{x:.4g} ms<extra>sample</extra>"}


def _estimate_trace(
    slots: Slots, pairs: Sequence[tuple[Run, Summary]], *, name: str, color: str, symbol: str, lift: float
) -> dict[str, Any]:
    found: list[tuple[int, Estimate]] = []
    for index, (_, summary) in enumerate(pairs):
        estimate = summary.latency.p50_ms if name == "P50" else summary.latency.p95_ms
        if estimate is not None:
            found.append((index, estimate))
    values = [e for _, e in found]
    hover = [
        f"{name} {ms_text(e.value)}, 95 % interval {ms_text(e.low)} to {ms_text(e.high)}" for e in values
    ]
    marker = {"symbol": symbol, "size": 8, "color": color}
    points = _points(f"{name} with its 95 % interval", *_at(slots, found, lift), marker)
    error = {
        "type": "data",
        "symmetric": False,
        "array": [rounded(e.high - e.value) for e in values],
        "arrayminus": [rounded(e.value - e.low) for e in values],
        "color": color,
        "thickness": 2,
        "width": 4,
    }
    return points | {"error_x": error, "text": hover, "hovertemplate": "%{text}<extra></extra>"}


def _at(slots: Slots, found: Sequence[tuple[int, Estimate]], lift: float) -> tuple[list[float], list[float]]:
    return [rounded(e.value) for _, e in found], [slots.y[i] + lift for i, _ in found]


def _points(name: str, x: list[float], y: list[float], marker: dict[str, Any]) -> dict[str, Any]:
    return {"type": "scatter", "mode": "markers", "name": name, "x": x, "y": y, "marker": marker}


def _line_trace(slots: Slots, ms: dict[int, list[float]], span: float) -> dict[str, Any]:
    x: list[int | None] = []
    y: list[float | None] = []
    text: list[str | None] = []
    for index, values in ms.items():
        middle = statistics.median(values) or 1.0
        for order, value in envelope(values, _POINTS):
            share = min(1.0, max(-1.0, (value / middle - 1) / span))
            x.append(order)
            y.append(round(slots.y[index] + _HALF * share, 3))
            text.append(f"sample {order + 1}: {ms_text(value)}")
        x.append(None)
        y.append(None)
        text.append(None)
    line = {"color": "line", "width": 1}
    return {
        "type": "scatter", "mode": "lines", "name": "samples in order", "x": x, "y": y, "text": text,
        "line": line, "xaxis": "x2", "hovertemplate": "%{text}<extra></extra>", "connectgaps": False,
        "showlegend": False,
    }  # fmt: skip


def _cut_trace(slots: Slots, ms: dict[int, list[float]], span: float) -> dict[str, Any]:
    """Return a mark on each sample that lies higher than its row."""
    found = [
        (order, slots.y[index] + _HALF, value)
        for index, values in ms.items()
        for order, value in envelope(values, _POINTS)
        if value > (1 + span) * (statistics.median(values) or math.inf)
    ]
    marker = {"symbol": "triangle-up", "size": 6, "color": "p95"}
    points = _points("higher than its row", [float(f[0]) for f in found], [f[1] for f in found], marker)
    hover = {"text": [ms_text(f[2]) for f in found], "hovertemplate": "%{text}<extra></extra>"}
    return points | hover | {"xaxis": "x2", "showlegend": bool(found)}


def _worst_notes(slots: Slots, ms: dict[int, list[float]]) -> list[dict[str, Any]]:
    notes = []
    for index, values in ms.items():
        ratio = max(values) / (statistics.median(values) or 1.0)
        text = f"max +{ratio - 1:.0%}" if ratio < 10 else f"max {ratio:.0f}x"  # noqa: PLR2004
        notes.append(note(text, x=1, y=slots.y[index], anchor="left", color="dim"))
    return notes


def _bar_trace(name: str, color: str, y: list[int], x: list[float]) -> dict[str, Any]:
    return {
        "type": "bar", "orientation": "h", "name": name, "x": x, "y": y, "marker": {"color": color},
        "hovertemplate": "%{x:.1f} MiB<extra>" + name + "</extra>",
    }  # fmt: skip


def _loaded_trace(slots: Slots, runs: Sequence[tuple[int, Run]]) -> dict[str, Any]:
    found = [
        (slots.y[index], reading.pss_bytes + reading.swap_bytes)
        for index, run in runs
        for reading in run.memory
        if reading.phase == "loaded"
    ]
    marker = {"symbol": "line-ns-open", "size": 20, "color": "ink", "line": {"width": 2}}
    points = _points("after loading", [_mib(size) for _, size in found], [float(y) for y, _ in found], marker)
    text = [bytes_text(size) for _, size in found]
    return points | {"text": text, "hovertemplate": "%{text}<extra>after loading</extra>"}
