"""Bundles small enough to be written in a millisecond; their artifacts are no real ones."""

import hashlib

import numpy as np
import pytest

from edgekit.artifact import Artifact, Parity, TensorSpec, digest
from edgekit.bundle import Bundle, Golden, SourceRecord
from edgekit.runners.transport import open_transport
from edgekit.store import Store
from edgekit.targets import Device

COUNT = 4


@pytest.fixture
def make_bundle(tmp_path):
    """Return a maker of bundles: recipes -> a bundle on the disk, with what is given put in."""

    def make(*recipes, name="bundle", inputs=None, outputs=None, content=None, parity=0.001):
        root = tmp_path / name
        (root / "artifacts").mkdir(parents=True)
        (root / "golden").mkdir()
        rng = np.random.default_rng(7)
        given = rng.random((COUNT, 8, 8, 3), dtype=np.float32) if inputs is None else inputs
        wanted = rng.random((len(given), 10), dtype=np.float32) if outputs is None else outputs
        np.save(root / "golden/inputs.npy", given)
        np.save(root / "golden/outputs.npy", wanted)
        artifacts = []
        for recipe in recipes or ("tflite-fp32", "onnx-int8", "coreml-fp32"):
            format_, precision = recipe.split("-")
            suffix = {"coreml": "mlpackage"}.get(format_, format_)
            path = root / f"artifacts/{recipe}.{suffix}"
            path.write_bytes((content or {}).get(recipe, f"the artifact {recipe}".encode()))
            shape = (1, 3, 8, 8) if format_ == "onnx" else (1, 8, 8, 3)
            artifacts.append(
                Artifact(
                    recipe=recipe,
                    format=format_,
                    precision=precision,
                    path=f"artifacts/{path.name}",
                    sha256=digest(path)[0],
                    size_bytes=path.stat().st_size,
                    inputs=(TensorSpec(name="in", shape=shape, dtype="float32"),),
                    outputs=(TensorSpec(name="out", shape=(1, 10), dtype="float32"),),
                    parity=None
                    if parity is None
                    else Parity(max_abs_error=parity, snr_db=60, top1_agreement=1),
                )
            )
        bundle = Bundle(
            root=root,
            source=SourceRecord(name="mobilenet_v2", kind="zoo", sha256="0" * 64, parameters=1),
            artifacts=tuple(artifacts),
            golden=Golden(
                inputs="golden/inputs.npy",
                outputs="golden/outputs.npy",
                inputs_sha256=hashlib.sha256((root / "golden/inputs.npy").read_bytes()).hexdigest(),
                outputs_sha256=hashlib.sha256((root / "golden/outputs.npy").read_bytes()).hexdigest(),
                count=len(given),
                origin="seeded noise",
            ),
        )
        bundle.save()
        return bundle

    return make


@pytest.fixture
def device(tmp_path, monkeypatch):
    """This machine as a device, with EdgeKit's folder in a place of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with open_transport(Device.parse("local://")) as transport:
        yield transport


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "runs.sqlite") as opened:
        yield opened


@pytest.fixture
def need_wheels():
    """Return a check that skips a test where a runtime's wheels are not kept here and can't be downloaded."""

    def check(result):
        for failure in result.failed:
            if "download" in failure.error:
                pytest.skip(failure.error)

    return check


def tiny_onnx(path):
    """Write global average pooling, a matrix and softmax: 1 x 3 x 8 x 8 -> 1 x 10; return it in numpy."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(5).normal(0, 8, (3, 10)).astype(np.float32)
    nodes = [
        helper.make_node("GlobalAveragePool", ["in"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["out"]),
    ]
    made = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 10])],
        [numpy_helper.from_array(weights, "weights")],
    )
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)

    def compute(inputs):
        scores = np.exp(inputs.mean(axis=(1, 2)) @ weights)
        return (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)

    return compute


@pytest.fixture
def real_bundle(make_bundle, tmp_path):
    """Return a maker of bundles whose one artifact is a real ONNX network; `shift` falsifies its source."""

    def make(shift=0.0):
        compute = tiny_onnx(tmp_path / "tiny.onnx")
        inputs = np.random.default_rng(9).random((4, 8, 8, 3), dtype=np.float32)
        inputs *= np.linspace(0.1, 1, 12, dtype=np.float32).reshape(4, 1, 1, 3)
        content = {"onnx-fp32": (tmp_path / "tiny.onnx").read_bytes()}
        outputs = compute(inputs) + np.float32(shift)
        return make_bundle("onnx-fp32", inputs=inputs, outputs=outputs, content=content, parity=1e-6)

    return make
