"""What every converter keeps, over every recipe."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgekit.artifact import Artifact, digest
from edgekit.bundle import Bundle
from edgekit.convert import CONVERTERS, Step, convert
from edgekit.convert.verify import BARS
from edgekit.errors import ConversionError, UsageError
from edgekit.recipe import PRECISIONS, Recipe, parse_recipes, recipe_names
from edgekit.source import freeze

pytestmark = pytest.mark.convert
LOSSY = ("w8u8", "w8a16", "dyn8", "w8")


def test_there_is_a_converter_for_every_format():
    assert set(PRECISIONS) <= set(CONVERTERS)


@pytest.mark.parametrize("recipe", recipe_names())
def test_the_artifact_takes_and_gives_what_the_source_does(recipe, made, source):
    artifact = made.bundle.artifact(recipe)
    assert artifact.inputs[0].shape == source.inputs[0].shape
    assert artifact.inputs[0].layout == "NHWC"
    assert artifact.outputs[0].shape == source.outputs[0].shape
    quantized = recipe == "tflite-int8"
    for tensor in (*artifact.inputs, *artifact.outputs):
        assert tensor.dtype == ("int8" if quantized else "float32")
        assert (tensor.scale is not None) == quantized


@pytest.mark.parametrize("recipe", recipe_names())
def test_the_file_is_what_the_manifest_says(recipe, made):
    artifact = made.bundle.artifact(recipe)
    path = made.bundle.path_of(artifact)
    assert digest(path) == (artifact.sha256, artifact.size_bytes)
    assert path.name == recipe + CONVERTERS.get(artifact.format).suffix


@pytest.mark.parametrize("recipe", recipe_names())
def test_it_is_within_its_bar(recipe, made):
    artifact = made.bundle.artifact(recipe)
    assert artifact.parity is not None
    assert artifact.parity.snr_db >= BARS[artifact.precision].snr_db
    assert artifact.parity.top1_agreement >= BARS[artifact.precision].top1_agreement
    assert artifact.parity.max_abs_error < {"fp32": 1e-5, "fp16": 1e-2}.get(artifact.precision, 0.2)


@pytest.mark.parametrize("recipe", ["coreml-fp32", "coreml-fp16"])
def test_core_ml_says_that_it_was_not_run(recipe, made):
    proof = made.bundle.artifact(recipe).provenance["proof"]
    assert proof == "structure and weights checked, program evaluated op by op, not by Core ML"


@pytest.mark.parametrize("recipe", recipe_names())
def test_the_same_input_gives_the_same_bytes(recipe, made, source, calibration, tmp_path):
    again = convert(source, [Recipe.parse(recipe)], tmp_path / "again", calibration=calibration)
    assert not again.failed
    assert again.bundle.artifact(recipe).sha256 == made.bundle.artifact(recipe).sha256


@pytest.mark.parametrize("recipe", recipe_names())
def test_the_sidecar_round_trips(recipe, made):
    artifact = Bundle.load(made.bundle.root).artifact(recipe)
    assert Artifact.from_json(json.loads(json.dumps(artifact.to_json()))) == artifact
    assert artifact.to_json() == made.bundle.artifact(recipe).to_json()


@pytest.mark.parametrize("recipe", recipe_names())
def test_provenance_names_source_versions_and_data(recipe, made, source, calibration):
    provenance = made.bundle.artifact(recipe).provenance
    assert provenance["source_sha256"] == source.sha256
    assert provenance["calibration_sha256"] == calibration.sha256
    assert "edgekit" in provenance
    assert any(library in provenance for library in CONVERTERS.get(recipe.partition("-")[0]).libraries)


@pytest.mark.parametrize("recipe", [n for n in recipe_names() if Recipe.parse(n).needs_calibration])
def test_ranges_without_calibration_is_refused_before_any_work(recipe, source, tmp_path):
    steps: list[Step] = []
    with pytest.raises(UsageError, match=f"{recipe} needs calibration data"):
        convert(source, [Recipe.parse(recipe)], tmp_path / "out", on_step=steps.append)
    assert not steps
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("recipe", recipe_names())
def test_a_failure_leaves_no_file(recipe, source, calibration, tmp_path, monkeypatch):
    def fail(*_: object) -> str:
        raise ConversionError("broken on purpose")

    monkeypatch.setattr(type(CONVERTERS.get(recipe.partition("-")[0])), "inspect", fail)
    result = convert(source, [Recipe.parse(recipe)], tmp_path / "out", calibration=calibration)
    assert [(f.recipe, str(f.error)) for f in result.failed] == [(recipe, "broken on purpose")]
    assert result.bundle is None
    assert not list(tmp_path.iterdir())


def test_all_int8_tensors_of_tflite_are_integers(made):
    from edgekit.convert.tflite_run import float_tensors, open_interpreter

    content = made.bundle.path_of(made.bundle.artifact("tflite-int8")).read_bytes()
    assert float_tensors(content) == []
    details = open_interpreter(content).get_tensor_details()
    assert {np.dtype(d["dtype"]).name for d in details} <= {"int8", "int32"}
    per_channel = [
        d for d in details if len(d["quantization_parameters"]["scales"]) > 1 and d["dtype"] == np.int8
    ]
    assert len(per_channel) == 5  # four convolutions and the dense layer
    assert all(not d["quantization_parameters"]["zero_points"].any() for d in per_channel)


def kinds(made, recipe):
    """Return the dtypes that a .tflite file's tensors have, by name."""
    from edgekit.convert.tflite_run import open_interpreter

    content = made.bundle.path_of(made.bundle.artifact(recipe)).read_bytes()
    return {d["name"]: np.dtype(d["dtype"]).name for d in open_interpreter(content).get_tensor_details()}


