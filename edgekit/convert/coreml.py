"""Core ML: an ML program by coremltools; it is proved here op by op, and runs at Apple's."""

from __future__ import annotations

import gc
import json
import uuid
from typing import TYPE_CHECKING, Any

from edgekit.artifact import TensorSpec
from edgekit.convert.base import Made, Work
from edgekit.errors import ConversionError, MissingExtraError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

TARGET = "iOS16"
"""The oldest system whose ML programs take 16-bit inputs and compressed weights."""
_DATE = "com.github.apple.coremltools.conversion_date"
_NAMESPACE = uuid.UUID("5f0d1c52-7c0e-4f43-9d0a-7c9d4c9a6e11")
_DTYPES = {65568: "float32", 65552: "float16", 131104: "int32"}


class CoremlConverter:
    """The format "coreml"; see `base.Converter`.

    fp32 and fp16: weights and activations in that precision, input and output float32.
    """

    suffix = ".mlpackage"
    libraries = ("tensorflow", "tensorflow-cpu", "coremltools")
    caveat = "evaluated op by op, not by Core ML"
    """What a right answer of `run` leaves open; `verify` says it beside the numbers."""

    def convert(self, work: Work, precision: str, path: Path) -> Made:
        """Write a .mlpackage folder."""
        try:
            import coremltools
        except ImportError as error:
            raise MissingExtraError("coremltools", "convert") from error
        gc.freeze()  # coremltools collects garbage often; without this each time walks all of TensorFlow
        try:
            _write(coremltools, work, precision, path)
        except (ValueError, RuntimeError, KeyError, NotImplementedError, TypeError, AttributeError) as error:
            raise ConversionError(
                f"Core ML can't express {work.frozen.source.name} ({str(error)[:200]})",
                hint="replace the operation by one of Core ML's",
                evidence=str(error),
            ) from error
        finally:
            gc.collect()  # it leaves its temporary folders to the collector
            gc.unfreeze()
        spec = settle(path)
        source = work.frozen.source
        return Made(
            inputs=(_spec(spec.description.input[0], source.input),),
            outputs=(_spec(spec.description.output[0], source.output),),
            provenance={"minimum_deployment_target": TARGET},
        )

    def run(self, path: Path, inputs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Evaluate the package's program op by op; Core ML itself runs on Apple's systems only.

        Raises:
            ConversionError: the package can't be read, or an operation can't be evaluated here; it is named.
        """
        from edgekit.convert.mil.evaluate import evaluate

        return evaluate(path, inputs)

    def inspect(self, work: Work, precision: str, path: Path) -> str:
        """Hold the package's program and weights against the frozen graph."""
        from edgekit.convert.mil.check import check_program

        check_program(path, work.frozen, precision)
        return f"structure and weights checked, program {self.caveat}"


CONVERTER = CoremlConverter()


def _write(coremltools: Any, work: Work, precision: str, path: Path) -> None:
    import numpy as np

    shape = work.frozen.source.input.shape
    package = coremltools.convert(
        [work.frozen.function],
        source="tensorflow",
        inputs=[coremltools.TensorType(name="input", shape=shape, dtype=np.float32)],
        outputs=[coremltools.TensorType(name="output", dtype=np.float32)],
        minimum_deployment_target=coremltools.target[TARGET],
        compute_precision={
            "fp32": coremltools.precision.FLOAT32,
            "fp16": coremltools.precision.FLOAT16,
        }[precision],
        skip_model_load=True,
    )
    package.save(str(path))


def settle(path: Path) -> Any:
    """Make a package's bytes depend on its content alone, and return its spec.

    coremltools names the package's items by random UUIDs, dates it, and writes protobuf maps in memory order;
    here the UUIDs are made from the items' paths, the date is taken out and the maps are sorted.
    """
    from coremltools.proto import Model_pb2

    manifest_path = path / "Manifest.json"
    manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
    names = {
        old: str(uuid.uuid5(_NAMESPACE, entry["path"])) for old, entry in manifest["itemInfoEntries"].items()
    }
    text = json.dumps(manifest, indent=4, sort_keys=True)
    for old, new in names.items():
        text = text.replace(old, new)
    settled = json.loads(text)
    manifest_path.write_text(json.dumps(settled, indent=4, sort_keys=True) + "\n", encoding="utf-8")
    spec_path = next(path.rglob("*.mlmodel"))
    spec = Model_pb2.Model()
    spec.ParseFromString(spec_path.read_bytes())
    spec.description.metadata.userDefined.pop(_DATE, None)
    spec_path.write_bytes(spec.SerializeToString(deterministic=True))
    return spec


def _spec(feature: Any, source: TensorSpec) -> TensorSpec:
    array = feature.type.multiArrayType
    shape = tuple(int(n) for n in array.shape) or source.shape  # an output may leave its shape to the program
    return TensorSpec(name=feature.name, shape=shape, dtype=_DTYPES[array.dataType], layout=source.layout)
