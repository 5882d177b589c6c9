"""A network with its preprocessing built in gives for raw pixels what it gave for preprocessed ones."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edgekit.artifact import TensorSpec
from edgekit.bundle import Bundle, Preprocessing
from edgekit.convert import (
    CONVERTERS,
    convert,
    from_array,
    fuse_preprocessing,
    preprocessing_preset,
    read_data,
)
from edgekit.convert.fuse_preprocessing import FOLDED, FRONT
from edgekit.convert.preprocess import apply
from edgekit.convert.verify import verify_bundle
from edgekit.errors import ConversionError, UsageError
from edgekit.recipe import parse_recipes
from edgekit.source import freeze, load_source
from edgekit.source.freezing import snr

pytestmark = pytest.mark.convert
NAMES = ("tflite-fp32", "tflite-int8", "onnx-fp32", "onnx-int8", "coreml-fp32")
BGR = preprocessing_preset("imagenet-bgr")
SIDE = 16


@pytest.fixture(scope="session")
def write_onnx(tmp_path_factory):
    """Write an ONNX network: [Transpose,] Conv, Relu, Conv, GlobalAveragePool, and return it as a source."""
    onnx = pytest.importorskip("onnx", reason="the convert extra is not installed")
    helper = onnx.helper

    def write(*, pads=(0, 0, 0, 0), last=False, group=1):
        generator = np.random.default_rng(3)
        arrays = {
            "w": generator.normal(0, 0.3, (9, 3 // group, 3, 3)),
            "b": generator.normal(0, 0.3, 9),
            "v": generator.normal(0, 0.3, (5, 9, 1, 1)),
        }
        nodes = [
            helper.make_node(
                "Conv", ["t" if last else "x", "w", "b"], ["c"], name="conv", pads=pads, group=group
            ),
            helper.make_node("Relu", ["c"], ["r"], name="relu"),
            helper.make_node("Conv", ["r", "v"], ["d"], name="top"),
            helper.make_node("GlobalAveragePool", ["d"], ["p"], name="pool"),
            helper.make_node("Flatten", ["p"], ["y"], name="flat"),
        ]
        if last:
            nodes.insert(0, helper.make_node("Transpose", ["x"], ["t"], name="first", perm=[0, 3, 1, 2]))
        shape = [1, SIDE, SIDE, 3] if last else [1, 3, SIDE, SIDE]
        graph = helper.make_graph(
            nodes,
            "net",
            [helper.make_tensor_value_info("x", 1, shape)],
            [helper.make_tensor_value_info("y", 1, [1, 5])],
            [onnx.numpy_helper.from_array(a.astype(np.float32), n) for n, a in arrays.items()],
        )
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        path = tmp_path_factory.mktemp("onnx") / "net.onnx"
        onnx.save(proto, path)
        return load_source(str(path))

    return write


def pixels_for(source, count=24, seed=0):
    """Smooth pictures, so that averages differ from one to the next."""
    generator = np.random.default_rng(seed)
    shape = (count, *source.input.shape[1:])
    colours = generator.integers(0, 200, (count, *(n if n == 3 else 1 for n in shape[1:])))
    return (colours + generator.integers(0, 56, shape)).astype(np.float32)


def preprocessed(pixels, source, preprocessing):
    """Preprocess on the host, without the code under test's own order of axes."""
    last = pixels.transpose(0, 2, 3, 1) if source.input.layout == "NCHW" else pixels
    done = apply(last[..., ::-1] if preprocessing.order == "BGR" else last, preprocessing)
    return done.transpose(0, 3, 1, 2) if source.input.layout == "NCHW" else done


def both(source, preprocessing, folder, names=NAMES):
    """Convert a source as it is and fused; return the bundles, the pixels and what they become."""
    fused = fuse_preprocessing(source, preprocessing)
    pixels = pixels_for(source)
    inputs = np.ascontiguousarray(preprocessed(pixels, source, preprocessing))
    made = []
    for what, data in ((source, inputs), (fused, pixels)):
        out = folder / ("fused" if what is fused else "plain")
        result = convert(what, parse_recipes(names), out, calibration=from_array(data))
        assert not result.failed, [str(f.error) for f in result.failed]
        made.append(result.bundle)
    return *made, pixels, inputs


