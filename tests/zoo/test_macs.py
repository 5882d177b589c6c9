"""The counter of multiply-accumulates, against counts made by hand."""

import pytest

from edgekit import zoo
from edgekit.errors import UsageError

keras = pytest.importorskip("keras", reason="Keras is not installed")
L = keras.layers


def network(*layers, shape=(8, 8, 6)):
    return keras.Sequential([keras.Input(shape), *layers])


@pytest.mark.parametrize(
    ("layer", "macs"),
    [
        (L.Conv2D(5, 3, padding="same"), 8 * 8 * 3 * 3 * 6 * 5),
        (L.Conv2D(5, 3), 6 * 6 * 3 * 3 * 6 * 5),
        (L.Conv2D(5, 3, strides=2, padding="same", use_bias=False), 4 * 4 * 3 * 3 * 6 * 5),
        (L.Conv2D(4, (1, 3), padding="same"), 8 * 8 * 3 * 6 * 4),
        (L.Conv2D(4, 3, dilation_rate=2, padding="same"), 8 * 8 * 9 * 6 * 4),
        (L.Conv2D(4, 1, groups=2), 8 * 8 * 3 * 4),
        (L.DepthwiseConv2D(3, padding="same"), 8 * 8 * 9 * 6),
        (L.DepthwiseConv2D(3, strides=2, depth_multiplier=2), 3 * 3 * 9 * 12),
        (L.SeparableConv2D(4, 3, padding="same"), 8 * 8 * (9 * 6 + 6 * 4)),
        (L.Conv2DTranspose(4, 2, strides=2), 8 * 8 * 4 * 6 * 4),
        (L.Dense(10), 8 * 8 * 6 * 10),
        (L.BatchNormalization(), 0),
        (L.ReLU(), 0),
        (L.MaxPooling2D(), 0),
        (L.PReLU(), 0),
    ],
    ids=lambda value: value.name if hasattr(value, "name") else str(value),
)
def test_one_layer(layer, macs):
    assert zoo.count_macs(network(layer)) == macs


def test_a_dense_layer_after_flattening():
    assert zoo.count_macs(network(L.Flatten(), L.Dense(10))) == 8 * 8 * 6 * 10


def test_a_network_within_a_network_is_counted():
    inner = network(L.Conv2D(5, 1), L.ReLU())
    assert zoo.count_macs(network(inner, L.Conv2D(2, 1))) == 8 * 8 * (6 * 5 + 5 * 2)


def test_a_grouped_convolution_costs_the_same_split_or_whole():
    from edgekit.zoo import layers

    inputs = keras.Input((4, 4, 6))
    split = keras.Model(inputs, layers.grouped_pointwise(inputs, 9, 3, name="conv"))
    assert zoo.count_macs(split) == zoo.count_macs(network(L.Conv2D(9, 1, groups=3), shape=(4, 4, 6))) == 288


def test_macs_grow_with_the_resolution():
    small, large = zoo.describe("shufflenet_v2_1.0x"), zoo.describe("shufflenet_v2_1.0x@448")
    head = 1024 * 1000
    assert large.macs - head == 4 * (small.macs - head)


@pytest.mark.parametrize("layer", [L.Conv2D(2, 1), L.Dense(2)])
def test_a_free_size_is_refused(layer):
    with pytest.raises(UsageError, match="no fixed size"):
        zoo.count_macs(network(layer, shape=(None, None, 3)))


def test_an_unknown_layer_with_a_kernel_is_refused():
    class Odd(L.Layer):
        def build(self, shape):
            self.kernel = self.add_weight(shape=(shape[-1], 3))

        def call(self, inputs):
            return keras.ops.matmul(inputs, self.kernel)

    with pytest.raises(UsageError, match="can't count the multiply-accumulates of layer 'odd'"):
        zoo.count_macs(network(Odd(name="odd")))


def test_a_layer_used_twice_counts_twice():
    inputs = keras.Input((4, 4, 3))
    shared = L.Conv2D(3, 1)
    assert zoo.count_macs(keras.Model(inputs, shared(shared(inputs)))) == 2 * 4 * 4 * 9
    # The half of it costs half, although the layer has a second use elsewhere.
    assert zoo.count_macs(keras.Model(inputs, shared(inputs))) == 4 * 4 * 9


def test_a_network_without_a_graph_is_refused():
    class Plain(keras.Model):
        pass

    with pytest.raises(UsageError, match="the layers of plain can't be listed"):
        zoo.count_macs(Plain(name="plain"))
