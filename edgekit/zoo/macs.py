"""Multiply-accumulates of one inference, counted exactly from the layers' shapes."""

from __future__ import annotations

import math
from typing import Any

from edgekit.errors import UsageError


def count_macs(model: Any) -> int:
    """Return the multiply-accumulates of one inference on one input.

    Counted are convolutions (plain, grouped, depthwise, separable, transposed) and dense layers, border
    included, as papers count; a layer that is used twice counts twice. Batch normalization folds away;
    biases and activations are not counted.

    Args:
        model: a Keras network with static shapes; networks inside it are counted too.

    Raises:
        UsageError: a layer with a kernel that this counter doesn't know, a free size, or a network whose
            layers can't be listed (a subclass of keras.Model).
    """
    import keras

    depths = getattr(getattr(model, "_functional", model), "_nodes_by_depth", None)
    if depths is None:
        raise UsageError(
            f"the layers of {model.name} can't be listed", hint="give a functional or a sequential network"
        )
    total = 0
    for node in (node for nodes in depths.values() for node in nodes):
        operation = node.operation
        if isinstance(operation, keras.Model):
            total += count_macs(operation)
        elif isinstance(operation, keras.layers.Layer) and operation.weights:
            total += _layer_macs(operation, node.input_tensors[0].shape, node.outputs[0].shape)
    return total


def _layer_macs(layer: Any, given: tuple[int | None, ...], made: tuple[int | None, ...]) -> int:
    import keras

    known = keras.layers
    match layer:
        case known.Conv2DTranspose():
            return _positions(layer, given) * _size(layer.kernel)
        case known.SeparableConv2D():
            kernels = (layer.depthwise_kernel, layer.pointwise_kernel)
            return _positions(layer, made) * sum(_size(kernel) for kernel in kernels)
        case known.Conv1D() | known.Conv2D() | known.DepthwiseConv2D() | known.Dense():
            return _positions(layer, made) * _size(layer.kernel)
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
