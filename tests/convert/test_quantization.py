"""The quantization report in a bundle: written, kept, read again, and what is warned of by it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from edgekit.artifact import Parity
from edgekit.bundle import Bundle
from edgekit.convert import QuantizationReport, convert, from_array
from edgekit.convert.doubts import lost_answers
from edgekit.errors import UnknownNameError, UsageError
from edgekit.recipe import parse_recipes
from edgekit.source import load_source

pytestmark = pytest.mark.convert
INT8 = parse_recipes(["tflite-int8"])


@pytest.fixture(scope="module")
def loud(keras, tmp_path_factory):
    """One channel is 100 times louder than the others and tells little: plain 8 bits lose the others."""
    layers = keras.layers
    keras.utils.set_random_seed(1)
    inputs = layers.Input((16, 16, 3))
    x = layers.Conv2D(32, 3, use_bias=False, name="uneven")(inputs)
    x = layers.DepthwiseConv2D(1, use_bias=False, name="scale")(x)
    x = layers.Conv2D(32, 1, activation="relu", name="mix")(x)
    network = keras.Model(inputs, layers.Dense(10)(layers.Flatten()(x)))
    scales = np.ones((1, 1, 32, 1))
    scales[0, 0, 0] = 100
    network.get_layer("scale").set_weights([scales])
    kernel, bias = network.get_layer("mix").get_weights()
    kernel[:, :, 0] = 0
    network.get_layer("mix").set_weights([kernel, bias])
    path = tmp_path_factory.mktemp("loud") / "loud.keras"
    network.save(path)
    return load_source(str(path))


@pytest.fixture(scope="module")
def noise():
    return from_array(np.random.default_rng(0).normal(size=(32, 16, 16, 3)).astype("float32"))


def test_the_report_lies_in_the_bundle_and_is_held_by_it(made):
    root, provenance = made.bundle.root, made.bundle.provenance
    assert provenance["quantization_report"] == "quantization.json"
    content = (root / "quantization.json").read_bytes()
    assert provenance["quantization_report_sha256"] == hashlib.sha256(content).hexdigest()
    report = QuantizationReport.load(root)
    assert report == made.quantization
    assert report.calibration_sha256 == provenance["calibration_sha256"]
    assert report.tuning == ("auto",)
    assert report.layers[0].tensor == "input"
    assert all(layer.low <= 0 <= layer.high for layer in report.layers)
    assert any(layer.weights_snr_db is not None for layer in report.layers)
    assert made.to_json()["quantization"]["worst"][0]["tensor"] == report.worst()[0].tensor


def test_a_changed_report_does_not_pass(source, calibration, tmp_path):
    bundle = convert(source, INT8, tmp_path / "b", calibration=calibration).bundle
    (tmp_path / "b" / "quantization.json").write_text("{}")
    with pytest.raises(UsageError, match="quantization report has changed"):
        bundle.check()


def test_floats_need_no_report_and_leave_one_alone(source, calibration, tmp_path):
    fp32 = parse_recipes(["tflite-fp32"])
    result = convert(source, fp32, tmp_path / "b", calibration=calibration)
    assert result.quantization is None
    assert result.to_json()["quantization"] is None
    assert not (tmp_path / "b" / "quantization.json").exists()
    convert(source, INT8, tmp_path / "b", calibration=calibration)
    content = (tmp_path / "b" / "quantization.json").read_bytes()
    convert(source, parse_recipes(["tflite-dyn8"]), tmp_path / "b")
    assert (tmp_path / "b" / "quantization.json").read_bytes() == content
    Bundle.load(tmp_path / "b").check()


def test_plain_8_bits_that_damage_a_network_are_told_now_and_again(loud, noise, tmp_path):
    first = convert(loud, INT8, tmp_path / "b", calibration=noise, tuning=["none"])
    assert first.made == ("tflite-int8",), [str(f.error) for f in first.failed]
    (warning,) = first.warnings
    assert warning.startswith("8 bits damage this network: ")
    assert "scale" in warning.split("worst layers: ")[1].split(",")[0], "the layer with the loud channel"
    assert warning.endswith("let --tuning auto work on it")
    second = convert(loud, INT8, tmp_path / "b", calibration=noise, tuning=["none"])
    assert (second.kept, second.warnings) == (first.made, first.warnings)
    assert second.quantization == first.quantization
    assert second.quantization.tuning == ()


def test_16_bits_do_what_the_warning_says_of_them(loud, noise, tmp_path):
    names = parse_recipes(["tflite-int8", "tflite-w8a16"])
    result = convert(loud, names, tmp_path / "b", calibration=noise, tuning=["none"])
    alone = result.quantization.weights_alone
    assert not alone.damaged
    assert alone.snr_db > result.quantization.after.snr_db + 10
    assert result.bundle.artifact("tflite-w8a16").parity.snr_db == pytest.approx(alone.snr_db, abs=5)
    (worst,) = result.quantization.worst(1)
    assert worst.drowned > 0.9, "all but the loud channel"
    assert "% of its channels drown" in result.quantization.advice(worst)
    assert "tflite-w8a16" in result.quantization.advice(worst)


def test_what_tuning_mends_is_told_with_its_gain_and_not_warned_of(loud, noise, tmp_path):
    result = convert(loud, INT8, tmp_path / "b", calibration=noise)
    assert result.warnings == ()
    report = result.quantization
    assert report.before.damaged
    assert not report.after.damaged
    gained = sum(gain for gain in report.gains().values() if gain is not None)
    assert gained == pytest.approx(report.after.snr_db - report.before.snr_db, abs=0.01)
    assert set(report.methods) == {name for names in report.gains() for name in names.split("+")}


def test_a_bundle_of_before_there_were_reports_is_kept(source, calibration, tmp_path):
    convert(source, INT8, tmp_path / "b", calibration=calibration)
    manifest = tmp_path / "b" / "bundle.json"
    data = json.loads(manifest.read_text())
    for key in ("quantization_report", "quantization_report_sha256"):
        del data["provenance"][key]
    manifest.write_text(json.dumps(data))
    (tmp_path / "b" / "quantization.json").unlink()
    Bundle.load(tmp_path / "b").check()
    result = convert(source, INT8, tmp_path / "b", calibration=calibration)
    assert result.kept == ("tflite-int8",)
    assert result.quantization is None


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (["biass"], UnknownNameError, "did you mean 'bias'"),
        (["auto", "bias"], UsageError, "exclude each other"),
        (["none", "auto"], UsageError, "exclude each other"),
    ],
)
def test_tuning_that_can_not_be_meant_is_refused_before_any_work(names, error, message, source, calibration):
    steps = []
    nowhere = Path("nowhere") / "b"
    with pytest.raises(error, match=message):
        convert(source, INT8, nowhere, calibration=calibration, tuning=names, on_step=steps.append)
    assert not steps
    assert not nowhere.parent.exists()


def with_parity(bundle, recipe, agreement):
    parity = Parity(max_abs_error=0.1, snr_db=9.0, top1_agreement=agreement)
    artifacts = [dataclasses.replace(a, parity=parity) if a.recipe == recipe else a for a in bundle.artifacts]
    return dataclasses.replace(bundle, artifacts=tuple(artifacts))


def test_an_artifact_that_lost_answers_by_itself_is_named(made):
    report = made.quantization
    recipes = [a.recipe for a in made.bundle.artifacts]
    assert lost_answers(made.bundle, ["tflite-fp16"], report) == ()
    (warning,) = lost_answers(with_parity(made.bundle, "onnx-dyn8", 0.5), recipes, report)
    assert warning.startswith("too few of the source's answers on 16 golden inputs: onnx-dyn8 on 8; ")
    assert "fp16" in warning
    (warning,) = lost_answers(with_parity(made.bundle, "tflite-int8", 0.5), recipes, report)
    assert "tflite-int8 on 8; worst layers: " in warning
    assert lost_answers(with_parity(made.bundle, "tflite-int8", 0.75), recipes, report) == ()
    assert lost_answers(with_parity(made.bundle, "tflite-int8", 0.5), ["onnx-int8"], report) == ()
