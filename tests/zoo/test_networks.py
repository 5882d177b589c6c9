"""The networks themselves: their layers, their sizes, what they survive."""

import numpy as np
import pytest

from edgekit import zoo
from edgekit.errors import UsageError
from edgekit.zoo.assign import weighted_layers
from edgekit.zoo.builder import _fresh
from edgekit.zoo.names import SHUFFLE_GROUPS, SHUFFLE_WIDTHS, parse
from edgekit.zoo.random_weights import prepared, synthetic_images

keras = pytest.importorskip("keras", reason="Keras is not installed")

ONE_EACH = (
    "mobilenet_v1_0.25",
    "mobilenet_v2_0.35",
    "shufflenet_v1_0.5x_g3",
    "shufflenet_v2_0.5x",
    "squeezenet_1.0",
    "squeezenet_1.1",
)
BUILTIN = "keras."


def fresh(name, classes=10, channels=3):
    return _fresh(parse(name, ()), classes=classes, channels=channels)


def theirs(name, resolution):
    """The network of keras.applications under our name, without weights."""
    family, _, width = name.rpartition("_")
    make = {"mobilenet_v1": keras.applications.MobileNet, "mobilenet_v2": keras.applications.MobileNetV2}[
        family
    ]
    return make(input_shape=(resolution, resolution, 3), alpha=float(width), weights=None, classes=10)


@pytest.mark.parametrize(
    ("name", "resolution"),
    [
        ("mobilenet_v1_0.25", 64),
        ("mobilenet_v1_0.6", 33),
        ("mobilenet_v1_1.0", 47),
        ("mobilenet_v2_0.35", 64),
        ("mobilenet_v2_1.4", 33),
        ("mobilenet_v2_0.6", 47),
    ],
)
def test_mobilenets_are_those_of_keras_layer_for_layer(name, resolution):
    ours, other = fresh(f"{name}@{resolution}"), theirs(name, resolution)
    layout = [
        [(n, [w.shape for w in layer.weights]) for n, layer in weighted_layers(m).items()]
        for m in (ours, other)
    ]
    assert layout[0] == layout[1]
    ours.set_weights(other.get_weights())
    inputs = np.random.default_rng(0).uniform(-1, 1, (2, resolution, resolution, 3)).astype(np.float32)
    np.testing.assert_allclose(ours(inputs), other(inputs), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("width", "groups"),
    [
        (width, groups)
        for width in SHUFFLE_WIDTHS
        for groups in SHUFFLE_GROUPS
        if f"shufflenet_v1_{width}x_g{groups}" not in zoo.ENTRIES
    ],
)
def test_a_shufflenet_v1_outside_the_list_can_be_built(width, groups):
    network = fresh(f"shufflenet_v1_{width}x_g{groups}@32")
    assert network.output_shape == (None, 10)
    split = [layer for layer in network.layers if layer.name.startswith("features_5_branch_main_1_0_g")]
    assert len(split) == (groups if groups > 1 else 0)


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("shufflenet_v1_1.0x_g1", (144, 288, 576)),
        ("shufflenet_v1_1.0x_g2", (200, 400, 800)),
        ("shufflenet_v1_1.0x_g3", (240, 480, 960)),
        ("shufflenet_v1_1.0x_g4", (272, 544, 1088)),
        ("shufflenet_v1_1.0x_g8", (384, 768, 1536)),
        ("shufflenet_v1_1.5x_g8", (576, 1152, 2304)),
        ("shufflenet_v1_2.0x_g3", (480, 960, 1920)),
    ],
)
def test_shufflenet_v1_has_the_channels_of_the_papers_table(name, stages):
    network = fresh(name)
    outputs = [network.get_layer(f"features_{number}_relu").output.shape for number in (3, 11, 15)]
    assert outputs == [(None, side, side, filters) for side, filters in zip((28, 14, 7), stages, strict=True)]


def test_the_shuffle_spreads_every_group_over_all_groups():
    from edgekit.zoo import layers

    inputs = keras.Input((2, 2, 12))
    network = keras.Model(inputs, layers.transpose_channels(inputs, 4, name="shuffle"))
    numbered = np.broadcast_to(np.arange(12, dtype=np.float32), (1, 2, 2, 12))
    assert np.asarray(network(numbered))[0, 1, 1].tolist() == [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]


def test_a_grouped_convolution_keeps_its_groups_apart():
    from edgekit.zoo import layers

    inputs = keras.Input((1, 1, 6))
    network = keras.Model(inputs, layers.grouped_pointwise(inputs, 9, 3, name="conv"))
    for changed in range(3):
        values = np.zeros((1, 1, 1, 6), np.float32)
        values[..., 2 * changed : 2 * changed + 2] = 1
        moved = np.nonzero(np.asarray(network(values)).reshape(3, 3).any(axis=1))[0]
        assert moved.tolist() == [changed]


