"""Tables for a terminal of any width, or for none: plain text then, without a colour code.

What does not fit is neither cut nor folded into slivers: the bench table has three
shapes, the small tables two.

    wide      one table a device, a number and its interval on one line
    medium    the same, the interval under the number
    narrow    one block a run
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edgekit.report.cells import Figure, banner, clean, groups_of, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from edgekit.bench.run import Run
    from edgekit.bench.summary import Summary
    from edgekit.report.cells import Group, Note, Row

VERDICT_STYLES = {"valid": "green", "suspect": "yellow", "invalid": "bold red"}
COLUMNS = (
    "artifact", "runtime", "load", "first run", "P50", "P90", "P95", "P99", "samples", "memory", "power",
    "parity", "verdict",
)  # fmt: skip
_EXTRA = {"P90", "P99", "samples"}
"""Columns that are left out where they do not fit."""
_RIGHT = {"load", "first run", "P50", "P90", "P95", "P99", "samples", "memory"}
_UNTOLD = {"withheld", "no samples"}
_GAP = 2
_NARROWEST = 14
_LONGEST_WORD = 40
_NUMBER = re.compile(r"[-+]?\d[\d.,]*(?: (?:ms|s|%|B|[KMGT]iB|[kMG]|dB|mJ|m?W|C|[MG]Hz))?")
_MEANING = (
    "P50 to P99: steady state, [95 % interval]. memory: peak PSS and swap over the baseline before load "
    "(on a Mac: physical footprint). "
    "parity: largest error of the golden outputs on the device."
)


def print_runs(console: Console, pairs: Sequence[tuple[Run, Summary]]) -> None:
    """Print runs, one table a device (or one block a run), then their doubts as numbered notes.

    Args:
        console: where to; its width picks the shape.
        pairs: runs and the summaries made from them; none prints "no runs".

    Raises:
        UsageError: a summary belongs to another run.
    """
    if not pairs:
        _line(console, "no runs")
        return
    rows, notes = rows_of(pairs)
    groups = groups_of(rows)
    shapes = (_cells(rows, groups, stacked=s, extra=e) for s in (False, True) for e in (True, False))
    cells = next((c for c in shapes if _needed(c) <= console.width), None)
    for group in groups:
        _print_head(console, group)
        if cells is None:
            for index in group.members:
                _print_block(console, rows[index], with_power=not group.power)
        else:
            console.print(_group_table(cells, [cells[1][i] for i in group.members]))
        for index in group.members:
            if cells is not None and rows[index].sustained:
                _line(console, f"{rows[index].artifact} sustained: P50 {rows[index].sustained}")
        _line(console, "")
    _line(console, _MEANING, style="dim")
    _print_notes(console, notes)


def print_run_list(console: Console, pairs: Sequence[tuple[Run, Summary]]) -> None:
    """Print stored runs, one line each, or two on a narrow terminal: when, where, what, P50, P95, verdict.

    Args:
        console: where to; its width picks the shape.
        pairs: runs and the summaries made from them, in the order to be shown.
    """
    if not pairs:
        _line(console, "no runs")
        return
    columns = ("run", "started (UTC)", "device", "artifact", "P50", "P95", "verdict")
    lines = []
    for (run, _), row in zip(pairs, rows_of(pairs)[0], strict=True):
        device = " ".join([row.device, *(f"({label})" for label in row.labels)])
        when = clean(run.started_at)[:16].replace("T", " ")
        lines.append((clean(run.id), when, device, row.artifact, str(row.p50), str(row.p95), row.verdict))
    if _needed((list(columns), [[_styled(cell) for cell in line] for line in lines])) <= console.width:
        print_table(console, "", columns, lines)
        return
    for run_id, when, device, artifact, p50, p95, verdict in lines:
        _line(console, f"{run_id}  {when}  {device}")
        _print_hanging(console, _joined("  ", artifact, f"P50 {p50}", f"P95 {p95}", _styled(verdict)), 2)


def print_table(
    console: Console,
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    notes: Sequence[str] = (),
) -> None:
    """Print a small table; columns of numbers are set right, and the verdicts' words are coloured.

    Where the words do not fit side by side, each row becomes a block of "column  cell" lines.

    Args:
        console: where to; its width picks the shape.
        title: a line above the table, or "".
        columns: the columns' names.
        rows: the cells, as many a row as there are columns.
        notes: lines under the table.
    """
    lines = [[clean(cell) for cell in row] for row in rows]
    if title:
        _line(console, clean(title), style="bold")
    if not lines:
        _line(console, "none")
    elif (
        sum(_floor([name, *cells]) + _GAP for name, *cells in zip(columns, *lines, strict=True))
        <= console.width
    ):
        console.print(_small_table(columns, lines))
    else:
        for cells in lines:
            _print_pairs(console, list(zip(columns, map(_styled, cells), strict=True)))
            _line(console, "")
    for note in notes:
        _line(console, clean(note), style="dim")


def _cells(
    rows: Sequence[Row], groups: Sequence[Group], *, stacked: bool, extra: bool
) -> tuple[list[str], list[list[Text]]]:
    """Return the columns' names and each row's cells; what every device's head says already is left out."""
    threads = not all(group.threads for group in groups)
    told = [_row_cells(row, threads=threads, stacked=stacked) for row in rows]
    idle = set() if extra else set(_EXTRA)
    idle |= {"power"} if all(group.power for group in groups) else set()
    idle |= {
        n
        for n, figure in (("P90", "p90"), ("P99", "p99"))
        if not any(getattr(r, figure).interval for r in rows)
    }
    names = [name for name in COLUMNS if name not in idle]
    return names, [[cells[name] for name in names] for cells in told]


