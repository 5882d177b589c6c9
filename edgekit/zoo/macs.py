"""Multiply-accumulates of one inference, counted exactly from the layers' shapes."""

from __future__ import annotations

import math
from typing import Any

from edgekit.errors import UsageError


def count_macs(model: Any) -> int:
    """Return the multiply-accumulates of one inference on one input.

    Counted are convolutions (plain, grouped, depthwise, separable, transposed) and dense layers, border
    included, as papers count; batch normalization folds away, biases and activations are not counted.

    Args:
        model: a Keras network with static shapes; networks inside it are counted too.

    Raises:
        UsageError: a layer with a kernel that this counter doesn't know, a free side, or a shared layer.
    """
    import keras

    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            total += count_macs(layer)
        elif layer.weights and not isinstance(layer, keras.layers.BatchNormalization):
            total += _layer_macs(layer)
    return total


def _layer_macs(layer: Any) -> int:
    import keras

    known = keras.layers
    output = _positions(layer, layer.output.shape)
    match layer:
        case known.Conv2DTranspose():
            return _positions(layer, layer.input.shape) * _size(layer.kernel)
        case known.SeparableConv2D():
            kernels = (layer.depthwise_kernel, layer.pointwise_kernel)
            return output * sum(_size(kernel) for kernel in kernels)
        case known.Conv1D() | known.Conv2D() | known.DepthwiseConv2D() | known.Dense():
            return output * _size(layer.kernel)
    if hasattr(layer, "kernel"):
        raise UsageError(
            f"can't count the multiply-accumulates of layer {layer.name!r} ({type(layer).__name__})",
            hint="convolutions and dense layers are counted",
        )
    return 0


def _positions(layer: Any, shape: tuple[int | None, ...]) -> int:
    """Return how many output vectors a layer computes: its shape without batch and channels."""
    sides = shape[1:-1]
    if None in sides:
        raise UsageError(
            f"layer {layer.name!r} has no fixed size {shape}", hint="give the network a fixed input shape"
        )
    return math.prod(side for side in sides if side is not None)


def _size(kernel: Any) -> int:
    return math.prod(int(side) for side in kernel.shape)
