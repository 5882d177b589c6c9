"""What `convert` prints of quantization: what was done, what it gained, and the layers that lose most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.cli.output import out

if TYPE_CHECKING:
    from edgekit.convert import QuantizationReport
    from edgekit.convert.ptq.layers import Layer

_COLUMNS = ("worst layers", "range", "values", "weights", "so far", "saturated", "drowned")
_MEANING = (
    "Signal to noise in dB: of its values, of its weights, and of all so far against the float network. "
    "Saturated: values beyond the range. Drowned: channels that rounding takes a tenth of, or more. "
    "All layers are in quantization.json."
)
_NAMED = 4
_FIGURES = 64
"""Columns that the figures take."""


def print_quantization(report: QuantizationReport) -> None:
    """Print a quantization report in short; all layers are in the bundle's quantization.json.

    Args:
        report: of this call, or of the one that made the artifacts.
    """
    from edgekit.report.table import print_table

    console, worst = out(), report.worst()
    console.print()
    console.print(_score(report), style="bold", markup=False)
    console.print(_done(report), markup=False)
    console.print()
    rows = [_cells(layer) for layer in worst]
    notes = [_MEANING, *_advice(report, worst), *_dead(report)]
    if max((len(row[0]) for row in rows), default=0) + _FIGURES <= console.width:
        print_table(console, "", _COLUMNS, rows, notes=notes)
        return
    for line in (_COLUMNS[0], *(line for row in rows for line in _on_two_lines(row))):
        console.print(line, markup=False)
    for note in notes:
        console.print(note, style="dim", markup=False)


def _score(report: QuantizationReport) -> str:
    before, after = report.before, report.after
    snr, same = f"{after.snr_db:.1f} dB", f"{after.agreement:.0%}"
    if report.methods:
        snr, same = f"{before.snr_db:.1f} -> {snr}", f"{before.agreement:.0%} -> {same}"
    return f"8 bits on {_inputs(after.count)}: {snr} signal to noise, the source's answer on {same}"


def _inputs(count: int) -> str:
    return "1 calibration input" if count == 1 else f"{count} calibration inputs"


def _done(report: QuantizationReport) -> str:
    gains = [
        name.replace("+", " and ") + ("" if gain is None else f" {gain:+.1f} dB")
        for name, gain in report.gains().items()
    ]
    asked = ",".join(report.tuning) or "none"
    left = f"; tried and left: {', '.join(report.left())}" if report.left() else ""
    return f"tuning {asked}: {', '.join(gains) or 'nothing done'}{left}"


def _cells(layer: Layer) -> tuple[str, ...]:
    weights = layer.weights_snr_db
    return (
        layer.tensor,
        f"{layer.low:.3g} to {layer.high:.3g}",
        f"{layer.own_snr_db:.1f}",
        "-" if weights is None else f"{weights:.1f}",
        f"{layer.snr_db:.1f}",
        _share(layer.saturated),
        _share(layer.drowned),
    )


def _share(part: float) -> str:
    return f"{part:.2%}" if part else "0"


def _on_two_lines(row: tuple[str, ...]) -> tuple[str, str]:
    figures = [f"{name} {cell}" for name, cell in zip(_COLUMNS[2:], row[2:], strict=True)]
    return f"  {row[0]}", f"    {row[1]}, {', '.join(figures)}"


def _advice(report: QuantizationReport, layers: list[Layer]) -> list[str]:
    """Return one line for each piece of advice, with the layers that it is for."""
    found: dict[str, list[str]] = {}
    for layer in layers:
        advice = report.advice(layer)
        if advice:
            found.setdefault(advice, []).append(layer.tensor)
    return [f"{', '.join(tensors)}: {advice}" for advice, tensors in found.items()]


def _dead(report: QuantizationReport) -> list[str]:
    if not report.dead:
        return []
    tensors = sorted(report.dead, key=lambda name: -report.dead[name])
    named = ", ".join(f"{name} ({report.dead[name]})" for name in tensors[:_NAMED])
    more = f" and {len(tensors) - _NAMED} more" if tensors[_NAMED:] else ""
    return [f"{sum(report.dead.values())} dead channels, one value whatever the input: {named}{more}"]