def _row_cells(row: Row, *, threads: bool, stacked: bool) -> dict[str, Text]:
    gap = "\n" if stacked else "  "
    runtime = row.runtime.replace(" ", "\n", 1) if stacked else row.runtime
    parity = _joined("\n" if stacked else ", ", *row.parity.split(", ", 1))
    if not row.parity.startswith("ok"):
        parity.stylize("bold red" if row.parity.startswith("WRONG") else "dim")
    return {
        "artifact": _joined(gap, row.artifact, row.source, style="dim"),
        "runtime": _joined(gap, runtime, row.threads if threads else ""),
        "load": _joined("", str(row.load)),
        "first run": _joined("", str(row.first)),
        "P50": _estimate(row.p50, stacked=stacked),
        "P90": _estimate(row.p90, stacked=stacked),
        "P95": _estimate(row.p95, stacked=stacked),
        "P99": _estimate(row.p99, stacked=stacked),
        "samples": _joined("\n" if stacked else " ", row.count, row.count_more, style="dim"),
        "memory": _joined("", str(row.memory)),
        "power": _joined("", _broken(row.power) if stacked else row.power),
        "parity": parity,
        "verdict": _verdict(row, gap="\n" if stacked else " "),
    }


def _joined(gap: str, first: str | Text, *others: str | Text, style: str = "") -> Text:
    """Return texts with a gap between them; empty ones are left out, and `style` is that of the others."""
    from rich.text import Text

    text = Text.assemble(first)
    for other in others:
        if other:
            text.append(gap)
            text.append_text(other if isinstance(other, Text) else Text(other, style=style))
    return text


def _estimate(figure: Figure, *, stacked: bool) -> Text:
    from rich.text import Text

    if not figure.interval:
        return Text(_broken(figure.text) if stacked else figure.text, style="dim")
    if stacked:
        return Text.assemble(f"{figure.text} {figure.unit}\n", (figure.interval, "dim"))
    return Text.assemble(figure.text, (f" {figure.interval}", "dim"), f" {figure.unit}")


def _broken(text: str) -> str:
    """Return 'withheld: needs 9 more' on two lines, where a stacked cell has them anyway."""
    return text.replace(": ", ":\n", 1).replace(", ", ",\n")


def _verdict(row: Row, *, gap: str = " ") -> Text:
    notes = f"[{', '.join(map(str, row.notes))}]" if row.notes else ""
    return _joined(gap, _styled(row.verdict), notes)


def _widths(cells: tuple[list[str], list[list[Text]]]) -> list[int]:
    from rich.cells import cell_len

    names, lines = cells
    return [
        max(cell_len(part) for part in (name, *(p for line in lines for p in line[i].plain.split("\n"))))
        for i, name in enumerate(names)
    ]


def _needed(cells: tuple[list[str], list[list[Text]]]) -> int:
    widths = _widths(cells)
    return sum(widths) + _GAP * len(widths)


def _group_table(cells: tuple[list[str], list[list[Text]]], lines: Sequence[Sequence[Text]]) -> Table:
    """Return one device's table; its columns are as wide as all devices' cells ask, so that they line up."""
    table = _bare_table()
    for name, width in zip(cells[0], _widths(cells), strict=True):
        table.add_column(name, justify="right" if name in _RIGHT else "left", min_width=width, no_wrap=True)
    for line in lines:
        table.add_row(*line)
    return table


