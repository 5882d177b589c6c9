"""Artifacts and bundles: written whole, read back the same, held against their sha256."""

import dataclasses
import json
import os

import numpy as np
import pytest

from edgekit.artifact import Artifact, Parity, TensorSpec, digest
from edgekit.bundle import MANIFEST, Bundle, Golden, Preprocessing, SourceRecord, write_atomic
from edgekit.errors import UnknownNameError, UsageError


def make_bundle(root):
    """A bundle of one file that is no network; nothing here runs it."""
    (root / "artifacts").mkdir(parents=True)
    (root / "golden").mkdir()
    (root / "artifacts" / "onnx-fp32.onnx").write_bytes(b"weights" * 100)
    np.save(root / "golden" / "inputs.npy", np.zeros((2, 4, 4, 3), np.float32))
    np.save(root / "golden" / "outputs.npy", np.eye(2, dtype=np.float32))
    (root / "labels.txt").write_text("cat\ndog\n")
    sha256, size = digest(root / "artifacts" / "onnx-fp32.onnx")
    artifact = Artifact(
        recipe="onnx-fp32", format="onnx", precision="fp32", path="artifacts/onnx-fp32.onnx",
        sha256=sha256, size_bytes=size,
        inputs=(TensorSpec(name="input", shape=(1, 4, 4, 3), dtype="float32", layout="NHWC"),),
        outputs=(TensorSpec(name="out", shape=(1, 2), dtype="int8", scale=0.5, zero_point=-3),),
        parity=Parity(max_abs_error=1e-6, snr_db=120.0, top1_agreement=1.0),
        provenance={"onnx": "1"},
    )  # fmt: skip
    bundle = Bundle(
        root=root,
        source=SourceRecord(name="toy", kind="keras", sha256="0" * 64, parameters=10, options={"seed": "0"}),
        artifacts=(artifact,),
        golden=Golden(
            inputs="golden/inputs.npy", outputs="golden/outputs.npy",
            inputs_sha256=digest(root / "golden/inputs.npy")[0],
            outputs_sha256=digest(root / "golden/outputs.npy")[0], count=2, origin="seeded noise",
        ),
        preprocessing=Preprocessing(scale=1 / 127.5, mean=(1.0,)),
        labels="labels.txt",
    )  # fmt: skip
    bundle.save()
    return bundle


@pytest.fixture
def bundle(tmp_path):
    return make_bundle(tmp_path / "b")


def edit(bundle, change):
    """Change the manifest as a stranger would."""
    path = bundle.root / MANIFEST
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def test_a_bundle_goes_there_and_back(bundle):
    again = Bundle.load(bundle.root)
    assert again == bundle
    again.check()
    inputs, outputs = again.golden_arrays()
    assert inputs.shape == (2, 4, 4, 3)
    assert outputs.tolist() == [[1, 0], [0, 1]]
    assert again.label_names() == ["cat", "dog"]
    assert again.path_of(again.artifact("onnx-fp32")).is_file()


def test_an_unknown_recipe_names_the_nearest(bundle):
    with pytest.raises(UnknownNameError, match="did you mean 'onnx-fp32'"):
        bundle.artifact("onnx-fp31")


@pytest.mark.parametrize("name", ["artifacts/onnx-fp32.onnx", "golden/inputs.npy", "golden/outputs.npy"])
@pytest.mark.parametrize("damage", ["changed", "truncated", "gone"])
def test_a_damaged_file_is_named(bundle, name, damage):
    path = bundle.root / name
    whole = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(whole[:-3] if damage == "truncated" else whole[:-1] + b"\xff")
    with pytest.raises(UsageError, match="is missing" if damage == "gone" else "has changed") as caught:
        Bundle.load(bundle.root).check()
    assert path.name in str(caught.value)
    assert "convert again" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.update(artefacts=[]), "did you mean 'artifacts'"),
        (lambda d: d["source"].update(nam="x"), "did you mean 'name'"),
        (lambda d: d.pop("golden"), "golden"),
        (lambda d: d["artifacts"][0].pop("sha256"), "lacks the key 'sha256'"),
        (lambda d: d["artifacts"][0]["inputs"][0].update(dtype="float33"), "did you mean 'float32'"),
        (lambda d: d["artifacts"][0]["inputs"][0].update(shape=[1, 0]), "give every dimension"),
        (lambda d: d["artifacts"][0].update(path="../../etc/passwd"), "outside the bundle"),
        (lambda d: d["golden"].update(inputs="/etc/passwd"), "outside the bundle"),
        (lambda d: d.update(labels="../secret"), "outside the bundle"),
        (lambda d: d.update(schema=99), "schema 99"),
        (lambda d: d.update(source=[1]), "should be a table"),
        (lambda d: d.update(artifacts=3), "artifacts"),
        (lambda d: d["preprocessing"].update(std=[0]), "std of 0"),
        (lambda d: d["preprocessing"].update(order="RGBA"), "did you mean 'RGB'"),
    ],
)
def test_a_manifest_that_lies_is_refused_in_one_line(bundle, change, said):
    edit(bundle, change)
    with pytest.raises(UsageError, match=said) as caught:
        Bundle.load(bundle.root)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema"', "\x00"])
def test_a_truncated_manifest_is_refused(bundle, text):
    (bundle.root / MANIFEST).write_text(text)
    with pytest.raises(UsageError, match=r"can't be read|holds no table"):
        Bundle.load(bundle.root)


def test_a_folder_that_is_no_bundle_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"not a bundle.*edgekit convert"):
        Bundle.load(tmp_path)


def test_a_pickle_in_golden_inputs_is_not_opened(bundle, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "opened"),)

    np.save(bundle.root / "golden/inputs.npy", np.array([Evil()], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="pickle"):
        bundle.golden_arrays()
    assert not (tmp_path / "opened").exists()


def test_a_packages_sha256_is_that_of_all_its_files(tmp_path):
    package = tmp_path / "p"
    (package / "data").mkdir(parents=True)
    (package / "a").write_bytes(b"1")
    (package / "data" / "b").write_bytes(b"22")
    first = digest(package)
    assert first[1] == 3
    (package / "a").rename(package / "c")
    renamed = digest(package)
    assert renamed[1] == 3
    assert renamed[0] != first[0]
    (package / "c").rename(package / "a")
    assert digest(package) == first


def test_writing_is_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "f"
    write_atomic(path, b"one")

    def no_space(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, b"two")
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


def test_frozen_means_frozen(bundle):
    with pytest.raises(dataclasses.FrozenInstanceError):
        bundle.artifacts[0].sha256 = "1"
    with pytest.raises(UsageError, match="without the other"):
        TensorSpec(name="x", shape=(1,), dtype="int8", scale=1.0)