def test_16_bit_activations_are_integers_between_float_ends(made):
    found = kinds(made, "tflite-w8a16")
    artifact = made.bundle.artifact("tflite-w8a16")
    floats = {name for name, kind in found.items() if kind == "float32"}
    assert floats == {artifact.inputs[0].name, artifact.outputs[0].name}
    assert sorted(found.values()).count("int8") == 5  # the weights
    assert sorted(found.values()).count("int16") >= 6
    assert artifact.parity.snr_db >= made.bundle.artifact("tflite-int8").parity.snr_db


@pytest.mark.parametrize("recipe", ["tflite-dyn8", "tflite-w8"])
def test_weights_alone_are_in_8_bits(recipe, made):
    found = kinds(made, recipe)
    assert list(found.values()).count("int8") >= 4
    assert made.bundle.artifact(recipe).parity.snr_db > 20


def test_unsigned_activations_are_the_signed_grids_moved(made):
    onnx = pytest.importorskip("onnx")
    grids = {}
    for recipe in ("onnx-int8", "onnx-w8u8"):
        graph = onnx.load(made.bundle.path_of(made.bundle.artifact(recipe))).graph
        held = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
        nodes = [n for n in graph.node if n.op_type == "QuantizeLinear"]
        grids[recipe] = [(float(held[n.input[1]]), int(held[n.input[2]])) for n in nodes]
        assert {held[n.input[2]].dtype.name for n in nodes} == {"int8" if recipe == "onnx-int8" else "uint8"}
    assert [(s, z + 128) for s, z in grids["onnx-int8"]] == grids["onnx-w8u8"]


def test_dynamic_onnx_has_integer_operations_and_float_depthwise_convolutions(made):
    onnx = pytest.importorskip("onnx")
    from edgekit.convert.onnx_quantize import depthwise

    graph = onnx.load(made.bundle.path_of(made.bundle.artifact("onnx-dyn8"))).graph
    operations = [node.op_type for node in graph.node]
    assert operations.count("ConvInteger") == 2
    assert operations.count("MatMulInteger") == 1
    assert len(depthwise(graph)) == operations.count("Conv") == 2