def _bare_table() -> Table:
    from rich import box
    from rich.table import Table

    return Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold"
    )


def _print_head(console: Console, group: Group) -> None:
    """Print a device's address and label, on one line or on two, and what holds for all its runs."""
    from rich.text import Text

    label = Text(f"[{banner(group.labels)}]", style="bold magenta") if group.labels else Text()
    device = _joined("  ", Text(group.device, style="bold"), group.target)
    on_one = device.cell_len + 2 + label.cell_len <= console.width
    console.print(_joined("  " if on_one else "\n", device, label))
    common = [group.threads, f"power: {group.power}" if group.power else ""]
    _line(console, ", ".join(part for part in common if part), style="dim")


def _print_block(console: Console, row: Row, *, with_power: bool) -> None:
    source = f"of {row.source}" if row.source else ""
    _line(console, "")
    console.print(_joined("  ", _joined(" ", _joined("", row.artifact, style="bold"), source), _verdict(row)))
    more = f" ({row.parity_more})" if row.parity_more else ""
    peak = f" over baseline (peak {row.peak})" if row.peak else ""
    pairs: list[tuple[str, str | Text]] = [
        ("runtime", f"{row.runtime}, {row.threads}"),
        ("load", f"{row.load}, first run {row.first}"),
        ("P50", _estimate(row.p50, stacked=False)),
        *([("P90", _estimate(row.p90, stacked=False))] if row.p90.interval else []),
        ("P95", _estimate(row.p95, stacked=False)),
        *([("P99", _estimate(row.p99, stacked=False))] if row.p99.text not in _UNTOLD else []),
        ("samples", f"{row.count}, {row.count_more}" if row.count_more else row.count),
        *([("sustained", f"P50 {row.sustained}")] if row.sustained else []),
        ("memory", f"{row.memory}{peak}"),
        *([("power", row.power)] if with_power else []),
        ("parity", f"{row.parity}{more}"),
    ]
    _print_pairs(console, pairs, indent=2)


def _print_notes(console: Console, notes: Sequence[Note]) -> None:
    from rich.text import Text

    width = len(f"[{len(notes)}]")
    for note in notes:
        head = Text(f"[{note.number}]".ljust(width), style=VERDICT_STYLES.get(note.verdict, ""))
        _print_hanging(console, _joined(" ", head, str(note)), width + 1, first=0)


def _print_pairs(console: Console, pairs: Sequence[tuple[str, str | Text]], *, indent: int = 0) -> None:
    """Print "name  text" lines; a text that is too long goes on under itself."""
    from rich.cells import cell_len

    width = max(cell_len(name) for name, _ in pairs)
    for name, text in pairs:
        lead = " " * indent + name + " " * (width - cell_len(name) + _GAP)
        _print_hanging(console, _joined("", lead, text), cell_len(lead), first=0)


def _print_hanging(console: Console, text: Text, indent: int, *, first: int | None = None) -> None:
    """Print text whose second and later lines are indented, and its first by `first` where that is given."""
    text.pad_left(indent if first is None else first)
    indent = min(indent, console.width // 2)
    head, *rest = text.wrap(console, console.width, overflow="fold")
    lines = [head]
    if rest:
        tail = text[len(head.plain) :]
        shift = len(tail.plain) - len(tail.plain.lstrip())
        lines += tail[shift:].wrap(console, console.width - indent, overflow="fold")
        for line in lines[1:]:
            line.pad_left(indent)
    for line in lines:
        line.rstrip()
        console.print(line)


def _small_table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> Table:
    table = _bare_table()
    for name, *cells in zip(columns, *lines, strict=True):
        told = [cell for cell in cells if cell not in {"", "-"}]
        numeric = bool(told) and all(_NUMBER.fullmatch(cell) for cell in told)
        table.add_column(
            name, justify="right" if numeric else "left", overflow="fold", min_width=_floor([name, *cells])
        )
    for line in lines:
        table.add_row(*map(_styled, line))
    return table


def _floor(texts: Sequence[str]) -> int:
    """Return the least width at which a column still reads well: its longest word, and not a sliver."""
    from rich.cells import cell_len

    word = max((cell_len(word) for text in texts for word in text.split()), default=1)
    natural = max(map(cell_len, texts), default=1)
    return max(min(word, _LONGEST_WORD), min(natural, _NARROWEST))


def _styled(cell: str) -> Text:
    from rich.text import Text

    return Text(cell, style=VERDICT_STYLES.get(cell, ""))


def _line(console: Console, text: str, *, style: str = "") -> None:
    from rich.text import Text

    console.print(Text(text, style=style))
