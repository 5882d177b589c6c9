"""A bundle is whole at every moment, and holds what proves it anywhere."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.bundle import Bundle
from edgekit.convert import Step, convert, from_array, preprocessing_preset
from edgekit.errors import ParityError, UsageError
from edgekit.recipe import parse_recipes
from edgekit.source import freeze, load_source

pytestmark = pytest.mark.convert


def files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_the_bundle_has_everything_and_nothing_else(made):
    bundle = Bundle.load(made.bundle.root)
    bundle.check()
    outside = [f for f in files(bundle.root) if not f.startswith("artifacts/")]
    assert outside == [
        "bundle.json",
        "calibration.json",
        "golden/inputs.npy",
        "golden/outputs.npy",
        "labels.txt",
        "quantization.json",
    ]
    assert {f.split("/")[1] for f in files(bundle.root / "artifacts") if "/" in f} == {
        "Data",
        "Manifest.json",
    }
    assert not list(bundle.root.parent.glob(".*"))
    assert bundle.label_names()[3] == "class 3"
    assert bundle.preprocessing == preprocessing_preset("signed")


def test_golden_data_are_the_first_inputs_and_the_float_sources_outputs(made, source, calibration):
    inputs, outputs = made.bundle.golden_arrays()
    assert made.bundle.golden.origin == "calibration data"
    assert np.array_equal(inputs, calibration.inputs[:16])
    assert np.array_equal(outputs, freeze(source).outputs(inputs))


def test_without_calibration_data_golden_data_are_seeded_noise(source, tmp_path):
    bundles = [convert(source, parse_recipes(["tflite-fp32"]), tmp_path / n).bundle for n in ("a", "b")]
    assert bundles[0].golden == bundles[1].golden
    assert bundles[0].golden.origin == "seeded noise"
    assert bundles[0].golden.count == 8


def test_recipes_are_added_to_a_bundle_of_the_same_source(source, tmp_path, calibration):
    out = tmp_path / "grown"
    first = convert(source, parse_recipes(["tflite-fp32"]), out).bundle
    grown = convert(source, parse_recipes(["onnx-fp32"]), out).bundle
    assert [a.recipe for a in grown.artifacts] == ["tflite-fp32", "onnx-fp32"]
    assert grown.golden == first.golden
    full = convert(source, parse_recipes(["tflite-int8"]), out, calibration=calibration).bundle
    assert [a.recipe for a in full.artifacts] == ["tflite-fp32", "tflite-int8", "onnx-fp32"]
    assert full.golden.origin == "calibration data"
    Bundle.load(out).check()
    before, after = first.artifact("tflite-fp32").parity, full.artifact("tflite-fp32").parity
    assert before != after  # measured anew on the new golden inputs


def test_an_artifact_is_replaced(source, tmp_path, calibration):
    out = tmp_path / "replaced"
    convert(source, parse_recipes(["tflite-int8"]), out, calibration=calibration)
    other = from_array(calibration.inputs * 0.5)
    result = convert(source, parse_recipes(["tflite-int8"]), out, calibration=other)
    loaded = Bundle.load(out)
    loaded.check()
    assert loaded.artifact("tflite-int8").provenance["calibration_sha256"] == other.sha256
    assert len(result.bundle.artifacts) == 1


def test_a_bundle_of_another_source_is_left_alone(made, keras, tmp_path):
    inputs = keras.layers.Input((8, 8, 3))
    keras.Model(inputs, keras.layers.GlobalMaxPooling2D()(inputs)).save(tmp_path / "other.keras")
    other = load_source(str(tmp_path / "other.keras"))
    before = files(made.bundle.root)
    with pytest.raises(UsageError, match="bundle of another source"):
        convert(other, parse_recipes(["tflite-fp32"]), made.bundle.root)
    assert files(made.bundle.root) == before


def test_a_folder_with_other_things_is_left_alone(source, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="other things in it"):
        convert(source, parse_recipes(["tflite-fp32"]), tmp_path)
    with pytest.raises(UsageError, match="is a file"):
        convert(source, parse_recipes(["tflite-fp32"]), tmp_path / "notes.txt")


def test_another_preprocessing_needs_another_folder(made, source):
    with pytest.raises(UsageError, match="another preprocessing"):
        convert(
            source,
            parse_recipes(["tflite-fp32"]),
            made.bundle.root,
            preprocessing=preprocessing_preset("unit"),
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": ["a", "b"]}, "2 labels for 10 outputs"),
        ({"calibration": from_array(np.zeros((2, 16, 16, 3), np.float32))}, "calibration data has inputs of"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(change, message, source, tmp_path):
    steps: list[Step] = []
    with pytest.raises(UsageError, match=message):
        convert(source, parse_recipes(["tflite-fp32"]), tmp_path / "out", on_step=steps.append, **change)
    assert not steps
    with pytest.raises(UsageError, match="no recipe"):
        convert(source, [], tmp_path / "out")


def test_an_interrupt_leaves_what_was_done(source, tmp_path):
    out = tmp_path / "cut"

    def stop(step: Step) -> None:
        if step.recipe == "onnx-fp32" and step.phase == "prove":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(source, parse_recipes(["tflite-fp32", "onnx-fp32"]), out, on_step=stop)
    loaded = Bundle.load(out)
    loaded.check()
    assert [a.recipe for a in loaded.artifacts] == ["tflite-fp32"]
    assert files(out / "artifacts") == ["tflite-fp32.tflite"]
    assert [p.name for p in tmp_path.iterdir()] == ["cut"]


def test_one_failure_does_not_stop_the_others(keras, tmp_path):
    """One dead channel three thousand times louder than the rest rules the range that all share in int8."""
    layers = keras.layers
    keras.utils.set_random_seed(1)
    inputs = layers.Input((16, 16, 3))
    x = layers.Conv2D(32, 3, use_bias=False, name="uneven")(inputs)
    x = layers.DepthwiseConv2D(1, use_bias=False, name="scale")(x)
    x = layers.Conv2D(32, 1, activation="relu", name="mix")(x)
    network = keras.Model(inputs, layers.Dense(10)(layers.Flatten()(x)))
    scales = np.ones((1, 1, 32, 1))
    scales[0, 0, 0] = 3e3
    network.get_layer("scale").set_weights([scales])
    kernel, bias = network.get_layer("mix").get_weights()
    kernel[:, :, 0] = 0
    network.get_layer("mix").set_weights([kernel, bias])
    network.save(tmp_path / "dead.keras")
    data = from_array(np.random.default_rng(0).normal(size=(8, 16, 16, 3)).astype("float32"))
    names = ["tflite-fp32", "tflite-int8", "onnx-int8"]
    result = convert(
        load_source(str(tmp_path / "dead.keras")),
        parse_recipes(names),
        tmp_path / "o",
        calibration=data,
        tuning=["none"],
    )
    assert [a.recipe for a in result.bundle.artifacts] == ["tflite-fp32"]
    assert [f.recipe for f in result.failed] == ["tflite-int8", "onnx-int8"]
    assert [type(f.error) for f in result.failed] == [ParityError, ParityError], [
        str(f.error) for f in result.failed
    ]
    assert "channels may stretch a range" in str(result.failed[0].error)
    assert files(tmp_path / "o" / "artifacts") == ["tflite-fp32.tflite"]
    assert [f["recipe"] for f in result.to_json()["failed"]] == ["tflite-int8", "onnx-int8"]


def test_steps_say_what_is_done_and_how_long_it_took(source, tmp_path):
    steps: list[Step] = []
    result = convert(source, parse_recipes(["tflite-fp16"]), tmp_path / "out", on_step=steps.append)
    done = [(s.recipe, s.phase) for s in steps if s.seconds is not None]
    assert done == [
        ("", "freeze"),
        ("", "golden"),
        *(("tflite-fp16", p) for p in ("convert", "prove", "write")),
    ]
    assert next(str(s) for s in steps if s.phase == "prove") == "prove tflite-fp16"
    assert set(result.seconds) == {"freeze", "golden", "tflite-fp16"}
    assert all(value > 0 for value in result.seconds.values())


def test_the_json_is_the_contract(made):
    document = made.to_json()
    assert document["schema"] == 1
    assert document["failed"] == []
    first = document["artifacts"][0]
    assert {"recipe", "format", "precision", "path", "sha256", "size_bytes", "parity"} <= set(first)
    assert set(first["parity"]) == {"max_abs_error", "snr_db", "top1_agreement"}
