"""One recipe after the other: convert, prove, keep."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit._version import __version__
from edgekit.artifact import Artifact, digest
from edgekit.convert.base import CONVERTERS, versions
from edgekit.convert.golden import parity_of
from edgekit.convert.identity import KEY
from edgekit.convert.leftovers import ARTIFACTS
from edgekit.convert.ptq.report import REPORT
from edgekit.convert.ranges import RECORD
from edgekit.convert.results import Failure
from edgekit.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgekit.convert.base import Converter, Work
    from edgekit.convert.clock import Clock
    from edgekit.convert.golden import Arrays
    from edgekit.convert.writing import BundleWriter
    from edgekit.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What recipes are made with."""

    work: Work
    golden: Arrays
    writer: BundleWriter
    identities: Mapping[str, str]
    clock: Clock

    def make_all(self, recipes: Sequence[Recipe]) -> list[Failure]:
        """Make recipe by recipe; return those that failed."""
        failed = []
        for recipe in recipes:
            try:
                self.make(recipe)
            except ConversionError as error:
                failed.append(Failure(recipe=recipe.name, error=error))
        return failed

    def make(self, recipe: Recipe) -> None:
        """Convert, prove and keep one recipe; nothing of it stays when it fails."""
        work, clock = self.work, self.clock
        converter = CONVERTERS.get(recipe.format)
        path = self.writer.workplace() / f"{recipe.name}{converter.suffix}"
        try:
            with clock.step(recipe.name, "convert"):
                made = converter.convert(work, recipe.precision, path)
            with clock.step(recipe.name, "prove"):
                note = converter.inspect(work, recipe.precision, path)
                outputs = converter.run(path, self.golden[0])
                parity = parity_of(recipe.name, outputs, self.golden, made.outputs[0].scale)
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
                    provenance=self._provenance(recipe, converter, made.provenance, note),
                )
                self.writer.add(artifact, path)
        finally:
            shutil.rmtree(path, ignore_errors=True)
            if path.is_file():
                path.unlink()

    def _provenance(
        self, recipe: Recipe, converter: Converter, found: Mapping[str, str], note: str
    ) -> dict[str, str]:
        mine = _of_artifact(converter, self.work, found, note)
        return {**mine, KEY: self.identities[recipe.name]}


def _of_artifact(converter: Converter, work: Work, found: Mapping[str, str], note: str) -> dict[str, str]:
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
    if work.tuning is not None:
        provenance["tuning"] = "+".join(work.tuning.methods) or "none"
    return provenance


def bundle_provenance(work: Work) -> dict[str, str]:
    """Return what a bundle says of the call that made it."""
    frozen, calibration, record = work.frozen, work.calibration, work.record
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
    if work.report is not None:
        found["quantization_report"] = REPORT
        found["quantization_report_sha256"] = hashlib.sha256(work.report.to_json()).hexdigest()
    return found
