"""Biases of 16-bit TFLite files: in 16 bits as TensorFlow's converter stores them, for the same outputs."""

import numpy as np
import pytest

from edgekit.convert.tflite_biases import biases_in_16_bits
from edgekit.convert.tflite_buffers import packed
from edgekit.convert.tflite_run import open_interpreter

FLOAT32, FLOAT16, DEQUANTIZE = 0, 1, 6
BIASED = {3: 2, 4: 2, 9: 2}

pytestmark = pytest.mark.convert


def read(content):
    from litert_quantizer.utils import tfl_flatbuffer_utils

    return tfl_flatbuffer_utils.read_model(memoryview(bytes(content)))


def code_of(model, operator):
    found = model.operatorCodes[operator.opcodeIndex]
    return max(found.builtinCode, found.deprecatedBuiltinCode)


def biased(model):
    """Return the operations that read a bias."""
    graph = model.subgraphs[0]
    return [o for o in graph.operators if code_of(model, o) in BIASED and o.inputs[2] >= 0]


def biases(model):
    """Return the type of what each bias is made of, in the order of the operations that read them."""
    graph = model.subgraphs[0]
    widened = {
        int(o.outputs[0]): int(o.inputs[0]) for o in graph.operators if code_of(model, o) == DEQUANTIZE
    }
    read_ = [int(o.inputs[BIASED[code_of(model, o)]]) for o in biased(model)]
    return [graph.tensors[widened.get(index, index)].type for index in read_]


def outputs(content, rows):
    interpreter = open_interpreter(bytes(content))
    into, outof = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    found = []
    for row in rows:
        interpreter.set_tensor(into, row[None])
        interpreter.invoke()
        found.append(interpreter.get_tensor(outof)[0])
    return np.stack(found)


@pytest.fixture(scope="module")
def files(made):
    return {
        a.recipe: made.bundle.path_of(a).read_bytes() for a in made.bundle.artifacts if a.format == "tflite"
    }


@pytest.fixture(scope="module")
def wide(files):
    """The 16-bit file as the quantizer leaves it: weights in 16 bits, biases in 32."""
    from edgekit.convert.tflite_quantize import _quantize, _recipe

    return _quantize(files["tflite-fp32"], _recipe("fp16"), None)


def test_an_artifact_has_every_bias_in_16_bits(files):
    assert set(biases(read(files["tflite-fp32"]))) == {FLOAT32}
    assert set(biases(read(files["tflite-fp16"]))) == {FLOAT16}


def test_the_quantizer_alone_leaves_them(wide):
    assert set(biases(read(wide))) == {FLOAT32}  # where this ends, so does the need of this room


def test_outputs_stay_and_the_file_is_no_larger(files, wide, calibration):
    whole, halves = (outputs(content, calibration.inputs[:8]) for content in (wide, files["tflite-fp16"]))
    np.testing.assert_allclose(halves, whole, atol=2e-3)
    constants = [
        sum(len(b.data) for b in read(c).buffers if b.data is not None) for c in (wide, files["tflite-fp16"])
    ]
    assert constants[1] < constants[0]


@pytest.mark.parametrize("recipe", ["tflite-fp32", "tflite-int8", "tflite-fp16"])
def test_what_has_nothing_to_change_is_left_as_it_is(files, recipe):
    assert biases_in_16_bits(files[recipe]) == files[recipe]


def test_a_bias_that_16_bits_do_not_hold_stays(wide, calibration):
    model = read(wide)
    graph = model.subgraphs[0]
    first = biased(model)[0]
    buffer = model.buffers[graph.tensors[first.inputs[2]].buffer]
    large = np.frombuffer(bytes(buffer.data), np.float32).copy()
    large[0] = 1e6
    buffer.data = np.frombuffer(large.tobytes(), np.uint8)
    content = packed(model)
    changed = biases_in_16_bits(content)
    assert biases(read(changed))[0] == FLOAT32
    assert set(biases(read(changed))[1:]) == {FLOAT16}
    rows = calibration.inputs[:4]
    np.testing.assert_allclose(outputs(changed, rows), outputs(content, rows), atol=2e-3)


def test_a_bias_of_two_operations_is_stored_once(wide, calibration):
    model = read(wide)
    graph = model.subgraphs[0]
    readers = biased(model)
    sizes = [len(model.buffers[graph.tensors[o.inputs[2]].buffer].data) for o in readers]
    one, other = next(
        (a, b) for a in range(len(sizes)) for b in range(a) if sizes[a] == sizes[b]
    )  # 8 channels each
    readers[one].inputs[2] = readers[other].inputs[2]
    content = packed(model)
    changed = biases_in_16_bits(content)
    halves = [t.name for t in read(changed).subgraphs[0].tensors if t.name.endswith(b"/half")]
    assert len(halves) == len(set(halves)) == len(readers) - 1
    rows = calibration.inputs[:4]
    np.testing.assert_allclose(outputs(changed, rows), outputs(content, rows), atol=2e-3)


def test_the_same_bytes_every_time(wide):
    assert biases_in_16_bits(wide) == biases_in_16_bits(wide)
