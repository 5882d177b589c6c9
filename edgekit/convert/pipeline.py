"""The line from a source to a bundle: freeze once, then convert, prove and keep, recipe by recipe."""

from __future__ import annotations

import contextlib
import math
import time
from typing import TYPE_CHECKING

from edgekit.bundle import PIXELS
from edgekit.convert.ahead import Ahead
from edgekit.convert.base import Step, Work
from edgekit.convert.clock import Clock
from edgekit.convert.doubts import lost_answers, record_of, report_of
from edgekit.convert.golden import kept_golden, new_golden, reproved
from edgekit.convert.identity import inputs_of, inputs_sha256, is_made
from edgekit.convert.leftovers import clear
from edgekit.convert.line import Line, bundle_provenance
from edgekit.convert.methods import DEFAULT_METHOD, known_method
from edgekit.convert.observe import calibrate
from edgekit.convert.ptq.report import QuantizationReport
from edgekit.convert.ptq.tune import AUTO, known_tuning, tune
from edgekit.convert.results import ConvertResult, Failure
from edgekit.convert.writing import BundleWriter, existing
from edgekit.errors import UsageError
from edgekit.source.freezing import freeze
from edgekit.source.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from edgekit.bundle import Bundle, Preprocessing
    from edgekit.convert.calibrate import CalibrationData
    from edgekit.convert.ranges import CalibrationRecord
    from edgekit.recipe import Recipe
    from edgekit.source import FrozenGraph, Source


def convert(
    source: Source,
    recipes: Sequence[Recipe],
    out: Path,
    *,
    calibration: CalibrationData | None = None,
    labels: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    calibration_method: str = DEFAULT_METHOD,
    tuning: Sequence[str] = (AUTO,),
    remake: bool = False,
    on_step: Callable[[Step], None] | None = None,
) -> ConvertResult:
    """Convert a source to artifacts, prove each against the float source, and keep those that pass.

    Everything that can be known before is checked before any work. What fails is not written; the other
    recipes go on. An interruption leaves a bundle that is whole as far as it goes, and the next call makes
    the rest: an artifact that is there, intact and made from the same inputs (`identity.inputs_of`), is kept.

    Args:
        source: from `load_source`.
        recipes: what to make, none twice.
        out: the bundle's folder; one of the same source is added to.
        calibration: representative inputs, from `read_data`; int8 needs them.
        labels: the classes' names, as many as the source has outputs.
        preprocessing: how an image becomes an input; the source's own when left out.
        calibration_method: how ranges are found: one of `methods.METHODS`.
        tuning: how weights are made for integers: "auto", "none" or some of `ptq.tune.METHODS`.
        remake: make again what would be kept.
        on_step: called when a phase begins and ends, and with each calibration input.

    Returns:
        The bundle, what was made and kept, and the recipes that failed.

    Raises:
        UsageError: int8 without calibration data, data that does not fit, another bundle at `out`.
        ConversionError: the source can't be frozen.
    """
    preprocessing = preprocessing or source.preprocessing
    known_method(calibration_method)
    methods = known_tuning(tuning)
    _refuse(source, recipes, calibration=calibration, labels=labels)
    before = _before(source, out, preprocessing)
    clear(out)
    clock = Clock(on_step)
    identities = {
        r.name: inputs_sha256(
            inputs_of(r, source, calibration=calibration, method=calibration_method, tuning=methods)
        )
        for r in recipes
    }
    kept = () if remake else _kept(recipes, before, identities, clock)
    todo = [recipe for recipe in recipes if recipe.name not in kept]
    failed: list[Failure] = []
    with quiet(), Ahead() as ahead:
        golden = known = kept_golden(before, calibration)
        work = None
        if todo or known is None:
            work = _work(source, todo, calibration, (calibration_method, methods), clock, ahead=ahead)
            if known is None:
                with clock.step("", "golden"):
                    golden = new_golden(work.frozen, calibration, preprocessing)
                    before = reproved(before, golden, {r.name for r in todo}, failed)
        writer = BundleWriter(
            out,
            before,
            source,
            golden=golden if known is None else None,
            preprocessing=preprocessing,
            labels=labels,
            provenance={} if work is None else bundle_provenance(work),
            record=None if work is None else work.record,
            report=None if work is None else work.report,
        )
        with contextlib.closing(writer):
            if work is not None and golden is not None:
                line = Line(work=work, golden=golden, writer=writer, identities=identities, clock=clock)
                failed += line.make_all(todo)
            writer.finish()
    report = report_of(work, before, calibration)
    doubts = (record_of(work, before, calibration), report)
    return ConvertResult(
        bundle=writer.bundle,
        failed=tuple(failed),
        seconds=clock.seconds,
        warnings=(
            *(warning for doubt in doubts if doubt is not None for warning in doubt.warnings()),
            *lost_answers(writer.bundle, [r.name for r in recipes], report),
        ),
        made=_but([r.name for r in todo], failed),
        kept=_but(kept, failed),
        quantization=report,
    )


