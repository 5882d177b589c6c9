"""A bundle: the folder of all artifacts of one source, with what it takes to prove them anywhere.

BUNDLE/
  bundle.json            this file's types, schema 1
  artifacts/             tflite-int8.tflite  onnx-fp32.onnx  coreml-fp16.mlpackage/ ...
  golden/inputs.npy      float32, N x the source's input shape without its batch
  golden/outputs.npy     float32, N x outputs, as the float source computed them
  labels.txt             one a line, where the source has labels
  calibration.json       activation ranges, where a recipe needed them: see edgekit.convert.ranges
  quantization.json      what 8 bits cost, layer by layer, likewise: see edgekit.convert.ptq.report
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

from edgekit.artifact import Artifact, checked, digest
from edgekit.errors import UnknownNameError, UsageError
from edgekit.json_types import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

SCHEMA = 1
MANIFEST = "bundle.json"
ORDERS = ("RGB", "BGR", "gray")
PIXELS = (0.0, 255.0)
"""What an 8-bit image holds."""
_MAX_NAME, _MAX_PATH = 255, 1000
_DAMAGED = "convert again: the bundle is damaged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """How an 8-bit image becomes the source's input: resize, crop, then (pixel * scale - mean) / std.

    Of a source that has its numbers and its channel order built in, resize and crop are left: see `identity`.

    Attributes:
        resize: the shorter side in pixels after resizing (bilinear), before the centre crop; 0 for "the
            input's own size".
        order: "RGB", "BGR" or "gray".
        scale: a factor on the pixel value 0..255.
        mean: a value a channel, or one for all, subtracted after scaling.
        std: a value a channel, or one for all, divided by at last.
    """

    resize: int = 0
    order: str = "RGB"
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", tuple(float(v) for v in self.mean))
        object.__setattr__(self, "std", tuple(float(v) for v in self.std))
        if self.order not in ORDERS:
            raise UnknownNameError("channel order", self.order, ORDERS)
        if any(v == 0 for v in self.std):
            raise UsageError("preprocessing divides by a std of 0", hint="give the std that training used")

    @property
    def identity(self) -> bool:
        """Whether a pixel stays what the decoder gives: RGB or gray, 0..255."""
        plain = self.scale == 1 and not any(self.mean) and all(v == 1 for v in self.std)
        return plain and self.order != "BGR"


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """The golden inputs and the float source's outputs for them.

    Attributes:
        inputs: path of inputs.npy, relative to the bundle.
        outputs: path of outputs.npy, relative to the bundle.
        inputs_sha256: of that file.
        outputs_sha256: of that file.
        count: how many there are.
        origin: "calibration data" or "seeded noise".
    """

    inputs: str
    outputs: str
    inputs_sha256: str
    outputs_sha256: str
    count: int
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRecord:
    """What the bundle was made from.

    Attributes:
        name: the source as the user gave it (zoo name or file name).
        kind: "zoo", "keras", "h5", "savedmodel", "onnx", "tflite" or "torch".
        sha256: of the source's weights and graph, whichever way it came.
        parameters: how many trainable parameters.
        options: how it was asked for (weights, resolution, seed; what was built in: fused_preprocessing).
    """

    name: str
    kind: str
    sha256: str
    parameters: int
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A folder of artifacts, as `bundle.json` tells it.

    Attributes:
        root: the folder; not stored in it.
        source: what it was made from.
        artifacts: one a recipe, in the order of recipes.
        golden: inputs and outputs that prove an artifact anywhere.
        preprocessing: how an image becomes an input; None when nobody said.
        labels: path of labels.txt relative to the bundle, or None.
        provenance: EdgeKit's version, the calibration data's identity, options.
        schema: of bundle.json.
    """

    root: Path
    source: SourceRecord
    artifacts: tuple[Artifact, ...]
    golden: Golden
    preprocessing: Preprocessing | None = None
    labels: str | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)
    schema: int = SCHEMA

    def artifact(self, recipe: str) -> Artifact:
        """Return the artifact of this recipe.

        Raises:
            UnknownNameError: the bundle has none.
        """
        for artifact in self.artifacts:
            if artifact.recipe == recipe:
                return artifact
        raise UnknownNameError(f"recipe in {self.root}", recipe, [a.recipe for a in self.artifacts])

    @property
    def fused(self) -> str | None:
        """The preprocessing that the artifacts have built in, in words; None where they have none."""
        return self.source.options.get("fused_preprocessing")

    def path_of(self, artifact: Artifact) -> Path:
        """Return where an artifact lies."""
        return self.root / artifact.path

    def golden_arrays(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Return the golden inputs (N x input shape) and outputs (N x outputs), float32."""
        import numpy as np

        inputs = np.load(self.root / self.golden.inputs, allow_pickle=False)
        outputs = np.load(self.root / self.golden.outputs, allow_pickle=False)
        return inputs, outputs

    def label_names(self) -> list[str]:
        """Return the labels, or an empty list.

        Raises:
            UsageError: their file can't be read.
        """
        if self.labels is None:
            return []
        path = self.root / self.labels
        try:
            return path.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise UsageError(f"the labels in {path} can't be read ({error})", hint=_DAMAGED) from None

    def check(self) -> None:
        """Hold every file against its sha256.

        Raises:
            UsageError: a file is missing or differs; it is named.
        """
        for artifact in self.artifacts:
            _hold(self.path_of(artifact), artifact.sha256, f"artifact {artifact.recipe}")
        _hold(self.root / self.golden.inputs, self.golden.inputs_sha256, "golden inputs")
        _hold(self.root / self.golden.outputs, self.golden.outputs_sha256, "golden outputs")
        for key in ("calibration_record", "quantization_report"):
            if key in self.provenance:
                path = _inside(self.root, self.provenance[key])
                _hold(path, self.provenance.get(f"{key}_sha256", ""), key.replace("_", " "))

    def save(self) -> None:
        """Write `bundle.json`: whole, or not at all."""
        data = asdict(self)
        del data["root"]
        data["artifacts"] = [a.to_json() for a in self.artifacts]
        write_atomic(self.root / MANIFEST, json.dumps(data, indent=1, sort_keys=True).encode() + b"\n")

    @classmethod
    def load(cls, root: Path) -> Self:
        """Read a bundle's manifest (its files are held against it by `check`).

        Raises:
            UsageError: no bundle there, or a manifest that can't be read.
        """
        data = _read_manifest(root)
        if data.get("schema") != SCHEMA:
            raise UsageError(
                f"{root} has bundle schema {data.get('schema')!r}, this EdgeKit reads {SCHEMA}",
                hint="convert again, or use the EdgeKit that made it",
            )
        values = checked(cls, {**data, "root": root}, MANIFEST)
        values["source"] = SourceRecord(**checked(SourceRecord, data["source"], "source"))
        values["golden"] = Golden(**checked(Golden, data["golden"], "golden"))
        if not isinstance(data["artifacts"], list):
            raise UsageError(f"{root / MANIFEST}: artifacts should be a list", hint=_DAMAGED)
        values["artifacts"] = tuple(Artifact.from_json(a) for a in data["artifacts"])
        if data.get("preprocessing") is not None:
            values["preprocessing"] = Preprocessing(
                **checked(Preprocessing, data["preprocessing"], "preprocessing")
            )
        bundle = cls(**values)
        named = [*(a.path for a in bundle.artifacts), bundle.golden.inputs, bundle.golden.outputs]
        for relative in [*named, *([bundle.labels] if bundle.labels else [])]:
            _inside(root, relative)
        return bundle


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or as it was before."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _read_manifest(root: Path) -> dict[str, Any]:
    path = root / MANIFEST
    if not path.is_file():
        raise UsageError(f"{root} is not a bundle (no {MANIFEST})", hint="make one with edgekit convert")
    try:
        data = read_json(path.read_bytes())
    except ValueError as error:
        raise UsageError(f"{path} can't be read ({error})", hint=_DAMAGED) from None
    if not isinstance(data, dict):
        raise UsageError(f"{path} holds no table", hint=_DAMAGED)
    return data


def _hold(path: Path, sha256: str, what: str) -> None:
    if not path.exists():
        raise UsageError(f"{what} is missing ({path})", hint="convert again: the bundle is incomplete")
    found, _ = digest(path)
    if found != sha256:
        raise UsageError(
            f"{what} has changed: {path} has sha256 {found[:12]}, the bundle says {sha256[:12]}",
            hint="convert again; a changed file is never benched under an old name",
        )


def _inside(root: Path, relative: str) -> Path:
    if (
        "\0" in relative
        or any(len(part) > _MAX_NAME for part in relative.split("/"))
        or len(relative) > _MAX_PATH
    ):
        raise UsageError(
            f"{root}/{MANIFEST} names a path that can't be one: {relative[:60]!r}", hint=_DAMAGED
        )
    resolved = (root / relative).resolve()
    if not resolved.is_relative_to(root.resolve()):
        raise UsageError(f"{root}/{MANIFEST} names a path outside the bundle: {relative!r}")
    return root / relative
