"""The curated list: what `edgekit zoo list` prints. Counts are data here; tests hold them to the networks."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from edgekit.bundle import Preprocessing
from edgekit.zoo.entry import Entry
from edgekit.zoo.names import DEFAULT_RESOLUTION, Spec, parse
from edgekit.zoo.published import published_top1, published_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

_PAPERS = {
    "mobilenet_v1": "https://arxiv.org/abs/1704.04861",
    "mobilenet_v2": "https://arxiv.org/abs/1801.04381",
    "shufflenet_v1": "https://arxiv.org/abs/1707.01083",
    "shufflenet_v2": "https://arxiv.org/abs/1807.11164",
    "squeezenet": "https://arxiv.org/abs/1602.07360",
}
_OUTPUTS = {"mobilenet_v1": "softmax", "mobilenet_v2": "softmax"}
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)

# Trainable parameters and multiply-accumulates at 224 pixels and 1000 classes.
_COUNTS = {
    "mobilenet_v1_0.25": (470_072, 41_030_272),
    "mobilenet_v1_0.5": (1_331_592, 149_497_088),
    "mobilenet_v1_0.75": (2_585_560, 325_400_448),
    "mobilenet_v1_1.0": (4_231_976, 568_740_352),
    "mobilenet_v2_0.35": (1_677_128, 59_285_808),
    "mobilenet_v2_0.5": (1_968_680, 97_131_840),
    "mobilenet_v2_0.75": (2_636_424, 209_069_792),
    "mobilenet_v2_1.0": (3_504_872, 300_774_272),
    "mobilenet_v2_1.3": (5_386_792, 509_374_560),
    "mobilenet_v2_1.4": (6_108_776, 582_195_824),
    "shufflenet_v1_0.5x_g3": (717_324, 37_589_856),
    "shufflenet_v1_0.5x_g8": (1_010_448, 40_469_760),
    "shufflenet_v1_1.0x_g1": (1_530_936, 143_078_976),
    "shufflenet_v1_1.0x_g2": (1_732_848, 140_836_512),
    "shufflenet_v1_1.0x_g3": (1_864_728, 137_460_672),
    "shufflenet_v1_1.0x_g4": (1_967_344, 134_339_776),
    "shufflenet_v1_1.0x_g8": (2_433_768, 138_365_952),
    "shufflenet_v1_1.5x_g3": (3_441_168, 292_443_552),
    "shufflenet_v1_1.5x_g8": (4_268_952, 290_188_800),
    "shufflenet_v1_2.0x_g3": (5_449_776, 524_045_184),
    "shufflenet_v1_2.0x_g8": (6_521_232, 521_942_016),
    "shufflenet_v2_0.5x": (1_366_792, 40_476_448),
    "shufflenet_v2_1.0x": (2_278_604, 144_907_992),
    "shufflenet_v2_1.5x": (3_503_624, 295_759_392),
    "shufflenet_v2_2.0x": (7_393_996, 583_253_464),
    "squeezenet_1.0": (1_248_424, 818_924_576),
    "squeezenet_1.1": (1_235_496, 349_151_936),
}


def preprocessing(spec: Spec) -> Preprocessing:
    """Return how the published weights' authors make an input of an image.

    The shorter side before the centre crop is 8/7 of the resolution, but 232/224 for torchvision's newer
    recipe (ShuffleNet v2 1.5x and 2.0x).
    """
    newer = spec.family == "shufflenet_v2" and spec.width > 1
    resize = round(spec.resolution * (232 if newer else 256) / DEFAULT_RESOLUTION)
    if spec.family.startswith("mobilenet"):
        return Preprocessing(resize=resize, scale=1 / 127.5, mean=(1.0,))
    if spec.family == "shufflenet_v1":
        return Preprocessing(resize=resize, order="BGR")
    return Preprocessing(resize=resize, scale=1 / 255, mean=_IMAGENET_MEAN, std=_IMAGENET_STD)


def make_entry(spec: Spec, parameters: int, macs: int) -> Entry:
    """Return the entry of any network of the zoo, given its counts."""
    top1, source = published_top1(spec)
    file = published_weights(spec)
    return Entry(
        name=spec.name,
        family=spec.family,
        parameters=parameters,
        macs=macs,
        resolution=spec.resolution,
        top1=top1,
        top1_source=source,
        preprocessing=preprocessing(spec),
        paper=_PAPERS[spec.family],
        output=_OUTPUTS.get(spec.family, "logits"),
        pretrained=file.url if file else "",
    )


ENTRIES: Mapping[str, Entry] = MappingProxyType(
    {name: make_entry(parse(name, ()), *counts) for name, counts in _COUNTS.items()}
)
"""The curated networks by name, each at 224 pixels; every other name of the grammar can be built too."""
