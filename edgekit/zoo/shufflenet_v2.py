"""ShuffleNet v2 (arXiv 1807.11164): half of the channels pass by, the rest is worked on, logits out.

Layers are named after the keys of torchvision's networks, "." written as "_", so that their state
dicts map name by name (see `edgekit.zoo.torchvision`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.zoo import layers

if TYPE_CHECKING:
    from edgekit.zoo.names import Spec

# Table 5 of the paper: channels after stages 2, 3 and 4 and after the last convolution.
_CHANNELS = {
    0.5: (48, 96, 192, 1024),
    1.0: (116, 232, 464, 1024),
    1.5: (176, 352, 704, 1024),
    2.0: (244, 488, 976, 2048),
}
_FIRST = 24
_REPEATS = (4, 8, 4)
_EPSILON = 1e-5


def build(spec: Spec, *, classes: int, channels: int) -> Any:
    """Return the Keras network with fresh weights.

    Args:
        spec: width and resolution.
        classes: how many logits.
        channels: of the input, 1 or 3.
    """
    import keras

    *stages, last = _CHANNELS[spec.width]
    inputs = layers.image_input(spec.resolution, channels)
    x = layers.pad_ahead(inputs, name="conv1_0")
    x = layers.conv(x, _FIRST, 3, stride=2, padding="valid", name="conv1_0")
    x = _norm_relu(x, "conv1", 1)
    # Zeros do for a border below ReLU: no value is smaller.
    x = layers.pad_ahead(x, name="maxpool")
    x = keras.layers.MaxPooling2D(3, 2, name="maxpool")(x)
    for stage, (filters, repeats) in enumerate(zip(stages, _REPEATS, strict=True), start=2):
        x = _down_unit(x, filters, f"stage{stage}_0")
        for number in range(1, repeats):
            x = _unit(x, filters, f"stage{stage}_{number}")
    x = layers.conv(x, last, 1, padding="valid", name="conv5_0")
    x = _norm_relu(x, "conv5", 1)
    x = keras.layers.GlobalAveragePooling2D(name="globalpool")(x)
    x = keras.layers.Dense(classes, name="fc")(x)
    return keras.Model(inputs, x, name="shufflenet_v2")


def _unit(x: Any, filters: int, name: str) -> Any:
    import keras

    passed, worked = keras.ops.split(x, 2, axis=-1)
    worked = _branch_2(worked, filters // 2, 1, f"{name}_branch2")
    return _joined([passed, worked], name)


def _down_unit(x: Any, filters: int, name: str) -> Any:
    branch = f"{name}_branch1"
    left = layers.pad_ahead(x, name=f"{branch}_0")
    left = layers.depthwise(left, stride=2, padding="valid", name=f"{branch}_0")
    left = layers.norm(left, name=f"{branch}_1", epsilon=_EPSILON)
    left = layers.conv(left, filters // 2, 1, padding="valid", name=f"{branch}_2")
    left = _norm_relu(left, branch, 3)
    return _joined([left, _branch_2(x, filters // 2, 2, f"{name}_branch2")], name)


def _branch_2(x: Any, filters: int, stride: int, name: str) -> Any:
    x = layers.conv(x, filters, 1, padding="valid", name=f"{name}_0")
    x = _norm_relu(x, name, 1)
    if stride > 1:
        x = layers.pad_ahead(x, name=f"{name}_3")
    x = layers.depthwise(x, stride=stride, padding="same" if stride == 1 else "valid", name=f"{name}_3")
    x = layers.norm(x, name=f"{name}_4", epsilon=_EPSILON)
    x = layers.conv(x, filters, 1, padding="valid", name=f"{name}_5")
    return _norm_relu(x, name, 6)


def _joined(parts: list[Any], name: str) -> Any:
    import keras

    return layers.transpose_channels(
        keras.layers.Concatenate(name=f"{name}_cat")(parts), 2, name=f"{name}_shuffle"
    )


def _norm_relu(x: Any, name: str, index: int) -> Any:
    x = layers.norm(x, name=f"{name}_{index}", epsilon=_EPSILON)
    return layers.relu(x, name=f"{name}_{index + 1}")
