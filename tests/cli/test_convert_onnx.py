"""An ONNX file through the commands: photos in its own layout, every format, verified and benched."""

import json

import numpy as np
import pytest

from edgekit.bundle import Bundle
from edgekit.convert.images import find_images, read_images
from edgekit.convert.preprocess import preprocessing_preset
from edgekit.source import load_source

pytestmark = pytest.mark.convert
RECIPES = ("tflite-fp32", "tflite-int8", "onnx-fp32", "onnx-int8")
RANDOM = np.random.default_rng(4)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A network that takes NCHW, with an open batch and an open size, and photos for it."""
    onnx = pytest.importorskip("onnx", reason="the convert extra is not installed")
    image = pytest.importorskip("PIL.Image", reason="the convert extra is not installed")
    folder = tmp_path_factory.mktemp("onnx")
    arrays = {
        "w": RANDOM.normal(size=(8, 3, 3, 3)), "d": RANDOM.normal(size=(8, 1, 3, 3)),
        "t": RANDOM.normal(size=(8, 5)), "b": RANDOM.normal(size=5),
    }  # fmt: skip
    node = onnx.helper.make_node
    nodes = [
        node("Conv", ["x", "w"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Relu", ["a"], ["c"]),
        node("Conv", ["c", "d"], ["e"], group=8, pads=[1, 1, 1, 1]),
        node("GlobalAveragePool", ["e"], ["f"]),
        node("Flatten", ["f"], ["g"]),
        node("Gemm", ["g", "t", "b"], ["y"]),
    ]
    graph = onnx.helper.make_graph(
        nodes, "net",
        [onnx.helper.make_tensor_value_info("x", 1, ["n", 3, "h", "w_"])],
        [onnx.helper.make_tensor_value_info("y", 1, ["n", 5])],
        [onnx.numpy_helper.from_array(a.astype(np.float32), k) for k, a in arrays.items()],
    )  # fmt: skip
    opset = onnx.helper.make_opsetid("", 11)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8), folder / "net.onnx")
    (folder / "photos").mkdir()
    for number in range(20):
        pixels = RANDOM.integers(0, 256, size=(4, 5, 3), dtype=np.uint8)
        image.fromarray(pixels).resize((40, 36)).save(folder / "photos" / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def made(network, call):
    recipes = [word for name in RECIPES for word in ("-r", name)]
    code, out, err = call(
        "convert", network / "net.onnx", *recipes, "--input-shape", "1,3,32,24", "--preprocess", "unit",
        "--calibrate", network / "photos", "-o", network / "bundle", "--json",
    )  # fmt: skip
    assert code == 0, err
    return Bundle.load(network / "bundle"), json.loads(out)


def test_every_format_keeps_the_layout(made):
    bundle, document = made
    assert [a["recipe"] for a in document["artifacts"]] == list(RECIPES)
    assert {(a.inputs[0].layout, a.inputs[0].shape) for a in bundle.artifacts} == {("NCHW", (1, 3, 32, 24))}
    assert bundle.source.kind == "onnx"
    assert bundle.source.options["input_shape"] == "1,3,32,24"
    inputs, outputs = bundle.golden_arrays()
    assert inputs.shape == (16, 3, 32, 24)
    assert outputs.shape == (16, 5)
    assert inputs.min() >= 0.0
    assert inputs.max() <= 1.0


def test_floats_are_near_and_integers_are_not_lost(made):
    parity = {a.recipe: a.parity for a in made[0].artifacts}
    assert min(parity[r].snr_db for r in ("tflite-fp32", "onnx-fp32")) >= 60.0
    assert min(parity[r].snr_db for r in ("tflite-int8", "onnx-int8")) >= 15.0
    opsets = {a.recipe: a.provenance.get("opset") for a in made[0].artifacts}
    assert opsets["onnx-fp32"] == "11"


def test_verify_and_bench_take_it(made, call, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEKIT_STORE", str(tmp_path / "runs.sqlite"))
    code, out, err = call("verify", made[0].root, "--json")
    assert code == 0, err
    assert all(row["ok"] for row in json.loads(out)["artifacts"])
    code, out, err = call("bench", made[0].root, "--device", "local://", "--runs", 10, "--json")
    assert code == 0, err
    runs = json.loads(out)["runs"]
    assert len(runs) == len(RECIPES)
    assert all(run["parity"]["ok"] for run in runs)


def test_photos_are_classified_in_its_own_layout(made, network, call):
    source = load_source(str(network / "net.onnx"), input_shape=(1, 3, 32, 24))
    spec, photos = source.inputs[0], find_images(network / "photos")
    images = read_images(photos, spec, preprocessing_preset("unit"))
    classes = source.reference(images).argmax(axis=1)
    rows = [f"{path.name},{label}" for path, label in zip(photos, classes, strict=True)]
    (network / "labels.csv").write_text("\n".join(["file,label", *rows]))
    code, out, err = call(
        "verify", made[0].root, "--images", network / "photos", "--labels", network / "labels.csv", "--json"
    )
    assert code == 0, err
    found = {row["recipe"]: row["accuracy"] for row in json.loads(out)["artifacts"]}
    assert found["tflite-fp32"]["top1"] == 1.0
    assert found["onnx-fp32"]["top1"] == 1.0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "leaves its input's size open (1,3,?,?)"),
        (("--input-shape", "1,3,32"), "--input-shape 1,3,32 does not fit net.onnx, which fixes ?,3,?,?"),
        (("--input-shape", "big"), "--input-shape"),
        (("--resolution", "32", "--weights", "imagenet"), "brings its own weights"),
    ],
)
def test_what_stays_open_or_does_not_fit_is_said(network, call, tmp_path, words, said):
    code, out, err = call(
        "convert", network / "net.onnx", "-r", "onnx-fp32", *words, "-o", tmp_path / "bundle"
    )
    assert code == 2
    assert out == ""
    assert said in err
    assert not (tmp_path / "bundle").exists()
