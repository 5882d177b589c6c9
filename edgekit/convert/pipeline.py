"""The line from a source to a bundle: freeze once, then convert, prove and keep, recipe by recipe."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import shutil
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgekit._version import __version__
from edgekit.artifact import Artifact, digest
from edgekit.bundle import PIXELS
from edgekit.convert.base import CONVERTERS, Step, Work, versions
from edgekit.convert.methods import DEFAULT_METHOD, known_method
from edgekit.convert.observe import calibrate
from edgekit.convert.parity import check
from edgekit.convert.preprocess import noise
from edgekit.convert.ranges import RECORD
from edgekit.convert.results import ConvertResult, Failure
from edgekit.convert.writing import ARTIFACTS, BundleWriter, existing
from edgekit.errors import ConversionError, UsageError
from edgekit.source.freezing import freeze
from edgekit.source.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import numpy as np

    from edgekit.bundle import Bundle, Preprocessing
    from edgekit.convert.base import Converter
    from edgekit.convert.calibrate import CalibrationData
    from edgekit.convert.ranges import CalibrationRecord
    from edgekit.recipe import Recipe
    from edgekit.source import FrozenGraph, Source

GOLDEN_DATA, GOLDEN_NOISE = 16, 8
"""How many golden inputs: of calibration data, of seeded noise."""
FROM_DATA, FROM_NOISE = "calibration data", "seeded noise"


@dataclass(slots=True)
class _Clock:
    """Tells steps to the caller and adds up their seconds."""

    tell: Callable[[Step], None] | None
    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def step(self, recipe: str, phase: str) -> Iterator[None]:
        """Time a phase."""
        self._say(Step(recipe=recipe, phase=phase))
        begin = time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - begin
            name = recipe or phase
            self.seconds[name] = self.seconds.get(name, 0.0) + took
        self._say(Step(recipe=recipe, phase=phase, seconds=took))

    def count(self, done: int, total: int) -> None:
        """Tell how many calibration inputs are done."""
        self._say(Step(recipe="", phase="calibrate", done=done, total=total))

    def _say(self, step: Step) -> None:
        if self.tell is not None:
            self.tell(step)


def convert(
    source: Source,
    recipes: Sequence[Recipe],
    out: Path,
    *,
    calibration: CalibrationData | None = None,
    labels: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    calibration_method: str = DEFAULT_METHOD,
    on_step: Callable[[Step], None] | None = None,
) -> ConvertResult:
    """Convert a source to artifacts, prove each against the float source, and keep those that pass.

    Everything that can be known before is checked before any work. What fails is not written; the other
    recipes go on. An interruption leaves a bundle that is whole as far as it goes.

    Args:
        source: from `load_source`.
        recipes: what to make, none twice.
        out: the bundle's folder; one of the same source is added to.
        calibration: representative inputs, from `read_data`; int8 needs them.
        labels: the classes' names, as many as the source has outputs.
        preprocessing: how an image becomes an input; the source's own when left out.
        calibration_method: how ranges are found: one of `methods.METHODS`.
        on_step: called when a phase begins and ends, and with each calibration input.

    Returns:
        The bundle and the recipes that failed.

    Raises:
        UsageError: int8 without calibration data, data that does not fit, another bundle at `out`.
        ConversionError: the source can't be frozen.
    """
    preprocessing = preprocessing or source.preprocessing
    known_method(calibration_method)
    _refuse(source, recipes, calibration=calibration, labels=labels)
    before = _before(source, out, preprocessing)
    clock = _Clock(on_step)
    with quiet():
        with clock.step("", "freeze"):
            frozen = freeze(source)
        with clock.step("", "golden"):
            golden = _golden(frozen, before, calibration, preprocessing)
        record = _record(frozen, recipes, calibration, calibration_method, clock)
        failed: list[Failure] = []
        before = _reproved(before, golden, {r.name for r in recipes}, failed)
        writer = BundleWriter(
            out,
            before,
            source,
            golden=golden,
            preprocessing=preprocessing,
            labels=labels,
            provenance=_provenance(frozen, calibration, record),
            record=record,
        )
        work = Work(frozen=frozen, calibration=calibration, record=record)
        try:
            for recipe in recipes:
                try:
                    _make(recipe, work, writer, golden, clock)
                except ConversionError as error:
                    failed.append(Failure(recipe=recipe.name, error=error))
        finally:
            writer.close()
    return ConvertResult(
        bundle=writer.bundle,
        failed=tuple(failed),
        seconds=clock.seconds,
        warnings=() if record is None else record.warnings(),
    )


def _record(
    frozen: FrozenGraph,
    recipes: Sequence[Recipe],
    calibration: CalibrationData | None,
    method: str,
    clock: _Clock,
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
    classes = source.output.shape[-1]
    if labels is not None and len(labels) != classes:
        raise UsageError(
            f"there are {len(labels)} labels for {classes} outputs", hint="give one label an output"
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


Golden = tuple["np.ndarray[Any, Any]", "np.ndarray[Any, Any]", str]


def _golden(
    frozen: FrozenGraph,
    before: Bundle | None,
    calibration: CalibrationData | None,
    preprocessing: Preprocessing | None,
) -> Golden:
    """Return golden inputs, the float source's outputs and the inputs' origin; a bundle keeps its own."""
    if before is not None and (calibration is None or before.golden.origin == FROM_DATA):
        inputs, outputs = before.golden_arrays()
        return inputs, outputs, before.golden.origin
    if calibration is not None:
        inputs, origin = calibration.inputs[:GOLDEN_DATA], FROM_DATA
    else:
        inputs, origin = noise(frozen.source.input, preprocessing, GOLDEN_NOISE, seed=0), FROM_NOISE
    return inputs, frozen.outputs(inputs), origin


def _reproved(before: Bundle | None, golden: Golden, again: set[str], failed: list[Failure]) -> Bundle | None:
    """Measure a bundle's artifacts on new golden inputs; one that fails is no longer in the bundle."""
    if before is None or before.golden.origin == golden[2]:
        return before
    kept = []
    for artifact in before.artifacts:
        if artifact.recipe in again:
            kept.append(artifact)
            continue
        try:
            outputs = CONVERTERS.get(artifact.format).run(before.path_of(artifact), golden[0])
            parity = _parity(artifact.recipe, outputs, golden, artifact.outputs[0].scale)
            kept.append(dataclasses.replace(artifact, parity=parity))
        except ConversionError as error:
            failed.append(Failure(recipe=artifact.recipe, error=error))
    return dataclasses.replace(before, artifacts=tuple(kept))