CASES = {
    "NHWC, in front": ("keras", BGR, FRONT),
    "NCHW, in front": ({"pads": (1, 1, 1, 1)}, BGR, FRONT),
    "NCHW, folded": ({}, BGR, FOLDED),
    "NCHW, padded but nothing subtracted": (
        {"pads": (1, 1, 1, 1)}, preprocessing_preset("unit-bgr"), FOLDED,
    ),
    "NCHW, grouped": ({"group": 3}, BGR, FRONT),
    "ONNX with its channels last": ({"last": True, "pads": (1, 1, 1, 1)}, BGR, FRONT),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_raw_pixels_give_what_preprocessed_ones_gave(case, source, write_onnx, tmp_path):
    kind, preprocessing, place = CASES[case]
    original = source if kind == "keras" else write_onnx(**kind)
    plain, fused, pixels, inputs = both(original, preprocessing, tmp_path)
    wanted = freeze(original).outputs(inputs)
    assert fused.source.options["fused_into"] == place
    for name in NAMES:
        ours, theirs = fused.artifact(name), plain.artifact(name)
        run = CONVERTERS.get(ours.format).run
        got, before = run(fused.path_of(ours), pixels), run(plain.path_of(theirs), inputs)
        assert ours.inputs[0].layout == original.input.layout
        assert ours.inputs[0].shape == original.input.shape
        if ours.precision == "fp32":
            assert snr(before, got) > 90, name
        else:  # of two roundings neither is the right one: hold both against the float network
            assert snr(wanted, got) > min(snr(wanted, before) - 3, 30), name


@pytest.mark.parametrize("method", ["minmax", "percentile"])
def test_8_bit_inputs_are_the_pixels_own_bytes(method, source, tmp_path):
    fused = fuse_preprocessing(source, BGR)
    data = from_array(pixels_for(fused) * 0.25)  # dark pictures: their own range would end at 64
    result = convert(
        fused, parse_recipes(["tflite-int8"]), tmp_path / "b", calibration=data, calibration_method=method
    )
    spec = result.bundle.artifact("tflite-int8").inputs[0]
    assert (spec.dtype, spec.scale, spec.zero_point) == ("int8", 1.0, -128)


def test_golden_outputs_are_those_of_the_source_as_it_was(source, tmp_path):
    bundle = convert(
        fuse_preprocessing(source, BGR), parse_recipes(["tflite-fp32", "onnx-fp16"]), tmp_path / "b"
    ).bundle
    pixels, outputs = bundle.golden_arrays()
    assert pixels.min() >= 0
    assert pixels.max() > 250
    assert np.array_equal(pixels, np.round(pixels))
    assert np.array_equal(outputs, freeze(source).outputs(preprocessed(pixels, source, BGR)))


def test_the_bundle_says_so_and_verifies_on_images(source, pictures, tmp_path):
    given = dataclasses.replace(BGR, resize=40)
    plain = convert(source, parse_recipes(["tflite-fp32"]), tmp_path / "plain", preprocessing=given).bundle
    fused_source = fuse_preprocessing(source, given)
    data = read_data(pictures, fused_source.input, fused_source.preprocessing)
    assert data.inputs.max() > 100
    result = convert(fused_source, parse_recipes(["tflite-fp32"]), tmp_path / "fused", calibration=data)
    fused = Bundle.load(result.bundle.root)
    assert fused.preprocessing == Preprocessing(resize=40)
    assert fused.preprocessing.identity
    text = "order=BGR scale=0.0039215686 mean=0.406,0.456,0.485 std=0.225,0.224,0.229"
    assert fused.fused == text
    assert plain.fused is None
    assert result.to_json()["fused_preprocessing"] == text
    assert fused.artifacts[0].provenance["fused_preprocessing"] == text
    rows = [verify_bundle(b, images=pictures)[0] for b in (plain, fused)]
    assert all(row.ok for row in rows)
    assert rows[0].accuracy == rows[1].accuracy


def test_a_bundle_is_fused_as_a_whole_or_not_at_all(source, tmp_path):
    recipes = parse_recipes(["tflite-fp32"])
    out = tmp_path / "b"
    convert(source, recipes, out, preprocessing=preprocessing_preset("none"))
    for name in ("none", "signed"):
        fused = fuse_preprocessing(source, preprocessing_preset(name))
        with pytest.raises(UsageError, match="have no preprocessing built in, this source the preprocessing"):
            convert(fused, recipes, out)


def test_pixels_as_they_are_need_no_operation(source):
    fused = fuse_preprocessing(source, preprocessing_preset("none"))
    assert fused.sha256 == source.sha256
    assert fused.fused is not None
    assert "nothing" in fused.options["fused_into"]


def test_the_same_preprocessing_makes_the_same_source(source):
    first, again = (fuse_preprocessing(source, BGR) for _ in range(2))
    assert first.sha256 == again.sha256 != source.sha256
    assert fuse_preprocessing(source, preprocessing_preset("imagenet")).sha256 != first.sha256


def test_a_gray_network_takes_gray_pixels(keras, tmp_path):
    inputs = keras.layers.Input((SIDE, SIDE, 1))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x)).save(tmp_path / "gray.keras")
    fused = fuse_preprocessing(load_source(str(tmp_path / "gray.keras")), preprocessing_preset("signed"))
    assert fused.preprocessing == Preprocessing(order="gray")
    assert fused.preprocessing.identity


