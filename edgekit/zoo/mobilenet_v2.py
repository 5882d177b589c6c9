"""MobileNet v2 (arXiv 1801.04381): inverted residuals with linear bottlenecks, softmax out.

Layer for layer and name for name what keras.applications builds, so that its ImageNet files load;
here at any width and any resolution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.zoo import layers

if TYPE_CHECKING:
    from edgekit.zoo.names import Spec

# Table 2 of the paper: (expansion, channels, repeats, stride of the first) at width 1.0.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_LAST = 1280


def build(spec: Spec, *, classes: int, channels: int) -> Any:
    """Return the Keras network with fresh weights.

    Args:
        spec: width and resolution.
        classes: how many softmax outputs.
        channels: of the input, 1 or 3.
    """
    import keras

    inputs = layers.image_input(spec.resolution, channels)
    x = layers.conv(inputs, _divisible(32 * spec.width), 3, stride=2, name="Conv1")
    x = layers.relu(_norm(x, "bn_Conv1"), limit=6.0, name="Conv1_relu")
    number = 0
    for expansion, filters, repeats, first_stride in _STAGES:
        for repeat in range(repeats):
            width = _divisible(int(filters * spec.width))
            x = _block(x, expansion, width, first_stride if repeat == 0 else 1, number)
            number += 1
    # The last convolution grows with widths above 1 and does not shrink below (section 3.4).
    x = layers.conv(x, _divisible(_LAST * max(spec.width, 1.0)), 1, name="Conv_1", padding="valid")
    x = layers.relu(_norm(x, "Conv_1_bn"), limit=6.0, name="out_relu")
    x = keras.layers.GlobalAveragePooling2D(name="global_average_pooling2d")(x)
    x = keras.layers.Dense(classes, activation="softmax", name="predictions")(x)
    return keras.Model(inputs, x, name="mobilenet_v2")


def _block(x: Any, expansion: int, filters: int, stride: int, number: int) -> Any:
    import keras

    inputs, prefix = x, f"block_{number}_" if number else "expanded_conv_"
    if expansion > 1:
        x = layers.conv(x, expansion * x.shape[-1], 1, name=f"{prefix}expand")
        x = layers.relu(_norm(x, f"{prefix}expand_BN"), limit=6.0, name=f"{prefix}expand_relu")
    if stride == 2:  # noqa: PLR2004
        x = keras.layers.ZeroPadding2D(_padding(x), name=f"{prefix}pad")(x)
    padding = "same" if stride == 1 else "valid"
    x = layers.depthwise(x, stride=stride, padding=padding, name=f"{prefix}depthwise")
    x = layers.relu(_norm(x, f"{prefix}depthwise_BN"), limit=6.0, name=f"{prefix}depthwise_relu")
    x = _norm(layers.conv(x, filters, 1, name=f"{prefix}project"), f"{prefix}project_BN")
    if stride == 1 and inputs.shape[-1] == filters:
        return keras.layers.Add(name=f"{prefix}add")([inputs, x])
    return x


def _padding(x: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return ((top, bottom), (left, right)): an even side is padded at its end only."""
    _, height, width, _ = x.shape
    return (height % 2, 1), (width % 2, 1)


def _norm(x: Any, name: str) -> Any:
    return layers.norm(x, name=name, epsilon=1e-3, momentum=0.999)


def _divisible(value: float, divisor: int = 8) -> int:
    """Return the nearest multiple of `divisor` that is not more than a tenth below `value`."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded
