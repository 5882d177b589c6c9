"""Files of weights: each kind there and back, and what does not belong is refused."""

import numpy as np
import pytest

from edgekit import zoo
from edgekit.errors import UsageError
from edgekit.zoo.builder import _fresh
from edgekit.zoo.names import parse

keras = pytest.importorskip("keras", reason="Keras is not installed")

ONE_EACH = ("mobilenet_v2_0.35", "shufflenet_v1_0.5x_g3", "shufflenet_v2_0.5x", "squeezenet_1.1")


def fresh(name, classes=10):
    return _fresh(parse(name, ()), classes=classes, channels=3)


def write_legacy(network, path, *, rename=lambda name: name, nested=False):
    """Write Keras 2's layout: what the published MobileNet files look like."""
    import h5py

    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if nested else file
        layers = [(rename(layer.name), layer.get_weights()) for layer in network.layers]
        root.attrs["layer_names"] = [name.encode() for name, _ in layers]
        for name, arrays in layers:
            group = root.create_group(name)
            keys = [f"{name}/weight_{number}:0" for number in range(len(arrays))]
            group.attrs["weight_names"] = [key.encode() for key in keys]
            for key, array in zip(keys, arrays, strict=True):
                group[key] = array


def assert_same_weights(ours, theirs):
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
@pytest.mark.parametrize("name", ONE_EACH)
def test_what_keras_saves_is_loaded_at_any_resolution(name, suffix, tmp_path):
    source = fresh(f"{name}@32")
    path = tmp_path / f"network{suffix}"
    (source.save if suffix == ".keras" else source.save_weights)(path)
    loaded = zoo.build(name, weights=str(path), classes=10, resolution=40)
    assert loaded.input_shape == (None, 40, 40, 3)
    assert_same_weights(loaded, source)


@pytest.mark.parametrize(
    ("name", "nested"), [*((name, False) for name in ONE_EACH), ("squeezenet_1.1", True)]
)
def test_keras_2_files_are_loaded_by_name(name, nested, tmp_path):
    source = fresh(name)
    write_legacy(source, tmp_path / "old.h5", nested=nested)
    assert_same_weights(zoo.build(name, weights=tmp_path / "old.h5", classes=10, resolution=32), source)


@pytest.mark.parametrize("name", ["mobilenet_v1_0.25", "mobilenet_v2_0.35"])
def test_a_mobilenet_file_with_older_layer_names_is_loaded_by_order(name, tmp_path):
    source = fresh(name)
    names = {layer.name: f"{'abc'[number % 3]}_{number}" for number, layer in enumerate(source.layers)}
    write_legacy(source, tmp_path / "old.h5", rename=names.get)
    assert_same_weights(zoo.build(name, weights=tmp_path / "old.h5", classes=10, resolution=32), source)


def test_other_names_in_a_network_with_branches_are_refused(tmp_path):
    source = fresh("shufflenet_v2_0.5x")
    write_legacy(source, tmp_path / "old.h5", rename=lambda name: f"x_{name}")
    with pytest.raises(
        UsageError, match=r"has no weights for layers of shufflenet_v2: conv1_0, .* and \d+ more"
    ):
        zoo.build("shufflenet_v2_0.5x", weights=tmp_path / "old.h5", classes=10, resolution=32)


def test_a_file_by_order_still_has_to_have_the_shapes(tmp_path):
    write_legacy(fresh("mobilenet_v1_0.5"), tmp_path / "old.h5", rename=lambda name: f"x_{name}")
    with pytest.raises(UsageError, match=r"old\.h5 has shapes .* for layer 'conv1'"):
        zoo.build("mobilenet_v1_0.25", weights=tmp_path / "old.h5", classes=10, resolution=32)


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_the_weights_of_another_network_are_refused(suffix, tmp_path):
    source = fresh("squeezenet_1.0")
    path = tmp_path / f"network{suffix}"
    (source.save if suffix == ".keras" else source.save_weights)(path)
    for other in ("mobilenet_v1_0.25", "squeezenet_1.1"):
        with pytest.raises(UsageError):
            zoo.build(other, weights=path, classes=10, resolution=32)


def test_another_number_of_classes_is_refused(tmp_path):
    fresh("squeezenet_1.1", classes=10).save(tmp_path / "ten.keras")
    with pytest.raises(UsageError, match=r"ten\.keras has shapes .* for layer 'classifier_1'"):
        zoo.build("squeezenet_1.1", weights=tmp_path / "ten.keras", classes=11, resolution=32)


@pytest.mark.parametrize("name", ["broken.keras", "broken.weights.h5", "broken.h5"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"])
def test_an_unreadable_file_is_refused(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match="can't be loaded"):
        zoo.build("squeezenet_1.1", weights=tmp_path / name, classes=10, resolution=32)


def test_a_keras_file_cannot_run_code(tmp_path):
    inputs = keras.Input((8, 8, 3))
    unsafe = keras.Model(inputs, keras.layers.Lambda(lambda x: x * 2, output_shape=(8, 8, 3))(inputs))
    unsafe.save(tmp_path / "lambda.keras")
    with pytest.raises(UsageError, match="can't be loaded"):
        zoo.build("squeezenet_1.1", weights=tmp_path / "lambda.keras", resolution=32)


def test_an_unknown_ending_is_refused(tmp_path):
    (tmp_path / "weights.npz").write_bytes(b"")
    with pytest.raises(UsageError, match=r"weights\.npz has none of the endings of a weights file: \.keras"):
        zoo.build("squeezenet_1.1", weights=tmp_path / "weights.npz", resolution=32)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(UsageError, match="there is no weights file"):
        zoo.build("squeezenet_1.1", weights=tmp_path, resolution=32)
