"""Core ML artifacts are proved like the others: at convert, at verify, on images, and refused when wrong."""

from __future__ import annotations

import gc
import json
import shutil

import numpy as np
import pytest

from edgekit.artifact import digest
from edgekit.bundle import MANIFEST, Bundle
from edgekit.convert import convert, coreml
from edgekit.convert.mil.evaluate import load, read_spec
from edgekit.convert.verify import verify_bundle
from edgekit.errors import ParityError
from edgekit.recipe import parse_recipes
from edgekit.source.quiet import quiet

pytestmark = pytest.mark.convert
CORE_ML = ("coreml-fp32", "coreml-fp16")


def spoil_weights(path):
    """Give the last layer its inputs in the opposite order."""
    function = read_spec(path).mlProgram.functions["main"]
    block = function.block_specializations[function.opset]
    last = [o for o in block.operations if o.type in {"conv", "matmul"}][-1]
    name = last.inputs["weight" if last.type == "conv" else "y"].arguments[0].name
    const = next(o for o in block.operations if o.outputs[0].name == name)
    weights = next(path.rglob("weight.bin"))
    content = bytearray(weights.read_bytes())
    begin = int(np.frombuffer(content, np.uint64, 1, const.attributes["val"].blobFileValue.offset + 16)[0])
    shape = load(path).constants[name].shape
    dtype = np.float16 if const.outputs[0].type.tensorType.dataType == 10 else np.float32
    held = np.frombuffer(content, dtype, int(np.prod(shape)), begin).reshape(shape)
    held[:] = held[::-1].copy()
    weights.write_bytes(content)


def rename_softmax(path):
    spec = read_spec(path)
    function = spec.mlProgram.functions["main"]
    operations = function.block_specializations[function.opset].operations
    next(o for o in operations if o.type == "softmax").type = "surprise"
    next(path.rglob("*.mlmodel")).write_bytes(spec.SerializeToString())


@pytest.mark.parametrize("recipe", CORE_ML)
def test_outputs_alone_refuse_a_wrong_package(recipe, source, tmp_path, monkeypatch):
    """The structure's check is switched off, and the package spoiled as it is written."""
    settled = coreml.settle

    def settle_and_spoil(path):
        spec = settled(path)
        spoil_weights(path)
        return spec

    monkeypatch.setattr(coreml, "settle", settle_and_spoil)
    monkeypatch.setattr(coreml.CoremlConverter, "inspect", lambda *_: "nothing")
    result = convert(source, parse_recipes([recipe]), tmp_path / "out")
    assert [f.recipe for f in result.failed] == [recipe]
    assert isinstance(result.failed[0].error, ParityError)
    assert "dB signal to error" in str(result.failed[0].error)
    assert result.bundle is None
    assert not list(tmp_path.rglob("*.mlpackage"))


@pytest.mark.parametrize("recipe", CORE_ML)
def test_the_structure_alone_refuses_it_too(recipe, source, tmp_path, monkeypatch):
    settled = coreml.settle

    def settle_and_spoil(path):
        spec = settled(path)
        spoil_weights(path)
        return spec

    monkeypatch.setattr(coreml, "settle", settle_and_spoil)
    result = convert(source, parse_recipes([recipe]), tmp_path / "out")
    assert "lacks the weight" in str(result.failed[0].error)


def test_half_floats_are_further_from_the_source_than_floats(made):
    full, half = (made.bundle.artifact(name).parity for name in CORE_ML)
    assert full.snr_db > 80
    assert 30 < half.snr_db < 70
    assert half.max_abs_error > 10 * full.max_abs_error
    assert full.top1_agreement == 1.0
    for name in CORE_ML:
        theirs = made.bundle.artifact(name.replace("coreml", "onnx")).parity
        assert abs(made.bundle.artifact(name).parity.snr_db - theirs.snr_db) < 25, (
            "near what ONNX Runtime gives"
        )


