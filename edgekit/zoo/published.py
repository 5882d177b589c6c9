"""What others published about these networks: accuracies and files of weights, with their sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgekit.zoo.names import Spec

SLIM_V1 = "https://github.com/tensorflow/models/blob/master/research/slim/nets/mobilenet_v1.md"
SLIM_V2 = "https://github.com/tensorflow/models/blob/master/research/slim/nets/mobilenet/README.md"
SHUFFLE_V1_PAPER = "https://arxiv.org/abs/1707.01083"
SHUFFLE_V1_AUTHORS = "https://github.com/megvii-model/ShuffleNet-Series/tree/master/ShuffleNetV1"
TORCHVISION = "https://docs.pytorch.org/vision/stable/models.html"

KERAS_V1 = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet/"
KERAS_V2 = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/"
TORCH_HUB = "https://download.pytorch.org/models/"

_SIDES = (224, 192, 160, 128, 96)

# Top-1 in percent at 224, 192, 160, 128 and 96 pixels, as far as published.
_MOBILE_TOP1 = {
    "mobilenet_v1_1.0": (70.9, 70.0, 68.0, 65.2),
    "mobilenet_v1_0.75": (68.4, 67.2, 65.3, 62.1),
    "mobilenet_v1_0.5": (63.3, 61.7, 59.1, 56.3),
    "mobilenet_v1_0.25": (49.8, 47.7, 45.5, 41.5),
    "mobilenet_v2_1.4": (75.0,),
    "mobilenet_v2_1.3": (74.4,),
    "mobilenet_v2_1.0": (71.8, 70.7, 68.8, 65.3, 60.3),
    "mobilenet_v2_0.75": (69.8, 68.7, 66.4, 63.2, 58.8),
    "mobilenet_v2_0.5": (65.4, 63.9, 61.0, 57.7, 51.2),
    "mobilenet_v2_0.35": (60.3, 58.2, 55.7, 50.8, 45.5),
}

# Top-1 in percent at 224 pixels.
_TOP1 = {
    "shufflenet_v1_0.5x_g1": (54.9, SHUFFLE_V1_PAPER),
    "shufflenet_v1_0.5x_g2": (55.6, SHUFFLE_V1_PAPER),
    "shufflenet_v1_0.5x_g3": (57.3, SHUFFLE_V1_AUTHORS),
    "shufflenet_v1_0.5x_g4": (58.4, SHUFFLE_V1_PAPER),
    "shufflenet_v1_0.5x_g8": (58.8, SHUFFLE_V1_AUTHORS),
    "shufflenet_v1_1.0x_g1": (66.4, SHUFFLE_V1_PAPER),
    "shufflenet_v1_1.0x_g2": (67.3, SHUFFLE_V1_PAPER),
    "shufflenet_v1_1.0x_g3": (67.8, SHUFFLE_V1_AUTHORS),
    "shufflenet_v1_1.0x_g4": (67.2, SHUFFLE_V1_PAPER),
    "shufflenet_v1_1.0x_g8": (68.0, SHUFFLE_V1_AUTHORS),
    "shufflenet_v1_1.5x_g3": (71.6, SHUFFLE_V1_AUTHORS),
    "shufflenet_v1_1.5x_g8": (71.0, SHUFFLE_V1_AUTHORS),
    "shufflenet_v1_2.0x_g3": (74.1, SHUFFLE_V1_AUTHORS),
    "shufflenet_v1_2.0x_g8": (72.9, SHUFFLE_V1_AUTHORS),
    "shufflenet_v2_0.5x": (60.552, TORCHVISION),
    "shufflenet_v2_1.0x": (69.362, TORCHVISION),
    "shufflenet_v2_1.5x": (72.996, TORCHVISION),
    "shufflenet_v2_2.0x": (76.230, TORCHVISION),
    "squeezenet_1.0": (58.092, TORCHVISION),
    "squeezenet_1.1": (58.178, TORCHVISION),
}

# torchvision's files; the digits before ".pth" are the first of the file's sha256.
_TORCH_FILES = {
    "shufflenet_v2_0.5x": "shufflenetv2_x0.5-f707e7126e.pth",
    "shufflenet_v2_1.0x": "shufflenetv2_x1-5666bf0f80.pth",
    "shufflenet_v2_1.5x": "shufflenetv2_x1_5-3c479a10.pth",
    "shufflenet_v2_2.0x": "shufflenetv2_x2_0-8be3c8ee.pth",
    "squeezenet_1.0": "squeezenet1_0-b66bff10.pth",
    "squeezenet_1.1": "squeezenet1_1-b8a52dc0.pth",
}

_KERAS_V1_WIDTHS = {1.0: "1_0", 0.75: "7_5", 0.5: "5_0", 0.25: "2_5"}


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsFile:
    """A published file of weights.

    Attributes:
        url: where it lies.
        sha256: its sha256 or the first digits of it; "" where the publisher gives none.
    """

    url: str
    sha256: str = ""

    @property
    def file_name(self) -> str:
        """The last part of the URL."""
        return self.url.rpartition("/")[2]


def published_top1(spec: Spec) -> tuple[float | None, str]:
    """Return the published top-1 accuracy (percent) and its source, or (None, "")."""
    if spec.base in _MOBILE_TOP1:
        by_side = dict(zip(_SIDES, _MOBILE_TOP1[spec.base], strict=False))
        source = SLIM_V1 if spec.family == "mobilenet_v1" else SLIM_V2
        return (by_side[spec.resolution], source) if spec.resolution in by_side else (None, "")
    if spec.base in _TOP1 and spec.name == spec.base:
        return _TOP1[spec.base]
    return None, ""


def published_weights(spec: Spec) -> WeightsFile | None:
    """Return the published ImageNet weights of exactly this network and resolution, or None."""
    if spec.base in _MOBILE_TOP1 and published_top1(spec)[0] is not None:
        return WeightsFile(url=_keras_url(spec))
    if spec.base in _TORCH_FILES and spec.name == spec.base:
        name = _TORCH_FILES[spec.base]
        return WeightsFile(url=TORCH_HUB + name, sha256=name.removesuffix(".pth").rpartition("-")[2])
    return None


def with_weights(family: str) -> tuple[str, ...]:
    """Return the names of this family that have published ImageNet weights, resolutions included."""
    names = [name for name in _TORCH_FILES if name.startswith(family)]
    for base, values in _MOBILE_TOP1.items():
        if base.startswith(family):
            names += [base if side == _SIDES[0] else f"{base}@{side}" for side in _SIDES[: len(values)]]
    return tuple(sorted(names))


def _keras_url(spec: Spec) -> str:
    if spec.family == "mobilenet_v1":
        return f"{KERAS_V1}mobilenet_{_KERAS_V1_WIDTHS[spec.width]}_{spec.resolution}_tf.h5"
    kernels = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels"
    return f"{KERAS_V2}{kernels}_{spec.width}_{spec.resolution}.h5"
