"""Weights in 8 bits have the other formats' integers; palettes are the best there are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.convert.coreml_weights import SMALL, eight_bits, packed, palette_of
from edgekit.convert.mil.evaluate import _block, load, read_spec
from edgekit.convert.mil.values import unpack

pytestmark = pytest.mark.convert


def integers(package):
    """The integers of every weight of 8 bits, output channels first, by their number of elements."""
    constants = load(package).constants
    operations, _, _ = _block(read_spec(package).mlProgram.functions["main"])
    found = {}
    for o in operations:
        if o.type == "constexpr_affine_dequantize":
            held = constants[f"{o.outputs[0].name}.quantized_data"]
            found.setdefault(held.size, []).append(held)
    return found


def test_all_formats_store_the_same_integers(made):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    bundle = made.bundle
    reader = interpreter.Interpreter(str(bundle.path_of(bundle.artifact("tflite-int8"))))
    reader.allocate_tensors()
    theirs = {}
    for detail in reader.get_tensor_details():
        if detail["dtype"] == np.int8 and len(detail["quantization_parameters"]["scales"]) > 1:
            value = reader.get_tensor(detail["index"])
            axis = detail["quantization_parameters"]["quantized_dimension"]
            rows = np.moveaxis(value, axis, 0).reshape(value.shape[axis], -1)
            theirs.setdefault(value.size, []).append(np.sort(rows, axis=1))
    for recipe in ("coreml-w8", "coreml-w8a8"):
        ours = integers(bundle.path_of(bundle.artifact(recipe)))
        assert sum(map(len, ours.values())) == 5
        for size, list_ in ours.items():
            for held in list_:
                held = held if held.ndim > 2 else held.T if held.shape[0] != 10 else held  # noqa: PLW2901
                rows = np.sort(held.reshape(held.shape[0], -1), axis=1)
                assert any(np.array_equal(rows, other) for other in theirs[size]), (recipe, held.shape)


def test_a_channel_has_a_scale_of_its_own_and_uses_all_of_it():
    weight = np.random.default_rng(0).normal(size=(6, 3, 3, 3)).astype(np.float32)
    weight *= np.logspace(-3, 1, 6, dtype=np.float32)[:, None, None, None]
    stored, scale = eight_bits(weight, 0)
    assert (stored.dtype, scale.dtype, scale.shape) == (np.int8, np.float16, (6,))
    assert np.abs(stored).max(axis=(1, 2, 3)).tolist() == [127] * 6
    error = np.abs(stored * scale.astype(np.float32)[:, None, None, None] - weight)
    step = np.abs(weight).max(axis=(1, 2, 3)) / 127
    assert (error.max(axis=(1, 2, 3)) <= step * (0.5 + 127 * 2.0**-10)).all()


@settings(max_examples=60, deadline=None)
@given(st.floats(-24, 4), st.integers(0, 99))
def test_tiny_channels_keep_their_size(exponent, seed):
    weight = np.random.default_rng(seed).normal(size=(2, 40)).astype(np.float32) * np.float32(10.0**exponent)
    weight = weight.clip(-6e4, 6e4)
    stored, scale = eight_bits(weight, 0)
    error = np.abs(stored * scale.astype(np.float32)[:, None] - weight)
    assert (error <= np.abs(weight).max() * 0.006 + 6e-8).all()


def test_dead_channels_are_zero():
    stored, scale = eight_bits(np.zeros((3, 4), np.float32), 0)
    assert not stored.any()
    assert (scale == 1).all()


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_a_palette_is_better_than_an_even_grid_and_the_same_each_time(bits):
    weight = np.random.default_rng(1).standard_t(4, size=(32, 3, 8, 8)).astype(np.float16)
    indices, palette = palette_of(weight, bits)
    assert (indices.shape, palette.shape, palette.dtype) == (weight.shape, (1 << bits,), np.float16)
    assert (np.diff(palette.astype(np.float32)) > 0).all()
    grid = np.linspace(float(weight.min()), float(weight.max()), 1 << bits)
    even = np.abs(weight.reshape(-1, 1).astype(np.float32) - grid).min(axis=1)
    ours = palette[indices].astype(np.float32) - weight.astype(np.float32)
    assert (ours**2).mean() < 0.7 * (even**2).mean()
    again = palette_of(weight.copy(), bits)
    assert np.array_equal(again[0], indices)
    assert np.array_equal(again[1], palette)


def test_few_values_are_held_exactly():
    weight = np.array([[0.5, -1.0], [0.5, 2.0]], np.float16)
    indices, palette = palette_of(weight, 4)
    assert np.array_equal(palette[indices], weight)


@given(st.sampled_from([4, 6, 8]), st.lists(st.integers(0, 15), min_size=1, max_size=50))
def test_packing_is_undone(bits, values):
    indices = np.array(values, np.uint8)
    assert np.array_equal(unpack(packed(indices, bits), bits, len(values)), indices)


def test_palettes_are_for_large_weights(made):
    assert SMALL == 2048
    for precision in ("p4", "p6", "p8"):
        artifact = made.bundle.artifact(f"coreml-{precision}")
        assert f"{1 << int(precision[1])} values" in artifact.provenance["quantizer"]
        assert artifact.provenance["minimum_deployment_target"] == "iOS16"


def test_fewer_bits_are_smaller_and_further_from_the_source(source_of_size):
    rows = {a.precision: a for a in source_of_size.artifacts}
    sizes = [rows[p].size_bytes for p in ("p4", "p6", "p8", "fp16")]
    assert sizes == sorted(sizes)
    assert sizes[0] < 0.4 * sizes[-1]
    near = [rows[p].parity.snr_db for p in ("p4", "p6", "p8", "fp16")]
    assert near == sorted(near)


@pytest.fixture(scope="module")
def source_of_size(keras, tmp_path_factory):
    from edgekit.convert import convert
    from edgekit.recipe import parse_recipes
    from edgekit.source import load_source

    place = tmp_path_factory.mktemp("size")
    keras.utils.set_random_seed(3)
    inputs = keras.layers.Input((8, 8, 16))
    x = keras.layers.Conv2D(128, 3, padding="same", activation="relu")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(128, 3)(x))
    keras.Model(inputs, keras.layers.Dense(10)(x)).save(place / "n.keras")
    names = [f"coreml-{p}" for p in ("fp16", "w8", "p8", "p6", "p4")]
    result = convert(load_source(str(place / "n.keras")), parse_recipes(names), place / "out")
    assert not result.failed
    return result.bundle