@pytest.fixture
def spoiled(made, tmp_path):
    """A bundle whose Core ML package was changed, with the manifest's sha256 changed to fit."""

    def spoil(recipe, change):
        root = shutil.copytree(made.bundle.root, tmp_path / "copy")
        bundle = Bundle.load(root)
        path = bundle.path_of(bundle.artifact(recipe))
        change(path)
        manifest = json.loads((root / MANIFEST).read_text())
        for artifact in manifest["artifacts"]:
            if artifact["recipe"] == recipe:
                artifact["sha256"], artifact["size_bytes"] = digest(path)
        (root / MANIFEST).write_text(json.dumps(manifest))
        return Bundle.load(root)

    return spoil


def test_verify_names_an_operation_that_can_not_be_evaluated(spoiled, pictures, tmp_path):
    bundle = spoiled("coreml-fp16", rename_softmax)
    for index, label in enumerate(("ant", "bee", "cat")):
        shutil.copytree(pictures / label, tmp_path / "images" / f"class {index}")
    rows = {row.recipe: row for row in verify_bundle(bundle, images=tmp_path / "images", limit=3)}
    row = rows["coreml-fp16"]
    assert "can't be evaluated here: op 'surprise'" in row.problem
    assert row.files
    assert not row.ok
    assert row.parity is row.accuracy is None
    assert rows["coreml-fp32"].ok
    assert rows["coreml-fp32"].accuracy.count == 3


def test_verify_finds_wrong_outputs_behind_right_bytes(spoiled):
    bundle = spoiled("coreml-fp32", spoil_weights)
    rows = {row.recipe: row for row in verify_bundle(bundle)}
    assert "coreml-fp32 differs from its source" in rows["coreml-fp32"].problem
    assert [name for name, row in rows.items() if not row.ok] == ["coreml-fp32"]


def test_every_row_says_what_the_numbers_leave_open(made):
    rows = {row.recipe: row for row in verify_bundle(made.bundle)}
    for name, row in rows.items():
        core_ml = name.startswith("coreml")
        assert row.parity is not None
        assert (row.note == "evaluated op by op, not by Core ML") == core_ml
        assert row.cells()[-1] == (row.note or "ok")
        assert ("op by op, not by Core ML" in made.bundle.artifact(name).provenance["proof"]) == core_ml


def test_sums_are_kept_in_float32_and_stored_in_float16(tmp_path):
    """5,000 ones: a sum kept in half floats would stop at 2,048; a result of 5,001 is rounded to 5,000."""
    coremltools = pytest.importorskip("coremltools", reason="the convert extra is not installed")
    from coremltools.converters.mil.mil import Builder, types

    spec = [Builder.TensorSpec(shape=(1, 5001, 1, 1), dtype=types.fp16)]

    @Builder.program(input_specs=spec, opset_version=coremltools.target.iOS16)
    def program(x):
        few = Builder.slice_by_size(x=x, begin=[0, 0, 0, 0], size=[1, 5000, 1, 1])
        exact = Builder.conv(x=few, weight=np.ones((1, 5000, 1, 1), np.float16))
        rounded = Builder.conv(x=x, weight=np.ones((1, 5001, 1, 1), np.float16))
        total = Builder.reduce_sum(x=x, axes=[1], keep_dims=True)
        return Builder.concat(values=[exact, rounded, total], axis=1, name="y")

    with quiet():
        coremltools.convert(
            program, convert_to="mlprogram", minimum_deployment_target=coremltools.target.iOS16,
            pass_pipeline=coremltools.PassPipeline.EMPTY, skip_model_load=True,
            outputs=[coremltools.TensorType(dtype=np.float16)],
        ).save(str(tmp_path / "sums.mlpackage"))  # fmt: skip
        gc.collect()  # coremltools leaves its temporary folders to the collector, which warns
    found = load(tmp_path / "sums.mlpackage").run({"x": np.ones((1, 5001, 1, 1), np.float32)})
    assert next(iter(found.values())).ravel().tolist() == [5000, 5000, 5000]
