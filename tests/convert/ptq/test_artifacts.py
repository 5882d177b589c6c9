"""Tuning in whole conversions: what it does to real artifacts, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the convert extra is not installed")

from edgekit.artifact import digest
from edgekit.convert import CalibrationRecord, convert, from_array, fuse_preprocessing, preprocessing_preset
from edgekit.convert.base import CONVERTERS
from edgekit.convert.ptq.score import score
from edgekit.errors import UnknownNameError, UsageError
from edgekit.recipe import parse_recipes
from edgekit.source import freeze, load_source
from edgekit.source.quiet import quiet

pytestmark = pytest.mark.convert
SHAPE = (16, 16, 3)
INT8 = ("tflite-int8", "onnx-int8")
FLOAT = ("tflite-fp32", "onnx-fp32", "tflite-fp16")


@pytest.fixture(scope="module")
def uneven_file(keras, tmp_path_factory):
    """One channel two hundred times as large as its neighbours, read with weights as small."""
    layers = keras.layers
    keras.utils.set_random_seed(8)
    given = layers.Input(SHAPE)
    x = layers.ReLU()(layers.Conv2D(8, 3, padding="same", name="a")(given))
    x = layers.ReLU()(layers.DepthwiseConv2D(3, padding="same", name="b")(x))
    x = layers.ReLU()(layers.Conv2D(8, 3, strides=2, padding="same", name="c")(x))
    network = keras.Model(given, layers.Dense(6)(layers.GlobalAveragePooling2D()(x)))
    kernel, bias = network.get_layer("a").get_weights()
    kernel[..., 0] *= 200
    network.get_layer("a").set_weights([kernel, bias])
    kernel, bias = network.get_layer("c").get_weights()
    kernel[:, :, 0] /= 200
    network.get_layer("c").set_weights([kernel, bias])
    path = tmp_path_factory.mktemp("uneven") / "uneven.keras"
    network.save(path)
    return path


@pytest.fixture(scope="module")
def uneven(uneven_file):
    return load_source(str(uneven_file))


@pytest.fixture(scope="module")
def data():
    values = np.random.default_rng(3).uniform(-1, 1, (24, *SHAPE))
    return from_array(values.astype(np.float32))


@pytest.fixture(scope="module")
def bundles(uneven, data, tmp_path_factory):
    """The same recipes without and with tuning."""
    root, found = tmp_path_factory.mktemp("bundles"), {}
    for tuning in ("none", "auto", "equalize"):
        made = convert(
            uneven, parse_recipes([*INT8, *FLOAT]), root / tuning, calibration=data, tuning=(tuning,)
        )
        found[tuning] = made.bundle
        assert not {f.recipe for f in made.failed} - set(INT8)
    return found


def reached(bundle, recipe, source, inputs):
    """Return the decibels of an artifact on inputs; 0 of one that was not good enough to be written."""
    if recipe not in {a.recipe for a in bundle.artifacts}:
        return 0.0
    artifact = bundle.artifact(recipe)
    with quiet():
        got = CONVERTERS.get(artifact.format).run(bundle.path_of(artifact), inputs)
    return score(freeze(source).outputs(inputs), got).snr_db


@pytest.mark.parametrize("recipe", INT8)
def test_one_huge_channel_gains_many_decibels_in_the_artifacts(recipe, bundles, uneven):
    inputs = np.random.default_rng(9).uniform(-1, 1, (24, *SHAPE)).astype(np.float32)
    plain, auto, equal = (reached(bundles[t], recipe, uneven, inputs) for t in ("none", "auto", "equalize"))
    assert equal > plain + 8
    assert auto > plain + 8
    assert auto > 25


@pytest.mark.parametrize("recipe", FLOAT)
def test_floats_are_the_same_bytes_whatever_the_tuning(recipe, bundles):
    found = {t: digest(b.path_of(b.artifact(recipe))) for t, b in bundles.items()}
    assert found["none"] == found["auto"] == found["equalize"]


def test_provenance_names_what_was_done(bundles):
    assert "equalize" in bundles["auto"].artifact("tflite-int8").provenance["tuning"].split("+")
    assert bundles["equalize"].artifact("tflite-int8").provenance["tuning"] == "equalize"


def test_the_record_in_the_bundle_is_that_of_the_tuned_network(bundles):
    plain, equal = (CalibrationRecord.load(bundles[name].root) for name in ("none", "equalize"))
    assert list(plain.ranges) == list(equal.ranges)
    assert plain.ranges != equal.ranges
    assert plain.ranges["input"] == equal.ranges["input"]
    assert plain.sha256 == equal.sha256


def test_integers_are_the_same_bytes_each_time(uneven, data, bundles, tmp_path):
    again = convert(uneven, parse_recipes(INT8), tmp_path / "again", calibration=data).bundle
    for recipe in INT8:
        assert again.artifact(recipe).sha256 == bundles["auto"].artifact(recipe).sha256


def test_another_tuning_makes_integers_anew_and_keeps_floats(uneven, data, tmp_path):
    names = parse_recipes(["tflite-int8", "tflite-fp32"])
    for tuning in ("equalize", "auto"):
        result = convert(uneven, names, tmp_path / "b", calibration=data, tuning=(tuning,))
    assert result.made == ("tflite-int8",)
    assert result.kept == ("tflite-fp32",)
    result = convert(uneven, names, tmp_path / "b", calibration=data)
    assert result.kept == ("tflite-int8", "tflite-fp32")


@pytest.mark.parametrize("tuning", ["none", "equalize", "auto"])
def test_fused_preprocessing_keeps_its_pixels(tuning, uneven_file, tmp_path):
    """Whatever is tuned, an int8 input is the pixel itself, less 128."""
    source = fuse_preprocessing(load_source(str(uneven_file)), preprocessing_preset("signed"))
    pixels = np.random.default_rng(4).integers(0, 256, (12, *SHAPE)).astype(np.float32)
    pixels = pixels.clip(20, 200)  # no photo holds all of them
    bundle = convert(
        source, parse_recipes(["tflite-int8"]), tmp_path / "b", calibration=from_array(pixels),
        tuning=(tuning,),
    ).bundle  # fmt: skip
    (spec,) = bundle.artifact("tflite-int8").inputs
    assert (spec.scale, spec.zero_point) == (1.0, -128)
    assert CalibrationRecord.load(bundle.root).ranges["input"] == (0.0, 255.0)


@pytest.mark.parametrize(
    ("tuning", "refused"),
    [
        (("equalise",), (UnknownNameError, "did you mean 'equalize'")),
        (("auto", "bias"), (UsageError, "exclude each other")),
    ],
)
def test_nothing_is_done_where_the_tuning_is_wrong(tuning, refused, uneven, data, tmp_path):
    with pytest.raises(refused[0], match=refused[1]):
        convert(uneven, parse_recipes(INT8), tmp_path / "b", calibration=data, tuning=tuning)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("count", [1, 4])
def test_a_few_images_are_enough_to_convert(count, source, calibration, tmp_path):
    few = from_array(calibration.inputs[-count:])
    result = convert(source, parse_recipes(INT8), tmp_path / "b", calibration=few)
    assert not result.failed
    assert result.made == INT8


@pytest.mark.parametrize("method", ["moving-average", "percentile", "mse", "entropy"])
def test_every_way_to_find_ranges_can_be_tuned(method, source, calibration, tmp_path):
    result = convert(
        source, parse_recipes(["tflite-int8"]), tmp_path / "b", calibration=calibration,
        calibration_method=method,
    )  # fmt: skip
    assert not result.failed
    assert result.bundle.artifact("tflite-int8").parity.snr_db > 10


def test_a_network_that_mixes_a_batch_is_converted_all_the_same(keras, tmp_path):
    """Rows of all inputs are turned into columns: another batch would be another network."""
    layers = keras.layers
    keras.utils.set_random_seed(5)
    given = layers.Input((8, 8, 3), batch_size=1)
    x = layers.Conv2D(6, 3, padding="same", activation="relu")(given)
    x = keras.ops.transpose(keras.ops.reshape(x, (6, 64)))
    x = keras.ops.reshape(layers.Dense(5, activation="relu")(x), (1, 8, 8, 5))
    network = keras.Model(given, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    network.save(tmp_path / "rows.keras")
    inputs = np.random.default_rng(6).normal(size=(12, 8, 8, 3)).astype(np.float32)
    source = load_source(str(tmp_path / "rows.keras"))
    result = convert(source, parse_recipes(["tflite-int8"]), tmp_path / "b", calibration=from_array(inputs))
    assert not result.failed
    with pytest.raises(UsageError, match="mixes the inputs of a batch, and bias needs several"):
        convert(
            source, parse_recipes(["tflite-int8"]), tmp_path / "c", calibration=from_array(inputs),
            tuning=("bias",),
        )  # fmt: skip


@pytest.mark.parametrize("name", ["mobilenet_v1_0.25", "shufflenet_v2_0.5x"])
def test_zoo_networks_are_never_below_plain(name, tmp_path, noise):
    source = load_source(name, resolution=32, classes=10)
    data = from_array(noise(16, (32, 32, 3)))
    found = {}
    for tuning in ("none", "auto"):
        bundle = convert(
            source, parse_recipes(["tflite-int8"]), tmp_path / tuning, calibration=data, tuning=(tuning,)
        ).bundle
        found[tuning] = reached(bundle, "tflite-int8", source, data.inputs)
    assert found["auto"] >= found["none"] - 0.3
