"""A bundle is checked again: bytes, golden outputs, accuracy."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgekit.bundle import Bundle
from edgekit.convert.images import labelled, read_labels
from edgekit.convert.verify import verify_bundle
from edgekit.errors import UsageError
from edgekit.recipe import recipe_names

if TYPE_CHECKING:
    from edgekit.convert import Step

pytestmark = pytest.mark.convert


@pytest.fixture
def copy(made, tmp_path):
    shutil.copytree(made.bundle.root, tmp_path / "copy")
    return Bundle.load(tmp_path / "copy")


def test_a_whole_bundle_is_right(made):
    steps: list[Step] = []
    rows = verify_bundle(made.bundle, on_step=steps.append)
    assert [row.recipe for row in rows] == list(recipe_names())
    assert all(row.ok for row in rows)
    for row in rows:
        note = "evaluated op by op, not by Core ML" if row.recipe.startswith("coreml") else ""
        assert row.parity == made.bundle.artifact(row.recipe).parity
        assert row.note == note
        assert row.accuracy is None
    assert {s.phase for s in steps} == {"verify"}


def test_rows_are_text_and_json(made):
    row = verify_bundle(made.bundle)[0]
    assert row.cells()[:2] == ("tflite-fp32", "ok")
    assert len(row.cells()) == 7
    assert row.to_json()["ok"] is True
    assert row.to_json()["parity"]["top1_agreement"] == 1.0


def test_changed_and_missing_files_are_named_and_not_run(copy):
    changed = copy.path_of(copy.artifact("onnx-fp32"))
    changed.write_bytes(changed.read_bytes()[:-1])
    copy.path_of(copy.artifact("tflite-fp16")).unlink()
    weights = next(copy.path_of(copy.artifact("coreml-fp16")).rglob("weight.bin"))
    weights.write_bytes(b"")
    rows = {row.recipe: row for row in verify_bundle(copy)}
    assert rows["onnx-fp32"].problem == "the file has changed: convert again"
    assert rows["tflite-fp16"].problem == "the file is missing"
    assert not rows["coreml-fp16"].ok
    assert [name for name, row in rows.items() if not row.ok] == ["tflite-fp16", "onnx-fp32", "coreml-fp16"]
    assert rows["onnx-fp32"].parity is None
    assert rows["onnx-fp32"].cells()[1] == "changed"


def test_changed_golden_data_prove_nothing(copy):
    np.save(copy.root / copy.golden.outputs, np.zeros((16, 10), np.float32))
    with pytest.raises(UsageError, match=r"outputs\.npy is missing or has changed"):
        verify_bundle(copy)


def test_accuracy_on_a_tree_of_classes(made, pictures, tmp_path):
    for index, label in enumerate(("ant", "bee", "cat")):
        shutil.copytree(pictures / label, tmp_path / f"class {index}")
    rows = {row.recipe: row for row in verify_bundle(made.bundle, images=tmp_path, limit=9)}
    assert rows["tflite-fp32"].accuracy.count == 9
    assert rows["tflite-fp32"].accuracy.agreement == 1.0
    assert rows["onnx-fp32"].accuracy == rows["tflite-fp32"].accuracy
    assert rows["coreml-fp32"].accuracy == rows["tflite-fp32"].accuracy
    assert rows["coreml-fp16"].accuracy.count == 9
    assert 0 <= rows["tflite-int8"].accuracy.top1 <= 1
    assert rows["tflite-int8"].accuracy.agreement >= 0.5
    assert "of 9" in rows["tflite-fp32"].cells()[4]


def test_accuracy_is_that_of_the_float_source(made, pictures, tmp_path, source):
    """Labels are made from the source's own answers: the float artifacts must then be right every time."""
    from edgekit.convert.images import find_images, read_images
    from edgekit.source import freeze

    paths = find_images(pictures)
    inputs = read_images(paths, source.inputs[0], made.bundle.preprocessing)
    answers = freeze(source).outputs(inputs).argmax(axis=1)
    lines = [f"{p.relative_to(pictures)},{a}" for p, a in zip(paths, answers, strict=True)]
    (tmp_path / "labels.csv").write_text("file,label\n" + "\n".join(lines) + "\n")
    rows = {r.recipe: r for r in verify_bundle(made.bundle, images=pictures, labels=tmp_path / "labels.csv")}
    assert rows["tflite-fp32"].accuracy.top1 == 1.0
    assert rows["onnx-fp16"].accuracy.top1 == 1.0
    assert rows["coreml-fp32"].accuracy.top1 == rows["coreml-fp16"].accuracy.top1 == 1.0


def test_images_need_labels_and_a_preprocessing(made, pictures, tmp_path):
    with pytest.raises(UsageError, match="'ant' is none of the bundle's"):
        verify_bundle(made.bundle, images=pictures)
    with pytest.raises(UsageError, match="without images"):
        verify_bundle(made.bundle, labels=tmp_path / "labels.csv")
    import dataclasses

    silent = dataclasses.replace(made.bundle, preprocessing=None)
    with pytest.raises(UsageError, match="does not say how an image"):
        verify_bundle(silent, images=pictures)


def test_labels_by_folder_and_by_table(pictures, tmp_path):
    assert {label for _, label in labelled(pictures, None, [])} == {0, 1, 2}
    assert {label for _, label in labelled(pictures, None, ["cat", "bee", "ant"])} == {0, 1, 2}
    assert labelled(pictures, None, ["cat", "bee", "ant"])[0][1] == 2
    table = tmp_path / "t.csv"
    for text, message in (
        ("file,label\nant/9.png,1\n", "which is not there"),
        ("path,class\nant/0.png,1\n", "no columns file,label"),
        ("", "no columns file,label"),
    ):
        table.write_text(text)
        with pytest.raises(UsageError, match=message):
            labelled(pictures, table, [])
    with pytest.raises(UsageError, match="in no class folder"):
        labelled(pictures / "ant", None, [])
    with pytest.raises(UsageError, match="can't be read"):
        labelled(pictures, tmp_path / "gone.csv", [])


def test_label_files(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text("tench\n great white \n\n\n", encoding="utf-8")
    assert read_labels(path) == ["tench", "great white"]
    path.write_text("\n\n")
    with pytest.raises(UsageError, match="holds no labels"):
        read_labels(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="can't be read as labels"):
        read_labels(path)
