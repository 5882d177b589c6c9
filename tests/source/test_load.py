"""Sources are read, or refused in one line that says what to do."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from edgekit.errors import UnknownNameError, UsageError
from edgekit.source import freeze, load_source, source_kind

pytestmark = [pytest.mark.convert, pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")]


@pytest.fixture(scope="session")
def loaded(saved):
    return {kind: load_source(str(saved / name)) for kind, name in KINDS.items()}


KINDS = {"keras": "small.keras", "h5": "small.h5", "savedmodel": "small"}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_gives_the_same_source(kind, loaded, small):
    source = loaded[kind]
    assert source.kind == kind
    assert source.name == KINDS[kind]
    assert source.inputs[0].shape == (1, 32, 32, 3)
    assert source.inputs[0].layout == "NHWC"
    assert source.outputs[0].shape == (1, 10)
    assert source.sha256 == loaded["keras"].sha256
    assert source.parameters == sum(int(np.prod(w.shape)) for w in small.trainable_weights)


@pytest.mark.parametrize("kind", KINDS)
def test_the_outputs_are_the_networks(kind, loaded, small):
    inputs = np.random.default_rng(1).normal(size=(3, 32, 32, 3)).astype("float32")
    assert np.allclose(freeze(loaded[kind]).outputs(inputs), np.asarray(small(inputs)), atol=1e-6)


def test_another_weight_is_another_source(loaded, keras, saved, tmp_path):
    network = keras.saving.load_model(saved / "small.keras")
    kernel, bias = network.get_layer("top").get_weights()
    network.get_layer("top").set_weights([kernel, bias + 1e-3])
    network.save(tmp_path / "other.keras")
    assert load_source(str(tmp_path / "other.keras")).sha256 != loaded["keras"].sha256


def test_a_zoo_name_brings_preprocessing_and_options():
    source = load_source("mobilenet_v1_0.25", classes=7, resolution=32, seed=3)
    assert source.kind == "zoo"
    assert source.outputs[0].shape == (1, 7)
    assert source.preprocessing is not None
    assert source.options == {"weights": "none", "classes": "7", "seed": "3", "resolution": "32"}


def test_a_zoo_network_is_the_same_source_when_built_again():
    first, second = (load_source("squeezenet_1.1@32", classes=4) for _ in range(2))
    assert first.sha256 == second.sha256


def test_a_name_nobody_knows_offers_the_nearest():
    with pytest.raises(UnknownNameError, match=r"did you mean 'mobilenet_v1_0\.25'"):
        source_kind("mobilnet_v1_0.25")


def test_a_missing_file_is_no_zoo_name():
    with pytest.raises(UsageError, match=r"there is no file gone\.keras"):
        source_kind("gone.keras")


def test_other_files_and_folders_are_refused(tmp_path):
    for name, said in (("net.pb", "no kind that EdgeKit reads"), ("net.pt2", "may run code that it carries")):
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(UsageError, match=said):
            source_kind(str(tmp_path / name))
    with pytest.raises(UsageError, match=r"without saved_model\.pb"):
        source_kind(str(tmp_path))


@pytest.mark.parametrize("name", ["small.keras", "small.h5"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_one_line(name, share, saved, tmp_path):
    content = (saved / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UsageError) as caught:
        load_source(str(path))
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def test_a_flipped_byte_in_a_keras_file_is_seen(saved, tmp_path):
    content = bytearray((saved / "small.keras").read_bytes())
    content[len(content) // 2] ^= 0xFF
    path = tmp_path / "small.keras"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="damaged"):
        load_source(str(path))


def test_a_keras_file_with_broken_config_is_one_line(saved, tmp_path):
    path = tmp_path / "broken.keras"
    with zipfile.ZipFile(saved / "small.keras") as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = b'{"class_name": "Nothing"}' if name == "config.json" else old.read(name)
            new.writestr(name, content)
    with pytest.raises(UsageError, match="can't be read by Keras"):
        load_source(str(path))


def test_a_damaged_savedmodel_is_one_line(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"not a protobuf")
    with pytest.raises(UsageError, match="can't be read as a SavedModel"):
        load_source(str(tmp_path))


def test_weights_alone_are_no_network(small, tmp_path):
    small.save_weights(tmp_path / "net.weights.h5")
    with pytest.raises(UsageError, match="weights without a network"):
        load_source(str(tmp_path / "net.weights.h5"))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_python_code_in_a_file_is_not_run(suffix, keras, tmp_path):
    inputs = keras.layers.Input((8, 8, 3))
    network = keras.Model(inputs, keras.layers.Lambda(lambda x: x * 2)(inputs))
    path = tmp_path / f"code{suffix}"
    network.save(path)
    with pytest.raises(UsageError, match="Lambda"):
        load_source(str(path))


def test_weights_that_are_not_finite_are_refused(keras, saved, tmp_path):
    network = keras.saving.load_model(saved / "small.keras")
    kernel, bias = network.get_layer("top").get_weights()
    kernel[0, 0] = np.nan
    network.get_layer("top").set_weights([kernel, bias])
    network.save(tmp_path / "nan.keras")
    with pytest.raises(UsageError, match=r"not finite: 1 of 160 in .*top"):
        load_source(str(tmp_path / "nan.keras"))


def test_several_inputs_or_outputs_say_why_not(keras, tmp_path):
    left, right = keras.layers.Input((8,)), keras.layers.Input((8,))
    total = keras.layers.Add()([left, right])
    keras.Model([left, right], total).save(tmp_path / "two_in.keras")
    keras.Model(left, [keras.layers.ReLU()(left), keras.layers.Softmax()(left)]).save(
        tmp_path / "two_out.keras"
    )
    with pytest.raises(UsageError, match="has 2 inputs"):
        load_source(str(tmp_path / "two_in.keras"))
    with pytest.raises(UsageError, match="has 2 outputs"):
        load_source(str(tmp_path / "two_out.keras"))


def test_an_open_size_needs_a_resolution(keras, tmp_path):
    inputs = keras.layers.Input((None, None, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(inputs))
    keras.Model(inputs, pooled).save(tmp_path / "open.keras")
    path = str(tmp_path / "open.keras")
    with pytest.raises(UsageError, match="--resolution"):
        load_source(path)
    assert load_source(path, resolution=40).inputs[0].shape == (1, 40, 40, 3)


def test_a_fixed_size_is_not_overruled(saved):
    with pytest.raises(UsageError, match="fixed input of 32 x 32"):
        load_source(str(saved / "small.keras"), resolution=64)


def test_a_file_brings_its_own_weights(saved):
    with pytest.raises(UsageError, match="its own weights"):
        load_source(str(saved / "small.keras"), weights="imagenet")
