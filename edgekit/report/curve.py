"""The plot of sustained load: latency minute by minute, as plain data for plotly.js."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.report.slots import Slots, escaped, rounded
from edgekit.units import ms_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.bench.run import Run
    from edgekit.bench.summary import Estimate, Minute, Summary

_COLORS = ("p50", "p95", "over", "line", "alarm", "sample")
_HEIGHT = 320


def sustained_figure(pairs: Sequence[tuple[Run, Summary]]) -> dict[str, Any] | None:
    """Return P50 of every minute over that of the first, one line a run, or None when no run has a curve."""
    names = Slots(pairs).names
    devices = {run.device for run, _ in pairs}
    traces: list[dict[str, Any]] = []
    for (run, summary), name in zip(pairs, names, strict=True):
        minutes = summary.curve.minutes if summary.curve else ()
        told = [(minute, minute.p50_ms) for minute in minutes if minute.p50_ms is not None]
        if told:
            full = f"{name}, {run.device}" if len(devices) > 1 else name
            traces.append(_trace(escaped(full), told, _COLORS[len(traces) % len(_COLORS)]))
    if not traces:
        return None
    return {"data": traces, "layout": _layout()}


def _trace(name: str, told: Sequence[tuple[Minute, Estimate]], color: str) -> dict[str, Any]:
    first = told[0][1].value or 1.0
    return {
        "type": "scatter", "mode": "lines+markers", "name": name, "line": {"color": color, "width": 1.5},
        "marker": {"color": color, "size": 6},
        "x": [minute.number for minute, _ in told],
        "y": [rounded(100 * (e.value / first - 1)) for _, e in told],
        "error_y": {
            "type": "data", "symmetric": False, "color": color, "thickness": 1.5, "width": 3,
            "array": [rounded(100 * (e.high - e.value) / first) for _, e in told],
            "arrayminus": [rounded(100 * (e.value - e.low) / first) for _, e in told],
        },
        "text": [
            f"minute {minute.number}: P50 {ms_text(e.value)}, 95 % {ms_text(e.low)} to {ms_text(e.high)}"
            for minute, e in told
        ],
        "hovertemplate": "%{text}<extra></extra>",
    }  # fmt: skip


def _layout() -> dict[str, Any]:
    return {
        "height": _HEIGHT,
        "margin": {"l": 64, "r": 12, "t": 34, "b": 58},
        "xaxis": {"title": {"text": "minute"}, "zeroline": False, "tickformat": "d"},
        "yaxis": {"title": {"text": "P50 against minute 1, %"}, "zeroline": True},
        "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "traceorder": "normal"},
        "showlegend": True,
        "hovermode": "closest",
        "dragmode": "zoom",
    }
