"""What is doubtful about a conversion: measured now, or read from the bundle where artifacts are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from edgekit.convert.golden import FROM_DATA
from edgekit.convert.identity import has_record, has_report
from edgekit.convert.ptq.report import QuantizationReport
from edgekit.convert.ptq.score import loses_answers
from edgekit.convert.ranges import CalibrationRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edgekit.artifact import Artifact
    from edgekit.bundle import Bundle
    from edgekit.convert.base import Work
    from edgekit.convert.calibrate import CalibrationData

Kind = TypeVar("Kind")

_FLOATS = ("fp32", "fp16")
_TUNED = ("int8", "w8u8", "w8a8")
"""Those that the report is about: values and weights in 8 bits."""


def record_of(
    work: Work | None, before: Bundle | None, calibration: CalibrationData | None
) -> CalibrationRecord | None:
    """Return the calibration record of this call, or the bundle's own where it is of the same data.

    Args:
        work: of this call; None when nothing was made.
        before: the bundle that was there.
        calibration: the data of this call.
    """
    if work is not None and work.record is not None:
        return work.record
    return _kept(before, calibration, has_record, CalibrationRecord.load, lambda record: record.sha256)


def report_of(
    work: Work | None, before: Bundle | None, calibration: CalibrationData | None
) -> QuantizationReport | None:
    """Return the quantization report likewise; None where a bundle of an older EdgeKit has none."""
    if work is not None and work.report is not None:
        return work.report
    return _kept(
        before, calibration, has_report, QuantizationReport.load, lambda report: report.calibration_sha256
    )


def _kept(
    before: Bundle | None,
    calibration: CalibrationData | None,
    has: Callable[[Bundle], bool | None],
    load: Callable[[Path], Kind],
    data_of: Callable[[Kind], str],
) -> Kind | None:
    if before is None or calibration is None or not has(before):
        return None
    found = load(before.root)
    return found if data_of(found) == calibration.sha256 else None


def lost_answers(
    bundle: Bundle | None, recipes: Sequence[str], report: QuantizationReport | None
) -> tuple[str, ...]:
    """Return a sentence on artifacts that are right by their bar, but have lost many of the source's answers.

    Seeded noise says nothing of it. Where the report warns of 8 bits already, calibrated ones are left out.

    Args:
        bundle: as it is now.
        recipes: those that this call is about.
        report: of this call.
    """
    if bundle is None or bundle.golden.origin != FROM_DATA:
        return ()
    few = [a for a in bundle.artifacts if a.recipe in recipes and _loses(a, bundle.golden.count)]
    calibrated = [a for a in few if report is not None and a.precision in _TUNED]
    others = [a for a in few if a not in calibrated]
    found = []
    if calibrated and report is not None and not report.after.damaged:
        found.append(f"{_same(calibrated, bundle)}; {report.way_out()}")
    if others:
        found.append(f"{_same(others, bundle)}; use a higher precision, fp16 at least")
    return tuple(found)


def _loses(artifact: Artifact, count: int) -> bool:
    if artifact.precision in _FLOATS or artifact.parity is None:
        return False
    return loses_answers(artifact.parity.top1_agreement, count)


def _same(artifacts: Sequence[Artifact], bundle: Bundle) -> str:
    count = bundle.golden.count
    each = [
        f"{a.recipe} on {round(a.parity.top1_agreement * count)}" for a in artifacts if a.parity is not None
    ]
    return f"too few of the source's answers on {count} golden inputs: {', '.join(each)}"
