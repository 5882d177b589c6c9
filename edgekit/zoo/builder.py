"""A zoo name into a Keras network with weights."""

from __future__ import annotations

import importlib
import math
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.errors import MissingExtraError, UsageError
from edgekit.zoo.catalog import ENTRIES, make_entry, preprocessing
from edgekit.zoo.macs import count_macs
from edgekit.zoo.names import has_resolution, parse
from edgekit.zoo.published import published_weights, with_weights

if TYPE_CHECKING:
    from edgekit.zoo.entry import Entry
    from edgekit.zoo.names import Spec

IMAGENET_CLASSES = 1000
RGB = 3


def zoo_names() -> tuple[str, ...]:
    """Return the curated names in the order of the list."""
    return tuple(ENTRIES)


def describe(name: str) -> Entry:
    """Return what is known of a network, curated or not.

    A name outside the curated list is built once (without its weights being set) and counted.

    Raises:
        UnknownNameError: no network has this name; the nearest curated one is offered.
        UsageError: the network exists, but not that small or that wide.
        MissingExtraError: a name outside the list, and Keras is not installed.
    """
    spec = parse(name, zoo_names())
    return ENTRIES[spec.name] if spec.name in ENTRIES else _counted(spec)


def build(
    name: str,
    *,
    weights: str | Path = "none",
    classes: int = IMAGENET_CLASSES,
    channels: int = RGB,
    resolution: int | None = None,
    seed: int = 0,
) -> Any:
    """Build a network of the zoo.

    Args:
        name: a zoo name; the grammar stands in `edgekit.zoo`.
        weights: "none" for seeded ones, "imagenet" for the published ones (fetched once, see
            `edgekit.zoo.download`), or a file: .keras, .weights.h5, .h5, .pth.
        classes: how many outputs.
        channels: of the input, 1 or 3.
        resolution: side of the square input in pixels; the name's, or 224, where it is left out.
        seed: for "none": the same seed gives the same weights.

    Returns:
        A `keras.Model` with one float32 input "input" (N x resolution x resolution x channels) and one output
        (N x classes): softmax or logits, as `describe(name).output` says.

    Raises:
        UnknownNameError: no network has this name.
        UsageError: a size it can't have, or weights that do not exist, can't be reached or don't fit.
        MissingExtraError: Keras, or PyTorch for a .pth file, is not installed.
    """
    spec = _resolved(name, resolution)
    if classes < 1 or channels not in {1, RGB}:
        raise UsageError(
            f"{spec.name} can't have {classes} classes and {channels} channels",
            hint="give at least 1 class, and 1 or 3 channels",
        )
    if weights == "none":
        from edgekit.zoo.random_weights import randomize

        return randomize(
            lambda: _fresh(spec, classes=classes, channels=channels),
            preprocessing(spec),
            resolution=spec.resolution,
            channels=channels,
            seed=seed,
        )
    from edgekit.zoo.weights_file import load_file

    file = _file(spec, weights, classes, channels)
    model = _fresh(spec, classes=classes, channels=channels)
    load_file(model, file)
    return model


def _resolved(name: str, resolution: int | None) -> Spec:
    spec = parse(name, zoo_names())
    if resolution is None:
        return spec
    if has_resolution(name) and spec.resolution != resolution:
        raise UsageError(
            f"{name!r} names {spec.resolution} pixels and {resolution} are asked for",
            hint="give one of the two",
        )
    return spec.at(resolution)


def _file(spec: Spec, weights: str | Path, classes: int, channels: int) -> Path:
    if weights != "imagenet":
        return Path(weights)
    if classes != IMAGENET_CLASSES or channels != RGB:
        raise UsageError(
            f"ImageNet weights are for {IMAGENET_CLASSES} classes and {RGB} channels,"
            f" not for {classes} and {channels}",
            hint="leave classes and channels out",
        )
    published = published_weights(spec)
    if published is None:
        names = with_weights(spec.family)
        raise UsageError(
            f"nobody publishes ImageNet weights for {spec.name} where EdgeKit could fetch them",
            hint=f"there are weights for {', '.join(names)}; or give a file"
            if names
            else "give a file of weights, or weights='none'",
        )
    from edgekit.zoo.download import fetch

    return fetch(published)


def _fresh(spec: Spec, *, classes: int, channels: int) -> Any:
    """Return the network as Keras initializes it."""
    try:
        import keras  # noqa: F401
    except ImportError:
        raise MissingExtraError("keras", "convert") from None
    family = importlib.import_module(f"edgekit.zoo.{spec.family}")
    return family.build(spec, classes=classes, channels=channels)


@lru_cache(maxsize=64)
def _counted(spec: Spec) -> Entry:
    model = _fresh(spec, classes=IMAGENET_CLASSES, channels=RGB)
    parameters = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    return make_entry(spec, parameters, count_macs(model))
