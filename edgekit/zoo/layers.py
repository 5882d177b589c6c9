"""The blocks that the families share, in layers that Keras saves and loads without custom objects.

All tensors are N x H x W x C with static H, W and C; N is free.
"""

from __future__ import annotations

from typing import Any


def image_input(resolution: int, channels: int) -> Any:
    """Return the input "input": N x resolution x resolution x channels, float32."""
    import keras

    return keras.Input((resolution, resolution, channels), name="input")


def conv(
    x: Any,
    filters: int,
    kernel: int,
    *,
    name: str,
    stride: int = 1,
    padding: str = "same",
    bias: bool = False,
    activation: str | None = None,
) -> Any:
    """Return x after a convolution named `name`."""
    import keras

    layer = keras.layers.Conv2D(
        filters, kernel, strides=stride, padding=padding, use_bias=bias, activation=activation, name=name
    )
    return layer(x)


def depthwise(x: Any, *, name: str, stride: int = 1, padding: str = "same") -> Any:
    """Return x after a 3 x 3 depthwise convolution named `name`, without bias."""
    import keras

    return keras.layers.DepthwiseConv2D(3, strides=stride, padding=padding, use_bias=False, name=name)(x)


def norm(x: Any, *, name: str, epsilon: float, momentum: float = 0.99) -> Any:
    """Return x after a batch normalization named `name`."""
    import keras

    return keras.layers.BatchNormalization(epsilon=epsilon, momentum=momentum, name=name)(x)


def relu(x: Any, *, name: str, limit: float | None = None) -> Any:
    """Return max(x, 0), clipped at `limit` where there is one."""
    import keras

    return keras.layers.ReLU(limit, name=name)(x)


def pad_ahead(x: Any, *, name: str) -> Any:
    """Return x with a border of one zero pixel: what PyTorch's padding=1 means at stride 2.

    TensorFlow's "same" pads an even side on the right alone, so that every stride-2 layer of weights
    trained with PyTorch would look one pixel beside its place.
    """
    import keras

    return keras.layers.ZeroPadding2D(1, name=f"{name}_pad")(x)


def grouped_pointwise(x: Any, filters: int, groups: int, *, name: str) -> Any:
    """Return x after a 1 x 1 convolution in groups, as one convolution a group ("NAME_g0", ...).

    Conv2D(groups=) has no CPU kernel in TensorFlow outside XLA and is not taken by every converter.
    """
    import keras

    if groups == 1:
        return conv(x, filters, 1, name=name, padding="valid")
    parts = keras.ops.split(x, groups, axis=-1)
    outputs = [
        conv(part, filters // groups, 1, name=f"{name}_g{i}", padding="valid") for i, part in enumerate(parts)
    ]
    return keras.layers.Concatenate(name=name)(outputs)


def transpose_channels(x: Any, rows: int, *, name: str) -> Any:
    """Return x with its C channels, read as a matrix of `rows` x C/rows, transposed."""
    import keras

    _, height, width, channels = x.shape
    x = keras.layers.Reshape((height, width, rows, channels // rows), name=f"{name}_split")(x)
    x = keras.layers.Permute((1, 2, 4, 3), name=f"{name}_transpose")(x)
    return keras.layers.Reshape((height, width, channels), name=f"{name}_join")(x)
