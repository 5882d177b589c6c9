"""ONNX networks that nobody here wrote: each becomes every format, near to ONNX Runtime on the original."""

from pathlib import Path

import numpy as np
import pytest

from edgekit.convert import convert
from edgekit.recipe import parse_recipes
from edgekit.source import load_source
from edgekit.source.trace import to_function
from edgekit.source.types import run_each

pytestmark = pytest.mark.convert


@pytest.fixture(scope="module")
def light(onnx):
    """Return one of the networks inside the onnx package; their weights are made by ConstantOfShape."""
    folder = Path(onnx.__file__).parent / "backend/test/data/light"

    def find(name):
        path = folder / f"light_{name}.onnx"
        if not path.is_file():
            pytest.skip(f"this onnx has no {path.name}")
        return path

    return find


def expected(onnx, path):
    tensor = onnx.TensorProto()
    tensor.ParseFromString(path.with_name(f"{path.stem}_output_0.pb").read_bytes())
    return onnx.numpy_helper.to_array(tensor)


def held(result, *recipes):
    """Return the parity of each artifact by recipe."""
    assert [str(f.error) for f in result.failed] == []
    parity = {a.recipe: a.parity for a in result.bundle.artifacts}
    assert set(parity) == set(recipes)
    return parity


@pytest.mark.parametrize(("name", "exact"), [("squeezenet", 26), ("shufflenet", 49)])
def test_a_light_network_converts(light, onnx, name, exact, tmp_path):
    path = light(name)
    source = load_source(str(path))
    assert source.kind == "onnx"
    assert source.input.layout == "NCHW"
    convolutions = [n for n in source.graph.nodes.values() if n.op in ("Conv2D", "DepthwiseConv2dNative")]
    assert len(convolutions) == exact
    recipes = ("tflite-fp32", "onnx-fp32")
    result = convert(source, parse_recipes(recipes), tmp_path / "bundle")
    for parity in held(result, *recipes).values():
        assert parity.snr_db >= 60.0
    bundle = result.bundle
    assert bundle.golden_arrays()[0].shape == (8, 3, 224, 224)
    assert {a.inputs[0].layout for a in bundle.artifacts} == {"NCHW"}
    assert {a.inputs[0].shape for a in bundle.artifacts} == {(1, 3, 224, 224)}
    outputs = source.reference(np.ones((1, 3, 224, 224), np.float32))
    np.testing.assert_allclose(outputs, expected(onnx, path), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["inception_v1", "densenet121"])
def test_a_light_network_is_carried_over(light, onnx, name):
    path = light(name)
    source = load_source(str(path))
    graph = to_function(source.graph.to_graph_def())
    outputs = run_each(graph, np.ones((1, 3, 224, 224), np.float32))
    np.testing.assert_allclose(outputs, expected(onnx, path), rtol=1e-4, atol=1e-6)


def test_an_onnx_artifact_is_the_users_own_network(light, onnx, tmp_path):
    path = light("squeezenet")
    result = convert(load_source(str(path)), parse_recipes(["onnx-fp32", "onnx-fp16"]), tmp_path / "bundle")
    held(result, "onnx-fp32", "onnx-fp16")
    artifact = result.bundle.artifacts[0]
    given, made = onnx.load(path), onnx.load(result.bundle.path_of(artifact))
    assert [n.op_type for n in made.graph.node] == [n.op_type for n in given.graph.node]
    assert [n.output for n in made.graph.node] == [n.output for n in given.graph.node]
    assert artifact.inputs[0].name == "data_0"
    assert artifact.provenance["opset"] == "9"
    onnx.checker.check_model(made, full_check=True)


def test_a_network_of_an_old_opset_is_quantized(one_node, onnx, tmp_path):
    from edgekit.convert.onnx_given import opset_of, quantizable

    weights = np.random.default_rng(2).normal(size=(8, 3, 3, 3)).astype(np.float32)
    nodes = (("Conv", "x w", "c", {}), ("Relu", "c", "r", {}), ("GlobalAveragePool", "r", "y", {}))
    proto = onnx.load(one_node([1, 3, 8, 8], *nodes, arrays={"w": weights}, opset=9))
    assert opset_of(proto) == 9
    assert opset_of(quantizable(proto)) == 17
    newer = quantizable(quantizable(proto))
    assert opset_of(newer) == 17


def test_the_same_network_has_the_same_identity_and_bytes(light, tmp_path):
    shas = []
    for place in ("one", "two"):
        source = load_source(str(light("squeezenet")))
        recipes = parse_recipes(["tflite-fp32", "onnx-fp32"])
        bundle = convert(source, recipes, tmp_path / place).bundle
        shas.append((source.sha256, [a.sha256 for a in bundle.artifacts]))
    assert shas[0] == shas[1]