@pytest.mark.parametrize("recipe", [n for n in recipe_names() if n.rpartition("-")[2] in LOSSY])
def test_a_network_without_weights_is_refused_or_right(recipe, keras, calibration, tmp_path):
    from edgekit.source import load_source

    inputs = keras.layers.Input((32, 32, 3))
    keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs)).save(tmp_path / "bare.keras")
    bare = load_source(str(tmp_path / "bare.keras"))
    result = convert(bare, [Recipe.parse(recipe)], tmp_path / "out", calibration=calibration)
    if recipe.startswith("tflite"):
        assert "no weights" in str(result.failed[0].error)
    else:
        assert not result.failed


def test_fp16_files_are_about_half_as_large(keras, tmp_path):
    from edgekit.source import load_source

    inputs = keras.layers.Input((8, 8, 64))
    outputs = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(256, 3)(inputs))
    keras.Model(inputs, outputs).save(tmp_path / "wide.keras")
    wide = load_source(str(tmp_path / "wide.keras"))
    names = [f"{format_}-{p}" for format_ in PRECISIONS for p in ("fp32", "fp16")]
    bundle = convert(wide, parse_recipes(names), tmp_path / "out").bundle
    for format_ in PRECISIONS:
        sizes = [bundle.artifact(f"{format_}-{p}").size_bytes for p in ("fp32", "fp16")]
        assert 0.45 < sizes[1] / sizes[0] < 0.6


def test_onnx_int8_has_weights_per_channel_and_no_float_convolution(made):
    onnx = pytest.importorskip("onnx")
    proto = onnx.load(made.bundle.path_of(made.bundle.artifact("onnx-int8")))
    weights = {t.name: t for t in proto.graph.initializer}
    convolutions = [n for n in proto.graph.node if n.op_type == "Conv"]
    readers = {out: node for node in proto.graph.node for out in node.output}
    assert len(convolutions) == 4
    for node in convolutions:
        dequantize = readers[node.input[1]]
        assert weights[dequantize.input[0]].data_type == onnx.TensorProto.INT8
        assert weights[dequantize.input[1]].dims[0] == weights[dequantize.input[0]].dims[0]
        assert readers[node.input[0]].op_type == "DequantizeLinear"


def test_an_operation_that_a_format_lacks_is_named(tmp_path):
    tf = pytest.importorskip("tensorflow")
    from edgekit.source import load_source

    class Odd(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 3), tf.float32)])
        def __call__(self, image):
            return tf.math.igamma(tf.abs(image) + 1.0, tf.abs(image))

    tf.saved_model.save(Odd(), str(tmp_path / "odd"))
    odd = load_source(str(tmp_path / "odd"))
    result = convert(odd, parse_recipes(["tflite-fp32", "onnx-fp32", "coreml-fp32"]), tmp_path / "out")
    assert [f.recipe for f in result.failed] == ["tflite-fp32", "onnx-fp32", "coreml-fp32"]
    for failure in result.failed:
        assert "igamma" in str(failure.error).lower()
        assert "\n" not in str(failure.error)


def test_converting_in_another_process_gives_the_same_bytes(made, tiny_file, tmp_path):
    """tf2onnx and Core ML number things on as long as a process lives; a fresh one starts anew."""
    import subprocess
    import sys

    script = (
        "import sys; from pathlib import Path; from edgekit.convert import convert;"
        "from edgekit.source.lean import own_process; own_process();"
        "from edgekit.recipe import parse_recipes; from edgekit.source import load_source;"
        "r = convert(load_source(sys.argv[1]), parse_recipes(sys.argv[3:]), Path(sys.argv[2]));"
        "print(*(a.sha256 for a in r.bundle.artifacts))"
    )
    names = ["tflite-fp32", "onnx-fp32", "coreml-fp32"]
    command = [sys.executable, "-c", script, str(tiny_file), str(tmp_path / "out"), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == [made.bundle.artifact(name).sha256 for name in names]
    assert done.stderr == ""


def test_the_frozen_graph_is_made_once_for_all_recipes(source, tmp_path, monkeypatch):
    calls = []

    def counted(given):
        calls.append(given)
        return freeze(given)

    monkeypatch.setattr("edgekit.convert.pipeline.freeze", counted)
    convert(source, parse_recipes(["tflite-fp32", "tflite-fp16", "onnx-fp32"]), tmp_path / "out")
    assert calls == [source]
