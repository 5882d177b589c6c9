"""Operations of typical CNNs, from ONNX to integers and Core ML: written with what every format has."""

import numpy as np
import pytest

from edgekit.convert import convert, from_array
from edgekit.errors import UsageError
from edgekit.recipe import parse_recipes
from edgekit.source import load_source

pytestmark = pytest.mark.convert
RANDOM = np.random.default_rng(4)
RECIPES = ("tflite-fp32", "tflite-int8", "onnx-int8", "coreml-fp32")


def weights(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


CONV = ("Conv", "x w b", "c", {"pads": [1, 1, 1, 1]})
BODIES = {
    "leaky": (("LeakyRelu", "c", "y", {"alpha": 0.1}),),
    "prelu": (("PRelu", "c p", "y", {}),),
    "clip": (("Clip", "c l h", "y", {}),),
    "hard sigmoid": (("HardSigmoid", "c", "g", {"alpha": 0.3}), ("Mul", "c g", "y", {})),
    "gelu": (("Div", "c r", "d", {}), ("Erf", "d", "e", {}), ("Add", "e o", "a", {}), ("Mul", "c a", "m", {}),
             ("Mul", "m k", "y", {})),
    "transposed": (("ConvTranspose", "c t", "y", {"strides": [2, 2], "pads": [1, 1, 1, 1]}),),
    "split": (("Split", "c s", "a a2", {"axis": 1}), ("Concat", "a2 a", "y", {"axis": 1})),
    "cubic": (("Resize", "c z s4", "y", {"mode": "cubic"}),),
    "less": (("Resize", "c z s5", "y", {}),),
    "global max": (("GlobalMaxPool", "c", "y", {}),),
    "gemm": (("GlobalMaxPool", "c", "i", {}), ("Flatten", "i", "f", {}),
             ("Gemm", "f v u", "y", {"alpha": 0.5, "beta": 2.0})),
    "layer norm": (("InstanceNormalization", "c n n0", "y", {}),),
}  # fmt: skip
ARRAYS = {
    "w": weights(8, 3, 3, 3), "b": weights(8), "p": weights(8, 1, 1), "l": np.float32(-0.5),
    "h": np.float32(1.5), "r": np.float32(2**0.5), "o": np.float32(1), "k": np.float32(0.5),
    "t": weights(8, 4, 4, 4), "s": np.array([3, 5]), "z": np.zeros(0, np.float32),
    "s4": np.float32([1, 1, 2, 2]), "s5": np.float32([1, 1, 0.5, 0.5]), "v": weights(8, 5), "u": weights(1),
    "n": np.ones(8, np.float32), "n0": np.zeros(8, np.float32),
}  # fmt: skip


@pytest.mark.parametrize("body", BODIES)
def test_an_operation_becomes_integers_and_core_ml(body, one_node, tmp_path):
    used = {name for _, inputs, _, _ in (CONV, *BODIES[body]) for name in inputs.split()}
    arrays = {name: value for name, value in ARRAYS.items() if name in used}
    source = load_source(str(one_node([1, 3, 12, 12], CONV, *BODIES[body], arrays=arrays)))
    calibration = from_array(RANDOM.uniform(-2, 2, size=(8, 3, 12, 12)))
    result = convert(source, parse_recipes(RECIPES), tmp_path / "bundle", calibration=calibration)
    assert [str(f.error) for f in result.failed] == []
    parity = {a.recipe: a.parity.snr_db for a in result.bundle.artifacts}
    assert set(parity) == set(RECIPES)
    assert min(parity["tflite-fp32"], parity["coreml-fp32"]) > 80
    assert min(parity["tflite-int8"], parity["onnx-int8"]) > 20


def test_what_has_no_integers_is_named(one_node, tmp_path):
    nodes = (CONV, ("LRN", "c", "y", {"size": 3}))
    source = load_source(str(one_node([1, 3, 12, 12], *nodes, arrays={"w": ARRAYS["w"], "b": ARRAYS["b"]})))
    calibration = from_array(RANDOM.uniform(-2, 2, size=(4, 3, 12, 12)))
    result = convert(source, parse_recipes(["tflite-int8"]), tmp_path / "bundle", calibration=calibration)
    said = str(result.failed[0].error)
    assert "still in floats: LOCAL_RESPONSE_NORMALIZATION 'LRN_1/LRN'" in said
    assert "convert tflite-fp16" in said


def test_equal_weights_of_another_shape_are_quantized_apart(one_node, tmp_path):
    """TFLite stores equal bytes once: 16 channels of 8, and 8 of 16."""
    same = np.tile(weights(1), (16, 8, 1, 1))
    arrays = {"w": weights(8, 3, 3, 3), "b": weights(8), "q": same, "q2": same.reshape(8, 16, 1, 1)}
    arrays |= {"d": weights(16), "d2": weights(8)}
    nodes = (CONV, ("Conv", "c q d", "e", {}), ("Relu", "e", "f", {}), ("Conv", "f q2 d2", "y", {}))
    source = load_source(str(one_node([1, 3, 12, 12], *nodes, arrays=arrays)))
    calibration = from_array(RANDOM.uniform(-2, 2, size=(8, 3, 12, 12)))
    result = convert(source, parse_recipes(["tflite-int8"]), tmp_path / "bundle", calibration=calibration)
    assert [str(f.error) for f in result.failed] == []
    assert result.bundle.artifacts[0].parity.snr_db > 20


def test_an_old_upsampling_is_lifted_as_it_was(one_node, tmp_path):
    nodes = (CONV, ("Upsample", "c s4", "y", {"mode": "linear"}))
    arrays = {name: ARRAYS[name] for name in ("w", "b", "s4")}
    source = load_source(str(one_node([1, 3, 12, 12], *nodes, arrays=arrays, opset=9)))
    calibration = from_array(RANDOM.uniform(-2, 2, size=(8, 3, 12, 12)))
    result = convert(source, parse_recipes(["onnx-int8"]), tmp_path / "bundle", calibration=calibration)
    assert [str(f.error) for f in result.failed] == []
    assert result.bundle.artifacts[0].parity.snr_db > 25


def test_labels_fit_an_output_that_is_an_image_of_one_pixel(one_node, tmp_path):
    nodes = (CONV, ("GlobalMaxPool", "c", "y", {}))
    source = load_source(str(one_node([1, 3, 12, 12], *nodes, arrays={"w": ARRAYS["w"], "b": ARRAYS["b"]})))
    recipes = parse_recipes(["onnx-fp32"])
    with pytest.raises(UsageError, match="7 labels for 8 outputs do not fit: give one label for each"):
        convert(source, recipes, tmp_path / "bundle", labels=list("abcdefg"))
    result = convert(source, recipes, tmp_path / "bundle", labels=list("abcdefgh"))
    assert result.bundle.label_names() == list("abcdefgh") or result.bundle.label_names() == tuple("abcdefgh")
