"""Write a bundle so that it is whole at every moment, as far as it goes."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import shutil
from typing import TYPE_CHECKING, Any

from edgekit.bundle import MANIFEST, Bundle, Golden, SourceRecord, write_atomic
from edgekit.convert.leftovers import GOLDEN, LABELS, clear, is_unfinished, tidy, workplace
from edgekit.convert.ptq.report import REPORT
from edgekit.convert.ranges import RECORD
from edgekit.errors import UsageError
from edgekit.recipe import recipe_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from edgekit.artifact import Artifact
    from edgekit.bundle import Preprocessing
    from edgekit.convert.ptq.report import QuantizationReport
    from edgekit.convert.ranges import CalibrationRecord
    from edgekit.source import Source

_RECORDED = {RECORD: "calibration_record", REPORT: "quantization_report"}
"""Where a bundle's provenance names the files of calibration; their sha256 stands beside."""


def existing(out: Path, source: Source) -> Bundle | None:
    """Return the bundle that is at `out` already, or None.

    Raises:
        UsageError: something else is there, or a bundle of another source.
    """
    if not out.exists():
        return None
    if not out.is_dir():
        raise UsageError(f"{out} is a file", hint="name a folder for the bundle")
    if not (out / MANIFEST).exists():
        if any(out.iterdir()) and not is_unfinished(out):
            raise UsageError(
                f"{out} is a folder with other things in it", hint="name a new folder for the bundle"
            )
        return None
    bundle = Bundle.load(out)
    fused = source.options.get("fused_preprocessing")
    if bundle.source.name == source.name and bundle.fused != fused:
        raise UsageError(
            f"the artifacts of {out} have {_built_in(bundle.fused)} built in, this source {_built_in(fused)}",
            hint="name another folder",
        )
    if bundle.source.sha256 != source.sha256:
        raise UsageError(
            f"{out} is the bundle of another source: {bundle.source.name} with sha256 "
            f"{bundle.source.sha256[:12]}, not {source.name} with {source.sha256[:12]}",
            hint="name another folder",
        )
    return bundle


def _built_in(fused: str | None) -> str:
    return "no preprocessing" if fused is None else f"the preprocessing {fused}"


