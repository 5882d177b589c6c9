"""Golden data: kept where they are whole, made anew where better ones come, and what is proved on them."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest

from edgekit.convert import from_array, preprocessing_preset
from edgekit.convert.golden import (
    FROM_DATA,
    FROM_NOISE,
    GOLDEN_DATA,
    GOLDEN_NOISE,
    kept_golden,
    new_golden,
    parity_of,
    reproved,
)
from edgekit.convert.identity import KEY, has_golden, has_record, intact, is_made
from edgekit.errors import ConversionError
from edgekit.recipe import Recipe
from edgekit.source import freeze

pytestmark = pytest.mark.convert


@pytest.fixture(scope="module")
def frozen(source):
    return freeze(source)


@pytest.fixture
def copy(made, tmp_path):
    """A bundle of one's own to damage; only its TFLite part, for the tests' time."""
    shutil.copytree(made.bundle.root, tmp_path / "b")
    few = tuple(a for a in made.bundle.artifacts if a.recipe in ("tflite-fp32", "tflite-int8"))
    return dataclasses.replace(made.bundle, root=tmp_path / "b", artifacts=few)


@pytest.mark.parametrize("count", [3, GOLDEN_DATA + 5])
def test_the_first_data_are_golden(count, frozen):
    inputs = np.random.default_rng(1).normal(size=(count, 32, 32, 3)).astype(np.float32)
    taken, outputs, origin = new_golden(frozen, from_array(inputs), None)
    assert origin == FROM_DATA
    np.testing.assert_array_equal(taken, inputs[:GOLDEN_DATA])
    np.testing.assert_array_equal(outputs, frozen.outputs(taken))


def test_without_data_noise_is_golden_and_the_same_each_time(frozen):
    first = new_golden(frozen, None, preprocessing_preset("signed"))
    again = new_golden(frozen, None, preprocessing_preset("signed"))
    assert first[2] == FROM_NOISE
    assert first[0].shape == (GOLDEN_NOISE, 32, 32, 3)
    assert np.isfinite(first[0]).all()
    for one, other in zip(first[:2], again[:2], strict=True):
        np.testing.assert_array_equal(one, other)


def test_data_are_kept_whether_more_come_or_not(copy, calibration):
    for given in (None, calibration):
        inputs, outputs, origin = kept_golden(copy, given)
        assert origin == FROM_DATA
        np.testing.assert_array_equal(inputs, calibration.inputs[: len(inputs)])
        assert len(outputs) == len(inputs) == copy.golden.count


def test_noise_gives_way_to_data(copy, calibration):
    noisy = dataclasses.replace(copy, golden=dataclasses.replace(copy.golden, origin=FROM_NOISE))
    assert kept_golden(noisy, calibration) is None
    assert kept_golden(noisy, None)[2] == FROM_NOISE


@pytest.mark.parametrize("name", ["inputs", "outputs"])
@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_damaged_arrays_are_not_kept(name, damage, copy):
    path = copy.root / getattr(copy.golden, name)
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\1")
    assert not has_golden(copy)
    assert kept_golden(copy, None) is None


def test_no_bundle_has_nothing_to_keep(calibration):
    assert kept_golden(None, calibration) is None
    assert reproved(None, (np.zeros(1), np.zeros(1), FROM_NOISE), set(), []) is None


def test_artifacts_are_measured_on_new_data(copy, frozen, calibration):
    golden = new_golden(frozen, from_array(calibration.inputs[8:]), None)
    failed = []
    after = reproved(copy, golden, {"tflite-int8"}, failed)
    assert failed == []
    old, new = (bundle.artifact("tflite-fp32") for bundle in (copy, after))
    assert new.parity != old.parity
    assert new.parity.snr_db > 80
    assert dataclasses.replace(new, parity=old.parity) == old
    assert after.artifact("tflite-int8") == copy.artifact("tflite-int8")  # it is made again anyway


def test_what_fails_on_new_data_is_no_longer_in_the_bundle(copy, frozen, calibration):
    inputs, outputs, origin = new_golden(frozen, calibration, None)
    failed = []
    after = reproved(copy, (inputs, outputs[::-1].copy(), origin), {"tflite-int8"}, failed)
    assert [failure.recipe for failure in failed] == ["tflite-fp32"]
    assert isinstance(failed[0].error, ConversionError)
    assert [a.recipe for a in after.artifacts] == ["tflite-int8"]


def test_what_is_damaged_is_left_to_be_made_again(copy, frozen, calibration):
    path = copy.path_of(copy.artifact("tflite-fp32"))
    path.write_bytes(b"TFL3 no more")
    failed = []
    after = reproved(copy, new_golden(frozen, calibration, None), set(), failed)
    assert failed == []
    assert after.artifact("tflite-fp32") == copy.artifact("tflite-fp32")


def test_a_host_that_gives_no_outputs_proves_nothing():
    golden = (np.zeros((2, 3)), np.zeros((2, 4)), FROM_DATA)
    assert parity_of("coreml-fp16", None, golden, None) is None
    outputs = np.eye(4, dtype=np.float32)[:2]
    found = parity_of("tflite-fp32", outputs, (golden[0], outputs, FROM_DATA), None)
    assert found is not None
    assert found.snr_db == 200.0


def identity(bundle, recipe):
    return bundle.artifact(recipe).provenance[KEY]


@pytest.mark.parametrize("name", ["tflite-fp32", "tflite-int8"])
def test_an_artifact_of_the_same_inputs_is_made_already(name, copy):
    recipe = Recipe.parse(name)
    assert is_made(copy, recipe, identity(copy, name))
    assert not is_made(copy, recipe, "0" * 64)
    assert not is_made(None, recipe, identity(copy, name))
    assert not is_made(copy, Recipe.parse("tflite-fp16"), identity(copy, name))
    path = copy.path_of(copy.artifact(name))
    path.write_bytes(path.read_bytes() + b"\0")
    assert not is_made(copy, recipe, identity(copy, name))


def test_integers_need_the_ranges_they_were_made_with(copy):
    record = copy.root / copy.provenance["calibration_record"]
    record.write_bytes(record.read_bytes() + b" ")
    assert not has_record(copy)
    assert not is_made(copy, Recipe.parse("tflite-int8"), identity(copy, "tflite-int8"))
    assert is_made(copy, Recipe.parse("tflite-fp32"), identity(copy, "tflite-fp32"))


def test_intact_is_there_with_these_bytes(tmp_path):
    from edgekit.artifact import digest

    path = tmp_path / "a"
    assert not intact(path, "")
    path.write_bytes(b"one")
    sha256 = digest(path)[0]
    assert intact(path, sha256)
    path.write_bytes(b"two")
    assert not intact(path, sha256)
