"""SqueezeNet 1.0 and 1.1 (arXiv 1602.07360): fire modules, no batch norm, no dense layer, logits out.

Layers are named after the keys of torchvision's networks, "." written as "_", so that their state
dicts map name by name (see `edgekit.zoo.torchvision`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.zoo import layers

if TYPE_CHECKING:
    from edgekit.zoo.names import Spec

# (filters, kernel) of the first convolution, then by number of the feature: 0 for a pooling layer, else
# the fire module's squeeze channels; it expands to four times as many 1 x 1 and as many 3 x 3.
_PLANS: dict[str, tuple[tuple[int, int], tuple[int, ...]]] = {
    "1.0": ((96, 7), (0, 16, 16, 32, 0, 32, 48, 48, 64, 0, 64)),
    "1.1": ((64, 3), (0, 16, 16, 0, 32, 32, 0, 48, 48, 64, 64)),
}
_EXPANSION = 4


def build(spec: Spec, *, classes: int, channels: int) -> Any:
    """Return the Keras network with fresh weights.

    Args:
        spec: version and resolution.
        classes: how many logits; they come out of a ReLU, as in the paper, and are never negative.
        channels: of the input, 1 or 3.
    """
    import keras

    (filters, kernel), plan = _PLANS[spec.version]
    inputs = layers.image_input(spec.resolution, channels)
    x = layers.conv(
        inputs, filters, kernel, stride=2, padding="valid", bias=True, activation="relu", name="features_0"
    )
    for number, squeeze in enumerate(plan, start=2):
        x = _fire(x, squeeze, f"features_{number}") if squeeze else _pool(x, f"features_{number}")
    x = keras.layers.Dropout(0.5, name="classifier_0")(x)
    x = layers.conv(x, classes, 1, padding="valid", bias=True, activation="relu", name="classifier_1")
    x = keras.layers.GlobalAveragePooling2D(name="classifier_3")(x)
    return keras.Model(inputs, x, name="squeezenet")


def _fire(x: Any, squeeze: int, name: str) -> Any:
    import keras

    expand = _EXPANSION * squeeze
    x = layers.conv(x, squeeze, 1, padding="valid", bias=True, activation="relu", name=f"{name}_squeeze")
    small = layers.conv(x, expand, 1, padding="valid", bias=True, activation="relu", name=f"{name}_expand1x1")
    large = layers.conv(x, expand, 3, bias=True, activation="relu", name=f"{name}_expand3x3")
    return keras.layers.Concatenate(name=name)([small, large])


def _pool(x: Any, name: str) -> Any:
    """Return x after 3 x 3 max pooling at stride 2, an incomplete last window counted (ceil mode).

    An even side leaves such a window, and there TensorFlow's "same" is just it; on an odd side "same"
    would add a window on the left.
    """
    import keras

    padding = "same" if x.shape[1] % 2 == 0 else "valid"
    return keras.layers.MaxPooling2D(3, 2, padding=padding, name=name)(x)
