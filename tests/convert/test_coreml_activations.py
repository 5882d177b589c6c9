"""Core ML's quantized activations have the calibration record's grids, and nothing is left float unseen."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from edgekit.convert import CalibrationRecord, convert, from_array
from edgekit.convert.coreml_activations import _on_grid
from edgekit.convert.mil.check import check_program
from edgekit.convert.mil.evaluate import _block, load, read_spec
from edgekit.convert.preprocess import noise
from edgekit.convert.tflite_run import open_interpreter
from edgekit.errors import ConversionError
from edgekit.recipe import parse_recipes
from edgekit.source import freeze, load_source

pytestmark = pytest.mark.convert
RECIPES = ("tflite-int8", "onnx-int8", "coreml-w8a8")


def operations(package):
    return _block(read_spec(package).mlProgram.functions["main"])[0]


def named(operation, key):
    return [a.name for a in operation.inputs[key].arguments]


def coreml_grids(package):
    """(scale, zero point) of every pair, in order."""
    constants = load(package).constants
    return [
        (float(constants[named(o, "scale")[0]]), int(constants[named(o, "zero_point")[0]]))
        for o in operations(package)
        if o.type == "quantize"
    ]


def tflite_grids(path):
    details = open_interpreter(path.read_bytes()).get_tensor_details()
    return {
        (float(d["quantization"][0]), int(d["quantization"][1]))
        for d in details
        if d["dtype"] == np.int8 and len(d["quantization_parameters"]["scales"]) == 1
    }


def onnx_grids(path):
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(path).graph
    held = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    nodes = [n for n in graph.node if n.op_type == "QuantizeLinear"]
    return {(float(held[n.input[1]]), int(held[n.input[2]])) for n in nodes}


def test_the_same_tensor_has_the_same_grid_in_all_three_formats(made):
    """A chain: the pairs are those of the input and of each layer, in order."""
    bundle = made.bundle
    record = CalibrationRecord.load(bundle.root)
    paths = [bundle.path_of(bundle.artifact(recipe)) for recipe in RECIPES]
    ours = coreml_grids(paths[2])
    assert ours[0] == (record.grid("input").scale, record.grid("input").zero_point)
    assert len(ours) == 7  # the input, four layers, what the last one reads and what it gives
    assert set(ours) <= tflite_grids(paths[0])
    assert set(ours) <= onnx_grids(paths[1])
    assert "measured_apart" not in bundle.artifact("coreml-w8a8").provenance


@pytest.mark.parametrize("name", ["squeezenet_1.1", "shufflenet_v1_0.5x_g3"])
def test_branches_have_the_same_grids_too(name, tmp_path):
    source = load_source(name, resolution=32, classes=10)
    data = from_array(noise(source.inputs[0], source.preprocessing, 6, seed=2))
    result = convert(source, parse_recipes(list(RECIPES)), tmp_path / "o", calibration=data)
    assert not result.failed
    bundle = result.bundle
    tflite, onnx, coreml = (bundle.path_of(bundle.artifact(recipe)) for recipe in RECIPES)
    ours = set(coreml_grids(coreml))
    assert len(ours) > 10
    assert ours <= tflite_grids(tflite)
    assert ours <= onnx_grids(onnx)
    signals = [bundle.artifact(recipe).parity.snr_db for recipe in RECIPES]
    assert abs(signals[2] - signals[0]) < 6, "as near the float source as TFLite is"


def test_no_grid_stands_between_a_layer_and_its_activation(made):
    package = made.bundle.path_of(made.bundle.artifact("coreml-w8a8"))
    kinds = [o.type for o in operations(package) if o.type != "const" and not o.type.startswith("constexpr")]
    joined = " ".join(kinds)
    assert "conv relu" in joined
    assert "conv quantize" not in joined
    assert kinds[-1] != "dequantize", "the output is handed over as floats"


class Var:
    """What `_on_grid` looks at."""

    def __init__(self, made, readers):
        self.op = made if made is None else type("Op", (), {"op_type": made})
        self.child_ops = []
        for reader, _, then in (text.partition(" ") for text in readers):
            outputs = [Var(reader, [then] if then else [])]
            self.child_ops.append(type("Op", (), {"op_type": reader, "outputs": outputs}))


@pytest.mark.parametrize(
    ("made", "readers", "wanted"),
    [
        (None, ["conv"], True),
        (None, ["transpose"], False),
        ("transpose", ["conv"], True),
        ("transpose", ["transpose"], False),
        ("conv", ["relu"], False),
        ("conv", ["relu", "add"], True),
        ("conv", ["transpose relu"], False),
        ("transpose", ["relu"], False),
        ("conv", ["transpose reduce_mean"], True),
        ("relu", ["conv"], True),
        ("relu", ["reduce_mean"], True),
        ("add", ["relu6"], False),
        ("concat", ["conv"], True),
        ("reduce_mean", ["softmax"], False),
        ("reduce_mean", ["linear"], True),
        ("softmax", [], False),
        ("linear", [], False),
    ],
)
def test_where_values_are_rounded(made, readers, wanted):
    assert _on_grid(Var(made, readers), []) is wanted


@pytest.fixture
def package(made, tmp_path):
    path = tmp_path / "w8a8.mlpackage"
    shutil.copytree(made.bundle.path_of(made.bundle.artifact("coreml-w8a8")), path)
    return path


@pytest.fixture(scope="module")
def frozen(source):
    return freeze(source)


def respelled(path, change):
    spec = read_spec(path)
    function = spec.mlProgram.functions["main"]
    change(function.block_specializations[function.opset].operations)
    next(path.rglob("*.mlmodel")).write_bytes(spec.SerializeToString())


def grids(made):
    record = CalibrationRecord.load(made.bundle.root)
    return frozenset(map(record.grid, record.ranges))


def test_a_good_package_passes(package, frozen, made):
    check_program(package, frozen, "w8a8", grids(made))


def test_a_grid_that_is_not_the_records_is_refused(package, frozen, made):
    with pytest.raises(ConversionError, match="has a grid of its own"):
        check_program(package, frozen, "w8a8", frozenset(list(grids(made))[:1]))


def test_a_computation_left_in_floats_is_refused(package, frozen, made):
    def skip_pair(operations):
        pair = next(o for o in operations if o.type == "dequantize")
        stored = next(o for o in operations if o.type == "quantize")
        for o in operations:
            for argument in (a for i in o.inputs.values() for a in i.arguments):
                if argument.name == pair.outputs[0].name:
                    argument.name = stored.inputs["input"].arguments[0].name

    respelled(package, skip_pair)
    with pytest.raises(ConversionError, match=r"conv .* reads .*, which is not quantized"):
        check_program(package, frozen, "w8a8", grids(made))


@pytest.mark.parametrize(
    ("stored", "asked"), [("fp16", "w8"), ("w8", "fp16"), ("w8", "w8a8"), ("fp16", "w8a8")]
)
def test_another_precision_is_refused(stored, asked, made, frozen):
    path = made.bundle.path_of(made.bundle.artifact(f"coreml-{stored}"))
    with pytest.raises(ConversionError):
        check_program(path, frozen, asked, grids(made))


@pytest.mark.parametrize("precision", ["w8", "w8a8"])
def test_a_changed_weight_is_refused(precision, made, frozen, tmp_path):
    path = tmp_path / "spoiled.mlpackage"
    shutil.copytree(made.bundle.path_of(made.bundle.artifact(f"coreml-{precision}")), path)
    weights = next(path.rglob("weight.bin"))
    content = bytearray(weights.read_bytes())
    value = next(o for o in operations(path) if o.type == "constexpr_affine_dequantize")
    held = value.attributes["quantized_data"]
    begin = int(np.frombuffer(content, np.uint64, 1, held.blobFileValue.offset + 16)[0])
    content[begin] = (content[begin] + 9) % 256
    weights.write_bytes(content)
    with pytest.raises(ConversionError, match="lacks the weight"):
        check_program(path, frozen, precision, grids(made))
