"""What the zoo says about a network: data that needs no framework to be listed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgekit.bundle import Preprocessing


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A network of the zoo, at 1000 classes and 3 input channels.

    Attributes:
        name: its canonical zoo name.
        family: "mobilenet_v1", "mobilenet_v2", "shufflenet_v1", "shufflenet_v2" or "squeezenet".
        parameters: how many trainable ones.
        macs: multiply-accumulates of one inference.
        resolution: side of the square input, pixels.
        top1: published ImageNet accuracy of this network and resolution in percent, or None where nobody
            published one; what a weights file reaches on your images is yours to measure.
        top1_source: who published it, as a URL; "" where `top1` is None.
        preprocessing: how an image becomes its input.
        paper: URL of the paper that describes it.
        output: "softmax" or "logits".
        pretrained: URL of the file behind weights="imagenet"; "" where none is published.
    """

    name: str
    family: str
    parameters: int
    macs: int
    resolution: int
    top1: float | None
    top1_source: str
    preprocessing: Preprocessing
    paper: str
    output: str
    pretrained: str