@pytest.mark.parametrize(("size", "out"), [(107, 53), (108, 54), (111, 55), (54, 27), (13, 6), (2, 1)])
def test_squeezenet_pools_in_ceil_mode(size, out):
    from edgekit.zoo.squeezenet import _pool

    inputs = keras.Input((size, size, 1))
    network = keras.Model(inputs, _pool(inputs, "pool"))
    assert network.output_shape == (None, out, out, 1)
    ramp = np.tile(np.arange(size, dtype=np.float32), (size, 1))[None, :, :, None]
    expected = [min(2 * i + 2, size - 1) for i in range(out)]
    assert np.asarray(network(ramp))[0, 0, :, 0].tolist() == expected


@pytest.mark.parametrize("name", ONE_EACH)
@pytest.mark.parametrize("resolution", [33, 50])
def test_any_resolution_from_32_up_will_do(name, resolution):
    network = fresh(f"{name}@{resolution}", classes=7)
    outputs = np.asarray(network(np.ones((2, resolution, resolution, 3), np.float32)))
    assert outputs.shape == (2, 7)
    assert np.isfinite(outputs).all()


@pytest.mark.parametrize("name", ONE_EACH)
def test_one_channel_and_few_classes(name, inputs_for):
    network = zoo.build(name, resolution=32, channels=1, classes=3)
    outputs = np.asarray(network(inputs_for(name, 32, channels=1)))
    assert network.input_shape == (None, 32, 32, 1)
    assert outputs.shape == (4, 3)
    if zoo.describe(name).output == "softmax":
        np.testing.assert_allclose(outputs.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", ONE_EACH)
def test_a_saved_network_loads_in_safe_mode_without_custom_objects(name, tmp_path, inputs_for):
    network = zoo.build(name, resolution=32, classes=10)
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras", compile=False, safe_mode=True)
    inputs = inputs_for(name, 32)
    np.testing.assert_array_equal(network(inputs), loaded(inputs))
    assert {type(operation).__module__.partition(".")[0] + "." for operation in loaded.operations} == {
        BUILTIN
    }


@pytest.mark.convert
@pytest.mark.parametrize("name", ONE_EACH)
def test_a_network_traces_and_runs_as_tflite(name, inputs_for):
    tf = pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    litert = pytest.importorskip("ai_edge_litert.interpreter", reason="LiteRT is not installed")
    network = zoo.build(name, resolution=32, classes=10)

    @tf.function(input_signature=[tf.TensorSpec((1, 32, 32, 3))])
    def serve(image):
        return network(image, training=False)

    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    graph = convert_variables_to_constants_v2(serve.get_concrete_function())
    content = tf.lite.TFLiteConverter.from_concrete_functions([graph]).convert()
    interpreter = litert.Interpreter(model_content=content)
    interpreter.allocate_tensors()
    image = inputs_for(name, 32)[:1]
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    outputs = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(outputs, network(image), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ONE_EACH)
def test_no_tensor_has_more_than_five_axes(name):
    for operation in fresh(name).operations:
        outputs = operation.output if isinstance(operation.output, list) else [operation.output]
        assert all(len(output.shape) <= 5 for output in outputs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": 0}, "0 classes"),
        ({"channels": 4}, "4 channels"),
        ({"resolution": 31}, "can't take 31 x 31 pixels"),
        ({"weights": "imagenet", "classes": 5}, "leave classes and channels out"),
        ({"weights": "imagenet", "channels": 1}, "leave classes and channels out"),
        ({"weights": "nowhere.keras"}, "no weights file nowhere.keras"),
    ],
)
def test_what_cannot_be_built_is_a_usage_error(arguments, message):
    with pytest.raises(UsageError, match=message):
        zoo.build("squeezenet_1.1", **arguments)


def test_two_resolutions_are_one_too_many():
    with pytest.raises(UsageError, match="give one of the two"):
        zoo.build("squeezenet_1.1@64", resolution=96)
    assert zoo.build("squeezenet_1.1@64", resolution=64, classes=2).input_shape == (None, 64, 64, 3)


def test_synthetic_images_are_whole_numbers_of_a_byte():
    images = synthetic_images(4, 40, 3, seed=1)
    assert images.shape == (4, 40, 40, 3)
    assert np.array_equal(images, images.astype(np.uint8))
    inputs = prepared(images, zoo.describe("mobilenet_v1_1.0").preprocessing)
    np.testing.assert_allclose(inputs, images / 127.5 - 1, atol=1e-12)
