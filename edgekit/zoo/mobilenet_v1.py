"""MobileNet v1 (arXiv 1704.04861): depthwise and pointwise convolutions in turn, softmax out.

Layer for layer and name for name what keras.applications builds, so that its ImageNet files load;
here at any width and any resolution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.zoo import layers

if TYPE_CHECKING:
    from edgekit.zoo.names import Spec

# Table 1 of the paper: (channels, stride) of the thirteen blocks at width 1.0.
_BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *((512, 1),) * 5,
    (1024, 2),
    (1024, 1),
)


def build(spec: Spec, *, classes: int, channels: int) -> Any:
    """Return the Keras network with fresh weights.

    Args:
        spec: width and resolution.
        classes: how many softmax outputs.
        channels: of the input, 1 or 3.
    """
    import keras

    inputs = layers.image_input(spec.resolution, channels)
    x = layers.conv(inputs, _scaled(32, spec.width), 3, stride=2, name="conv1")
    x = _norm_relu(x, "conv1")
    for number, (filters, stride) in enumerate(_BLOCKS, start=1):
        x = _block(x, _scaled(filters, spec.width), stride, number)
    x = keras.layers.GlobalAveragePooling2D(keepdims=True, name="global_average_pooling2d")(x)
    x = keras.layers.Dropout(1e-3, name="dropout")(x)
    x = layers.conv(x, classes, 1, name="conv_preds", bias=True)
    x = keras.layers.Reshape((classes,), name="reshape_2")(x)
    x = keras.layers.Activation("softmax", name="predictions")(x)
    return keras.Model(inputs, x, name="mobilenet_v1")


def _block(x: Any, filters: int, stride: int, number: int) -> Any:
    import keras

    padding = "same"
    if stride == 2:  # noqa: PLR2004
        # One row below and one column to the right, at odd sides too: as the weights were trained.
        x = keras.layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"conv_pad_{number}")(x)
        padding = "valid"
    x = layers.depthwise(x, stride=stride, padding=padding, name=f"conv_dw_{number}")
    x = _norm_relu(x, f"conv_dw_{number}")
    x = layers.conv(x, filters, 1, name=f"conv_pw_{number}")
    return _norm_relu(x, f"conv_pw_{number}")


def _norm_relu(x: Any, name: str) -> Any:
    x = layers.norm(x, name=f"{name}_bn", epsilon=1e-3)
    return layers.relu(x, limit=6.0, name=f"{name}_relu")


def _scaled(filters: int, width: float) -> int:
    return int(filters * width)
