"""The float graph is run once; every format takes its grids from that one record."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from edgekit.bundle import Bundle
from edgekit.convert import METHODS, CalibrationRecord, Step, convert, from_array
from edgekit.convert.observe import calibrate, watched
from edgekit.convert.preprocess import noise
from edgekit.convert.tflite_run import open_interpreter
from edgekit.errors import UnknownNameError, UsageError
from edgekit.recipe import parse_recipes
from edgekit.source import freeze, load_source

pytestmark = pytest.mark.convert
CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


@pytest.fixture(scope="module")
def frozen(source):
    return freeze(source)


def tflite_grids(path):
    """(scale, zero point) of the input and of every convolution's output, in order."""
    interpreter = open_interpreter(path.read_bytes())
    details = {d["index"]: d["quantization"] for d in interpreter.get_tensor_details()}
    operations = interpreter._get_ops_details()
    made = [details[o["outputs"][0]] for o in operations if o["op_name"] in CONVOLUTIONS]
    dense = [details[o["outputs"][0]] for o in operations if o["op_name"] == "FULLY_CONNECTED"]
    return interpreter.get_input_details()[0]["quantization"], made, dense


def onnx_grids(path):
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(path).graph
    held = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    by_input = {}
    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            by_input[node.input[0]] = (float(held[node.input[1]]), int(held[node.input[2]]))
    made = [by_input[n.output[0]] for n in graph.node if n.op_type == "Conv"]
    dense = [by_input[n.output[0]] for n in graph.node if n.op_type in ("Gemm", "MatMul")]
    through = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "Transpose"}
    back = {origin: name for name, origin in through.items()}
    entry = graph.input[0].name
    return by_input.get(entry) or by_input[back[entry]], made, dense


def test_the_same_tensor_has_the_same_grid_in_both_formats(made):
    """A chain: the order of operations maps the tensors, independently of how the converter did."""
    bundle = made.bundle
    record = CalibrationRecord.load(bundle.root)
    one = tflite_grids(bundle.path_of(bundle.artifact("tflite-int8")))
    other = onnx_grids(bundle.path_of(bundle.artifact("onnx-int8")))
    assert one == other
    assert len(one[1]) == 4
    assert len(one[2]) == 1
    source = record.grid("input")
    assert one[0] == (source.scale, source.zero_point)
    spec = bundle.artifact("tflite-int8").inputs[0]
    assert (spec.scale, spec.zero_point) == one[0]


@pytest.mark.parametrize("name", ["squeezenet_1.1", "mobilenet_v2_0.35", "shufflenet_v2_0.5x"])
def test_branches_have_the_same_grids_too(name, tmp_path):
    source = load_source(name, resolution=32, classes=10)
    data = from_array(noise(source.inputs[0], source.preprocessing, 6, seed=2))
    bundle = convert(
        source, parse_recipes(["tflite-int8", "onnx-int8"]), tmp_path / "o", calibration=data
    ).bundle
    one = tflite_grids(bundle.path_of(bundle.artifact("tflite-int8")))
    other = onnx_grids(bundle.path_of(bundle.artifact("onnx-int8")))
    assert one[0] == other[0]
    assert sorted(one[1]) == sorted(other[1])
    assert one[2] == other[2]
    for recipe in ("tflite-int8", "onnx-int8"):  # nothing was left to be measured in a format's own graph
        assert "measured_apart" not in bundle.artifact(recipe).provenance


def test_ranges_are_those_of_the_float_graph(frozen, calibration, tiny):
    """Held against Keras itself, layer by layer."""
    import keras

    record = calibrate(frozen, calibration, "minmax")
    assert record.ranges["input"] == (float(calibration.inputs.min()), float(calibration.inputs.max()))
    wanted = 0
    for layer in tiny.layers:
        if not isinstance(layer, keras.layers.ReLU):
            continue
        values = keras.Model(tiny.inputs, layer.output).predict(calibration.inputs, verbose=0)
        near = [
            n for n, (low, high) in record.ranges.items()
            if abs(low - values.min()) < 1e-4 and abs(high - values.max()) < 1e-4 * values.max()
        ]  # fmt: skip
        assert near, layer.name
        wanted += 1
    assert wanted == 4


def test_the_float_graph_is_run_once_for_all_recipes(source, calibration, tmp_path, monkeypatch):
    calls = []

    def counted(*given, **named):
        calls.append(given[1].sha256)
        return calibrate(*given, **named)

    monkeypatch.setattr("edgekit.convert.pipeline.calibrate", counted)
    steps: list[Step] = []
    names = parse_recipes(["tflite-int8", "onnx-int8"])
    convert(source, names, tmp_path / "a", calibration=calibration, on_step=steps.append)
    assert calls == [calibration.sha256]
    counted_steps = [(s.done, s.total) for s in steps if s.total]
    assert counted_steps == [(8, 24), (16, 24), (24, 24)]
    convert(source, parse_recipes(["tflite-fp32"]), tmp_path / "b", calibration=calibration)
    assert len(calls) == 1  # no recipe needs ranges
    assert not (tmp_path / "b" / "calibration.json").exists()