class BundleWriter:
    """Adds proved artifacts to a bundle, one by one; `bundle.json` is written after each.

    Whenever it is stopped, the manifest names only what is there: what changes is taken out of it first, or
    is written under another name.

    Args:
        out: the bundle's folder; made when the first artifact is added.
        before: the bundle that is there already, or None.
        source: what it is made from.
        golden: inputs and outputs, and where the inputs came from; None where those of `before` stay.
        preprocessing: how an image becomes an input, or None.
        labels: the classes' names, or None.
        provenance: of the bundle.
        record: the calibration record, written beside the artifacts; or None.
        report: the quantization report, likewise; one without a record is not written.
    """

    def __init__(
        self,
        out: Path,
        before: Bundle | None,
        source: Source,
        *,
        golden: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], str] | None,
        preprocessing: Preprocessing | None,
        labels: Sequence[str] | None,
        provenance: Mapping[str, str],
        record: CalibrationRecord | None = None,
        report: QuantizationReport | None = None,
    ) -> None:
        self.out = out
        self.bundle = before
        self._source = source
        self._golden = golden
        self._preprocessing = preprocessing
        self._labels = labels
        self._provenance = provenance
        self._beside = {} if record is None else {RECORD: record.to_json()}
        if record is not None and report is not None:
            self._beside[REPORT] = report.to_json()
        self._opened = False

    def workplace(self) -> Path:
        """Return a folder beside the bundle, on the same file system, for what is not proved yet."""
        place = workplace(self.out)
        place.mkdir(parents=True, exist_ok=True)
        return place

    def add(self, artifact: Artifact, made: Path) -> Bundle:
        """Move a proved artifact in and write the manifest; one of the same recipe is replaced."""
        bundle = self._open()
        others = tuple(a for a in bundle.artifacts if a.recipe != artifact.recipe)
        if len(others) != len(bundle.artifacts):
            bundle = self._save(dataclasses.replace(bundle, artifacts=others))
        place = self.out / artifact.path
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_dir():
            shutil.rmtree(place)
        made.replace(place)
        order = {name: index for index, name in enumerate(recipe_names())}
        artifacts = sorted((*others, artifact), key=lambda a: order.get(a.recipe, len(order)))
        return self._save(dataclasses.replace(bundle, artifacts=tuple(artifacts)))

    def finish(self) -> None:
        """Write what changed in a bundle that is there, where no artifact was added to it."""
        before = self.bundle
        if before is None or self._opened:
            return
        relabelled = self._labels is not None and self._labels != before.label_names()
        described = before.preprocessing is None and self._preprocessing is not None
        if self._golden is not None or relabelled or described:
            self._open()

    def close(self) -> None:
        """Remove what was not proved, and what the bundle no longer names."""
        if (self.out / MANIFEST).is_file():
            tidy(Bundle.load(self.out))
        clear(self.out)

    def _save(self, bundle: Bundle) -> Bundle:
        bundle.save()
        self.bundle = bundle
        return bundle

    def _open(self) -> Bundle:
        """Return the bundle with this call's golden data, labels and provenance, written on first use."""
        if self._opened and self.bundle is not None:
            return self.bundle
        self.workplace()  # tells an unfinished bundle from a user's folder
        self.out.mkdir(parents=True, exist_ok=True)
        before = self.bundle
        labels = before.labels if before else None
        if self._labels is not None:
            labels = LABELS
            write_atomic(self.out / LABELS, ("\n".join(self._labels) + "\n").encode())
        provenance = dict(before.provenance) if before else {}
        if self._beside:
            self._write_beside(provenance)
        bundle = Bundle(
            root=self.out,
            source=_record(self._source),
            artifacts=before.artifacts if before else (),
            golden=self._write_golden(before),
            preprocessing=self._preprocessing or (before.preprocessing if before else None),
            labels=labels,
            provenance={**provenance, **self._provenance},
        )
        self._opened = True
        return self._save(bundle)

    def _write_beside(self, provenance: dict[str, str]) -> None:
        """Write the files of calibration; while others take their places the manifest names none."""
        changed = []
        for name, key in _RECORDED.items():
            content = self._beside.get(name)
            sha256 = None if content is None else hashlib.sha256(content).hexdigest()
            if provenance.get(f"{key}_sha256", sha256) != sha256:
                changed += [key, f"{key}_sha256"]
        for key in changed:
            provenance.pop(key, None)
        if self.bundle is not None and changed:
            self._save(dataclasses.replace(self.bundle, provenance=dict(provenance)))
        for name, content in self._beside.items():
            write_atomic(self.out / name, content)

    def _write_golden(self, before: Bundle | None) -> Golden:
        """Write golden data under names that nobody uses yet; old files stay until the manifest is new."""
        if self._golden is None and before is not None:
            return before.golden
        if self._golden is None:
            raise UsageError(f"there is no bundle at {self.out} whose golden data could stay")
        inputs, outputs, origin = self._golden
        parts = {"inputs": _npy(inputs), "outputs": _npy(outputs)}
        shas = {name: hashlib.sha256(content).hexdigest() for name, content in parts.items()}
        (self.out / GOLDEN).mkdir(exist_ok=True)
        paths = {}
        for name, content in parts.items():
            tail = "" if before is None else f"-{shas[name][:8]}"
            paths[name] = f"{GOLDEN}/{name}{tail}.npy"
            write_atomic(self.out / paths[name], content)
        return Golden(
            inputs=paths["inputs"],
            outputs=paths["outputs"],
            inputs_sha256=shas["inputs"],
            outputs_sha256=shas["outputs"],
            count=len(inputs),
            origin=origin,
        )


def _npy(values: np.ndarray[Any, Any]) -> bytes:
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, values.astype(np.float32), allow_pickle=False)
    return buffer.getvalue()


def _record(source: Source) -> SourceRecord:
    return SourceRecord(
        name=source.name,
        kind=source.kind,
        sha256=source.sha256,
        parameters=source.parameters,
        options=dict(source.options),
    )