def _but(names: Sequence[str], failed: list[Failure]) -> tuple[str, ...]:
    broken = {failure.recipe for failure in failed}
    return tuple(name for name in names if name not in broken)


def _kept(
    recipes: Sequence[Recipe], before: Bundle | None, identities: Mapping[str, str], clock: Clock
) -> tuple[str, ...]:
    """Return the recipes whose artifacts are there already, made from the same inputs; say so."""
    found = []
    for recipe in recipes:
        begin = time.perf_counter()
        if is_made(before, recipe, identities[recipe.name]):
            found.append(recipe.name)
            clock.say(Step(recipe=recipe.name, phase="kept", seconds=time.perf_counter() - begin))
    return tuple(found)


def _work(
    source: Source,
    recipes: Sequence[Recipe],
    calibration: CalibrationData | None,
    how: tuple[str, tuple[str, ...]],
    clock: Clock,
    *,
    ahead: Ahead,
) -> Work:
    """Freeze the source, measure the ranges that these recipes need and tune the weights that they share."""
    method, tuning = how
    with clock.step("", "freeze"):
        frozen = freeze(source)
    if any(recipe.needs_calibration for recipe in recipes):
        ahead.start(frozen, recipes)
    record = _record(frozen, recipes, calibration, method, clock)
    if calibration is None or record is None:
        return Work(frozen=frozen, calibration=calibration)
    with clock.step("", "tune"):
        found = tune(frozen, calibration, record, tuning)
    return Work(
        frozen=frozen,
        calibration=calibration,
        record=found.record if tuning else record,
        tuned=found.frozen if tuning else None,
        tuning=found,
        report=QuantizationReport.of(found, tuning),
        shared=dict(ahead.forms),
    )


def _record(
    frozen: FrozenGraph,
    recipes: Sequence[Recipe],
    calibration: CalibrationData | None,
    method: str,
    clock: Clock,
) -> CalibrationRecord | None:
    """Calibrate once, where a recipe needs it."""
    if calibration is None or not any(recipe.needs_calibration for recipe in recipes):
        return None
    with clock.step("", "calibrate"):
        return calibrate(frozen, calibration, method, tell=clock.count)


def _refuse(
    source: Source,
    recipes: Sequence[Recipe],
    *,
    calibration: CalibrationData | None,
    labels: Sequence[str] | None,
) -> None:
    """Refuse what can't come to anything."""
    if not recipes:
        raise UsageError("no recipe is asked for", hint="name one: -r tflite-fp32")
    needy = [r.name for r in recipes if r.needs_calibration]
    if needy and calibration is None:
        raise UsageError(
            f"{', '.join(needy)} needs calibration data, and none is given",
            hint="give representative inputs: --calibrate FOLDER, .npy or .npz",
        )
    if calibration is not None and calibration.inputs.shape[1:] != source.input.shape[1:]:
        raise UsageError(
            f"calibration data has inputs of {calibration.inputs.shape[1:]}, "
            f"the source takes {source.input.shape[1:]}",
            hint="read it again for this source",
        )
    if calibration is not None and source.fused is not None:
        _refuse_no_pixels(calibration)
    classes = math.prod(source.output.shape[1:])
    if labels is not None and len(labels) != classes:
        raise UsageError(
            f"{len(labels)} labels for {classes} outputs do not fit",
            hint="give one label for each output, one a line and in their order",
        )


def _refuse_no_pixels(calibration: CalibrationData) -> None:
    """Refuse inputs that were preprocessed already for a source that has its preprocessing built in."""
    low, high = float(calibration.inputs.min()), float(calibration.inputs.max())
    if low < PIXELS[0] or high > PIXELS[1] or high <= 1:
        raise UsageError(
            f"calibration data holds {low:g} to {high:g}, but preprocessing is built in: pixels are 0 to 255",
            hint="give images, or arrays of pixels in RGB as they were decoded and cropped",
        )


def _before(source: Source, out: Path, preprocessing: Preprocessing | None) -> Bundle | None:
    """Return the bundle that is there already; refuse one that this call does not fit."""
    before = existing(out, source)
    if (
        before is not None
        and before.preprocessing
        and preprocessing
        and before.preprocessing != preprocessing
    ):
        raise UsageError(f"{out} was made with another preprocessing", hint="name another folder")
    return before