def test_a_source_without_convolutions_is_fused_in_front(keras, tmp_path):
    inputs = keras.layers.Input((SIDE, SIDE, 3))
    x = keras.layers.Dense(4)(keras.layers.Flatten()(inputs))
    keras.Model(inputs, x).save(tmp_path / "dense.keras")
    fused = fuse_preprocessing(load_source(str(tmp_path / "dense.keras")), BGR)
    assert fused.options["fused_into"] == FRONT


@pytest.mark.parametrize(
    ("values", "said"),
    [((-1.0, 1.0), "-1 to 1"), ((0.0, 1.0), "0 to 1"), ((0.0, 300.0), "0 to 300")],
)
def test_data_that_is_preprocessed_already_is_refused(values, said, source, tmp_path):
    fused = fuse_preprocessing(source, BGR)
    rows = np.linspace(*values, 32 * 32 * 3, dtype=np.float32).reshape(1, 32, 32, 3)
    with pytest.raises(UsageError, match=f"holds {said}, but preprocessing is built in"):
        convert(fused, parse_recipes(["tflite-fp32"]), tmp_path / "b", calibration=from_array(rows))
    assert not (tmp_path / "b").exists()


def test_arrays_of_bytes_are_pixels_where_pixels_are_taken(source, tmp_path):
    np.save(tmp_path / "bytes.npy", pixels_for(source, 3).astype(np.uint8))
    fused = fuse_preprocessing(source, BGR)
    data = read_data(tmp_path / "bytes.npy", fused.input, fused.preprocessing)
    assert np.array_equal(data.inputs, pixels_for(source, 3))
    with pytest.raises(UsageError, match="uint8, not floats"):
        read_data(tmp_path / "bytes.npy", source.input, BGR)


def test_what_can_not_be_fused_is_refused(source):
    with pytest.raises(UsageError, match="nobody said how an image becomes an input"):
        fuse_preprocessing(source, None)
    with pytest.raises(UsageError, match="built in already"):
        fuse_preprocessing(fuse_preprocessing(source, BGR), BGR)
    flat = TensorSpec(name="input", shape=(1, 12), dtype="float32")
    with pytest.raises(UsageError, match="is no image"):
        fuse_preprocessing(dataclasses.replace(source, inputs=(flat,)), BGR)


def test_a_fused_network_that_differs_is_refused(source, monkeypatch):
    """A flaw of ours must not pass: here the graph's channels are not reversed."""
    from edgekit.convert.fuse_graph import Pointwise

    right = Pointwise.of
    monkeypatch.setattr(
        Pointwise, "of", lambda p, channels: right(dataclasses.replace(p, order="RGB"), channels)
    )
    with pytest.raises(ConversionError, match="gives other outputs with its preprocessing built in"):
        fuse_preprocessing(source, BGR)
