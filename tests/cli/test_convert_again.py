"""Convert with the preprocessing built in; convert the same again."""

import json

import numpy as np
import pytest

from edgekit.bundle import Bundle

pytestmark = pytest.mark.convert
RECIPES = ("tflite-fp32", "tflite-int8", "onnx-int8")
WORDS = ("convert", "mobilenet_v1_0.25@32", "--classes", 10, *(w for name in RECIPES for w in ("-r", name)))
FUSED = "order=RGB scale=0.0078431373 mean=1 std=1"


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEKIT_STORE", str(tmp_path / "runs.sqlite"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Pictures of ten colours in folders named by their class."""
    image = pytest.importorskip("PIL.Image", reason="the convert extra is not installed")
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(1)
    for label in range(10):
        (folder / str(label)).mkdir()
        for number in range(2):
            pixels = generator.integers(0, 100, (40, 48, 3)) + generator.integers(0, 155, 3)
            image.fromarray(pixels.astype(np.uint8)).save(folder / str(label) / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def fused(call, photos, tmp_path_factory):
    """Return a bundle with its preprocessing built in, and what `convert --json` printed of it."""
    root = tmp_path_factory.mktemp("fused") / "bundle"
    words = (*WORDS, "--fuse-preprocessing", "--calibrate", photos, "-o", root)
    code, out, err = call(*words, "--json")
    assert code == 0, err
    return root, json.loads(out), words


def test_the_document_and_the_provenance_say_what_is_built_in(fused):
    root, document, _ = fused
    assert document["fused_preprocessing"] == FUSED
    assert {a["provenance"]["fused_preprocessing"] for a in document["artifacts"]} == {FUSED}
    bundle = Bundle.load(root)
    assert bundle.preprocessing.identity
    spec = bundle.artifact("tflite-int8").inputs[0]
    assert (spec.dtype, spec.scale, spec.zero_point) == ("int8", 1.0, -128)
    assert bundle.golden_arrays()[0].max() > 200


def test_a_fused_bundle_verifies_on_images(call, fused, photos):
    code, out, err = call("verify", fused[0], "--images", photos, "--json")
    assert code == 0, err
    rows = json.loads(out)["artifacts"]
    assert [row["recipe"] for row in rows] == list(RECIPES)
    assert all(row["ok"] and row["accuracy"]["count"] == 20 for row in rows)
    assert all(row["accuracy"]["agreement"] >= 0.7 for row in rows)


def test_a_fused_bundle_benches_and_is_proved_there(call, fused):
    code, out, err = call("bench", fused[0], "--device", "local://", "--runs", 60, "--json")
    assert code == 0, err
    assert [run["parity"]["ok"] for run in json.loads(out)["runs"]] == [True] * len(RECIPES)


def test_what_is_there_is_kept_and_said(call, fused):
    _, document, words = fused
    assert [a["made"] for a in document["artifacts"]] == [True] * len(RECIPES)
    assert document["kept"] == []
    code, out, err = call(*words)
    assert code == 0, err
    assert f"built in: {FUSED}" in err
    assert all(f"kept {name}" in err for name in RECIPES)
    assert "convert " not in err
    code, out, _ = call(*words, "--json")
    again = json.loads(out)
    assert (code, again["kept"]) == (0, list(RECIPES))
    assert [a["made"] for a in again["artifacts"]] == [False] * len(RECIPES)
    assert [a["sha256"] for a in again["artifacts"]] == [a["sha256"] for a in document["artifacts"]]


def test_it_is_made_again_when_asked_and_is_the_same(call, fused):
    _, document, words = fused
    code, out, _ = call(*words, "--remake", "--json")
    again = json.loads(out)
    assert (code, again["kept"]) == (0, [])
    assert [a["made"] for a in again["artifacts"]] == [True] * len(RECIPES)
    assert [a["sha256"] for a in again["artifacts"]] == [a["sha256"] for a in document["artifacts"]]


def test_a_bundle_is_not_half_fused(call, fused, photos):
    root = fused[0]
    code, _, err = call(*WORDS, "--calibrate", photos, "-o", root)
    assert code == 2
    assert f"have the preprocessing {FUSED} built in, this source no preprocessing" in err


def test_a_source_that_says_nothing_of_images_needs_a_name(call, one_conv, tmp_path):
    words = ("convert", one_conv, "-r", "onnx-fp32", "--fuse-preprocessing", "-o", tmp_path / "b")
    code, _, err = call(*words)
    assert code == 2
    assert "--preprocess signed" in err
    code, _, err = call(*words, "--preprocess", "imagenet-bgr")
    assert code == 0, err
    spec = Bundle.load(tmp_path / "b").artifacts[0].inputs[0]
    assert (spec.layout, spec.shape) == ("NCHW", (1, 3, 12, 12))


@pytest.fixture
def one_conv(tmp_path):
    onnx = pytest.importorskip("onnx", reason="the convert extra is not installed")
    weights = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        onnx.helper.make_node("GlobalAveragePool", ["c"], ["p"], name="pool"),
        onnx.helper.make_node("Flatten", ["p"], ["y"], name="flat"),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "net",
        [onnx.helper.make_tensor_value_info("x", 1, ["n", 3, 12, 12])],
        [onnx.helper.make_tensor_value_info("y", 1, ["n", 4])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(proto, tmp_path / "net.onnx")
    return tmp_path / "net.onnx"
