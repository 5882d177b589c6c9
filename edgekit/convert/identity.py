"""What an artifact is made from: where all of it is the same, the bytes are, and need not be made again.

The float network, the recipe, EdgeKit and the libraries that made it decide every artifact; those with
calibrated ranges are decided by the data, the method and the tuning as well. Golden data, labels and the way
images are read are not among them: they prove and describe an artifact, and do not change it.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from edgekit._version import __version__
from edgekit.artifact import digest
from edgekit.convert.base import CONVERTERS, versions

if TYPE_CHECKING:
    from pathlib import Path

    from edgekit.bundle import Bundle
    from edgekit.convert.calibrate import CalibrationData
    from edgekit.recipe import Recipe
    from edgekit.source import Source

KEY = "inputs_sha256"
"""Where an artifact's provenance keeps the identity of its inputs."""


def inputs_of(
    recipe: Recipe,
    source: Source,
    *,
    calibration: CalibrationData | None,
    method: str,
    tuning: str | tuple[str, ...] = (),
) -> dict[str, str]:
    """Return everything that decides the bytes of an artifact, by name.

    Args:
        recipe: what is made.
        source: of what.
        calibration: the data that ranges are measured on.
        method: how a range is found.
        tuning: how weights are made for integers: a mode, or the methods' names in order.
    """
    converter = CONVERTERS.get(recipe.format)
    found = {
        "recipe": recipe.name,
        "source": source.sha256,
        "fused_preprocessing": source.options.get("fused_preprocessing", ""),
        "edgekit": __version__,
        **versions((*converter.libraries, "numpy")),
    }
    if recipe.format == "onnx" and source.proto is not None:  # it goes on under its own names
        found["proto"] = hashlib.sha256(source.proto.SerializeToString(deterministic=True)).hexdigest()
    if recipe.needs_calibration and calibration is not None:
        found["calibration"] = calibration.sha256
        found["calibration_method"] = method
        found["tuning"] = tuning if isinstance(tuning, str) else ",".join(tuning)
    return found


def inputs_sha256(inputs: dict[str, str]) -> str:
    """Return one name for what `inputs_of` found."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def is_made(before: Bundle | None, recipe: Recipe, identity: str) -> bool:
    """Tell whether a bundle holds this very artifact, its bytes (and the ranges it was made with) intact."""
    artifact = next((a for a in before.artifacts if a.recipe == recipe.name), None) if before else None
    if before is None or artifact is None or artifact.provenance.get(KEY) != identity:
        return False
    if recipe.needs_calibration and not (has_record(before) and has_report(before) is not False):
        return False
    return intact(before.path_of(artifact), artifact.sha256)


def has_record(bundle: Bundle) -> bool:
    """Tell whether a bundle's calibration record is there as it was written."""
    name = bundle.provenance.get("calibration_record")
    return name is not None and intact(
        bundle.root / name, bundle.provenance.get("calibration_record_sha256", "")
    )


def has_report(bundle: Bundle) -> bool | None:
    """Tell whether a bundle's quantization report is there as it was written; None where it never had one."""
    name = bundle.provenance.get("quantization_report")
    if name is None:
        return None
    return intact(bundle.root / name, bundle.provenance.get("quantization_report_sha256", ""))


def has_golden(bundle: Bundle) -> bool:
    """Tell whether a bundle's golden data are there as they were written."""
    golden = bundle.golden
    return intact(bundle.root / golden.inputs, golden.inputs_sha256) and intact(
        bundle.root / golden.outputs, golden.outputs_sha256
    )


def intact(path: Path, sha256: str) -> bool:
    """Tell whether a file or folder is there with these bytes."""
    return path.exists() and digest(path)[0] == sha256
