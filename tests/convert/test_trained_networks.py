"""Real networks on real photos, where they are at hand."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from edgekit.convert import convert, preprocessing_preset, read_data
from edgekit.convert.verify import verify_bundle
from edgekit.recipe import parse_recipes
from edgekit.source import load_source

pytestmark = [pytest.mark.convert, pytest.mark.data]
BESIDE = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="module")
def data():
    folder = Path(os.environ.get("EDGEKIT_TEST_DATA", BESIDE))
    if not (folder / "networks").is_dir():
        pytest.skip("no trained networks: set EDGEKIT_TEST_DATA to a folder with networks/ and photos")
    return folder


@pytest.fixture(scope="module")
def split(data, tmp_path_factory):
    """60 photos to calibrate on, 100 others with labels to measure on."""
    photos = data / "photos-imagenet-classes"
    folder = tmp_path_factory.mktemp("split")
    with (photos / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    (folder / "calibrate").mkdir()
    for row in rows[:60]:
        (folder / "calibrate" / Path(row["file"]).name).symlink_to(photos / row["file"])
    lines = [f"{photos / row['file']},{row['label']}" for row in rows[100:200]]
    (folder / "labels.csv").write_text("file,label\n" + "\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize(
    ("name", "preset"), [("mobilenet_v1_0.25_224", "signed"), ("shufflenet_v1_0.5x_g3_224", "none-bgr")]
)
def test_int8_keeps_the_answers(name, preset, data, split, tmp_path):
    """ShuffleNet v1 has dead batch-norm channels: common converters leave it answering by chance."""
    source = load_source(str(data / "networks" / f"{name}.keras"))
    preprocessing = preprocessing_preset(preset)
    calibration = read_data(split / "calibrate", source.inputs[0], preprocessing)
    recipes = parse_recipes(["tflite-fp32", "tflite-int8", "onnx-int8"])
    result = convert(source, recipes, tmp_path / "out", calibration=calibration, preprocessing=preprocessing)
    assert not result.failed
    rows = {
        row.recipe: row.accuracy
        for row in verify_bundle(result.bundle, images=split, labels=split / "labels.csv")
    }
    assert rows["tflite-fp32"].top1 > 0.4
    for recipe in ("tflite-int8", "onnx-int8"):
        assert rows[recipe].agreement >= 0.6
        assert rows[recipe].top1 > rows["tflite-fp32"].top1 - 0.15