def test_the_record_is_in_the_bundle_and_held_by_it(made, calibration, tmp_path):
    import shutil

    root = tmp_path / "copy"
    shutil.copytree(made.bundle.root, root)
    record = CalibrationRecord.load(root)
    assert (record.sha256, record.count, record.method) == (calibration.sha256, calibration.count, "minmax")
    assert all(low <= high for low, high in record.ranges.values())
    provenance = Bundle.load(root).provenance
    assert provenance["calibration_record"] == "calibration.json"
    assert provenance["calibration_method"] == "minmax"
    data = json.loads((root / "calibration.json").read_bytes())
    data["ranges"]["input"]["high"] = 99.0
    (root / "calibration.json").write_text(json.dumps(data))
    with pytest.raises(UsageError, match="calibration record has changed"):
        Bundle.load(root).check()


def test_the_record_goes_there_and_back(frozen, calibration, tmp_path):
    record = calibrate(frozen, calibration, "minmax")
    (tmp_path / "calibration.json").write_bytes(record.to_json())
    assert CalibrationRecord.load(tmp_path) == record


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "no calibration record"),
        ("{", "can't be read as a calibration record"),
        ("[]", "can't be read as a calibration record"),
        ('{"schema": 2, "ranges": {}, "flat": []}', "schema 2"),
        ('{"schema": 1, "ranges": {"a": {"low": 0}}, "flat": []}', "can't be read"),
    ],
)
def test_a_damaged_record_is_refused(text, said, tmp_path):
    if text is not None:
        (tmp_path / "calibration.json").write_text(text)
    with pytest.raises(UsageError, match=said):
        CalibrationRecord.load(tmp_path)


@pytest.mark.parametrize("method", METHODS)
def test_each_method_gives_ranges_within_the_extremes(method, frozen, calibration):
    widest = calibrate(frozen, calibration, "minmax")
    record = calibrate(frozen, calibration, method)
    assert record.method == method
    assert list(record.ranges) == list(widest.ranges)
    for name, (low, high) in record.ranges.items():
        assert widest.ranges[name][0] <= low <= high <= widest.ranges[name][1], name
    assert (record.ranges != widest.ranges) == (method != "minmax")


def test_another_method_gives_another_artifact_and_is_written_down(source, calibration, made, tmp_path):
    data = from_array(calibration.inputs)
    result = convert(
        source, parse_recipes(["tflite-int8"]), tmp_path / "o", calibration=data,
        calibration_method="percentile",
    )  # fmt: skip
    artifact = result.bundle.artifact("tflite-int8")
    assert artifact.sha256 != made.bundle.artifact("tflite-int8").sha256
    assert artifact.provenance["calibration_method"] == "percentile"
    assert CalibrationRecord.load(tmp_path / "o").method == "percentile"
    with pytest.raises(UnknownNameError, match="did you mean 'entropy'"):
        convert(source, parse_recipes(["tflite-int8"]), tmp_path / "p", calibration_method="entrophy")


def test_what_is_kept_does_not_grow_with_the_inputs(frozen, calibration):
    few = dataclasses.replace(calibration, inputs=calibration.inputs[:5])
    records = [calibrate(frozen, data, "minmax") for data in (few, calibration)]
    shapes = [{n: v.shape for n, v in r.prints.values.items()} for r in records]
    assert shapes[0] == shapes[1]
    assert [len(r.prints.inputs) for r in records] == [4, 4]


def test_a_bias_is_part_of_its_convolution(frozen):
    operations = {node.name: node.op for node in frozen.graph_def.node}
    names = watched(frozen.graph_def)
    assert names[0] == "input"
    assert not [n for n in names if operations[n] in ("Conv2D", "DepthwiseConv2dNative", "Const")]
    assert sum(operations[n] == "BiasAdd" for n in names) == 5


def test_images_of_one_colour_are_warned_of(source, tmp_path):
    plain = np.ones((6, 32, 32, 3), np.float32) * np.linspace(-1, 1, 6, dtype=np.float32)[:, None, None, None]
    result = convert(source, parse_recipes(["onnx-int8"]), tmp_path / "o", calibration=from_array(plain))
    told = [w.split(":")[0] for w in result.warnings]
    assert told[0] == "6 of 6 calibration inputs are of one colour"
    assert result.to_json()["warnings"] == list(result.warnings)


def test_collapsed_layers_are_named(frozen):
    record = calibrate(frozen, from_array(np.zeros((3, 32, 32, 3), np.float32)), "minmax")
    assert record.one_colour == 3
    assert record.flat[0] == "input"
    assert len(record.flat) > 1
    warning = record.warnings()[1]
    assert "ranges collapsed" in warning
    assert record.flat[1] in warning
    kept = calibrate(frozen, from_array(np.random.default_rng(0).normal(size=(3, 32, 32, 3))), "minmax")
    assert kept.warnings() == ()
