"""Check a bundle again on this host: its bytes, its golden outputs, and its accuracy on labelled images."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from edgekit.artifact import digest
from edgekit.convert.base import CONVERTERS, Step
from edgekit.convert.images import labelled, read_images, spread
from edgekit.convert.parity import BARS, Bar, check
from edgekit.convert.results import Accuracy, Verification
from edgekit.errors import ConversionError, UsageError
from edgekit.source.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np

    from edgekit.artifact import Artifact, Parity
    from edgekit.bundle import Bundle

__all__ = ["BARS", "Bar", "check", "verify_bundle"]

_BATCH = 64
"""Images held in memory at once."""


def verify_bundle(
    bundle: Bundle,
    *,
    images: Path | None = None,
    labels: Path | None = None,
    limit: int | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> list[Verification]:
    """Check every artifact of a bundle again.

    Args:
        bundle: the bundle.
        images: a folder of images to measure accuracy on; class folders, or `labels` says what they are.
        labels: a CSV with the columns file,label.
        limit: so many images at most, evenly spread.
        on_step: called when a phase begins and ends.

    Returns:
        A row an artifact. A changed file is not run. A Core ML program is evaluated op by op, on every image
        too; that is not Core ML's own runtime, and the row's note says so.

    Raises:
        UsageError: the golden data has changed, or the images can't be read.
    """
    _check_golden(bundle)
    inputs, wanted = bundle.golden_arrays()
    rows = []
    with quiet():
        answers = _answers(bundle, images, labels, limit, on_step)
        for artifact in bundle.artifacts:
            begin = _begin(artifact.recipe, "verify", on_step)
            rows.append(_verify(bundle, artifact, inputs, wanted, answers.get(artifact.recipe)))
            _end(artifact.recipe, "verify", begin, on_step)
    return rows


def _check_golden(bundle: Bundle) -> None:
    for path, sha256 in (
        (bundle.golden.inputs, bundle.golden.inputs_sha256),
        (bundle.golden.outputs, bundle.golden.outputs_sha256),
    ):
        if not (bundle.root / path).is_file() or digest(bundle.root / path)[0] != sha256:
            raise UsageError(f"{bundle.root / path} is missing or has changed", hint="convert again")


def _verify(
    bundle: Bundle,
    artifact: Artifact,
    inputs: np.ndarray[Any, Any],
    wanted: np.ndarray[Any, Any],
    accuracy: Accuracy | None,
) -> Verification:
    path = bundle.path_of(artifact)
    if not _same_bytes(bundle, artifact):
        problem = "the file is missing" if not path.exists() else "the file has changed: convert again"
        return Verification(recipe=artifact.recipe, files=False, problem=problem)
    parity: Parity | None = None
    problem = ""
    converter = CONVERTERS.get(artifact.format)
    try:
        outputs = converter.run(path, inputs)
        if outputs is not None:
            parity = check(wanted, outputs, recipe=artifact.recipe, grid=artifact.outputs[0].scale)
    except ConversionError as error:
        problem, outputs = str(error), None
    note = "bytes only: this host can't run it" if parity is None else str(getattr(converter, "caveat", ""))
    return Verification(
        recipe=artifact.recipe, files=True, parity=parity, accuracy=accuracy, problem=problem, note=note
    )


def _same_bytes(bundle: Bundle, artifact: Artifact) -> bool:
    path = bundle.path_of(artifact)
    return path.exists() and digest(path)[0] == artifact.sha256


def _answers(
    bundle: Bundle,
    images: Path | None,
    labels: Path | None,
    limit: int | None,
    on_step: Callable[[Step], None] | None,
) -> dict[str, Accuracy]:
    """Return the accuracy of each artifact that this host can run."""
    if images is None:
        if labels is not None:
            raise UsageError("labels are given without images", hint="give --images too")
        return {}
    if bundle.preprocessing is None:
        raise UsageError(
            f"{bundle.root} does not say how an image becomes an input",
            hint="convert again with --preprocess signed, unit, imagenet or none",
        )
    pairs = labelled(images, labels, bundle.label_names())
    chosen = dict(pairs)
    paths = spread(list(chosen), limit)
    truth = [chosen[path] for path in paths]
    answers: dict[str, list[int]] = {}
    for artifact in bundle.artifacts:
        if not _same_bytes(bundle, artifact):
            continue
        begin = _begin(artifact.recipe, "accuracy", on_step)
        found = _classify(bundle, artifact, paths)
        _end(artifact.recipe, "accuracy", begin, on_step)
        if found is not None:
            answers[artifact.recipe] = found
    reference = next((answers[r] for r in ("tflite-fp32", "onnx-fp32") if r in answers), None)
    return {
        recipe: Accuracy(count=len(truth), top1=_share(found, truth), agreement=_agreement(found, reference))
        for recipe, found in answers.items()
    }


def _classify(bundle: Bundle, artifact: Artifact, paths: list[Path]) -> list[int] | None:
    """Return the index of the largest output for each image; None where this host can't run the format."""
    if bundle.preprocessing is None:
        return None
    converter = CONVERTERS.get(artifact.format)
    found: list[int] = []
    for begin in range(0, len(paths), _BATCH):
        batch = read_images(paths[begin : begin + _BATCH], artifact.inputs[0], bundle.preprocessing)
        try:
            outputs = converter.run(bundle.path_of(artifact), batch)
        except ConversionError:
            return None  # the golden inputs meet the same, and its row says what
        if outputs is None:
            return None
        found.extend(int(i) for i in outputs.reshape(len(batch), -1).argmax(axis=1))
    return found


def _share(left: list[int], right: list[int]) -> float:
    return sum(a == b for a, b in zip(left, right, strict=True)) / len(left)


def _agreement(found: list[int], reference: list[int] | None) -> float | None:
    return None if reference is None else _share(found, reference)


def _begin(recipe: str, phase: str, on_step: Callable[[Step], None] | None) -> float:
    if on_step is not None:
        on_step(Step(recipe=recipe, phase=phase))
    return time.perf_counter()


def _end(recipe: str, phase: str, begin: float, on_step: Callable[[Step], None] | None) -> None:
    if on_step is not None:
        on_step(Step(recipe=recipe, phase=phase, seconds=time.perf_counter() - begin))
