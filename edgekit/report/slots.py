"""What the page's plots share: where a run stands, what it is called there, how many samples are drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.report.cells import banner, groups_of, rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.bench.run import Run
    from edgekit.bench.summary import Summary
    from edgekit.report.cells import Row

_TALL, _LOW, _MANY = 46, 30, 14
_TOP, _BOTTOM = 34, 58
_LABEL = 44
"""Letters of a run's name at most; the table has all of it."""


class Slots:
    """Where each run stands on the y axis: device heads and runs, from the top down.

    Args:
        pairs: the runs and their summaries, at least one.
    """

    def __init__(self, pairs: Sequence[tuple[Run, Summary]]) -> None:
        self.rows, _ = rows_of(pairs)
        self.heads: list[tuple[int, str, str]] = []
        self.y: dict[int, int] = {}
        names = _names(self.rows)
        place = 0
        for group in groups_of(self.rows):
            self.heads.append((-place, group.device, banner(group.labels)))
            for offset, index in enumerate(group.members, start=1):
                self.y[index] = -place - offset
            place += len(group.members) + 1
        self.count = place
        self.names = names

    @property
    def height(self) -> int:
        """The plot's height in pixels."""
        each = _TALL if len(self.y) <= _MANY else _LOW
        return self.count * each + _TOP + _BOTTOM

    def axis(self) -> dict[str, Any]:
        """Return the y axis with the runs' names as its ticks."""
        order = sorted(self.y)
        return {
            "tickvals": [self.y[i] for i in order],
            "ticktext": [escaped(self.names[i]) for i in order],
            "range": [0.6 - self.count, 0.5],
            "automargin": True,
            "showgrid": False,
            "zeroline": False,
            "fixedrange": True,
            "ticks": "",
        }

    def head_notes(self) -> list[dict[str, Any]]:
        """Return the devices' names, and what their numbers must never be shown without, as annotations."""
        notes = []
        for y, device, label in self.heads:
            text = f"<b>{escaped(device)}</b>" + (f"   <b>{escaped(label)}</b>" if label else "")
            notes.append(note(text, x=0, y=y, anchor="left", color="alarm" if label else "ink"))
        return notes


def thinned(values: Sequence[float], most: int) -> list[float]:
    """Return at most `most` of the sorted values, evenly by rank, the smallest and the largest among them."""
    ordered = sorted(values)
    if len(ordered) <= most:
        return ordered
    return [ordered[round(k * (len(ordered) - 1) / (most - 1))] for k in range(most)]


def envelope(values: Sequence[float], most: int) -> list[tuple[int, float]]:
    """Return (index, value) of the smallest and the largest of each of `most` / 2 stretches, in order."""
    if len(values) <= most:
        return list(enumerate(values))
    stretches = most // 2
    kept: set[int] = set()
    for k in range(stretches):
        part = range(k * len(values) // stretches, (k + 1) * len(values) // stretches)
        kept |= {min(part, key=values.__getitem__), max(part, key=values.__getitem__)}
    return [(index, values[index]) for index in sorted(kept)]


def note(
    text: str, *, x: float, y: float, anchor: str, color: str = "ink", ref: str = "paper"
) -> dict[str, Any]:
    """Return a text in the plot, at a share of the width ("paper") or at a value of an axis ("x")."""
    return {
        "text": text,
        "x": x,
        "y": y,
        "xref": ref,
        "yref": "y",
        "xanchor": anchor,
        "yanchor": "middle",
        "xshift": 6 if ref == "x" or x == 1 else 0,
        "showarrow": False,
        "font": {"color": color},
    }


def layout_of(slots: Slots) -> dict[str, Any]:
    """Return what both plots have in common."""
    return {
        "height": slots.height,
        "margin": {"l": 12, "r": 12, "t": _TOP, "b": _BOTTOM},
        "yaxis": slots.axis(),
        "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "traceorder": "normal"},
        "hovermode": "closest",
        "dragmode": "zoom",
    }


def rounded(value: float) -> float:
    """Return the value with five significant digits: more can't be seen, and would only fill the file."""
    return float(f"{value:.5g}")


def _names(rows: Sequence[Row]) -> list[str]:
    """Return a name a row that tells it from the others of its device, as short as that allows."""
    several = len({row.source for row in rows}) > 1
    base = [f"{row.artifact} of {row.source}" if several and row.source else row.artifact for row in rows]
    seen: dict[tuple[str, str], int] = {}
    names = []
    for row, name in zip(rows, base, strict=True):
        twins = [r for r, n in zip(rows, base, strict=True) if n == name and r.device == row.device]
        full = f"{name}, {row.runtime}" if len({r.runtime for r in twins}) > 1 else name
        full = f"{full}, {row.threads}" if len({r.threads for r in twins}) > 1 else full
        seen[row.device, full] = seen.get((row.device, full), 0) + 1
        times = seen[row.device, full]
        short = full if len(full) <= _LABEL else f"{full[: _LABEL - 1]}…"
        short = f"{short} #{times}" if times > 1 else short
        names.append(short if row.verdict == "valid" else f"{short} ({row.verdict})")
    return names


def escaped(text: str) -> str:
    """Return text that plotly.js shows as it is: it reads tags and entities in all its texts."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
