"""`edgekit convert`: how ranges are found, and what it says of doubtful data."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from edgekit.convert import METHODS, CalibrationRecord

pytestmark = pytest.mark.convert
NETWORK = ("mobilenet_v1_0.25@32", "--classes", 10)


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.npy"
    np.save(path, np.random.default_rng(0).uniform(-1, 1, (12, 32, 32, 3)).astype(np.float32))
    return path


def test_the_method_is_written_down(call, data, tmp_path):
    words = ("--calibrate", data, "--calibration-method", "percentile", "-r", "onnx-w8u8")
    code, out, err = call("convert", *NETWORK, *words, "-o", tmp_path / "b", "--json")
    assert code == 0, err
    document = json.loads(out)
    assert document["warnings"] == []
    assert document["artifacts"][0]["provenance"]["calibration_method"] == "percentile"
    assert document["seconds"]["calibrate"] > 0
    assert CalibrationRecord.load(tmp_path / "b").method == "percentile"


def test_an_unknown_method_is_refused_with_the_nearest(call, data, tmp_path):
    words = ("--calibrate", data, "--calibration-method", "min-max")
    code, out, err = call("convert", *NETWORK, *words, "-o", tmp_path / "b")
    assert (code, out) == (2, "")
    assert "did you mean 'minmax'" in err
    assert not (tmp_path / "b").exists()


def test_the_help_names_every_method():
    words = [sys.executable, "-m", "edgekit.cli.main", "convert", "--help"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    unwrapped = "".join(done.stdout.split())
    assert all(method in unwrapped for method in METHODS)


def test_plain_images_are_warned_of(call, tmp_path):
    np.save(tmp_path / "plain.npy", np.full((4, 32, 32, 3), 0.5, np.float32))
    words = ("--calibrate", tmp_path / "plain.npy", "-r", "tflite-w8a16")
    code, _, err = call("convert", *NETWORK, *words, "-o", tmp_path / "b")
    assert code == 0, err
    assert "warning: 4 of 4 calibration inputs are of one colour" in err
    assert "ranges collapsed" in err
    assert "input" in err
