"""Build preprocessing into a network, which then takes what an image decoder gives: RGB, 0..255, undivided.

Reversing the channels, (pixel * scale - mean) / std: all of it is one 1 x 1 convolution with one number other
than 0 a channel. In 8 bits that is exact but for one rounding, for such weights fill their grids channel by
channel, and the input's grid has the scale 1: the pixels' own bytes. Where the network begins with a
convolution that has no padding of zeros (or where nothing is subtracted), the two are one convolution.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from edgekit.bundle import Preprocessing
from edgekit.convert import fuse_onnx
from edgekit.convert.fuse_graph import Pointwise, fused_graph
from edgekit.convert.preprocess import apply, fit
from edgekit.errors import ConversionError, UsageError
from edgekit.source.fold import split_groups
from edgekit.source.freezing import snr
from edgekit.source.onnx.source import OnnxReference
from edgekit.source.quiet import quiet
from edgekit.source.trace import to_function
from edgekit.source.types import run_each

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from edgekit.source import Source
    from edgekit.source.graph import Graph

    Run = Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]

FUSE_SNR_DB = 80.0
"""The bar: only the order of float32 operations differs; 110 dB and more were measured."""
FRONT, FOLDED = "a convolution in front", "the first convolution"
_TRIALS = 2


def fuse_preprocessing(source: Source, preprocessing: Preprocessing | None) -> Source:
    """Return the source with its preprocessing built in.

    What is left to do before it is to decode, resize and crop. Golden outputs still come from the source as
    it was, on pixels that the host preprocessed.

    Args:
        source: one that takes images, in its own layout, which stays.
        preprocessing: what it is given images by.

    Raises:
        UsageError: nobody said how an image becomes an input, the input is no image, or it is done already.
        ConversionError: the fused network gives other outputs.
    """
    if source.fused is not None:
        raise UsageError(f"{source.name} has its preprocessing built in already")
    if preprocessing is None:
        raise UsageError(
            f"nobody said how an image becomes an input of {source.name}",
            hint="name it: --preprocess signed, unit, imagenet or none",
        )
    fitted = fit(preprocessing, source.input)
    if fitted.identity:
        return _recorded(source, fitted, source.graph, source.proto, "nothing: it takes pixels as they are")
    first = source.input.layout == "NCHW"
    step = Pointwise.of(fitted, source.input.shape[1 if first else 3])
    with quiet():
        reference = Preprocessed(source, fitted)
        graphs = [fused_graph(source.graph, step, first=first, fold=fold) for fold in (True, False)]
        graph, place = _agreeing(source, reference, graphs, _run)
        proto = source.proto
        if proto is not None:
            protos = [fuse_onnx.fused(proto, step, source.input, fold=fold) for fold in (True, False)]
            proto, place = _agreeing(source, reference, protos, lambda made: OnnxReference(made, source.name))
        return dataclasses.replace(_recorded(source, fitted, graph, proto, place), reference=reference)


class Preprocessed:
    """The source as it was, behind preprocessing on the host: what a fused network is held against.

    Args:
        source: not fused.
        preprocessing: held against its input by `preprocess.fit`.
    """

    def __init__(self, source: Source, preprocessing: Preprocessing) -> None:
        self._source, self._preprocessing = source, preprocessing
        self._run = source.reference

    def __call__(self, pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return the outputs for raw pixels in the source's layout, N x its input's shape without batch."""
        import numpy as np

        if self._run is None:
            graph = self._source.graph.copy()
            split_groups(graph)
            self._run = _run(graph)
        axis = 1 if self._source.input.layout == "NCHW" else 3
        last = np.moveaxis(pixels, axis, 3)
        if self._preprocessing.order == "BGR":
            last = last[..., ::-1]
        return self._run(np.ascontiguousarray(np.moveaxis(apply(last, self._preprocessing), 3, axis)))


def _run(graph: Graph) -> Run:
    function = to_function(graph.to_graph_def())
    return lambda inputs: run_each(function, inputs)


def _recorded(source: Source, fitted: Preprocessing, graph: Graph, proto: Any, place: str) -> Source:
    order = "gray" if fitted.order == "gray" else "RGB"
    return dataclasses.replace(
        source,
        graph=graph,
        proto=proto,
        sha256=graph.sha256(),
        preprocessing=Preprocessing(resize=fitted.resize, order=order),
        options={**source.options, "fused_preprocessing": _text(fitted), "fused_into": place},
        fused=fitted,
    )


def _text(fitted: Preprocessing) -> str:
    mean, std = (",".join(f"{v:.8g}" for v in values) for values in (fitted.mean, fitted.std))
    return f"order={fitted.order} scale={fitted.scale:.8g} mean={mean} std={std}"


def _agreeing(
    source: Source, reference: Run, candidates: list[Any], opened: Callable[[Any], Run]
) -> tuple[Any, str]:
    """Return the first candidate that gives what the host's preprocessing and the source give."""
    import numpy as np

    pixels = np.random.default_rng(2).integers(0, 256, size=(_TRIALS, *source.input.shape[1:]))
    wanted = reference(pixels.astype(np.float32))
    found = 0.0
    for made, place in zip(candidates, (FOLDED, FRONT), strict=True):
        if made is None:
            continue
        found = snr(wanted, opened(made)(pixels.astype(np.float32)))
        if found >= FUSE_SNR_DB:
            return made, place
    raise ConversionError(
        f"{source.name} gives other outputs with its preprocessing built in: {found:.1f} dB "
        f"(bar {FUSE_SNR_DB:g} dB)",
        hint="leave out --fuse-preprocessing, and report it with the network",
    )
