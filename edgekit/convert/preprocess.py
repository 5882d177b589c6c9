"""How an 8-bit image becomes an input: presets by name, and the arithmetic."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from edgekit.bundle import Preprocessing
from edgekit.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from edgekit.artifact import TensorSpec
    from edgekit.source import Source

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_PLAIN = {
    "none": Preprocessing(),
    "signed": Preprocessing(scale=1 / 127.5, mean=(1.0,)),
    "unit": Preprocessing(scale=1 / 255),
    "imagenet": Preprocessing(scale=1 / 255, mean=_MEAN, std=_STD),
}


def _bgr(plain: Preprocessing) -> Preprocessing:
    return dataclasses.replace(plain, order="BGR", mean=plain.mean[::-1], std=plain.std[::-1])


PRESETS: dict[str, Preprocessing] = _PLAIN | {f"{name}-bgr": _bgr(plain) for name, plain in _PLAIN.items()}
"""none: 0..255. signed: x/127.5 - 1. unit: x/255. imagenet: (x/255 - mean) / std with ImageNet's numbers.
-bgr: the same with blue first."""


def preprocessing_preset(name: str) -> Preprocessing:
    """Return a preset.

    Raises:
        UnknownNameError: no preset has this name; the nearest one is offered.
    """
    if name not in PRESETS:
        raise UnknownNameError("preprocessing", name, PRESETS)
    return PRESETS[name]


def preprocessing_of(source: Source, name: str | None) -> Preprocessing | None:
    """Return the preset of this name, or what the source itself knows when no name is given."""
    return source.preprocessing if name is None else preprocessing_preset(name)


def fit(preprocessing: Preprocessing, spec: TensorSpec) -> Preprocessing:
    """Return the preprocessing, held against the input that it shall fill.

    Raises:
        UsageError: the input is no image, or its channels do not match.
    """
    if not _is_image(spec):
        raise UsageError(
            f"the input {spec.shape} is no image", hint="give arrays instead of images: .npy or .npz"
        )
    channels = _height_width_channels(spec)[2]
    if channels == 1 and preprocessing.order == "RGB":
        preprocessing = dataclasses.replace(preprocessing, order="gray")
    wanted = 1 if preprocessing.order == "gray" else 3
    if channels != wanted:
        raise UsageError(
            f"the input has {channels} channels, {preprocessing.order} images have {wanted}",
            hint="choose another preprocessing, or give arrays",
        )
    for what, values in (("mean", preprocessing.mean), ("std", preprocessing.std)):
        if len(values) not in (1, channels):
            raise UsageError(
                f"preprocessing has {len(values)} values for {what}, the input {channels} channels"
            )
    return preprocessing


def _is_image(spec: TensorSpec) -> bool:
    return spec.layout in ("NHWC", "NCHW") and len(spec.shape) == 4  # noqa: PLR2004 - batch, channels, pixels


def _height_width_channels(spec: TensorSpec) -> tuple[int, int, int]:
    _, first, second, third = spec.shape
    return (second, third, first) if spec.layout == "NCHW" else (first, second, third)


def _laid_out(images: np.ndarray[Any, Any], spec: TensorSpec) -> np.ndarray[Any, Any]:
    """Return images with channels last as the input lays them out."""
    import numpy as np

    return np.ascontiguousarray(np.moveaxis(images, -1, -3)) if spec.layout == "NCHW" else images


def apply(pixels: np.ndarray[Any, Any], preprocessing: Preprocessing) -> np.ndarray[Any, Any]:
    """Return (pixel * scale - mean) / std in float32.

    Args:
        pixels: ... x channels, 0..255, in the preprocessing's channel order.
        preprocessing: the numbers.
    """
    import numpy as np

    mean, std = np.asarray(preprocessing.mean, np.float32), np.asarray(preprocessing.std, np.float32)
    scaled = pixels.astype(np.float32) * np.float32(preprocessing.scale)
    done: np.ndarray[Any, Any] = ((scaled - mean) / std).astype(np.float32)
    return done


def image_input(image: Image, spec: TensorSpec, preprocessing: Preprocessing) -> np.ndarray[Any, Any]:
    """Turn an opened image into one input: shorter side resized (bilinear), centre crop, channels, numbers.

    Args:
        image: as Pillow opened it, in any mode.
        spec: of the input, 1 x H x W x C or, where its layout is NCHW, 1 x C x H x W.
        preprocessing: held against `spec` by `fit`.

    Returns:
        float32, the input's shape without its batch.
    """
    import numpy as np
    from PIL.Image import Resampling

    height, width, _ = _height_width_channels(spec)
    side = max(preprocessing.resize, height, width)
    shorter = min(image.size)
    size = tuple(max(side, round(n * side / shorter)) for n in image.size)
    ready = image.convert("L" if preprocessing.order == "gray" else "RGB")
    ready = ready.resize((size[0], size[1]), Resampling.BILINEAR)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    pixels = np.asarray(ready.crop((left, top, left + width, top + height)))
    if preprocessing.order == "gray":
        pixels = pixels[..., None]
    elif preprocessing.order == "BGR":
        pixels = pixels[..., ::-1]
    return _laid_out(apply(pixels, preprocessing), spec)


def noise(
    spec: TensorSpec, preprocessing: Preprocessing | None, count: int, seed: int
) -> np.ndarray[Any, Any]:
    """Return seeded noise in the range of preprocessed images: uniform pixels, or -1..1 when nobody said.

    Returns:
        float32, count x the input's shape without its batch.
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    if preprocessing is None or not _is_image(spec):
        return generator.uniform(-1.0, 1.0, size=(count, *spec.shape[1:])).astype(np.float32)
    pixels = generator.integers(0, 256, size=(count, *_height_width_channels(spec)))
    return _laid_out(apply(pixels, preprocessing), spec)
