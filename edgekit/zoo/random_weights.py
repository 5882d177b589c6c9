"""Seeded weights that make an untrained network a fair test subject.

Plain He weights do not: the inputs' differences fade from layer to layer until every input gives almost
the same output, and then an int8 artifact agrees with its source, or doesn't, by rounding alone. Here every
layer is set on seeded synthetic images as it would be in training: batch norm gets the statistics of what
it sees, a network without it gets unit variance layer by layer (LSUV, arXiv 1511.06422), and the last
layer's outputs are centred and spread over the inputs. Before a ReLU the values lie one standard deviation
above zero, so that most of them pass: at zero a deep untrained network is chaotic, and quantization noise
grows in it until nothing of the output is left.

The arithmetic is done in double precision and what follows from data is rounded to 12 bits, so that the
same seed gives the same weights in every process.
"""

from __future__ import annotations

import zlib
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.zoo.assign import weighted_layers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgekit.bundle import Preprocessing

    Array = np.ndarray[Any, Any]

_COUNT = 16
_FEWEST = 6
_PIXELS = 16 * 96**2
_SPREAD = 3.0
_OFFSET = 1.0
_BITS = 12
_TINY = 1e-6


def randomize(
    make: Callable[[], Any], preprocessing: Preprocessing, *, resolution: int, channels: int, seed: int
) -> Any:
    """Return a network with seeded weights.

    Args:
        make: makes the network.
        preprocessing: how a synthetic image becomes an input.
        resolution: side of the input, pixels.
        channels: of the input, 1 or 3.
        seed: the same seed gives the same weights, for the same network, classes, channels and resolution.
    """
    with _double_precision():
        twin = make()
        layers = weighted_layers(twin)
        for name, layer in layers.items():
            _draw(layer, np.random.default_rng([seed, zlib.crc32(name.encode())]))
        # Fewer images where they are large: a network's statistics need positions more than images.
        count = max(_FEWEST, min(_COUNT, _PIXELS // resolution**2))
        images = synthetic_images(count, resolution, channels, seed)
        _settle(twin, prepared(images, preprocessing), last=list(layers)[-1])
    network = make()
    for name, layer in weighted_layers(network).items():
        layer.set_weights([weight.astype(np.float32) for weight in layers[name].get_weights()])
    return network


def synthetic_images(count: int, side: int, channels: int, seed: int) -> Array:
    """Return seeded images: count x side x side x channels, whole numbers 0 to 255.

    Half are smooth patches of colour with noise over them, as photos are, half are noise alone, as
    networks are often fed in tests.
    """
    rng = np.random.default_rng([seed, count, channels])
    corners = rng.uniform(0, 255, (count - count // 2, 5, 5, channels))
    weights = _hat_weights(5, side)
    smooth = np.einsum("yi,xj,nijc->nyxc", weights, weights, corners)
    photos = smooth + rng.normal(0, 25, smooth.shape)
    noise = rng.uniform(0, 255, (count // 2, side, side, channels))
    return np.clip(np.round(np.concatenate([photos, noise])), 0, 255)


def prepared(images: Array, preprocessing: Preprocessing) -> Array:
    """Return images (0 to 255, already of the input's size) as inputs of a network, float64."""
    channels = images.shape[-1]
    mean, std = np.asarray(preprocessing.mean), np.asarray(preprocessing.std)
    if channels == 1:
        mean, std = mean.mean(keepdims=True), std.mean(keepdims=True)
    return np.asarray((images * preprocessing.scale - mean) / std, dtype=np.float64)


def _hat_weights(knots: int, side: int) -> Array:
    """Return side x knots weights of linear interpolation between `knots` points."""
    at = np.linspace(0, knots - 1, side)
    return np.maximum(0.0, 1.0 - np.abs(at[:, None] - np.arange(knots)[None]))


@contextmanager
def _double_precision() -> Iterator[None]:
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _draw(layer: Any, rng: np.random.Generator) -> None:
    import keras

    if isinstance(layer, keras.layers.BatchNormalization):
        gamma, beta, mean, variance = layer.get_weights()
        gamma, beta = rng.uniform(0.6, 1.4, gamma.shape), rng.normal(_OFFSET, 0.2, beta.shape)
        layer.set_weights([gamma, beta, mean, variance])
        return
    kernel, *bias = layer.get_weights()
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    fan_in = np.prod(kernel.shape[:2] if depthwise else kernel.shape[:-1])
    layer.set_weights([rng.normal(0, np.sqrt(2 / fan_in), kernel.shape), *bias])


def _settle(model: Any, inputs: Array, *, last: str) -> None:
    """Run the network once, setting every layer on what reaches it before it passes it on."""
    import keras

    values: dict[int, Any] = {id(model.inputs[0]): keras.ops.convert_to_tensor(inputs)}
    left = Counter(id(tensor) for operation in model.operations for tensor in _listed(operation.input))
    for operation in model.operations:
        if isinstance(operation, keras.layers.InputLayer):
            continue
        given = _mapped(operation.input, values)
        if isinstance(operation, keras.layers.BatchNormalization):
            _set_norm(operation, given)
        elif operation.name == last:
            _set_last(operation, given)
        elif getattr(operation, "use_bias", False):
            _set_unit(operation, given)
        result = operation(given)
        outputs, results = _listed(operation.output), _listed(result)
        values.update((id(output), value) for output, value in zip(outputs, results, strict=True))
        for tensor in _listed(operation.input):
            left[id(tensor)] -= 1
            if not left[id(tensor)]:
                del values[id(tensor)]


def _listed(tensors: Any) -> list[Any]:
    return list(tensors) if isinstance(tensors, (list, tuple)) else [tensors]


def _mapped(tensors: Any, values: dict[int, Any]) -> Any:
    if isinstance(tensors, list):
        return [values[id(tensor)] for tensor in tensors]
    return values[id(tensors)]


def _set_norm(layer: Any, given: Any) -> None:
    mean, variance = _moments(given)
    gamma, beta, _, _ = layer.get_weights()
    layer.set_weights([gamma, beta, mean, variance])


def _set_unit(layer: Any, given: Any) -> None:
    """Give a convolution without batch norm outputs of unit variance a channel, with the same offset."""
    kernel, bias = layer.get_weights()
    mean, variance = _moments(_linear(layer, given))
    scale = _rounded(1 / np.sqrt(variance + _TINY))
    layer.set_weights([kernel * scale, bias - mean * scale + _OFFSET])


def _set_last(layer: Any, given: Any) -> None:
    """Centre every class over the inputs, and spread the outputs so that some classes stand out."""
    kernel, *bias = layer.get_weights()
    if not bias:
        # Without a bias, what is common to all inputs is taken out of the kernel's columns.
        common = np.asarray(given).mean(axis=0, keepdims=True)
        kernel = _rounded(kernel - common.T @ (common @ kernel) / (common**2).sum())
        layer.set_weights([kernel])
    mean, variance = _moments(_linear(layer, given))
    scale = _rounded(_SPREAD / np.sqrt(variance.mean() + _TINY))
    layer.set_weights([kernel * scale, *(b - mean * scale for b in bias)])


def _linear(layer: Any, given: Any) -> Any:
    """Return a layer's outputs before its activation."""
    import keras

    activation, layer.activation = layer.activation, keras.activations.linear
    try:
        return layer(given)
    finally:
        layer.activation = activation


def _moments(tensor: Any) -> tuple[Array, Array]:
    values = np.asarray(tensor)
    axes = tuple(range(values.ndim - 1))
    return _rounded(values.mean(axis=axes)), _rounded(values.var(axis=axes))


def _rounded(values: Any) -> Array:
    """Return values with 12 significant bits: no trace is left of the order in which they were summed."""
    mantissa, exponent = np.frexp(values)
    rounded: Array = np.ldexp(np.round(mantissa * 2**_BITS) / 2**_BITS, exponent)
    return rounded
