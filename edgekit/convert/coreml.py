"""Core ML: an ML program by coremltools; it is proved here op by op, and runs at Apple's."""

from __future__ import annotations

import contextlib
import gc
import json
import uuid
from typing import TYPE_CHECKING, Any

from edgekit.artifact import TensorSpec
from edgekit.convert.base import Made, Work
from edgekit.convert.coreml_activations import quantized_activations
from edgekit.convert.coreml_names import number_constants
from edgekit.convert.coreml_program import copied, coremltools, float_program, halved, write
from edgekit.convert.coreml_weights import SMALL, linear_weights, palettes, weights_of
from edgekit.convert.swap import swapped_program
from edgekit.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np

    from edgekit.convert.ranges import Grid
    from edgekit.source import FrozenGraph

_OLDEST, _INTEGERS = "iOS16", "iOS17"
"""The oldest system whose ML programs take 16-bit inputs and compressed weights; and 8-bit activations."""
_FORM = "coreml fp32"
_PALETTES = {"p4": 4, "p6": 6, "p8": 8}
_DATE = "com.github.apple.coremltools.conversion_date"
_NAMESPACE = uuid.UUID("5f0d1c52-7c0e-4f43-9d0a-7c9d4c9a6e11")
_DTYPES = {65568: "float32", 65552: "float16", 131104: "int32"}


class CoremlConverter:
    """The format "coreml"; see `base.Converter`.

    fp32: weights and activations in 32 bits. All others: in 16 bits where they are floats. w8 and p4 to p8
    store weights in 8 bits, or in a palette of 2^4 to 2^8 values. w8a8: 8-bit weights, activations on 8-bit
    grids.
    Input and output are float32.
    """

    suffix = ".mlpackage"
    libraries = ("tensorflow", "tensorflow-cpu", "coremltools")
    caveat = "evaluated op by op, not by Core ML"
    """What a right answer of `run` leaves open; `verify` says it beside the numbers."""

    def convert(self, work: Work, precision: str, path: Path) -> Made:
        """Write a .mlpackage folder."""
        try:
            with _fewer_walks():
                program, found = _program(work, precision)
                write(program, path, found["minimum_deployment_target"])
        except (ValueError, RuntimeError, KeyError, NotImplementedError, TypeError, AttributeError) as error:
            raise ConversionError(
                f"Core ML can't express {work.frozen.source.name} ({str(error)[:200]})",
                hint="replace the operation by one of Core ML's",
                evidence=str(error),
            ) from error
        spec = settle(path)
        source = work.frozen.source
        return Made(
            inputs=(_spec(spec.description.input[0], source.input),),
            outputs=(_spec(spec.description.output[0], source.output),),
            provenance=found,
        )

    def early(self, _frozen: FrozenGraph) -> tuple[str, Callable[[FrozenGraph], Any]]:
        """Return the float form's name and what makes it; see `ahead.Ahead`."""
        return _FORM, _float_form

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

        integers = precision == "w8a8"
        grids = _allowed(work) if integers else frozenset()
        check_program(path, work.for_integers if integers else work.frozen, precision, grids)
        return f"structure and weights checked, program {self.caveat}"


CONVERTER = CoremlConverter()


def _program(work: Work, precision: str) -> tuple[Any, dict[str, str]]:
    """Return a program in a precision, and what made it; the float32 one is made once."""
    found = {"minimum_deployment_target": _OLDEST}
    if precision == "w8a8":
        return _integers(work)
    full = _full(work)
    if precision == "fp32":
        return full, found
    half = work.once("coreml fp16", lambda: halved(full))
    if precision == "fp16":
        return half, found
    program = copied(half)
    if precision == "w8":
        names = linear_weights(program, weights_of(full))
        found["quantizer"] = f"8-bit integers, symmetric, per channel; {len(names)} weights"
    else:
        names = palettes(program, _PALETTES[precision])
        found["quantizer"] = (
            f"palettes of {1 << _PALETTES[precision]} values by k-means; {len(names)} weights, "
            f"those of fewer than {SMALL} elements in 16 bits"
        )
    return program, found


def _full(work: Work, precision: str = "fp32") -> Any:
    """Return the float32 program of the graph that a precision starts from."""
    return work.float_once(_FORM, precision, _float_form, swapped_program)


def _float_form(frozen: FrozenGraph) -> Any:
    with _fewer_walks():
        return float_program(frozen, _OLDEST)


@contextlib.contextmanager
def _fewer_walks() -> Iterator[None]:
    """Keep Python from walking all of TensorFlow whenever coremltools collects garbage, which is often."""
    coremltools()
    frozen = gc.get_freeze_count()
    if not frozen:
        gc.freeze()
    try:
        yield
    finally:
        if not frozen:
            gc.unfreeze()


def _integers(work: Work) -> tuple[Any, dict[str, str]]:
    full = copied(_full(work, "w8a8"), _INTEGERS)
    originals = weights_of(full)
    full, grids, lacking = quantized_activations(full, work, _INTEGERS)
    work.shared["coreml apart"] = [grids[name] for name in lacking]
    program = halved(full)
    linear_weights(program, originals)
    found = {
        "minimum_deployment_target": _INTEGERS,
        "quantizer": f"8-bit weights per channel, {len(grids)} activations, {work.recorded.method}",
    }
    if lacking:
        found["measured_apart"] = ", ".join(lacking)
    return program, found


def _allowed(work: Work) -> frozenset[Grid]:
    """Return the record's grids, and those of what it lacks."""
    record = work.recorded
    return frozenset((*map(record.grid, record.ranges), *work.shared.get("coreml apart", ())))


def settle(path: Path) -> Any:
    """Make a package's bytes depend on its content alone, and return its spec.

    coremltools names the package's items by random UUIDs, dates it, and writes protobuf maps in memory order;
    here the UUIDs are made from the items' paths, the date is taken out, the maps are sorted, the constants
    numbered in order.
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
    number_constants(spec)
    spec_path.write_bytes(spec.SerializeToString(deterministic=True))
    return spec


def _spec(feature: Any, source: TensorSpec) -> TensorSpec:
    array = feature.type.multiArrayType
    shape = tuple(int(n) for n in array.shape) or source.shape  # an output may leave its shape to the program
    return TensorSpec(name=feature.name, shape=shape, dtype=_DTYPES[array.dataType], layout=source.layout)
