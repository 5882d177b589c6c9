"""ShuffleNet v1 (arXiv 1707.01083): grouped pointwise convolutions and a channel shuffle, logits out.

Layers are named after the keys of the authors' PyTorch networks (megvii-model/ShuffleNet-Series).
Two things follow those, as their weights do: the shuffle comes after the depthwise convolution (the
paper's figure has it before; the two differ by a fixed order of channels), and the first convolution
keeps 24 channels at width 1.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.zoo import layers

if TYPE_CHECKING:
    from edgekit.zoo.names import Spec

# Table 1 of the paper: channels after stage 2 at width 1.0, by groups; each later stage doubles them.
_STAGE_2 = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}
_FIRST = {0.5: 12, 1.0: 24, 1.5: 24, 2.0: 48}
_REPEATS = (4, 8, 4)
_EPSILON = 1e-5


def build(spec: Spec, *, classes: int, channels: int) -> Any:
    """Return the Keras network with fresh weights.

    Args:
        spec: width, groups and resolution.
        classes: how many logits.
        channels: of the input, 1 or 3.
    """
    import keras

    inputs = layers.image_input(spec.resolution, channels)
    x = layers.pad_ahead(inputs, name="first_conv_0")
    x = layers.conv(x, _first(spec), 3, stride=2, padding="valid", name="first_conv_0")
    x = layers.relu(_norm(x, "first_conv_1"), name="first_conv_2")
    # Zeros do for a border below ReLU: no value is smaller.
    x = layers.pad_ahead(x, name="maxpool")
    x = keras.layers.MaxPooling2D(3, 2, name="maxpool")(x)
    number = 0
    for stage, repeats in enumerate(_REPEATS):
        filters = int(_STAGE_2[spec.groups] * spec.width) * 2**stage
        for repeat in range(repeats):
            x = _unit(x, filters, spec.groups, first=number == 0, down=repeat == 0, name=f"features_{number}")
            number += 1
    x = keras.layers.GlobalAveragePooling2D(name="globalpool")(x)
    x = keras.layers.Dense(classes, use_bias=False, name="classifier")(x)
    return keras.Model(inputs, x, name="shufflenet_v1")


def _unit(x: Any, filters: int, groups: int, *, first: bool, down: bool, name: str) -> Any:
    """Return x after one unit: figure 2 (b), or (c) where it halves the resolution.

    The bottleneck is a quarter of `filters`, rounded up to a multiple of `groups`.
    """
    import keras

    inputs, main = x, f"{name}_branch_main"
    bottleneck = -(-filters // 4 // groups) * groups
    x = layers.grouped_pointwise(x, bottleneck, 1 if first else groups, name=f"{main}_1_0")
    x = layers.relu(_norm(x, f"{main}_1_1"), name=f"{main}_1_2")
    if down:
        x = layers.pad_ahead(x, name=f"{main}_1_3")
    padding, stride = ("valid", 2) if down else ("same", 1)
    x = layers.depthwise(x, stride=stride, padding=padding, name=f"{main}_1_3")
    x = _norm(x, f"{main}_1_4")
    if groups > 1:
        x = layers.transpose_channels(x, bottleneck // groups, name=f"{name}_shuffle")
    outputs = filters - inputs.shape[-1] if down else filters
    x = _norm(layers.grouped_pointwise(x, outputs, groups, name=f"{main}_2_0"), f"{main}_2_1")
    if not down:
        x = keras.layers.Add(name=f"{name}_add")([inputs, x])
        return layers.relu(x, name=f"{name}_relu")
    # The border counts in the average: PyTorch's default.
    shortcut = layers.pad_ahead(inputs, name=f"{name}_branch_proj")
    shortcut = keras.layers.AveragePooling2D(3, 2, name=f"{name}_branch_proj")(shortcut)
    return keras.layers.Concatenate(name=f"{name}_cat")([shortcut, layers.relu(x, name=f"{name}_relu")])


def _first(spec: Spec) -> int:
    # 12 would leave the first unit 180 channels to make in eight groups.
    return 16 if (spec.width, spec.groups) == (0.5, 8) else _FIRST[spec.width]


def _norm(x: Any, name: str) -> Any:
    return layers.norm(x, name=name, epsilon=_EPSILON)
