"""Golden data: where they come from, and what is measured on them again when they change."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from edgekit.convert.base import CONVERTERS
from edgekit.convert.identity import has_golden, intact
from edgekit.convert.parity import check
from edgekit.convert.preprocess import noise
from edgekit.convert.results import Failure
from edgekit.errors import ConversionError

if TYPE_CHECKING:
    import numpy as np

    from edgekit.artifact import Parity
    from edgekit.bundle import Bundle, Preprocessing
    from edgekit.convert.calibrate import CalibrationData
    from edgekit.source import FrozenGraph

    Arrays = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], str]

GOLDEN_DATA, GOLDEN_NOISE = 16, 8
"""How many golden inputs: of calibration data, of seeded noise."""
FROM_DATA, FROM_NOISE = "calibration data", "seeded noise"


def kept_golden(before: Bundle | None, calibration: CalibrationData | None) -> Arrays | None:
    """Return a bundle's own golden inputs, outputs and their origin; None where they are to be made.

    Data take the place of noise; whatever is damaged is made again.
    """
    if before is None or not has_golden(before):
        return None
    if calibration is not None and before.golden.origin != FROM_DATA:
        return None
    return (*before.golden_arrays(), before.golden.origin)


def new_golden(
    frozen: FrozenGraph, calibration: CalibrationData | None, preprocessing: Preprocessing | None
) -> Arrays:
    """Return golden inputs, the float source's outputs and the inputs' origin."""
    if calibration is not None:
        inputs, origin = calibration.inputs[:GOLDEN_DATA], FROM_DATA
    else:
        inputs, origin = noise(frozen.source.input, preprocessing, GOLDEN_NOISE, seed=0), FROM_NOISE
    return inputs, frozen.outputs(inputs), origin


def reproved(before: Bundle | None, golden: Arrays, again: set[str], failed: list[Failure]) -> Bundle | None:
    """Measure a bundle's artifacts on new golden inputs; one that fails is no longer in the bundle.

    Args:
        before: the bundle.
        golden: new inputs and outputs.
        again: recipes that are made again anyway.
        failed: what fails is added here.
    """
    if before is None:
        return None
    kept = []
    for artifact in before.artifacts:
        path = before.path_of(artifact)
        if artifact.recipe in again or not intact(path, artifact.sha256):
            kept.append(artifact)
            continue
        try:
            outputs = CONVERTERS.get(artifact.format).run(path, golden[0])
            parity = parity_of(artifact.recipe, outputs, golden, artifact.outputs[0].scale)
            kept.append(dataclasses.replace(artifact, parity=parity))
        except ConversionError as error:
            failed.append(Failure(recipe=artifact.recipe, error=error))
    return dataclasses.replace(before, artifacts=tuple(kept))


def parity_of(
    recipe: str, outputs: np.ndarray[Any, Any] | None, golden: Arrays, grid: float | None
) -> Parity | None:
    """Hold outputs against the golden ones; None where the host gave none."""
    return None if outputs is None else check(golden[1], outputs, recipe=recipe, grid=grid)