def _make(recipe: Recipe, work: Work, writer: BundleWriter, golden: Golden, clock: _Clock) -> None:
    """Convert, prove and keep one recipe; nothing of it stays when it fails."""
    converter = CONVERTERS.get(recipe.format)
    place = writer.workplace()
    path = place / f"{recipe.name}{converter.suffix}"
    try:
        with clock.step(recipe.name, "convert"):
            made = converter.convert(work, recipe.precision, path)
        with clock.step(recipe.name, "prove"):
            note = converter.inspect(work, recipe.precision, path)
            parity = _parity(recipe.name, converter.run(path, golden[0]), golden, made.outputs[0].scale)
        with clock.step(recipe.name, "write"):
            sha256, size = digest(path)
            artifact = Artifact(
                recipe=recipe.name,
                format=recipe.format,
                precision=recipe.precision,
                path=f"{ARTIFACTS}/{path.name}",
                sha256=sha256,
                size_bytes=size,
                inputs=made.inputs,
                outputs=made.outputs,
                parity=parity,
                provenance=_of_artifact(converter, work, made.provenance, note),
            )
            writer.add(artifact, path)
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if path.is_file():
            path.unlink()


def _parity(recipe: str, outputs: np.ndarray[Any, Any] | None, golden: Golden, grid: float | None) -> Any:
    return None if outputs is None else check(golden[1], outputs, recipe=recipe, grid=grid)


def _of_artifact(converter: Converter, work: Work, found: Any, note: str) -> dict[str, str]:
    provenance = {**versions(converter.libraries), **found, "edgekit": __version__, "proof": note}
    source = work.frozen.source
    provenance["source_sha256"] = source.sha256
    if source.fused is not None:
        provenance["fused_preprocessing"] = source.options["fused_preprocessing"]
    if work.calibration is not None:
        provenance["calibration_sha256"] = work.calibration.sha256
        provenance["calibration_count"] = str(work.calibration.count)
    if work.record is not None:
        provenance["calibration_method"] = work.record.method
    return provenance


def _provenance(
    frozen: FrozenGraph, calibration: CalibrationData | None, record: CalibrationRecord | None
) -> dict[str, str]:
    found = {
        "edgekit": __version__,
        "batch_norm_folded": str(frozen.folded),
        "fold_snr_db": f"{frozen.snr_db:.1f}",
        **versions(("tensorflow", "tensorflow-cpu", "keras", "numpy")),
    }
    if calibration is not None:
        found["calibration"] = calibration.origin
        found["calibration_sha256"] = calibration.sha256
        found["calibration_count"] = str(calibration.count)
    if record is not None:
        found["calibration_method"] = record.method
        found["calibration_record"] = RECORD
        found["calibration_record_sha256"] = hashlib.sha256(record.to_json()).hexdigest()
    return found
